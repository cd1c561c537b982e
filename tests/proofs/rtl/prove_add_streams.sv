// bnnflow_add_streams: both inputs are read together, and word for word their sums come out.
module prove_add_streams #(
    parameter int PE = 2,
    parameter int ABITS = 1,
    parameter bit ASIGNED = 0,
    parameter int BBITS = 2,
    parameter bit BSIGNED = 1,
    parameter int OBITS = 3,
    parameter int DEPTH = 2
) (
    input logic clk,
    input logic rst,
    input logic a_valid,
    input logic [PE*ABITS-1:0] a_data,
    input logic b_valid,
    input logic [PE*BBITS-1:0] b_data,
    input logic m_ready
);
  logic a_ready, b_ready, m_valid;
  logic [PE*OBITS-1:0] m_data;
  bnnflow_add_streams #(
      .PE(PE),
      .ABITS(ABITS),
      .ASIGNED(ASIGNED),
      .BBITS(BBITS),
      .BSIGNED(BSIGNED),
      .OBITS(OBITS),
      .DEPTH(DEPTH)
  ) u_part (
      .clk(clk),
      .rst(rst),
      .a_valid(a_valid),
      .a_ready(a_ready),
      .a_data(a_data),
      .b_valid(b_valid),
      .b_ready(b_ready),
      .b_data(b_data),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(m_data)
  );
  // Values as integers: the highest bit counts negative where there is a sign.
  logic [PE*OBITS-1:0] sums;
  for (genvar p = 0; p < PE; p++) begin : g_lane
    wire [31:0] a = 32'(a_data[p*ABITS+:ABITS]) - 32'(ASIGNED & a_data[(p+1)*ABITS-1]) * 2 ** ABITS;
    wire [31:0] b = 32'(b_data[p*BBITS+:BBITS]) - 32'(BSIGNED & b_data[(p+1)*BBITS-1]) * 2 ** BBITS;
    assign sums[p*OBITS+:OBITS] = OBITS'(a + b);
  end
  wire read = a_valid & a_ready;
  always_ff @(posedge clk) assert (rst | read == (b_valid & b_ready));
  scoreboard #(
      .WIDTH(PE * OBITS),
      .MOST(DEPTH),
      .PATIENCE(DEPTH + 1)
  ) u_board (
      .clk(clk),
      .rst(rst),
      .due(read),
      .may_pick(1'b1),
      .value(sums),
      .waits(a_valid & b_valid & ~read),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(m_data)
  );
endmodule

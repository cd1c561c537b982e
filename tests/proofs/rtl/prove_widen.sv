// bnnflow_widen: N words give one, the first lowest, when the last was taken.
module prove_widen #(
    parameter int WIDTH = 1,
    parameter int N = 2,
    parameter int DEPTH = 2
) (
    input logic clk,
    input logic rst,
    input logic s_valid,
    input logic [WIDTH-1:0] s_data,
    input logic m_ready
);
  logic s_ready, m_valid;
  logic [N*WIDTH-1:0] m_data;
  bnnflow_widen #(
      .WIDTH(WIDTH),
      .N(N),
      .DEPTH(DEPTH)
  ) u_part (
      .clk(clk),
      .rst(rst),
      .s_valid(s_valid),
      .s_ready(s_ready),
      .s_data(s_data),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(m_data)
  );
  // One part of a word, any, is followed; the others are as any.
  localparam int BITS = $clog2(N);
  (* anyconst *) logic [BITS-1:0] part;
  always_comb assume (int'(part) < N);
  logic [BITS-1:0] place;
  logic [WIDTH-1:0] kept;
  wire read = s_valid & s_ready;
  wire last = int'(place) == N - 1;
  always_ff @(posedge clk) begin
    if (read & place == part) kept <= s_data;
    if (rst) place <= '0;
    else if (read) place <= last ? '0 : place + 1'b1;
  end
  scoreboard #(
      .WIDTH(WIDTH),
      .MOST(DEPTH),
      .PATIENCE(DEPTH + 1)
  ) u_board (
      .clk(clk),
      .rst(rst),
      .due(read & last),
      .may_pick(1'b1),
      .value(place == part ? s_data : kept),
      .waits(s_valid & ~s_ready),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(m_data[part*WIDTH+:WIDTH])
  );
endmodule

// bnnflow_pool: the maximum, or the sum, of AREA words.
module prove_pool #(
    parameter int AREA = 2,
    parameter int PE = 1,
    parameter int XBITS = 2,
    parameter bit SIGNED = 0,
    parameter int OBITS = 2,
    parameter bit TOTAL = 0,
    parameter int DEPTH = 2
) (
    input logic clk,
    input logic rst,
    input logic s_valid,
    input logic [PE*XBITS-1:0] s_data,
    input logic m_ready
);
  logic s_ready, m_valid;
  logic [PE*OBITS-1:0] m_data;
  bnnflow_pool #(
      .AREA(AREA),
      .PE(PE),
      .XBITS(XBITS),
      .SIGNED(SIGNED),
      .OBITS(OBITS),
      .TOTAL(TOTAL),
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
  // One lane, any, is followed.
  (* anyconst *) logic [7:0] lane;
  always_comb assume (int'(lane) < PE);
  logic [7:0] word;
  wire read = s_valid & s_ready;
  wire ends = int'(word) == AREA - 1;
  wire [XBITS-1:0] x = XBITS'(s_data >> (int'(lane) * XBITS));
  wire sign = SIGNED & x[XBITS-1];
  wire [OBITS-1:0] value = {{(OBITS - XBITS) {sign}}, x};
  // Values with a sign lie half the range higher.
  localparam logic [OBITS-1:0] HALF = SIGNED ? OBITS'(2 ** (OBITS - 1)) : '0;
  logic [OBITS-1:0] kept, now;
  always_comb begin
    if (word == 0) now = value;
    else if (TOTAL) now = kept + value;
    else now = kept + HALF > value + HALF ? kept : value;
  end
  always_ff @(posedge clk) begin
    if (read) kept <= now;
    if (rst) word <= '0;
    else if (read) word <= ends ? '0 : word + 1'b1;
  end
  scoreboard #(
      .WIDTH(OBITS),
      .MOST(DEPTH),
      .PATIENCE(DEPTH + 1)
  ) u_board (
      .clk(clk),
      .rst(rst),
      .due(read & ends),
      .may_pick(1'b1),
      .value(now),
      .waits(s_valid & ~s_ready),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(OBITS'(m_data >> (int'(lane) * OBITS)))
  );
endmodule

// bnnflow_max_pool: the maximum of every channel of every window, row by row.
module prove_max_pool #(
    parameter int H = 2,
    parameter int W = 4,
    parameter int KH = 2,
    parameter int KW = 2,
    parameter int C = 1,
    parameter int XBITS = 2,
    parameter bit SIGNED = 0,
    parameter int DEPTH = 2
) (
    input logic clk,
    input logic rst,
    input logic s_valid,
    input logic [C*XBITS-1:0] s_data,
    input logic m_ready
);
  logic s_ready, m_valid;
  logic [C*XBITS-1:0] m_data;
  bnnflow_max_pool #(
      .H(H),
      .W(W),
      .KH(KH),
      .KW(KW),
      .C(C),
      .XBITS(XBITS),
      .SIGNED(SIGNED),
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
  // One channel of one window of a row of windows, any, is followed.
  (* anyconst *) logic [7:0] channel, window;
  always_comb assume (int'(channel) < C && int'(window) < W / KW);
  logic [7:0] y, x;
  logic [XBITS-1:0] most;
  wire read = s_valid & s_ready;
  wire mine = x / KW == window;
  wire begins = y % KH == 0 && x % KW == 0;
  wire ends = int'(y % KH) == KH - 1 && int'(x % KW) == KW - 1;
  wire [XBITS-1:0] value = XBITS'(s_data >> (channel * XBITS));
  // Values by their order: those with a sign lie half the range higher.
  wire [XBITS-1:0] half = SIGNED ? XBITS'(2 ** (XBITS - 1)) : '0;
  wire [XBITS-1:0] greater = !begins && most + half > value + half ? most : value;
  always_ff @(posedge clk) begin
    if (read & mine) most <= greater;
    if (read) begin
      x <= int'(x) == W - 1 ? '0 : x + 1'b1;
      if (int'(x) == W - 1) y <= int'(y) == H - 1 ? '0 : y + 1'b1;
    end
    if (rst) begin
      x <= '0;
      y <= '0;
    end
  end
  scoreboard #(
      .WIDTH(XBITS),
      .MOST(DEPTH),
      .PATIENCE(DEPTH + 1)
  ) u_board (
      .clk(clk),
      .rst(rst),
      .due(read & ends),
      .may_pick(mine),
      .value(greater),
      .waits(s_valid & ~s_ready),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(XBITS'(m_data >> (channel * XBITS)))
  );
endmodule

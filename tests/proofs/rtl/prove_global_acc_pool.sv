// bnnflow_global_acc_pool: of each image the sums of its channels, one word of them after the other.
module prove_global_acc_pool #(
    parameter int PIXELS = 2,
    parameter int CF = 1,
    parameter int PE = 1,
    parameter int XBITS = 1,
    parameter bit SIGNED = 0,
    parameter int OBITS = 2,
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
  bnnflow_global_acc_pool #(
      .PIXELS(PIXELS),
      .CF(CF),
      .PE(PE),
      .XBITS(XBITS),
      .SIGNED(SIGNED),
      .OBITS(OBITS),
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
  // One lane, any, is followed: its sums of the image so far, with the word that is read.
  (* anyconst *) logic [7:0] lane;
  always_comb assume (int'(lane) < PE);
  logic [7:0] word, pixel;
  logic [CF*OBITS-1:0] sums, now;
  wire read = s_valid & s_ready;
  wire whole = int'(word) == CF - 1;
  wire ends = whole && int'(pixel) == PIXELS - 1;
  wire [XBITS-1:0] x = XBITS'(s_data >> (int'(lane) * XBITS));
  wire sign = SIGNED & x[XBITS-1];
  always_comb begin
    now = sums;
    for (int c = 0; c < CF; c++)
    if (int'(word) == c) now[c*OBITS+:OBITS] = sums[c*OBITS+:OBITS] + {{(OBITS - XBITS) {sign}}, x};
  end
  always_ff @(posedge clk) begin
    if (read) begin
      sums <= ends ? '0 : now;
      word <= whole ? '0 : word + 1'b1;
      if (whole) pixel <= ends ? '0 : pixel + 1'b1;
    end
    if (rst) begin
      sums  <= '0;
      word  <= '0;
      pixel <= '0;
    end
  end
  scoreboard #(
      .WIDTH(OBITS),
      .BURST(CF),
      .MOST(DEPTH + CF),
      .PATIENCE(2 * (DEPTH + CF) + 2)
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

// bnnflow_label_select: of each image the index of the best score, then of the second best, ..., the lower index first
// among equals: before it in that order are as many as its rank.
module prove_label_select #(
    parameter int LABELS = 3,
    parameter int PE = 1,
    parameter int XBITS = 2,
    parameter bit SIGNED = 0,
    parameter int IBITS = 2,
    parameter int K = 1,
    parameter int DEPTH = 2
) (
    input logic clk,
    input logic rst,
    input logic s_valid,
    input logic [PE*XBITS-1:0] s_data,
    input logic m_ready
);
  localparam int WORDS = LABELS / PE;
  localparam int LATENCY = K == 1 ? $clog2(PE) : 0;
  logic s_ready, m_valid;
  logic [IBITS-1:0] m_data;
  bnnflow_label_select #(
      .LABELS(LABELS),
      .PE(PE),
      .XBITS(XBITS),
      .SIGNED(SIGNED),
      .IBITS(IBITS),
      .K(K),
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
  // The image, whose last word is the one that is read.
  logic [LABELS*XBITS-1:0] words;
  wire [LABELS*XBITS-1:0] image = (LABELS * XBITS)'({s_data, words} >> (PE * XBITS));
  logic [7:0] turn;
  wire read = s_valid & s_ready;
  wire ends = int'(turn) == WORDS - 1;
  always_ff @(posedge clk) begin
    if (read) words <= image;
    if (rst) turn <= '0;
    else if (read) turn <= ends ? '0 : turn + 1'b1;
  end
  logic [K*IBITS-1:0] best;
  logic [7:0] rank;
  logic [XBITS-1:0] mine, other;
  localparam logic [XBITS-1:0] HALF = SIGNED ? XBITS'(2 ** (XBITS - 1)) : '0;
  always_comb begin
    best = '0;
    for (int i = 0; i < LABELS; i++) begin
      rank = '0;
      // Half the range higher, scores with a sign have the order of those without.
      mine = image[i*XBITS+:XBITS] + HALF;
      for (int j = 0; j < LABELS; j++) begin
        other = image[j*XBITS+:XBITS] + HALF;
        if (other > mine || (other == mine && j < i)) rank = rank + 1'b1;
      end
      for (int k = 0; k < K; k++) if (int'(rank) == k) best[k*IBITS+:IBITS] = IBITS'(i);
    end
  end
  scoreboard #(
      .WIDTH(IBITS),
      .BURST(K),
      .MOST(DEPTH + K + LATENCY),
      .PATIENCE(2 * (DEPTH + K + LATENCY) + 2)
  ) u_board (
      .clk(clk),
      .rst(rst),
      .due(read & ends),
      .may_pick(1'b1),
      .value(best),
      .waits(s_valid & ~s_ready),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(m_data)
  );
endmodule

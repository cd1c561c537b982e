// The greatest of N scores and its place, the first among equals, LEVELS cycles later: the winners of both halves meet,
// which are as large as each other, or nearly, so that none waits for more than a cycle.
//
// N       scores, 1 or more
// LEVELS  log2(N), rounded up
// XBITS   bits of a score, without a sign
// PBITS   bits of a place, at least LEVELS and 1
module bnnflow_winner #(
    parameter int N = 1,
    parameter int LEVELS = 0,
    parameter int XBITS = 1,
    parameter int PBITS = 1
) (
    input logic clk,
    input logic [N*XBITS-1:0] scores,
    output logic [XBITS-1:0] best,
    output logic [PBITS-1:0] place
);
`ifndef __ICARUS__
  if (N < 1 || N > 2 ** LEVELS || PBITS < LEVELS) begin : g_check
    $error("1 <= N <= 2 ** LEVELS, PBITS >= LEVELS");
  end
`endif
  if (LEVELS == 0) begin : g_one
    wire unused = clk;
    assign best  = scores;
    assign place = '0;
  end else begin : g_round
    localparam int LOW = (N + 1) / 2;
    logic [XBITS-1:0] low;
    logic [PBITS-1:0] low_place;
    bnnflow_winner #(
        .N(LOW),
        .LEVELS(LEVELS - 1),
        .XBITS(XBITS),
        .PBITS(PBITS)
    ) u_low (
        .clk(clk),
        .scores(scores[LOW*XBITS-1:0]),
        .best(low),
        .place(low_place)
    );
    if (N > 1) begin : g_two
      logic [XBITS-1:0] high;
      logic [PBITS-1:0] high_place;
      bnnflow_winner #(
          .N(N - LOW),
          .LEVELS(LEVELS - 1),
          .XBITS(XBITS),
          .PBITS(PBITS)
      ) u_high (
          .clk(clk),
          .scores(scores[N*XBITS-1:LOW*XBITS]),
          .best(high),
          .place(high_place)
      );
      wire wins = high > low;
      always_ff @(posedge clk) begin
        best  <= wins ? high : low;
        place <= wins ? PBITS'(LOW) + high_place : low_place;
      end
    end else begin : g_alone
      always_ff @(posedge clk) begin
        best  <= low;
        place <= low_place;
      end
    end
  end
endmodule

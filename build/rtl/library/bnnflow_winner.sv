// The greatest of N scores and its place, the first among equals: neighbours meet, then their winners.
//
// N      scores, 2 or more
// XBITS  bits of a score, without a sign
// PBITS  bits of a place, enough for N - 1
//
// Logic alone: log2(N) comparisons in a row.
module bnnflow_winner #(
    parameter int N = 2,
    parameter int XBITS = 1,
    parameter int PBITS = 1
) (
    input  logic [N*XBITS-1:0] scores,
    output logic [  XBITS-1:0] best,
    output logic [  PBITS-1:0] place
);
  localparam int ROUNDS = $clog2(N);
  // What is beyond N is no score, and never the best.
  localparam int BITS = XBITS + 1;
`ifndef __ICARUS__
  if (N < 2 || PBITS < ROUNDS) begin : g_check
    $error("N >= 2, 2 ** PBITS >= N");
  end
`endif
  always_comb begin
    logic [ 2**ROUNDS*BITS-1:0] left;
    logic [2**ROUNDS*PBITS-1:0] places;
    left = '0;
    for (int p = 0; p < 2 ** ROUNDS; p++) begin
      if (p < N) left[p*BITS+:BITS] = {1'b1, scores[p*XBITS+:XBITS]};
      places[p*PBITS+:PBITS] = PBITS'(p);
    end
    for (int r = ROUNDS - 1; r >= 0; r--) begin
      for (int p = 0; p < 2 ** r; p++) begin
        if (left[(2*p+1)*BITS+:BITS] > left[2*p*BITS+:BITS]) begin
          left[p*BITS+:BITS] = left[(2*p+1)*BITS+:BITS];
          places[p*PBITS+:PBITS] = places[(2*p+1)*PBITS+:PBITS];
        end else begin
          left[p*BITS+:BITS] = left[2*p*BITS+:BITS];
          places[p*PBITS+:PBITS] = places[2*p*PBITS+:PBITS];
        end
      end
    end
    best  = left[XBITS-1:0];
    place = places[PBITS-1:0];
  end
endmodule

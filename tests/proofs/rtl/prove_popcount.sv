// bnnflow_popcount: the number of equal bits of x and w, 1 + levels / 2 cycles later.
//
// LEAF  bits that the reference counts by $countones; those of more it adds in halves (ones)
module prove_popcount #(
    parameter int N = 3,
    parameter int LEAF = N
) (
    input logic clk,
    input logic [N-1:0] x,
    input logic [N-1:0] w
);
  localparam int LEAVES = (N + 2) / 3;
  localparam int LEVELS = LEAVES > 1 ? $clog2(LEAVES) : 0;
  localparam int CBITS = 2 + LEVELS;
  localparam int LATENCY = 1 + LEVELS / 2;
  logic [CBITS-1:0] count, expected;
  bnnflow_popcount #(
      .N(N)
  ) u_part (
      .clk  (clk),
      .x    (x),
      .w    (w),
      .count(count)
  );
  logic [N*LATENCY-1:0] line;
  logic [  LATENCY-1:0] there;
  initial there = '0;
  ones #(
      .N(N),
      .LEAF(LEAF),
      .BITS(CBITS)
  ) u_ones (
      .bits (line[N*LATENCY-1-:N]),
      .count(expected)
  );
  always_ff @(posedge clk) begin
    line  <= (N * LATENCY)'({line, ~(x ^ w)});
    there <= LATENCY'({there, 1'b1});
    if (there[LATENCY-1]) assert (count == expected);
  end
endmodule

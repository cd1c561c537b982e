// bnnflow_equal with primitives: the number of equal bits of x and w, LATENCY cycles later.
//
// DIRECT  1: held against $countones of all bits; 0: against the sum of bnnflow_equal_part of 32 bits each
module prove_equal #(
    parameter int N = 7,
    parameter bit DIRECT = 1
) (
    input logic clk,
    input logic [N-1:0] x,
    input logic [N-1:0] w
);
  localparam int GROUPS = (N + 17) / 18;
  localparam int LEVELS = GROUPS > 1 ? $clog2(GROUPS) : 0;
  localparam int CBITS = N > 3 ? 5 + LEVELS : 2;
  localparam int LATENCY = N > 3 ? 2 + LEVELS / 2 : 1;
  localparam int PARTS = (N + 31) / 32;
  logic [CBITS-1:0] count, expected;
  bnnflow_equal #(
      .N(N)
  ) u_part (
      .clk  (clk),
      .x    (x),
      .w    (w),
      .count(count)
  );
  logic [LATENCY-1:0] there;
  initial there = '0;
  if (DIRECT) begin : g_direct
    logic [N*LATENCY-1:0] line;
    always_ff @(posedge clk) line <= (N * LATENCY)'({line, ~(x ^ w)});
    assign expected = CBITS'($countones(line[N*LATENCY-1-:N]));
  end else begin : g_parts
    // Parts have one cycle; the rest of them lies behind their sum.
    localparam int LATER = LATENCY - 1;
    logic [6*PARTS-1:0] counts;
    logic [  CBITS-1:0] sum;
    for (genvar i = 0; i < PARTS; i++) begin : g_part
      localparam int SIZE = N - 32 * i > 32 ? 32 : N - 32 * i;
      bnnflow_equal_part #(
          .N(SIZE),
          .MERGED(1'b1)
      ) u_part (
          .clk  (clk),
          .x    (x[32*i+:SIZE]),
          .w    (w[32*i+:SIZE]),
          .count(counts[6*i+:6])
      );
    end
    always_comb begin
      sum = '0;
      for (int i = 0; i < PARTS; i++) sum = sum + CBITS'(counts[6*i+:6]);
    end
    logic [CBITS*LATER-1:0] line;
    always_ff @(posedge clk) line <= (CBITS * LATER)'({line, sum});
    assign expected = line[CBITS*LATER-1-:CBITS];
  end
  always_ff @(posedge clk) begin
    there <= LATENCY'({there, 1'b1});
    if (there[LATENCY-1]) assert (count == expected);
  end
endmodule

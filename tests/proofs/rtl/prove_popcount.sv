// bnnflow_popcount: the number of equal bits of x and w, LATENCY cycles later.
//
// DIRECT  1: held against $countones of all bits; 0: against those of three bits each, whose lower and higher bits are
//         added apart (ones), as the module does
module prove_popcount #(
    parameter int N = 3,
    parameter bit FEW = 0,
    parameter bit DIRECT = 1
) (
    input logic clk,
    input logic [N-1:0] x,
    input logic [N-1:0] w
);
  localparam int LEAVES = (N + 2) / 3;
  localparam int GROUPS = (N + 17) / 18;
  localparam int LEVELS = GROUPS > 1 ? $clog2(GROUPS) : 0;
  localparam int CBITS = LEAVES > 1 ? 5 + LEVELS : 2;
  localparam int LATENCY = LEAVES > 1 ? 2 + LEVELS / 2 : 1;
  logic [CBITS-1:0] count, expected;
  bnnflow_popcount #(
      .N  (N),
      .FEW(FEW)
  ) u_part (
      .clk  (clk),
      .x    (x),
      .w    (w),
      .count(count)
  );
  logic [N*LATENCY-1:0] line;
  logic [  LATENCY-1:0] there;
  initial there = '0;
  wire [N-1:0] same = line[N*LATENCY-1-:N];
  if (DIRECT) begin : g_direct
    assign expected = CBITS'($countones(same));
  end else begin : g_leaves
    wire [LEAVES*3-1:0] bits = (LEAVES * 3)'(same);
    logic [LEAVES-1:0] low, high;
    logic [CBITS-1:0] lows, highs;
    for (genvar i = 0; i < LEAVES; i++) begin : g_leaf
      assign {high[i], low[i]} = 2'($countones(bits[3*i+:3]));
    end
    ones #(
        .N(LEAVES),
        .BITS(CBITS)
    ) u_low (
        .bits (low),
        .count(lows)
    );
    ones #(
        .N(LEAVES),
        .BITS(CBITS)
    ) u_high (
        .bits (high),
        .count(highs)
    );
    assign expected = lows + (highs << 1);
  end
  always_ff @(posedge clk) begin
    line  <= (N * LATENCY)'({line, ~(x ^ w)});
    there <= LATENCY'({there, 1'b1});
    if (there[LATENCY-1]) assert (count == expected);
  end
endmodule

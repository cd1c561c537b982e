// Number of equal bits of x and w: XNOR, leaves of three synapses (two LUT6 each), a tree of adders.
//
// N        bits, 1 or more
// LATENCY  what it is: 1 + levels / 2, with levels = ceil(log2(ceil(N / 3)))
//
// The count has CBITS bits and comes LATENCY cycles after x and w. With BNNFLOW_COUNTONES the same is said in one
// expression, which simulates faster.
module bnnflow_popcount #(
    parameter int N = 3,
    localparam int LEAVES = (N + 2) / 3,
    localparam int LEVELS = LEAVES > 1 ? $clog2(LEAVES) : 0,
    localparam int CBITS = 2 + LEVELS
) (
    input logic clk,
    input logic [N-1:0] x,
    input logic [N-1:0] w,
    output logic [CBITS-1:0] count
);
`ifndef __ICARUS__
  if (N < 1) begin : g_check
    $error("N >= 1");
  end
`endif
`ifdef BNNFLOW_COUNTONES
  logic [CBITS-1:0] now;
  always_ff @(posedge clk) now <= CBITS'($countones(~(x ^ w)));
  if (LEVELS < 2) begin : g_now
    assign count = now;
  end else begin : g_later
    logic [CBITS*(LEVELS/2)-1:0] line;
    always_ff @(posedge clk) line <= (CBITS * (LEVELS / 2))'({line, now});
    assign count = line[CBITS*(LEVELS/2)-1-:CBITS];
  end
`else
  wire  [LEAVES*3-1:0] same = (LEAVES * 3)'({~(x ^ w)});
  logic [LEAVES*2-1:0] leaves;
  for (genvar i = 0; i < LEAVES; i++) begin : g_leaf
    always_ff @(posedge clk) leaves[2*i+:2] <= 2'(same[3*i]) + 2'(same[3*i+1]) + 2'(same[3*i+2]);
  end
  bnnflow_sum #(
      .N(LEAVES),
      .WIDTH(2),
      .LEVELS(LEVELS)
  ) u_sum (
      .clk  (clk),
      .terms(leaves),
      .sum  (count)
  );
`endif
endmodule

// Number of equal bits of x and w.
//
// N        bits, 1 or more
// FEW      1: w are functions of few signals, of a bnnflow_rom of up to 8 words: leaves are left to the tools
// LATENCY  1 for up to three bits, else 2 + levels / 2, levels = ceil(log2(ceil(N / 18)))
//
// The count has CBITS bits and comes LATENCY cycles after x and w. With BNNFLOW_COUNTONES the same is said in one
// expression, which simulates faster.
module bnnflow_popcount #(
    parameter int N = 3,
    // verilator lint_off UNUSEDPARAM
    parameter bit FEW = 0,
    // verilator lint_on UNUSEDPARAM
    localparam int LEAVES = (N + 2) / 3,
    localparam int GROUPS = (LEAVES + 5) / 6,
    localparam int LEVELS = GROUPS > 1 ? $clog2(GROUPS) : 0,
    localparam int CBITS = LEAVES > 1 ? 5 + LEVELS : 2
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
  localparam int LATER = LEAVES > 1 ? 1 + LEVELS / 2 : 0;
  logic [CBITS-1:0] now;
  always_ff @(posedge clk) now <= CBITS'($countones(~(x ^ w)));
  if (LATER == 0) begin : g_now
    assign count = now;
  end else begin : g_later
    logic [CBITS*LATER-1:0] line;
    always_ff @(posedge clk) line <= (CBITS * LATER)'({line, now});
    assign count = line[CBITS*LATER-1-:CBITS];
  end
`else
  if (FEW) begin : g_few
    bnnflow_tree #(
        .N  (N),
        .FEW(1'b1)
    ) u_tree (
        .clk(clk),
        .x(x),
        .w(w),
        .count(count)
    );
  end else begin : g_many
    bnnflow_equal #(
        .N(N)
    ) u_equal (
        .clk(clk),
        .x(x),
        .w(w),
        .count(count)
    );
  end
`endif
endmodule

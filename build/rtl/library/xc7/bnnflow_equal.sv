// Number of equal bits of x and w, with primitives of Xilinx's 7 series (LUT6_2, CARRY4).
//
// The contract is that of the generic bnnflow_equal; N is 7776 at most. Parts of 32 bits are counted and added by
// threes.
module bnnflow_equal #(
    parameter int N = 3,
    localparam int GROUPS = (N + 17) / 18,
    localparam int LEVELS = GROUPS > 1 ? $clog2(GROUPS) : 0,
    localparam int CBITS = N > 3 ? 5 + LEVELS : 2
) (
    input logic clk,
    input logic [N-1:0] x,
    input logic [N-1:0] w,
    output logic [CBITS-1:0] count
);
`ifndef __ICARUS__
  if (N < 1 || N > 7776) begin : g_check
    $error("N from 1 to 7776");
  end
`endif
  if (N <= 3) begin : g_leaf
    bnnflow_tree #(
        .N(N)
    ) u_tree (
        .clk(clk),
        .x(x),
        .w(w),
        .count(count)
    );
  end else begin : g_parts
    localparam int PARTS = (N + 31) / 32;
    localparam int MANY = int'(PARTS > 9) + int'(PARTS > 27) + int'(PARTS > 81);
    localparam int THREES = int'(PARTS > 1) + int'(PARTS > 3) + MANY;
    // A part has two registers, a level of the sum one: one too many for the generic latency, 2 + LEVELS / 2, for some N.
    localparam bit MERGED = 2 + THREES > 2 + LEVELS / 2;
    logic [6*PARTS-1:0] counts;
    for (genvar i = 0; i < PARTS; i++) begin : g_part
      localparam int SIZE = N - 32 * i > 32 ? 32 : N - 32 * i;
      bnnflow_equal_part #(
          .N(SIZE),
          .MERGED(MERGED)
      ) u_part (
          .clk(clk),
          .x(x[32*i+:SIZE]),
          .w(w[32*i+:SIZE]),
          .count(counts[6*i+:6])
      );
    end
    // Bits of the sum of 3**THREES parts; that of PARTS has CBITS.
    localparam int WIDTH = $clog2(32 * 3 ** THREES + 1);
    // verilator lint_off UNUSEDSIGNAL
    logic [WIDTH-1:0] sum;
    // verilator lint_on UNUSEDSIGNAL
    bnnflow_threes #(
        .N(PARTS),
        .LEVELS(THREES)
    ) u_sum (
        .clk  (clk),
        .terms(counts),
        .sum  (sum)
    );
    assign count = CBITS'(sum);
  end
endmodule

// Number of equal bits of x and w, none of which are constants.
//
// Count and LATENCY are those of bnnflow_popcount. This one is of plain logic; folders beside have others of the same
// contract, made of a vendor's primitives.
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
  if (N < 1) begin : g_check
    $error("N >= 1");
  end
`endif
  bnnflow_tree #(
      .N  (N),
      .FEW(1'b0)
  ) u_tree (
      .clk(clk),
      .x(x),
      .w(w),
      .count(count)
  );
endmodule

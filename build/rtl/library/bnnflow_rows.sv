// Sums of PE rows of a matrix, SIMD columns a step: the arithmetic of bnnflow_mvau.
//
// Parameters are those of bnnflow_mvau.
//
// x and w of a step; is_sum and is_first belong to the step of 1 + TREE / 2 cycles ago, where TREE are the levels of
// adders of bnnflow_popcount or bnnflow_dot: whether there was one, and whether it was the first of its row. The sums
// with it are there one cycle later.
module bnnflow_rows #(
    parameter int PE = 1,
    parameter int SIMD = 1,
    parameter int XBITS = 1,
    parameter bit XSIGNED = 0,
    parameter int WBITS = 1,
    parameter bit XNOR = 1,
    parameter int SBITS = 8
) (
    input logic clk,
    input logic [SIMD*XBITS-1:0] x,
    input logic [PE*SIMD*WBITS-1:0] w,
    input logic is_sum,
    input logic is_first,
    output logic [PE*SBITS-1:0] sums
);
  localparam int LANES = XNOR ? (SIMD + 2) / 3 : SIMD;
  localparam int TREE = LANES > 1 ? $clog2(LANES) : 0;
  localparam int DBITS = XNOR ? 2 + TREE : XBITS + WBITS + 1 + TREE;
  for (genvar p = 0; p < PE; p++) begin : g_row
    // SBITS hold every whole sum: what a part has beyond them is its sign.
    // verilator lint_off UNUSEDSIGNAL
    logic [DBITS-1:0] part;
    // verilator lint_on UNUSEDSIGNAL
    wire signed [SBITS-1:0] wide;
    if (XNOR) begin : g_xnor
      bnnflow_popcount #(
          .N(SIMD)
      ) u_part (
          .clk(clk),
          .x(x),
          .w(w[p*SIMD+:SIMD]),
          .count(part)
      );
      assign wide = SBITS'(part);
    end else begin : g_dot
      bnnflow_dot #(
          .N(SIMD),
          .XBITS(XBITS),
          .XSIGNED(XSIGNED),
          .WBITS(WBITS)
      ) u_part (
          .clk(clk),
          .x  (x),
          .w  (w[p*SIMD*WBITS+:SIMD*WBITS]),
          .sum(part)
      );
      assign wide = SBITS'($signed(part));
    end
    logic [SBITS-1:0] total;
    always_ff @(posedge clk) if (is_sum) total <= (is_first ? '0 : total) + wide;
    assign sums[p*SBITS+:SBITS] = total;
  end
endmodule

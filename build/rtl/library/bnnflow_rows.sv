// Results of PE rows of a matrix: sums of products, and how many bounds they reach.
//
// Parameters and bounds are those of bnnflow_mvau; FEW as for bnnflow_popcount, ONCE as for bnnflow_row.
//
// x and w of a step; is_sum, is_first and is_last belong to the step of LATENCY cycles ago (that of bnnflow_popcount or
// bnnflow_dot): whether there was one, whether it was the first and the last of its rows. A single bound is read with
// the first one, many a cycle after the last one. push comes with the results of each last step, one cycle after it,
// three with more than one bound.
module bnnflow_rows #(
    parameter int PE = 1,
    parameter int SIMD = 1,
    parameter int XBITS = 1,
    parameter bit XSIGNED = 0,
    parameter int WBITS = 1,
    parameter bit XNOR = 1,
    parameter bit TERNARY = 0,
    parameter bit ONCE = 0,
    parameter bit FEW = 0,
    parameter int SBITS = 8,
    parameter int BBITS = 8,
    parameter bit BSIGNED = 1,
    parameter int LEVELS = 1,
    parameter int OBITS = 1,
    parameter int ACT_VAL = 0,
    localparam int KEPT = PE * (LEVELS > 0 ? LEVELS : 1) * BBITS
) (
    input logic clk,
    input logic rst,
    input logic [SIMD*XBITS-1:0] x,
    input logic [PE*SIMD*WBITS-1:0] w,
    input logic [KEPT-1:0] bounds,
    input logic is_sum,
    input logic is_first,
    input logic is_last,
    output logic [PE*OBITS-1:0] results,
    output logic push
);
  // A sum that begins at -bound may have one more bit.
  localparam int TOTAL = SBITS + (LEVELS == 1 && BSIGNED ? 1 : 0);
  logic done;
  always_ff @(posedge clk) done <= ~rst & is_sum & is_last;

  logic [PE*BBITS-1:0] first;
  // Where sums leave, their type says how many bits they have.
  // verilator lint_off UNUSEDSIGNAL
  logic [PE*TOTAL-1:0] sums;
  logic [PE-1:0] reached;
  // verilator lint_on UNUSEDSIGNAL
  for (genvar p = 0; p < PE; p++) begin : g_row
    bnnflow_row #(
        .SIMD(SIMD),
        .XBITS(XBITS),
        .XSIGNED(XSIGNED),
        .WBITS(WBITS),
        .XNOR(XNOR),
        .TERNARY(TERNARY),
        .ONCE(ONCE),
        .FEW(FEW),
        .SBITS(TOTAL),
        .BOUND(LEVELS == 1),
        .BBITS(BBITS),
        .BSIGNED(BSIGNED)
    ) u_row (
        .clk(clk),
        .x(x),
        .w(w[p*SIMD*WBITS+:SIMD*WBITS]),
        .is_sum(is_sum),
        .is_first(is_first),
        .bound(first[p*BBITS+:BBITS]),
        .total(sums[p*TOTAL+:TOTAL]),
        .reached(reached[p])
    );
  end

  if (LEVELS == 0) begin : g_sums
    wire unused = &bounds;
    assign first = '0;
    for (genvar p = 0; p < PE; p++) begin : g_cut
      assign results[p*OBITS+:OBITS] = sums[p*TOTAL+:OBITS];
    end
    assign push = done;
  end else if (LEVELS == 1) begin : g_sign
    assign first = bounds;
    for (genvar p = 0; p < PE; p++) begin : g_result
      assign results[p*OBITS+:OBITS] = OBITS'(ACT_VAL) + OBITS'(reached[p]);
    end
    assign push = done;
  end else begin : g_levels
    assign first = '0;
    bnnflow_levels #(
        .PE(PE),
        .SBITS(SBITS),
        .BBITS(BBITS),
        .BSIGNED(BSIGNED),
        .LEVELS(LEVELS),
        .OBITS(OBITS),
        .ACT_VAL(ACT_VAL)
    ) u_levels (
        .clk(clk),
        .bounds(bounds),
        .values(sums),
        .results(results)
    );
    bnnflow_delay #(
        .CYCLES(2)
    ) u_push (
        .clk(clk),
        .rst(rst),
        .d  (done),
        .q  (push)
    );
  end
endmodule

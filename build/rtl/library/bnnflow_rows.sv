// Results of PE rows of a matrix: sums of products, and how many bounds they reach.
//
// Parameters and bounds are those of bnnflow_mvau; FEW as for bnnflow_popcount, ONCE as for bnnflow_row. SUM: cycles of
// bnnflow_popcount or bnnflow_dot.
//
// step, first, last: of bnnflow_vector; x and w are of the step of READ cycles ago, bounds of the cycle with bounds_next
// that long ago: a single one is asked for with the first sum of a row, many behind the last one. push comes with the
// results of each last step, READ + SUM + 1 cycles after it, two more with more than one bound.
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
    parameter int READ = 1,
    parameter int SUM = 1,
    localparam int KEPT = PE * (LEVELS > 0 ? LEVELS : 1) * BBITS
) (
    input logic clk,
    input logic rst,
    input logic step,
    input logic first,
    input logic last,
    input logic [SIMD*XBITS-1:0] x,
    input logic [PE*SIMD*WBITS-1:0] w,
    input logic [KEPT-1:0] bounds,
    output logic bounds_next,
    output logic [PE*OBITS-1:0] results,
    output logic push
);
  logic is_sum, is_first, is_last;
  bnnflow_flags #(
      .READ(READ),
      .SUM(SUM),
      .LEVELS(LEVELS)
  ) u_flags (
      .clk(clk),
      .rst(rst),
      .step(step),
      .first(first),
      .last(last),
      .is_sum(is_sum),
      .is_first(is_first),
      .is_last(is_last),
      .bounds_next(bounds_next)
  );

  // A sum that begins at -bound may have one more bit.
  localparam int TOTAL = SBITS + (LEVELS == 1 && BSIGNED ? 1 : 0);
  logic done;
  always_ff @(posedge clk) done <= ~rst & is_sum & is_last;

  logic [PE*BBITS-1:0] starts;
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
        .bound(starts[p*BBITS+:BBITS]),
        .total(sums[p*TOTAL+:TOTAL]),
        .reached(reached[p])
    );
`ifdef BNNFLOW_ASSERT
    always_ff @(posedge clk)
      if (done)
        sum_fits : assert (u_row.exact == 64'($signed(sums[p*TOTAL+:TOTAL])));
`endif
  end

  if (LEVELS == 0) begin : g_sums
    wire unused = &bounds;
    assign starts = '0;
    for (genvar p = 0; p < PE; p++) begin : g_cut
      assign results[p*OBITS+:OBITS] = sums[p*TOTAL+:OBITS];
    end
    assign push = done;
  end else if (LEVELS == 1) begin : g_sign
    assign starts = bounds;
    for (genvar p = 0; p < PE; p++) begin : g_result
      assign results[p*OBITS+:OBITS] = OBITS'(ACT_VAL) + OBITS'(reached[p]);
    end
    assign push = done;
  end else begin : g_levels
    assign starts = '0;
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

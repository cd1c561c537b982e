// Results of PE rows of a matrix: sums of products, and how many bounds they reach.
//
// Parameters are those of bnnflow_mvau; FEW as for bnnflow_popcount, ONCE as for bnnflow_row.
//
// x and w of a step; is_sum, is_first and is_last belong to the step of LATENCY cycles ago (that of bnnflow_popcount or
// bnnflow_dot): whether there was one, whether it was the first and the last of its rows; ahead_last, a cycle before
// them, whether there will be a last one. push comes with the results of each last step, one cycle after it, three with
// more than one bound.
module bnnflow_rows #(
    parameter int PE = 1,
    parameter int SIMD = 1,
    parameter int NF = 1,
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
    parameter BOUNDS = "",
    parameter BOUND_STYLE = "auto"
) (
    input logic clk,
    input logic rst,
    input logic [SIMD*XBITS-1:0] x,
    input logic [PE*SIMD*WBITS-1:0] w,
    // verilator lint_off UNUSEDSIGNAL
    input logic ahead_last,
    // verilator lint_on UNUSEDSIGNAL
    input logic is_sum,
    input logic is_first,
    input logic is_last,
    output logic [PE*OBITS-1:0] results,
    output logic push
);
  // A sum that begins at -bound may have one more bit.
  localparam int TOTAL = SBITS + (LEVELS == 1 && BSIGNED ? 1 : 0);
  localparam int NFBITS = NF > 1 ? $clog2(NF) : 1;
  logic done;
  always_ff @(posedge clk) done <= ~rst & is_sum & is_last;

  logic [PE*BBITS-1:0] bounds;
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
        .bound(bounds[p*BBITS+:BBITS]),
        .total(sums[p*TOTAL+:TOTAL]),
        .reached(reached[p])
    );
  end

  if (LEVELS == 0) begin : g_sums
    assign bounds = '0;
    for (genvar p = 0; p < PE; p++) begin : g_cut
      assign results[p*OBITS+:OBITS] = sums[p*TOTAL+:OBITS];
    end
    assign push = done;
  end else if (LEVELS == 1) begin : g_sign
    logic [NFBITS-1:0] fold;
    always_ff @(posedge clk)
      if (rst) fold <= '0;
      else if (ahead_last) fold <= fold == NFBITS'(NF - 1) ? '0 : fold + 1'b1;
    bnnflow_rom #(
        .DEPTH(NF),
        .WIDTH(PE * BBITS),
        .FILE (BOUNDS),
        .STYLE(BOUND_STYLE)
    ) u_bounds (
        .clk (clk),
        .addr(fold),
        .data(bounds)
    );
    for (genvar p = 0; p < PE; p++) begin : g_result
      assign results[p*OBITS+:OBITS] = OBITS'(ACT_VAL) + OBITS'(reached[p]);
    end
    assign push = done;
  end else begin : g_levels
    assign bounds = '0;
    bnnflow_levels #(
        .PE(PE),
        .SBITS(SBITS),
        .BBITS(BBITS),
        .BSIGNED(BSIGNED),
        .LEVELS(LEVELS),
        .FOLDS(NF),
        .OBITS(OBITS),
        .ACT_VAL(ACT_VAL),
        .FILE(BOUNDS),
        .STYLE(BOUND_STYLE)
    ) u_levels (
        .clk(clk),
        .rst(rst),
        .next(is_sum & is_last),
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

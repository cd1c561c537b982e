// Sum of a row of a matrix, SIMD columns a step, and whether it reaches a bound: a lane of bnnflow_mvau.
//
// BOUND    1: the sum begins at -bound, and reached says whether the whole one is not negative: bound <= sum. SBITS
//          hold the difference, BBITS (BSIGNED: two's complement) a bound, less than SBITS
// TERNARY  1: inputs are bits, weights -1, 0 and +1 in two's complement
// ONCE     1: every sum has one step; FEW as for bnnflow_popcount
// LATENCY  that of bnnflow_popcount or bnnflow_dot; the other parameters are those of bnnflow_mvau
//
// x and w of a step; is_sum, is_first and bound belong to the step of LATENCY cycles ago: whether there was one, whether
// it was the first of its row, and the row's bound, which only the first one reads. The total with it is there one cycle
// later.
module bnnflow_row #(
    parameter int SIMD = 1,
    parameter int XBITS = 1,
    parameter bit XSIGNED = 0,
    parameter int WBITS = 1,
    parameter bit XNOR = 1,
    parameter bit TERNARY = 0,
    parameter bit ONCE = 0,
    parameter bit FEW = 0,
    parameter int SBITS = 8,
    parameter bit BOUND = 0,
    parameter int BBITS = 1,
    parameter bit BSIGNED = 0
) (
    input logic clk,
    input logic [SIMD*XBITS-1:0] x,
    input logic [SIMD*WBITS-1:0] w,
    input logic is_sum,
    input logic is_first,
    input logic [BBITS-1:0] bound,
    output logic [SBITS-1:0] total,
    output logic reached
);
  // Of bnnflow_popcount.
  localparam int GROUPS = (SIMD + 17) / 18;
  localparam int CBITS = SIMD > 3 ? 5 + (GROUPS > 1 ? $clog2(GROUPS) : 0) : 2;
  logic signed [SBITS-1:0] part;
  logic lacking;
`ifdef BNNFLOW_ASSERT
  longint whole_part;
`endif
  if (XNOR) begin : g_xnor
    // SBITS hold every whole sum: what a part has beyond them is 0.
    // verilator lint_off UNUSEDSIGNAL
    logic [CBITS-1:0] count;
    // verilator lint_on UNUSEDSIGNAL
    bnnflow_popcount #(
        .N  (SIMD),
        .FEW(FEW)
    ) u_part (
        .clk(clk),
        .x(x),
        .w(w),
        .count(count)
    );
    assign part = SBITS'(count);
`ifdef BNNFLOW_ASSERT
    assign whole_part = 64'(count);
`endif
    assign lacking = 1'b0;
  end else if (TERNARY) begin : g_ternary
    // -x is its complement less one: the bits whose weight is +1, the complements of those whose weight is -1, less
    // the number of the latter.
    logic [SIMD-1:0] there, minus;
    // verilator lint_off UNUSEDSIGNAL
    logic [CBITS-1:0] ones, negative, twos;
    // verilator lint_on UNUSEDSIGNAL
    for (genvar i = 0; i < SIMD; i++) begin : g_weight
      assign {minus[i], there[i]} = w[2*i+:2];
    end
    bnnflow_popcount #(
        .N  (SIMD),
        .FEW(FEW)
    ) u_ones (
        .clk(clk),
        .x(~(x & there)),
        .w(minus),
        .count(ones)
    );
    bnnflow_popcount #(
        .N  (SIMD),
        .FEW(FEW)
    ) u_negative (
        .clk(clk),
        .x({SIMD{1'b1}}),
        .w(minus),
        .count(negative)
    );
    // Bits that were flipped can make a weight -2.
    bnnflow_popcount #(
        .N  (SIMD),
        .FEW(FEW)
    ) u_twos (
        .clk(clk),
        .x({SIMD{1'b1}}),
        .w(x & minus & ~there),
        .count(twos)
    );
    assign part = SBITS'(ones) - SBITS'(negative) - SBITS'({twos, 1'b0});
`ifdef BNNFLOW_ASSERT
    assign whole_part = 64'(ones) - 64'(negative) - 64'({twos, 1'b0});
`endif
    assign lacking = 1'b0;
  end else begin : g_dot
    localparam int DBITS = XBITS + (WBITS == 1 ? (XSIGNED ? 0 : 1) : WBITS) + (SIMD > 1 ? $clog2(
        SIMD
    ) : 0);
    // SBITS hold every whole sum: what a part has beyond them is its sign.
    // verilator lint_off UNUSEDSIGNAL
    logic [DBITS-1:0] sum;
    // verilator lint_on UNUSEDSIGNAL
    bnnflow_dot #(
        .N(SIMD),
        .XBITS(XBITS),
        .XSIGNED(XSIGNED),
        .WBITS(WBITS)
    ) u_part (
        .clk(clk),
        .x(x),
        .w(w),
        .sum(sum),
        .lacking(lacking)
    );
    assign part = SBITS'($signed(sum));
`ifdef BNNFLOW_ASSERT
    assign whole_part = 64'($signed(sum));
`endif
  end

  // -bound is its complement plus one. One bit may be carried in: that one, where products leave it free.
  localparam bit LACKS = BOUND && !XNOR && WBITS == 1;
  logic [SBITS-1:0] start;
  if (BOUND) begin : g_start
    assign start = ~{{(SBITS - BBITS) {BSIGNED & bound[BBITS-1]}}, bound};
  end else begin : g_zero
    wire unused = &bound;
    assign start = '0;
  end
  wire first = ONCE | is_first;
  wire carry = !XNOR && WBITS == 1 ? lacking : BOUND & first;
  // A carry into the lowest bit, as all tools understand it. The part is the operand that needs no LUT of its own.
  // verilator lint_off UNUSEDSIGNAL
  wire [SBITS:0] whole = {part, 1'b1} + {first ? start : total, carry};
  // verilator lint_on UNUSEDSIGNAL
  always_ff @(posedge clk) if (is_sum) total <= whole[SBITS:1];
`ifdef BNNFLOW_ASSERT
  // The total as it would be if it had any number of bits; parts of it may have more than it.
  longint exact;
  always_ff @(posedge clk)
    if (is_sum)
      exact <= (first ? 64'($signed(start)) : exact) + whole_part + 64'(carry);
`endif
  // A difference that lacks one is not negative, with it, from -1 on.
  assign reached = ~total[SBITS-1] | (LACKS & (&total));
endmodule

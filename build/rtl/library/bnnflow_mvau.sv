// Matrix-vector product, and thresholds behind it (FINN MVAU).
//
// MH, MW    rows and columns of the matrix; PE divides MH, SIMD divides MW
// XBITS     bits of an input (XSIGNED: two's complement); WBITS of a weight
// XNOR      1: inputs and weights are bits, the sum is the number of equal ones; 0: see bnnflow_dot
// TERNARY   1: inputs are bits, weights -1, 0 and +1 of two bits; a 0 costs nothing where weights are constants
// SBITS     bits of the sum, two's complement; BBITS, BSIGNED of bounds as in bnnflow_levels
// LEVELS    bounds a row; 0: the sums leave the unit, in their lowest OBITS bits
// READ      cycles from a step to its weights, and from bounds_next to bounds: 1, or 2
// DEPTH     places of the output
// STYLE     "auto", "block" or "distributed": where a vector is kept
//
// s: SIMD inputs a word, column 0 lowest. m: PE results a word, row 0 lowest. A vector is read in its first SF steps
// and kept; step n * SF + SF - 1 begins the results of rows n * PE and up, which are offered LATENCY + 1 cycles later.
//
// weights and bounds are words of memories that are read in turn (bnnflow_memory). Word n * SF + s of weights,
// SF = MW / SIMD, holds the weight of row n * PE + p and column s * SIMD + i in bits (p * SIMD + i) * WBITS and up (FINN
// memblock.dat); bounds as for bnnflow_levels. Both are read READ cycles behind their next alone.
module bnnflow_mvau #(
    parameter int MH = 1,
    parameter int MW = 1,
    parameter int PE = 1,
    parameter int SIMD = 1,
    parameter int XBITS = 1,
    parameter bit XSIGNED = 0,
    parameter int WBITS = 1,
    parameter bit XNOR = 1,
    parameter bit TERNARY = 0,
    parameter int SBITS = 8,
    parameter int BBITS = 8,
    parameter bit BSIGNED = 1,
    parameter int LEVELS = 1,
    parameter int OBITS = 1,
    parameter int ACT_VAL = 0,
    parameter int READ = 1,
    parameter int DEPTH = 2,
    // verilator lint_off UNUSEDPARAM
    parameter STYLE = "auto",
    // verilator lint_on UNUSEDPARAM
    localparam int KEPT = PE * (LEVELS > 0 ? LEVELS : 1) * BBITS
) (
    input logic clk,
    input logic rst,
    output logic weights_next,
    input logic [PE*SIMD*WBITS-1:0] weights,
    output logic bounds_next,
    input logic [KEPT-1:0] bounds,
    input logic s_valid,
    output logic s_ready,
    input logic [SIMD*XBITS-1:0] s_data,
    output logic m_valid,
    input logic m_ready,
    output logic [PE*OBITS-1:0] m_data,
    output logic m_push
);
  localparam int SF = MW / SIMD;
  localparam int NF = MH / PE;
  // Cycles of the products of a step and their sum.
  localparam int TREE = SIMD > 1 ? $clog2(SIMD) : 0;
  localparam int GROUPS = (SIMD + 17) / 18;
  localparam int LEVELLED = GROUPS > 1 ? $clog2(GROUPS) : 0;
  localparam int COUNT = SIMD > 3 ? 2 + LEVELLED / 2 : 1;
  localparam int SUM = XNOR || TERNARY ? COUNT : TREE / 2 + (WBITS == 1 ? 0 : 1);
  // Memories; the sum; the accumulator; thresholds.
  localparam int LATENCY = READ + SUM + 1 + (LEVELS > 1 ? 2 : 0);

`ifndef __ICARUS__
  if (MH % PE != 0 || MW % SIMD != 0) begin : g_check
    $error("PE must divide MH, SIMD must divide MW");
  end
  if (XNOR && (XBITS != 1 || WBITS != 1)) begin : g_check2
    $error("XNOR is of bits");
  end
  if (XNOR && SBITS < $clog2(MW + 2) + 1) begin : g_check6
    $error("a sum does not fit SBITS");
  end
  if (TERNARY && (XNOR || XBITS != 1 || WBITS != 2)) begin : g_check4
    $error("TERNARY is of bits and weights of two");
  end
  if (READ != 1 && READ != 2) begin : g_check5
    $error("READ is 1 or 2");
  end
  if (LEVELS == 0 && OBITS > SBITS) begin : g_check3
    $error("OBITS is at most SBITS where sums leave");
  end
`endif

  logic free, step, first, last;
  logic [SIMD*XBITS-1:0] x;
  bnnflow_vector #(
      .WIDTH(SIMD * XBITS),
      .SF(SF),
      .NF(NF),
      .READ(READ),
      .STYLE(STYLE)
  ) u_vector (
      .clk(clk),
      .rst(rst),
      .s_valid(s_valid),
      .s_ready(s_ready),
      .s_data(s_data),
      .free(free),
      .step(step),
      .first(first),
      .last(last),
      .x(x)
  );
  assign weights_next = step;
  logic [PE*OBITS-1:0] results;
  logic push;
  bnnflow_rows #(
      .PE(PE),
      .SIMD(SIMD),
      .XBITS(XBITS),
      .XSIGNED(XSIGNED),
      .WBITS(WBITS),
      .XNOR(XNOR),
      .TERNARY(TERNARY),
      .ONCE(SF == 1),
      .FEW(SF * NF <= 8),
      .SBITS(SBITS),
      .BBITS(BBITS),
      .BSIGNED(BSIGNED),
      .LEVELS(LEVELS),
      .OBITS(OBITS),
      .ACT_VAL(ACT_VAL),
      .READ(READ),
      .SUM(SUM)
  ) u_rows (
      .clk(clk),
      .rst(rst),
      .step(step),
      .first(first),
      .last(last),
      .x(x),
      .w(weights),
      .bounds(bounds),
      .bounds_next(bounds_next),
      .results(results),
      .push(push)
  );

  assign m_push = push;
  bnnflow_fifo #(
      .WIDTH  (PE * OBITS),
      .DEPTH  (DEPTH),
      .LATENCY(LATENCY)
  ) u_out (
      .clk(clk),
      .rst(rst),
      .free(free),
      .take(step & last),
      .push(m_push),
      .push_data(results),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(m_data)
  );
endmodule

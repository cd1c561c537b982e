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
  localparam int SFBITS = SF > 1 ? $clog2(SF) : 1;
  localparam int NFBITS = NF > 1 ? $clog2(NF) : 1;

`ifndef __ICARUS__
  if (MH % PE != 0 || MW % SIMD != 0) begin : g_check
    $error("PE must divide MH, SIMD must divide MW");
  end
  if (XNOR && (XBITS != 1 || WBITS != 1)) begin : g_check2
    $error("XNOR is of bits");
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

  // Steps. Whether a step reads and whether it ends a row are registers, since streams and memories wait for both.
  logic [SFBITS-1:0] sf;
  logic [NFBITS-1:0] nf;
  logic free, reads, last;
  wire first = sf == 0;
  wire step = (s_valid | ~reads) & (free | ~last);
  assign s_ready = reads & (free | ~last);
  assign weights_next = step;
  always_ff @(posedge clk) begin
    if (step) begin
      sf   <= last ? '0 : sf + 1'b1;
      last <= SF == 1 || (SF > 1 && sf == SFBITS'(SF - 2));
      if (last) begin
        nf <= nf == NFBITS'(NF - 1) ? '0 : nf + 1'b1;
        reads <= nf == NFBITS'(NF - 1);
      end
    end
    if (rst) begin
      sf <= '0;
      nf <= '0;
      reads <= 1'b1;
      last <= SF == 1;
    end
  end

  // The vector, kept for its later rows.
  logic [SIMD*XBITS-1:0] read, x;
  if (NF == 1) begin : g_once
    always_ff @(posedge clk) read <= s_data;
  end else begin : g_kept
    (* ram_style = STYLE *)
    logic [SIMD*XBITS-1:0] vector[SF];
    logic [SIMD*XBITS-1:0] now;
    always_ff @(posedge clk) if (step && reads) vector[sf] <= s_data;
    assign now = vector[sf];
    always_ff @(posedge clk) read <= reads ? s_data : now;
  end
  bnnflow_delay #(
      .WIDTH (SIMD * XBITS),
      .CYCLES(READ - 1)
  ) u_read (
      .clk(clk),
      .rst(1'b0),
      .d  (read),
      .q  (x)
  );

  // What comes with a sum: whether it is one, the first and the last of its row; ahead: one cycle before, early: two.
  logic early, ahead, ahead_first, ahead_last, is_sum, is_first, is_last;
  bnnflow_delay #(
      .WIDTH (3),
      .CYCLES(READ - 1 + SUM)
  ) u_flags (
      .clk(clk),
      .rst(rst),
      .d  ({step, first, last}),
      .q  ({ahead, ahead_first, ahead_last})
  );
  always_ff @(posedge clk)
    {is_sum, is_first, is_last} <= rst ? '0 : {ahead, ahead_first, ahead_last};
  if (READ == 1) begin : g_at_once
    assign early = 1'b0;
  end else begin : g_early
    bnnflow_delay #(
        .CYCLES(READ - 2 + SUM)
    ) u_early (
        .clk(clk),
        .rst(rst),
        .d  (step & first),
        .q  (early)
    );
  end
  // A single bound comes with the first sum of a row, many behind the last one.
  if (LEVELS == 0) begin : g_no_bounds
    wire unused = early;
    assign bounds_next = 1'b0;
  end else if (LEVELS == 1) begin : g_bound
    assign bounds_next = READ == 1 ? ahead & ahead_first : early;
  end else begin : g_bounds
    wire unused = early;
    assign bounds_next = READ == 1 ? is_sum & is_last : ahead & ahead_last;
  end

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
      .ACT_VAL(ACT_VAL)
  ) u_rows (
      .clk(clk),
      .rst(rst),
      .x(x),
      .w(weights),
      .bounds(bounds),
      .is_sum(is_sum),
      .is_first(is_first),
      .is_last(is_last),
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

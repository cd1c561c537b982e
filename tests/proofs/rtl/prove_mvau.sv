// bnnflow_mvau: of each vector the results of all rows, in their order, with any weights and bounds.
//
// LEVELS 0: sums; else what reached says of them. One lane of PE, any, is followed.
module prove_mvau #(
    parameter int MH = 2,
    parameter int MW = 2,
    parameter int PE = 1,
    parameter int SIMD = 1,
    parameter int XBITS = 1,
    parameter bit XSIGNED = 0,
    parameter int WBITS = 1,
    parameter bit XNOR = 1,
    parameter bit TERNARY = 0,
    parameter int SBITS = 3,
    parameter int BBITS = 2,
    parameter bit BSIGNED = 0,
    parameter int LEVELS = 1,
    parameter int OBITS = 1,
    parameter int ACT_VAL = 0,
    parameter int READ = 1,
    parameter int DEPTH = 2
) (
    input logic clk,
    input logic rst,
    input logic s_valid,
    input logic [SIMD*XBITS-1:0] s_data,
    input logic m_ready
);
  localparam int SF = MW / SIMD;
  localparam int NF = MH / PE;
  localparam int KEPT = PE * (LEVELS > 0 ? LEVELS : 1) * BBITS;
  // As in the header: memories, products and their sum, accumulator, thresholds.
  localparam int TREE = SIMD > 1 ? $clog2(SIMD) : 0;
  localparam int SUM = XNOR || TERNARY ? (SIMD > 3 ? 2 : 1) : TREE / 2 + (WBITS == 1 ? 0 : 1);
  localparam int LATENCY = READ + SUM + 1 + (LEVELS > 1 ? 2 : 0);
  logic s_ready, m_valid, weights_next, bounds_next;
  logic [PE*SIMD*WBITS-1:0] weights;
  logic [KEPT-1:0] bounds;
  logic [PE*OBITS-1:0] m_data;
  bnnflow_mvau #(
      .MH(MH),
      .MW(MW),
      .PE(PE),
      .SIMD(SIMD),
      .XBITS(XBITS),
      .XSIGNED(XSIGNED),
      .WBITS(WBITS),
      .XNOR(XNOR),
      .TERNARY(TERNARY),
      .SBITS(SBITS),
      .BBITS(BBITS),
      .BSIGNED(BSIGNED),
      .LEVELS(LEVELS),
      .OBITS(OBITS),
      .ACT_VAL(ACT_VAL),
      .READ(READ),
      .DEPTH(DEPTH)
  ) u_part (
      .clk(clk),
      .rst(rst),
      .weights_next(weights_next),
      .weights(weights),
      .bounds_next(bounds_next),
      .bounds(bounds),
      .s_valid(s_valid),
      .s_ready(s_ready),
      .s_data(s_data),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(m_data)
  );
  logic [NF*SF*PE*SIMD*WBITS-1:0] matrix;
  logic [NF*KEPT-1:0] limits;
  turns #(
      .WORDS(NF * SF),
      .WIDTH(PE * SIMD * WBITS),
      .READ (READ)
  ) u_weights (
      .clk (clk),
      .rst (rst),
      .next(weights_next),
      .data(weights),
      .all (matrix)
  );
  turns #(
      .WORDS(NF),
      .WIDTH(KEPT),
      .READ (READ)
  ) u_bounds (
      .clk (clk),
      .rst (rst),
      .next(bounds_next),
      .data(bounds),
      .all (limits)
  );

  // The vector, whose last word is the one that is read.
  logic [MW*XBITS-1:0] words;
  wire [MW*XBITS-1:0] vector = (MW * XBITS)'({s_data, words} >> (SIMD * XBITS));
  logic [7:0] turn;
  wire read = s_valid & s_ready;
  wire ends = int'(turn) == SF - 1;
  always_ff @(posedge clk) begin
    if (read) words <= vector;
    if (rst) turn <= '0;
    else if (read) turn <= ends ? '0 : turn + 1'b1;
  end
  (* anyconst *) logic [7:0] lane;
  always_comb assume (int'(lane) < PE);
  logic [NF*OBITS-1:0] results;
  for (genvar n = 0; n < NF; n++) begin : g_row
    logic [MW*SBITS-1:0] sums;
    for (genvar c = 0; c < MW; c++) begin : g_column
      wire [XBITS-1:0] x = vector[c*XBITS+:XBITS];
      wire sign = XSIGNED & x[XBITS-1];
      wire [SBITS-1:0] wide = {{(SBITS - XBITS) {sign}}, x};
      // Weight c of the row of each lane.
      wire [PE*SIMD*WBITS-1:0] word = matrix[(n*SF+c/SIMD)*PE*SIMD*WBITS+:PE*SIMD*WBITS];
      wire [WBITS-1:0] w = WBITS'(word >> ((int'(lane) * SIMD + c % SIMD) * WBITS));
      logic [SBITS-1:0] product;
      always_comb begin
        if (XNOR) product = SBITS'(x == w);
        else if (WBITS == 1) product = w[0] ? wide : -wide;
        else begin
          product = w[WBITS-1] ? -(wide << (WBITS - 1)) : '0;
          for (int b = 0; b < WBITS - 1; b++) if (w[b]) product = product + (wide << b);
        end
      end
      if (c == 0) begin : g_first
        assign sums[0+:SBITS] = product;
      end else begin : g_later
        assign sums[c*SBITS+:SBITS] = sums[(c-1)*SBITS+:SBITS] + product;
      end
    end
    wire [SBITS-1:0] sum = sums[MW*SBITS-1-:SBITS];
    if (LEVELS == 0) begin : g_sum
      assign results[n*OBITS+:OBITS] = sum[OBITS-1:0];
    end else begin : g_levels
      localparam int OWN = LEVELS * BBITS;
      wire [KEPT-1:0] mine = limits[n*KEPT+:KEPT];
      reached #(
          .SBITS  (SBITS),
          .BBITS  (BBITS),
          .BSIGNED(BSIGNED),
          .LEVELS (LEVELS),
          .OBITS  (OBITS),
          .ACT_VAL(ACT_VAL)
      ) u_reached (
          .value (sum),
          .bounds(OWN'(mine >> (int'(lane) * OWN))),
          .result(results[n*OBITS+:OBITS])
      );
    end
  end
  scoreboard #(
      .WIDTH(OBITS),
      .BURST(NF),
      .MOST(DEPTH + LATENCY + NF),
      .PATIENCE(2 * NF * SF + DEPTH + 2 * LATENCY)
  ) u_board (
      .clk(clk),
      .rst(rst),
      .due(read & ends),
      .may_pick(1'b1),
      .value(results),
      .waits(s_valid & ~s_ready),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(OBITS'(m_data >> (int'(lane) * OBITS)))
  );
endmodule

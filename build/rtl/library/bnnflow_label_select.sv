// Indices of the K greatest scores, best first, the lower index first among equals (FINN LabelSelect).
//
// LABELS  scores of an image; PE of them a word, that divides them
// XBITS   bits of a score (SIGNED: two's complement), IBITS of an index, which hold all
// K       1 to LABELS
// DEPTH   places of the output
//
// Reads a word a step; the last one writes the first index, K - 1 further steps the others. Where one index of several
// scores a word is asked for, it is written log2(PE) cycles later, rounded up.
module bnnflow_label_select #(
    parameter int LABELS = 2,
    parameter int PE = 1,
    parameter int XBITS = 1,
    parameter bit SIGNED = 0,
    parameter int IBITS = 1,
    parameter int K = 1,
    parameter int DEPTH = 2
) (
    input logic clk,
    input logic rst,
    input logic s_valid,
    output logic s_ready,
    input logic [PE*XBITS-1:0] s_data,
    output logic m_valid,
    input logic m_ready,
    output logic [IBITS-1:0] m_data,
    output logic m_push
);
  localparam int WORDS = LABELS / PE;
  localparam int TB = $clog2(WORDS + K);
  localparam int CB = $clog2(LABELS + PE) + 1;
  localparam logic [XBITS-1:0] TURN = XBITS'(SIGNED) << (XBITS - 1);
`ifndef __ICARUS__
  if (LABELS % PE != 0 || K < 1 || K > LABELS) begin : g_check
    $error("PE divides LABELS, K to LABELS");
  end
  if (IBITS < $clog2(LABELS)) begin : g_check2
    $error("an index does not fit IBITS");
  end
`endif

  // The best so far, scores with their sign bit turned so that they compare as they are; bit XBITS: there is one.
  logic [K*(XBITS+1)-1:0] scores, scores_now;
  logic [K*IBITS-1:0] labels, labels_now;
  logic [TB-1:0] turn;
  logic [CB-1:0] label;
  logic free;
  wire begins = turn == 0;
  // Compared as integers: with one word an image, all turns write.
  wire leaves = int'(turn) >= WORDS;
  wire writes = int'(turn) >= WORDS - 1;
  wire step = (leaves | s_valid) & (free | ~writes);
  wire ends = turn == TB'(WORDS + K - 2);
  assign s_ready = ~leaves & (free | ~writes);

  // What is ranked in a step: all scores of a word, or, where one index is asked for, their winner, which comes later.
  localparam int LATENCY = K == 1 ? $clog2(PE) : 0;
  localparam int FOUND = LATENCY == 0 ? PE : 1;
  wire [PE*XBITS-1:0] turned = s_data ^ {PE{TURN}};
  logic [FOUND*XBITS-1:0] found;
  logic [FOUND*IBITS-1:0] places;
  logic now, first, last;
  if (LATENCY == 0) begin : g_all
    for (genvar p = 0; p < PE; p++) begin : g_place
      assign places[p*IBITS+:IBITS] = IBITS'(p);
    end
    assign found = turned;
    assign now   = step;
    assign first = begins;
    assign last  = writes;
  end else begin : g_winner
    bnnflow_winner #(
        .N(PE),
        .LEVELS(LATENCY),
        .XBITS(XBITS),
        .PBITS(IBITS)
    ) u_winner (
        .clk(clk),
        .scores(turned),
        .best(found),
        .place(places)
    );
    logic wrote;
    bnnflow_delay #(
        .WIDTH (2),
        .CYCLES(LATENCY)
    ) u_step (
        .clk(clk),
        .rst(rst),
        .d  ({step & writes, step}),
        .q  ({wrote, now})
    );
    assign last = WORDS == 1 || wrote;
    logic fresh;
    always_ff @(posedge clk) begin
      if (rst) fresh <= 1'b1;
      else if (now) fresh <= last;
    end
    // Of a single word the tool would keep scores that are never read.
    assign first = WORDS == 1 || fresh;
    wire unused = begins;
  end

  // Each finds its rank among those so far.
  always_comb begin
    logic [XBITS:0] score, other;
    logic [IBITS-1:0] index, of_other;
    logic moved;
    scores_now = first ? '0 : scores;
    labels_now = labels;
    for (int p = 0; p < FOUND; p++) begin
      score = {1'b1, found[p*XBITS+:XBITS]};
      index = IBITS'(label) + places[p*IBITS+:IBITS];
      moved = 1'b0;
      for (int k = 0; k < K; k++) begin
        other = scores_now[k*(XBITS+1)+:XBITS+1];
        of_other = labels_now[k*IBITS+:IBITS];
        // One that was moved down goes before those that equal it: its index is lower.
        if (moved || score > other) begin
          moved = 1'b1;
          scores_now[k*(XBITS+1)+:XBITS+1] = score;
          labels_now[k*IBITS+:IBITS] = index;
          score = other;
          index = of_other;
        end
      end
    end
    if (leaves) labels_now = labels;
  end
  always_ff @(posedge clk) begin
    if (now) begin
      scores <= scores_now;
      // Those that leave move up.
      labels <= last ? (K * IBITS)'({IBITS'(0), labels_now} >> IBITS) : labels_now;
      label  <= last ? '0 : label + CB'(PE);
    end
    if (step) turn <= ends ? '0 : turn + 1'b1;
    if (rst) begin
      turn  <= '0;
      label <= '0;
    end
  end
  assign m_push = now & last;
  bnnflow_fifo #(
      .WIDTH  (IBITS),
      .DEPTH  (DEPTH),
      .LATENCY(LATENCY)
  ) u_out (
      .clk(clk),
      .rst(rst),
      .free(free),
      .take(step & writes),
      .push(m_push),
      .push_data(labels_now[IBITS-1:0]),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(m_data)
  );
endmodule

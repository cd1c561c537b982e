// Indices of the K greatest scores, best first, the lower index first among equals (FINN LabelSelect).
//
// LABELS  scores of an image; PE of them a word, that divides them
// XBITS   bits of a score (SIGNED: two's complement), IBITS of an index
// K       1 to LABELS
// DEPTH   places of the output
//
// Reads a word a step; the last one writes the first index, K - 1 further steps the others.
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

  // Scores of a word that may be among the best, with their numbers: all of them, or where one is asked for the winner
  // of neighbours that meet, then winners of those: log2(PE) comparisons in a row. The first among equals wins.
  localparam int FOUND = K == 1 ? 1 : PE;
  localparam int ROUNDS = K == 1 ? $clog2(PE) : 0;
  logic [FOUND*(XBITS+1)-1:0] found;
  logic [FOUND*IBITS-1:0] places;
  if (ROUNDS == 0) begin : g_all
    for (genvar p = 0; p < PE; p++) begin : g_score
      assign found[p*(XBITS+1)+:XBITS+1] = {1'b1, s_data[p*XBITS+:XBITS] ^ TURN};
      assign places[p*IBITS+:IBITS] = IBITS'(p);
    end
  end else begin : g_winner
    always_comb begin
      logic [2**ROUNDS*(XBITS+1)-1:0] best;
      logic [2**ROUNDS*IBITS-1:0] place;
      best = '0;
      for (int p = 0; p < 2 ** ROUNDS; p++) begin
        if (p < PE) best[p*(XBITS+1)+:XBITS+1] = {1'b1, s_data[p*XBITS+:XBITS] ^ TURN};
        place[p*IBITS+:IBITS] = IBITS'(p);
      end
      for (int r = ROUNDS - 1; r >= 0; r--) begin
        for (int p = 0; p < 2 ** r; p++) begin
          if (best[(2*p+1)*(XBITS+1)+:XBITS+1] > best[2*p*(XBITS+1)+:XBITS+1]) begin
            best[p*(XBITS+1)+:XBITS+1] = best[(2*p+1)*(XBITS+1)+:XBITS+1];
            place[p*IBITS+:IBITS] = place[(2*p+1)*IBITS+:IBITS];
          end else begin
            best[p*(XBITS+1)+:XBITS+1] = best[2*p*(XBITS+1)+:XBITS+1];
            place[p*IBITS+:IBITS] = place[2*p*IBITS+:IBITS];
          end
        end
      end
      found  = best[XBITS:0];
      places = place[IBITS-1:0];
    end
  end

  // Each finds its rank among those so far.
  always_comb begin
    logic [XBITS:0] score, other;
    logic [IBITS-1:0] index, of_other;
    logic moved;
    scores_now = begins ? '0 : scores;
    labels_now = labels;
    for (int p = 0; p < FOUND; p++) begin
      score = found[p*(XBITS+1)+:XBITS+1];
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
    if (step) begin
      scores <= scores_now;
      // Those that leave move up.
      labels <= writes ? labels_now >> IBITS : labels_now;
      turn   <= ends ? '0 : turn + 1'b1;
      label  <= writes ? '0 : label + CB'(PE);
    end
    if (rst) begin
      turn  <= '0;
      label <= '0;
    end
  end
  assign m_push = step & writes;
  bnnflow_fifo #(
      .WIDTH(IBITS),
      .DEPTH(DEPTH)
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

// Words that a stream owes: none is lost, invented, doubled or out of order, and one that was picked has its value.
//
// WIDTH     bits of a word
// BURST     words that become due at once
// MOST      words that may be due: more would overflow
// PATIENCE  cycles within which a reader that is always ready gets all that is due, and a writer is heard
//
// due    BURST words become due, the first lowest in value; it may be picked where may_pick is 1
// waits  a writer offers a word that is not taken
// m_*    the stream: data wait unchanged
//
// Which word is picked, and which of its burst, is free: what holds for one holds for all.
module scoreboard #(
    parameter int WIDTH = 1,
    parameter int BURST = 1,
    parameter int MOST = 2,
    parameter int PATIENCE = 4
) (
    input logic clk,
    input logic rst,
    input logic due,
    input logic may_pick,
    input logic [BURST*WIDTH-1:0] value,
    input logic waits,
    input logic m_valid,
    input logic m_ready,
    input logic [WIDTH-1:0] m_data
);
  localparam int BITS = $clog2(MOST + BURST + 1);
  localparam int PBITS = $clog2(PATIENCE + 1);
  (* anyseq *) logic pick;
  (* anyconst *) logic [BITS-1:0] part;
  always_comb assume (int'(part) < BURST);

  logic first;
  initial first = 1;
  always_ff @(posedge clk) first <= 0;
  always_comb if (first) assume (rst);

  wire out = m_valid & m_ready;
  logic [BITS-1:0] owed, ahead;
  logic [WIDTH-1:0] picked;
  logic tracking;
  logic [PBITS-1:0] quiet, waited;
  logic held;
  logic [WIDTH-1:0] previous;
  always_ff @(posedge clk) begin
    owed <= owed + (due ? BITS'(BURST) : '0) - BITS'(out);
    if (tracking & out) begin
      ahead <= ahead - 1'b1;
      tracking <= ahead != 0;
    end else if (due & may_pick & pick & ~tracking) begin
      ahead <= owed + part - BITS'(out);
      picked <= value[part*WIDTH+:WIDTH];
      tracking <= 1;
    end
    quiet <= due | ~m_ready ? '0 : quiet + PBITS'(quiet != PBITS'(PATIENCE));
    waited <= waits & m_ready ? waited + PBITS'(waited != PBITS'(PATIENCE)) : '0;
    held <= m_valid & ~m_ready;
    previous <= m_data;
    if (rst) begin
      owed <= '0;
      tracking <= 0;
      quiet <= '0;
      waited <= '0;
      held <= 0;
    end else begin
      if (out) assert (owed != 0);
      if (out & tracking & ahead == 0) assert (m_data == picked);
      if (held) assert (m_valid & m_data == previous);
      assert (int'(owed) <= MOST);
      if (quiet == PBITS'(PATIENCE)) assert (owed == 0);
      assert (waited != PBITS'(PATIENCE));
    end
  end
endmodule

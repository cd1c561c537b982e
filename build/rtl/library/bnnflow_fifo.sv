// Output buffer of a unit: a FIFO whose places are taken before their words arrive.
//
// A unit takes a place when it begins a word and pushes the word LATENCY cycles later, whatever happens in between:
// its pipeline needs no enable, and no word is ever without a place. A place that is read in cycle t is free from
// cycle t + 1 on; a word that is pushed in cycle t is offered from cycle t + 1 on.
//
// WIDTH    bits of a word, 1 or more
// DEPTH    places beside those of words under way, 1 or more; 2 pass a word in every cycle
// LATENCY  cycles from take to push, 0 or more; with 0 both are one signal
//
// take only with free. m_*: AXI-Stream, data stable while valid waits.
module bnnflow_fifo #(
    parameter int WIDTH   = 1,
    parameter int DEPTH   = 2,
    parameter int LATENCY = 0
) (
    input logic clk,
    input logic rst,
    output logic free,
    input logic take,
    input logic push,
    input logic [WIDTH-1:0] push_data,
    output logic m_valid,
    input logic m_ready,
    output logic [WIDTH-1:0] m_data
);
  localparam int PLACES = DEPTH + LATENCY;
  localparam int ABITS = PLACES > 1 ? $clog2(PLACES) : 1;
  localparam int CBITS = $clog2(PLACES + 1);
  // A ring of a power of two, where it is small, wraps by itself.
  localparam int RING = PLACES <= 64 ? 2 ** ABITS : PLACES;
  localparam logic [ABITS-1:0] TOP = ABITS'(RING - 1);

`ifndef __ICARUS__
  if (WIDTH < 1 || DEPTH < 1 || LATENCY < 0) begin : g_check
    $error("WIDTH, DEPTH >= 1, LATENCY >= 0");
  end
`endif

  logic [WIDTH-1:0] words[RING];
  logic [ABITS-1:0] head, tail;
  logic [CBITS-1:0] fill;
  wire read = m_valid & m_ready;

  // Whether a word is there and whether a place is free are registers, since units on both sides wait for them.
  assign m_data = words[head];

  always_ff @(posedge clk) begin
    if (push) words[tail] <= push_data;
    if (push) tail <= tail == TOP ? '0 : tail + 1'b1;
    if (read) head <= head == TOP ? '0 : head + 1'b1;
    if (push != read) fill <= fill + (read ? '1 : CBITS'(1));
    if (push | read) m_valid <= push | fill != CBITS'(1);
    if (rst) begin
      head <= '0;
      tail <= '0;
      fill <= '0;
      m_valid <= 1'b0;
    end
  end
  // Places that are taken, of words under way and of those that wait.
  logic [CBITS-1:0] taken;
  if (LATENCY == 0) begin : g_now
    assign taken = fill;
  end else begin : g_later
    always_ff @(posedge clk)
      if (rst) taken <= '0;
      else if (take != read) taken <= taken + (read ? '1 : CBITS'(1));
  end
  always_ff @(posedge clk)
    if (rst) free <= 1'b1;
    else if (take | read) free <= read | taken != CBITS'(PLACES - 1);

`ifdef BNNFLOW_STATISTICS
  // For the test bench: the words that passed, and the most at a time, that being read and that being pushed included.
  // With +checksum=1 also a sum over all words, each times its number from 1 on, of its 64-bit parts times odd numbers;
  // with +words=PLACE the FIFO of that place in the top module tells every word, with the cycle of its push.
  localparam int PARTS = (WIDTH + 63) / 64;
  longint unsigned written, checksum;
  logic [CBITS-1:0] peak;
  int sums;
  bit tells;
  string asked;
  wire [CBITS-1:0] held = fill + 1'b1;
  wire [64*PARTS-1:0] whole = (64 * PARTS)'(push_data);
  initial begin
    if ($value$plusargs("checksum=%d", sums) == 0) sums = 0;
    tells = $value$plusargs("words=%s", asked) != 0 && $sformatf("%m") == asked;
  end
  always_ff @(posedge clk) begin
    if (rst) begin
      written <= 0;
      checksum <= 0;
      peak <= '0;
    end else if (push) begin
      // Only a push can bring more.
      written <= written + 1;
      if (held > peak) peak <= held;
      if (tells) $display("word %0d %0h", $time, push_data);
      if (sums != 0) begin
        automatic longint unsigned folded = 0;
        for (int i = 0; i < PARTS; i++) folded += whole[64*i+:64] * (64'(i) * 2 + 1);
        checksum <= checksum + (written + 1) * folded;
      end
    end
  end
  final $display("fifo %m %0d %0d %0d", written, peak, checksum);
`endif
`ifdef BNNFLOW_ASSERT
  logic waited;
  logic [WIDTH-1:0] kept;
  always_ff @(posedge clk) begin
    waited <= m_valid & ~m_ready & ~rst;
    // Kept once: a word that changes while it waits differs from it later, too.
    if (m_valid & ~m_ready & ~waited) kept <= m_data;
    if (!rst) begin
      if (take) place_there : assert (free);
      if (push) no_overflow : assert (fill != CBITS'(PLACES));
      if (waited) data_wait : assert (m_valid && m_data == kept);
      word_there : assert (m_valid == (fill != 0));
      place_free : assert (free == (taken != CBITS'(PLACES)));
    end
  end
`endif
`ifdef BNNFLOW_UNKNOWN
  // For simulators of four states, which Verilator is not; Icarus knows no $isunknown, and no $error in always_ff.
  always @(posedge clk)
    if (!rst) begin
      assert (^{take, push, m_valid, m_ready} !== 1'bx)
      else $error("%m: unknown handshake");
      assert (!m_valid || ^m_data !== 1'bx)
      else $error("%m: unknown data");
    end
`endif
endmodule

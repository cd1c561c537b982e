// Images of a network, counted: how many began and ended, how far apart they end, how long one takes.
//
// ENTRY, LEAVE  words of an image at the input and at the output, 1 or more
//
// in: a word enters, out: one leaves; begins, ends: it is the first, the last of an image. began and ended count images
// since the reset, cycles since clear. interval: cycles between the ends of the last two images; latency: cycles from
// the first word of an image to its last, of the last image that was timed, one at a time. Counters are of 32 bits and
// begin again behind the greatest number.
module bnnflow_images #(
    parameter int ENTRY = 1,
    parameter int LEAVE = 1
) (
    input logic clk,
    input logic rst,
    input logic clear,
    input logic in,
    input logic out,
    output logic begins,
    output logic ends,
    output logic [31:0] cycles,
    output logic [31:0] began,
    output logic [31:0] ended,
    output logic [31:0] interval,
    output logic [31:0] latency
);
  localparam int EBITS = ENTRY > 1 ? $clog2(ENTRY) : 1;
  localparam int LBITS = LEAVE > 1 ? $clog2(LEAVE) : 1;
`ifndef __ICARUS__
  if (ENTRY < 1 || LEAVE < 1) begin : g_check
    $error("ENTRY, LEAVE >= 1");
  end
`endif

  logic [EBITS-1:0] word_in;
  logic [LBITS-1:0] word_out;
  logic [31:0] since, timer, timed;
  logic timing;
  assign begins = in & (word_in == '0);
  assign ends   = out & (word_out == LBITS'(LEAVE - 1));
  always_ff @(posedge clk) begin
    cycles <= cycles + 1'b1;
    if (in) word_in <= word_in == EBITS'(ENTRY - 1) ? '0 : word_in + 1'b1;
    if (out) word_out <= ends ? '0 : word_out + 1'b1;
    if (begins) began <= began + 1'b1;
    if (ends) ended <= ended + 1'b1;
    since <= ends ? 32'd1 : since + 1'b1;
    if (ends) interval <= since;
    timer <= begins & ~timing ? 32'd1 : timer + 1'b1;
    if (begins & ~timing) begin
      timing <= 1'b1;
      timed  <= began;
    end else if (timing & ends & (ended == timed)) begin
      timing  <= 1'b0;
      latency <= timer;
    end
    if (rst | clear) begin
      cycles   <= '0;
      interval <= '0;
      latency  <= '0;
    end
    if (rst) begin
      word_in <= '0;
      word_out <= '0;
      began <= '0;
      ended <= '0;
      since <= '0;
      timing <= 1'b0;
    end
  end
endmodule

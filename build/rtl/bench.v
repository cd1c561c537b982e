// Test bench of @TOP@: sends the words of vectors/in.hex and compares what comes with vectors/out.hex.
//
// STALL_IN and STALL_OUT are shares of cycles, in percent, in which the host offers no new word or takes none. Prints
// "finished CYCLE" with the last word of an image, counted from the cycle in which the first word was taken, every word
// that differs, and in the end "equal" or how many differ. It ends when nothing moves for LIMIT cycles.
`timescale 1ns / 1ps
module bench;
  parameter IMAGES = @IMAGES@;
  parameter STALL_IN = 0;
  parameter STALL_OUT = 0;
  parameter LIMIT = 1000000;
  localparam WORDS_IN = @WORDS_IN@ * IMAGES;
  localparam WORDS_OUT = @WORDS_OUT@ * IMAGES;

  reg clk = 0, rst_n = 0, s_valid = 0, m_ready = 0, in;
  wire s_ready, m_valid, m_last;
  reg [@BITS_IN@-1:0] s_data;
  wire [@BITS_OUT@-1:0] m_data;
  reg [@BITS_IN@-1:0] words[0:@WORDS_IN@*@IMAGES@-1];
  reg [@BITS_OUT@-1:0] expected[0:@WORDS_OUT@*@IMAGES@-1];
  integer sent = 0, taken = 0, cycle = 0, quiet = 0, wrong = 0, i;

  @TOP@ network (
@HOST@      .ap_clk(clk),
      .ap_rst_n(rst_n),
      .s_axis_0_tvalid(s_valid),
      .s_axis_0_tready(s_ready),
      .s_axis_0_tdata(s_data),
      .m_axis_0_tvalid(m_valid),
      .m_axis_0_tready(m_ready),
      .m_axis_0_tdata(m_data),
      .m_axis_0_tlast(m_last)
  );

  initial begin
    $readmemh("vectors/in.hex", words);
    $readmemh("vectors/out.hex", expected);
    for (i = 0; i < 12; i = i + 1) begin
      rst_n = i >= 8;
      #1 clk = ~clk;
    end
    while (taken < WORDS_OUT && quiet < LIMIT) begin
      if (!s_valid && sent < WORDS_IN && $unsigned($random) % 100 >= STALL_IN) begin
        s_valid = 1;
        s_data  = words[sent];
      end
      m_ready = $unsigned($random) % 100 >= STALL_OUT;
      #1 in = s_valid & s_ready;
      quiet = quiet + 1;
      if (m_valid !== 0 && m_ready) begin
        if (m_data !== expected[taken] || m_last !== (taken % @WORDS_OUT@ == @WORDS_OUT@ - 1)) begin
          wrong = wrong + 1;
          $display("word %0d is %h, last %b, and not %h", taken, m_data, m_last, expected[taken]);
        end
        if (m_last) $display("finished %0d", cycle);
        taken = taken + 1;
        quiet = 0;
      end
      #1 clk = 1;
      #1 clk = 0;
      if (in !== 0) begin
        sent = sent + 1;
        s_valid = 0;
        quiet = 0;
      end
      if (sent != 0) cycle = cycle + 1;
    end
    if (wrong == 0 && taken == WORDS_OUT) $display("equal");
    else $display("%0d of %0d words differ, %0d are missing", wrong, WORDS_OUT, WORDS_OUT - taken);
    $finish;
  end
endmodule

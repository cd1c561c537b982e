// Test bench of a generated network for Icarus Verilog: words of in.hex in, a line a word out: its number and tlast.
//
// TOP is the network's module. STALL_IN and STALL_OUT are shares of cycles, in percent, in which the host offers no new
// word or takes none. "finished CYCLE" as of bench.cpp, after each last word of an image.
module bench;
  parameter WORDS_IN = 1;
  parameter BITS_IN = 8;
  parameter WORDS_OUT = 1;
  parameter BITS_OUT = 8;
  parameter STALL_IN = 0;
  parameter STALL_OUT = 0;
  parameter LIMIT = 100000;

  reg clk = 0, rst_n = 0, s_valid = 0, m_ready = 0, in;
  wire s_ready, m_valid, m_last;
  reg  [ BITS_IN-1:0] s_data;
  wire [BITS_OUT-1:0] m_data;
  reg  [ BITS_IN-1:0] words  [0:WORDS_IN-1];
  integer sent = 0, taken = 0, cycle = 0, quiet = 0, i;

  `TOP network (
      .ap_clk(clk),
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
    $readmemh("in.hex", words);
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
        $display("word %h %b", m_data, m_last);
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
    $finish;
  end
endmodule

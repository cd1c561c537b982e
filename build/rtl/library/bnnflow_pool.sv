// Maximum or sum of each channel's window, behind a depthwise sliding window (FINN Pool).
//
// AREA          words of a window
// PE            channels of a word; XBITS bits of each (SIGNED: two's complement), OBITS of a result
// TOTAL         1: the sum in place of the maximum
// DEPTH         places of the output
//
// A word a step; the last of a window writes.
module bnnflow_pool #(
    parameter int AREA = 4,
    parameter int PE = 1,
    parameter int XBITS = 1,
    parameter bit SIGNED = 0,
    parameter int OBITS = 1,
    parameter bit TOTAL = 0,
    parameter int DEPTH = 2
) (
    input logic clk,
    input logic rst,
    input logic s_valid,
    output logic s_ready,
    input logic [PE*XBITS-1:0] s_data,
    output logic m_valid,
    input logic m_ready,
    output logic [PE*OBITS-1:0] m_data,
    output logic m_push
);
  localparam int AB = AREA > 1 ? $clog2(AREA) : 1;
`ifndef __ICARUS__
  if (AREA < 1 || OBITS < XBITS) begin : g_check
    $error("AREA >= 1, OBITS >= XBITS");
  end
`endif
  logic [AB-1:0] place;
  logic [PE*OBITS-1:0] held, now;
  logic free;
  wire  begins = place == 0;
  wire  whole = place == AB'(AREA - 1);
  wire  step = s_valid & s_ready;
  assign s_ready = free | ~whole;
  for (genvar p = 0; p < PE; p++) begin : g_channel
    wire signed [OBITS:0] a = (OBITS + 1)'($signed(
        {SIGNED & s_data[(p+1)*XBITS-1], s_data[p*XBITS+:XBITS]}
    ));
    wire signed [OBITS:0] b = {SIGNED & held[(p+1)*OBITS-1], held[p*OBITS+:OBITS]};
    if (TOTAL) begin : g_sum
      assign now[p*OBITS+:OBITS] = OBITS'(begins ? a : a + b);
    end else begin : g_most
      assign now[p*OBITS+:OBITS] = OBITS'(begins || a > b ? a : b);
    end
  end
  always_ff @(posedge clk) begin
    if (step) held <= now;
    if (rst) place <= '0;
    else if (step) place <= whole ? '0 : place + 1'b1;
  end
  assign m_push = step & whole;
  bnnflow_fifo #(
      .WIDTH(PE * OBITS),
      .DEPTH(DEPTH)
  ) u_out (
      .clk(clk),
      .rst(rst),
      .free(free),
      .take(step & whole),
      .push(m_push),
      .push_data(now),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(m_data)
  );
endmodule

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
  // With their sign bit turned values compare as they are.
  localparam logic [OBITS-1:0] TURN = OBITS'(SIGNED) << (OBITS - 1);
`ifndef __ICARUS__
  if (AREA < 1 || OBITS < XBITS) begin : g_check
    $error("AREA >= 1, OBITS >= XBITS");
  end
`endif
  logic [AB-1:0] place;
  logic [PE*OBITS-1:0] held, now;
  // A register: as logic of the counter it would be repeated for every channel.
  logic begins, free;
  wire whole = place == AB'(AREA - 1);
  wire step = s_valid & s_ready;
  assign s_ready = free | ~whole;
  for (genvar p = 0; p < PE; p++) begin : g_channel
    wire [OBITS-1:0] a = OBITS'($signed({SIGNED & s_data[(p+1)*XBITS-1], s_data[p*XBITS+:XBITS]}));
    wire [OBITS-1:0] b = held[p*OBITS+:OBITS];
    if (TOTAL) begin : g_sum
      assign now[p*OBITS+:OBITS] = begins ? a : a + b;
`ifdef BNNFLOW_ASSERT
      wire [OBITS:0] exact = {SIGNED & a[OBITS-1], a} + {SIGNED & b[OBITS-1], b};
      wire above = SIGNED & exact[OBITS-1];
      always_ff @(posedge clk)
        if (!rst && step && !begins)
          sum_fits : assert (exact[OBITS] == above);
`endif
    end else begin : g_most
      assign now[p*OBITS+:OBITS] = begins || (a ^ TURN) > (b ^ TURN) ? a : b;
    end
  end
  always_ff @(posedge clk) begin
    if (step) held <= now;
    if (rst) begin
      place  <= '0;
      begins <= 1'b1;
    end else if (step) begin
      place  <= whole ? '0 : place + 1'b1;
      begins <= whole;
    end
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

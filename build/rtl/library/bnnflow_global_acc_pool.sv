// Sums over a whole map (FINN GlobalAccPool).
//
// PIXELS  of an image; CF words of a pixel, PE channels a word
// XBITS   bits of a value (SIGNED: two's complement), OBITS of a sum
// DEPTH   places of the output
//
// Reads an image, a word a step, then writes its CF words of sums, one a step.
module bnnflow_global_acc_pool #(
    parameter int PIXELS = 4,
    parameter int CF = 1,
    parameter int PE = 1,
    parameter int XBITS = 1,
    parameter bit SIGNED = 0,
    parameter int OBITS = 3,
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
  localparam int FB = CF > 1 ? $clog2(CF) : 1;
  // One turn through the channels a pixel, and one in which the sums leave.
  localparam int TB = $clog2(PIXELS + 1);
`ifndef __ICARUS__
  if (PIXELS < 1 || OBITS < XBITS) begin : g_check
    $error("PIXELS >= 1, OBITS >= XBITS");
  end
`endif
  logic [FB-1:0] fold;
  logic [TB-1:0] turn;
  logic free;
  logic [PE*OBITS-1:0] sums[CF];
  wire [PE*OBITS-1:0] earlier = sums[fold];
  logic [PE*OBITS-1:0] now;
  wire begins = turn == 0;
  wire leaves = turn == TB'(PIXELS);
  wire step = leaves ? free : s_valid;
  assign s_ready = ~leaves;
  for (genvar p = 0; p < PE; p++) begin : g_channel
    wire [OBITS-1:0] a = OBITS'($signed({SIGNED & s_data[(p+1)*XBITS-1], s_data[p*XBITS+:XBITS]}));
    wire [OBITS-1:0] b = earlier[p*OBITS+:OBITS];
    assign now[p*OBITS+:OBITS] = begins ? a : a + b;
`ifdef BNNFLOW_ASSERT
    wire [OBITS:0] exact = {SIGNED & a[OBITS-1], a} + {SIGNED & b[OBITS-1], b};
    wire above = SIGNED & exact[OBITS-1];
    always_ff @(posedge clk)
      if (!rst && step && !leaves && !begins)
        sum_fits : assert (exact[OBITS] == above);
`endif
  end
  always_ff @(posedge clk) begin
    if (step && !leaves) sums[fold] <= now;
    if (step) begin
      fold <= fold == FB'(CF - 1) ? '0 : fold + 1'b1;
      if (fold == FB'(CF - 1)) turn <= leaves ? '0 : turn + 1'b1;
    end
    if (rst) begin
      fold <= '0;
      turn <= '0;
    end
  end
  assign m_push = step & leaves;
  bnnflow_fifo #(
      .WIDTH(PE * OBITS),
      .DEPTH(DEPTH)
  ) u_out (
      .clk(clk),
      .rst(rst),
      .free(free),
      .take(step & leaves),
      .push(m_push),
      .push_data(earlier),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(m_data)
  );
endmodule

// A constant of a table times, or plus, each value: FINN ChannelwiseOp with mul, and the sums of borders.
//
// PE       values of a word
// XBITS    bits of a value (SIGNED: two's complement), FBITS of a constant in two's complement, OBITS of a result
// ADD      1: sum, 0: product
// W        pixels of a row; CF words of a pixel; H rows of an image
// ENTRIES  words of the table, VALUES its file, value p of a word in bits p * FBITS and up; STYLE as for bnnflow_rom
// ROWS, COLUMNS  32 bits each, the first lowest: where the words of each row and of each column begin; a word of a
//                pixel has the place ROWS[y] + COLUMNS[x] + its number
// DEPTH    places of the output
module bnnflow_channelwise #(
    parameter int PE = 1,
    parameter int XBITS = 1,
    parameter bit SIGNED = 0,
    parameter int FBITS = 1,
    parameter int OBITS = 1,
    parameter bit ADD = 0,
    parameter int H = 1,
    parameter int W = 1,
    parameter int CF = 1,
    parameter int ENTRIES = 1,
    parameter logic [32*H-1:0] ROWS = '0,
    parameter logic [32*W-1:0] COLUMNS = '0,
    parameter VALUES = "",
    parameter STYLE = "auto",
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
  localparam int LATENCY = 2;
  localparam int AB = ENTRIES > 1 ? $clog2(ENTRIES) : 1;
  localparam int CB = CF > 1 ? $clog2(CF) : 1;
  localparam int XB = W > 1 ? $clog2(W) : 1;
  localparam int YB = H > 1 ? $clog2(H) : 1;
  logic [CB-1:0] c;
  logic [XB-1:0] x;
  logic [YB-1:0] y;
  logic free, push;
  wire step = s_valid & free;
  wire c_ends = c == CB'(CF - 1);
  wire x_ends = x == XB'(W - 1);
  assign s_ready = free;
  always_ff @(posedge clk) begin
    if (step) begin
      c <= c_ends ? '0 : c + 1'b1;
      if (c_ends) x <= x_ends ? '0 : x + 1'b1;
      if (c_ends & x_ends) y <= y == YB'(H - 1) ? '0 : y + 1'b1;
    end
    if (rst) begin
      c <= '0;
      x <= '0;
      y <= '0;
    end
  end
  logic [PE*FBITS-1:0] constants;
  bnnflow_rom #(
      .DEPTH(ENTRIES),
      .WIDTH(PE * FBITS),
      .FILE (VALUES),
      .STYLE(STYLE)
  ) u_values (
      .clk (clk),
      .addr(AB'(ROWS[32*y+:32] + COLUMNS[32*x+:32] + 32'(c))),
      .data(constants)
  );
  logic [PE*XBITS-1:0] held;
  logic [PE*OBITS-1:0] results;
  always_ff @(posedge clk) held <= s_data;
`ifdef BNNFLOW_ASSERT
  logic taken;
  always_ff @(posedge clk) taken <= step & ~rst;
`endif
  for (genvar p = 0; p < PE; p++) begin : g_lane
    wire [OBITS-1:0] a = OBITS'($signed({SIGNED & held[(p+1)*XBITS-1], held[p*XBITS+:XBITS]}));
    wire [OBITS-1:0] b = OBITS'($signed(constants[p*FBITS+:FBITS]));
    wire [OBITS-1:0] result = ADD ? a + b : a * b;
    always_ff @(posedge clk) results[p*OBITS+:OBITS] <= result;
`ifdef BNNFLOW_ASSERT
    // Whether results have a sign is their reader's to know.
    wire less = SIGNED & held[(p+1)*XBITS-1];
    wire signed [63:0] value = 64'($signed({less, held[p*XBITS+:XBITS]}));
    wire signed [63:0] constant = 64'($signed(constants[p*FBITS+:FBITS]));
    wire signed [63:0] exact = ADD ? value + constant : value * constant;
    always_ff @(posedge clk)
      if (taken)
        result_fits : assert (exact == 64'(result) || exact == 64'($signed(result)));
`endif
  end
  bnnflow_delay #(
      .CYCLES(LATENCY)
  ) u_push (
      .clk(clk),
      .rst(rst),
      .d  (step),
      .q  (push)
  );
  assign m_push = push;
  bnnflow_fifo #(
      .WIDTH  (PE * OBITS),
      .DEPTH  (DEPTH),
      .LATENCY(LATENCY)
  ) u_out (
      .clk(clk),
      .rst(rst),
      .free(free),
      .take(step),
      .push(m_push),
      .push_data(results),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(m_data)
  );
endmodule

// Rows and columns of one value around a map (FINN FMPadding).
//
// H, W                      map without its border
// TOP, LEFT, BOTTOM, RIGHT  rows and columns of the border
// CF, SIMD                  words of a pixel, and values of a word
// XBITS                     bits of a value (SIGNED: two's complement), OBITS of a result, enough for both
// BORDER                    a value of the border
// DEPTH                     places of the output
//
// A word a step; those of the border read nothing, but the first one waits until its image is there.
module bnnflow_padding #(
    parameter int H = 1,
    parameter int W = 1,
    parameter int TOP = 1,
    parameter int LEFT = 1,
    parameter int BOTTOM = 1,
    parameter int RIGHT = 1,
    parameter int CF = 1,
    parameter int SIMD = 1,
    parameter int XBITS = 1,
    parameter bit SIGNED = 0,
    parameter int OBITS = 1,
    parameter logic [OBITS-1:0] BORDER = '0,
    parameter int DEPTH = 2
) (
    input logic clk,
    input logic rst,
    input logic s_valid,
    output logic s_ready,
    input logic [SIMD*XBITS-1:0] s_data,
    output logic m_valid,
    input logic m_ready,
    output logic [SIMD*OBITS-1:0] m_data,
    output logic m_push
);
`ifndef __ICARUS__
  if (OBITS < XBITS) begin : g_check
    $error("OBITS >= XBITS");
  end
`endif
  localparam int OH = TOP + H + BOTTOM;
  localparam int OW = (LEFT + W + RIGHT) * CF;
  localparam int XB = OW > 1 ? $clog2(OW) : 1;
  localparam int YB = OH > 1 ? $clog2(OH) : 1;
  logic [XB-1:0] x;
  logic [YB-1:0] y;
  logic free;
  logic [SIMD*OBITS-1:0] values;
  for (genvar i = 0; i < SIMD; i++) begin : g_value
    assign values[i*OBITS+:OBITS] = OBITS'($signed(
        {SIGNED & s_data[(i+1)*XBITS-1], s_data[i*XBITS+:XBITS]}
    ));
  end
  // Whether this place is within the map's columns and rows: registers that turn at known places cost less than
  // comparisons, and are not repeated for every bit.
  logic across, down;
  wire on_map = across & down;
  wire ends = x == XB'(OW - 1);
  wire bottom = y == YB'(OH - 1);
  wire begins = x == 0 && y == 0;
  wire step = free & (s_valid | ~(on_map | begins));
  assign s_ready = free & on_map;
  always_ff @(posedge clk) begin
    if (step) begin
      x <= ends ? '0 : x + 1'b1;
      if (LEFT == 0 ? ends : x == XB'(LEFT * CF - 1)) across <= 1'b1;
      else if (RIGHT + LEFT > 0 && x == XB'((LEFT + W) * CF - 1)) across <= 1'b0;
      if (ends) begin
        y <= bottom ? '0 : y + 1'b1;
        if (TOP == 0 ? bottom : y == YB'(TOP - 1)) down <= 1'b1;
        else if (BOTTOM + TOP > 0 && y == YB'(TOP + H - 1)) down <= 1'b0;
      end
    end
    if (rst) begin
      x <= '0;
      y <= '0;
      across <= LEFT == 0;
      down <= TOP == 0;
    end
  end
  assign m_push = step;
  bnnflow_fifo #(
      .WIDTH(SIMD * OBITS),
      .DEPTH(DEPTH)
  ) u_out (
      .clk(clk),
      .rst(rst),
      .free(free),
      .take(step),
      .push(m_push),
      .push_data(on_map ? values : {SIMD{BORDER}}),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(m_data)
  );
endmodule

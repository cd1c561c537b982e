// Rows and columns of one value around a map (FINN FMPadding).
//
// H, W                      map without its border
// TOP, LEFT, BOTTOM, RIGHT  rows and columns of the border
// CF, WIDTH                 words of a pixel, and bits of a word
// BORDER                    a word of the border
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
    parameter int WIDTH = 1,
    parameter logic [WIDTH-1:0] BORDER = '0,
    parameter int DEPTH = 2
) (
    input logic clk,
    input logic rst,
    input logic s_valid,
    output logic s_ready,
    input logic [WIDTH-1:0] s_data,
    output logic m_valid,
    input logic m_ready,
    output logic [WIDTH-1:0] m_data
);
  localparam int OH = TOP + H + BOTTOM;
  localparam int OW = (LEFT + W + RIGHT) * CF;
  localparam int XB = OW > 1 ? $clog2(OW) : 1;
  localparam int YB = OH > 1 ? $clog2(OH) : 1;
  logic [XB-1:0] x;
  logic [YB-1:0] y;
  logic free;
  // Compared as integers: a border of 0 rows has no bits to compare.
  wire on_map = int'(y) >= TOP && int'(y) < TOP + H && int'(x) >= LEFT * CF && int'(x) < (LEFT + W) * CF;
  wire begins = x == 0 && y == 0;
  wire step = free & (s_valid | ~(on_map | begins));
  assign s_ready = free & on_map;
  always_ff @(posedge clk) begin
    if (step) begin
      x <= x == XB'(OW - 1) ? '0 : x + 1'b1;
      if (x == XB'(OW - 1)) y <= y == YB'(OH - 1) ? '0 : y + 1'b1;
    end
    if (rst) begin
      x <= '0;
      y <= '0;
    end
  end
  bnnflow_fifo #(
      .WIDTH(WIDTH),
      .DEPTH(DEPTH)
  ) u_out (
      .clk(clk),
      .rst(rst),
      .free(free),
      .take(step),
      .push(step),
      .push_data(on_map ? s_data : BORDER),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(m_data)
  );
endmodule

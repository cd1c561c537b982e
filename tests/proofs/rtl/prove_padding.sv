// bnnflow_padding: the words of each image row by row, and those of its border around them.
module prove_padding #(
    parameter int H = 1,
    parameter int W = 2,
    parameter int TOP = 1,
    parameter int LEFT = 1,
    parameter int BOTTOM = 0,
    parameter int RIGHT = 1,
    parameter int CF = 1,
    parameter int XBITS = 1,
    parameter bit SIGNED = 0,
    parameter int OBITS = 2,
    parameter logic [OBITS-1:0] BORDER = 2,
    parameter int DEPTH = 2
) (
    input logic clk,
    input logic rst,
    input logic s_valid,
    input logic [XBITS-1:0] s_data,
    input logic m_ready
);
  localparam int OH = TOP + H + BOTTOM;
  localparam int OW = LEFT + W + RIGHT;
  logic s_ready, m_valid;
  logic [OBITS-1:0] m_data;
  bnnflow_padding #(
      .H(H),
      .W(W),
      .TOP(TOP),
      .LEFT(LEFT),
      .BOTTOM(BOTTOM),
      .RIGHT(RIGHT),
      .CF(CF),
      .XBITS(XBITS),
      .SIGNED(SIGNED),
      .OBITS(OBITS),
      .BORDER(BORDER),
      .DEPTH(DEPTH)
  ) u_part (
      .clk(clk),
      .rst(rst),
      .s_valid(s_valid),
      .s_ready(s_ready),
      .s_data(s_data),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(m_data)
  );
  // The place of the next word that leaves.
  logic [7:0] y, x, c;
  wire out = m_valid & m_ready;
  wire c_ends = int'(c) == CF - 1;
  wire x_ends = int'(x) == OW - 1;
  wire on_map = int'(y) >= TOP && int'(y) < TOP + H && int'(x) >= LEFT && int'(x) < LEFT + W;
  always_ff @(posedge clk) begin
    if (out) begin
      c <= c_ends ? '0 : c + 1'b1;
      if (c_ends) x <= x_ends ? '0 : x + 1'b1;
      if (c_ends & x_ends) y <= int'(y) == OH - 1 ? '0 : y + 1'b1;
    end
    if (rst) begin
      y <= '0;
      x <= '0;
      c <= '0;
    end else if (m_valid & ~on_map) assert (m_data == BORDER);
  end
  wire sign = SIGNED & s_data[XBITS-1];
  scoreboard #(
      .WIDTH(OBITS),
      .MOST(DEPTH),
      // With one place a word leaves every second cycle.
      .PATIENCE(2 * OH * OW * CF + DEPTH)
  ) u_board (
      .clk(clk),
      .rst(rst),
      .due(s_valid & s_ready),
      .may_pick(1'b1),
      .value({{(OBITS - XBITS) {sign}}, s_data}),
      .waits(s_valid & ~s_ready),
      .m_valid(m_valid & on_map),
      .m_ready(m_ready),
      .m_data(m_data)
  );
endmodule

// bnnflow_sliding_window: word for word the windows of each image, row by row, in the order of its header.
//
// A word of an image, any, is picked when it is read; whenever a window holds it, it comes out. No word leaves that
// was not read; an image that was read comes out whole; a writer is always heard again.
module prove_sliding_window #(
    parameter int H = 3,
    parameter int W = 3,
    parameter int KH = 2,
    parameter int KW = 2,
    parameter int SH = 1,
    parameter int SW = 1,
    parameter int CF = 1,
    parameter int WIDTH = 1,
    parameter bit DEPTHWISE = 0,
    parameter int BUFFER = 5,
    parameter int DEPTH = 2,
    parameter bit VALUES = 1
) (
    input logic clk,
    input logic rst,
    input logic s_valid,
    input logic [WIDTH-1:0] s_data,
    input logic m_ready
);
  localparam int OH = (H - KH) / SH + 1;
  localparam int OW = (W - KW) / SW + 1;
  localparam int SIZE = H * W * CF;
  localparam int WINDOW = KH * KW * CF;
  localparam int PATIENCE = (OH * OW + 1) * WINDOW + DEPTH + 4;
  localparam int BITS = $clog2(SIZE + 1);
  localparam int PBITS = $clog2(PATIENCE + 1);
  logic s_ready, m_valid;
  logic [WIDTH-1:0] m_data;
  bnnflow_sliding_window #(
      .H(H),
      .W(W),
      .KH(KH),
      .KW(KW),
      .SH(SH),
      .SW(SW),
      .CF(CF),
      .WIDTH(WIDTH),
      .DEPTHWISE(DEPTHWISE),
      .BUFFER(BUFFER),
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
  logic first;
  initial first = 1;
  always_ff @(posedge clk) first <= 0;
  always_comb if (first) assume (rst);

  (* anyconst *) logic [BITS-1:0] chosen;
  always_comb assume (int'(chosen) < SIZE);
  (* anyseq *) logic pick;

  wire read = s_valid & s_ready;
  wire out = m_valid & m_ready;
  // Places of the next word that is read, and of the next that leaves: window and word of the window.
  logic [BITS-1:0] place;
  logic [$clog2(OH+1)-1:0] y;
  logic [$clog2(OW+1)-1:0] x;
  logic [$clog2(KH+1)-1:0] row;
  logic [$clog2(KW+1)-1:0] column;
  logic [$clog2(CF+1)-1:0] word;
  wire whole = int'(place) == SIZE - 1;
  wire c_ends = int'(word) == CF - 1;
  wire k_ends = int'(column) == KW - 1;
  wire r_ends = int'(row) == KH - 1;
  wire x_ends = int'(x) == OW - 1;
  wire y_ends = int'(y) == OH - 1;
  wire image_ends = c_ends & k_ends & r_ends & x_ends & y_ends;
  wire [BITS-1:0] line = BITS'(int'(y) * SH + int'(row));
  wire [BITS-1:0] pixel = BITS'(int'(line) * W + int'(x) * SW + int'(column));
  wire [BITS-1:0] wanted = BITS'(int'(pixel) * CF + int'(word));
  // Images that were read and did not leave; those in front of the one that the picked word is of.
  logic [1:0] images, ahead;
  logic tracking, held;
  logic [WIDTH-1:0] picked, previous;
  logic [PBITS-1:0] quiet, waited;
  always_ff @(posedge clk) begin
    if (read) place <= whole ? '0 : place + 1'b1;
    if (out) begin
      // The innermost counter comes first: words of a pixel, or, depthwise, columns.
      if (DEPTHWISE == 0) begin
        word <= c_ends ? '0 : word + 1'b1;
        if (c_ends) column <= k_ends ? '0 : column + 1'b1;
        if (c_ends & k_ends) row <= r_ends ? '0 : row + 1'b1;
      end else begin
        column <= k_ends ? '0 : column + 1'b1;
        if (k_ends) row <= r_ends ? '0 : row + 1'b1;
        if (k_ends & r_ends) word <= c_ends ? '0 : word + 1'b1;
      end
      if (c_ends & k_ends & r_ends) x <= x_ends ? '0 : x + 1'b1;
      if (c_ends & k_ends & r_ends & x_ends) y <= y_ends ? '0 : y + 1'b1;
    end
    images <= images + 2'(read & whole) - 2'(out & image_ends);
    if (tracking) begin
      if (out & image_ends) begin
        tracking <= ahead != 0;
        ahead <= ahead - 1'b1;
      end
    end else if (read & pick & place == chosen) begin
      tracking <= 1;
      ahead <= images - 2'(out & image_ends);
      picked <= s_data;
    end
    quiet <= read | ~m_ready ? '0 : quiet + PBITS'(quiet != PBITS'(PATIENCE));
    waited <= s_valid & ~s_ready & m_ready ? waited + PBITS'(waited != PBITS'(PATIENCE)) : '0;
    held <= m_valid & ~m_ready;
    previous <= m_data;
    if (rst) begin
      place <= '0;
      y <= '0;
      x <= '0;
      row <= '0;
      column <= '0;
      word <= '0;
      images <= '0;
      tracking <= 0;
      quiet <= '0;
      waited <= '0;
      held <= 0;
    end else begin
      if (out) assert (images != 0 || wanted < place);
      if (VALUES && out && tracking && ahead == 0 && wanted == chosen) assert (m_data == picked);
      if (held) assert (m_valid & m_data == previous);
      assert (images != 3);
      if (quiet == PBITS'(PATIENCE)) assert (images == 0);
      assert (waited != PBITS'(PATIENCE));
    end
  end
endmodule

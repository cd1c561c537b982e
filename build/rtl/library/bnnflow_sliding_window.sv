// Windows of a map, word by word (FINN ConvolutionInputGenerator).
//
// H, W       map; KH, KW kernel; SH, SW stride
// CF         words of a pixel
// WIDTH      bits of a word
// DEPTHWISE  0: a window is (kernel row, kernel column, word of the pixel); 1: (word, kernel row, kernel column)
// BUFFER     words of the ring buffer, at least those of a window: ((KH - 1) * W + KW) * CF. With those of the
//            window's greatest move more no image waits for the one before
// DEPTH      places of the output
//
// s: pixels row by row. A window begins when all its pixels are in the buffer; a word's place is free again when no
// later window reads it. The last word of a window also waits for all words in front of the next window's first.
module bnnflow_sliding_window #(
    parameter int H = 3,
    parameter int W = 3,
    parameter int KH = 3,
    parameter int KW = 3,
    parameter int SH = 1,
    parameter int SW = 1,
    parameter int CF = 1,
    parameter int WIDTH = 1,
    parameter bit DEPTHWISE = 0,
    parameter int BUFFER = 9,
    parameter int DEPTH = 2,
    // verilator lint_off UNUSEDPARAM
    parameter STYLE = "auto"
    // verilator lint_on UNUSEDPARAM
) (
    input logic clk,
    input logic rst,
    input logic s_valid,
    output logic s_ready,
    input logic [WIDTH-1:0] s_data,
    output logic m_valid,
    input logic m_ready,
    output logic [WIDTH-1:0] m_data,
    output logic m_push
);
  localparam int OH = (H - KH) / SH + 1;
  localparam int OW = (W - KW) / SW + 1;
  localparam int HELD = ((KH - 1) * W + KW) * CF;
  // A window is OUTER groups of ROWS runs of RUN words, whose addresses lie these steps apart.
  localparam int OUTER = DEPTHWISE ? CF : 1;
  localparam int RUN = DEPTHWISE ? KW : KW * CF;
  localparam int INNER = DEPTHWISE ? CF : 1;
  localparam int TOROW = W * CF - (RUN - 1) * INNER;
  localparam int TOGROUP = 1 - (KH - 1) * W * CF - (RUN - 1) * INNER;
  // From the last word of a window to the first of the next one, in words of the map.
  localparam int BACK = (KH - 1) * W * CF + (RUN - 1) * INNER + OUTER - 1;
  localparam int MOVE = SW * CF;
  localparam int MOVEROW = (SH * W - (OW - 1) * SW) * CF;
  localparam int MOVEIMAGE = (H * W - (OH - 1) * SH * W - (OW - 1) * SW) * CF;
  localparam int ABITS = BUFFER > 1 ? $clog2(BUFFER) : 1;
  localparam int FBITS = $clog2(BUFFER + 1);
  localparam int LATENCY = 1;

`ifndef __ICARUS__
  if (KH > H || KW > W) begin : g_check
    $error("the kernel is larger than the map");
  end
  if (BUFFER < HELD) begin : g_check2
    $error("BUFFER holds a whole window");
  end
  if (MOVEIMAGE > BUFFER || MOVEROW > BUFFER || MOVE > BUFFER) begin : g_check3
    $error("BUFFER holds what a window moves by");
  end
`endif

  // The buffer lies in a ring of RING words, a power of two where that costs little: its addresses wrap by themselves.
  localparam int RING = 2 ** ABITS <= 1024 || 4 * 2 ** ABITS <= 5 * BUFFER ? 2 ** ABITS : BUFFER;
  // A number of words as one from 0 to RING - 1.
  `define RING(words) ABITS'(((words) % RING + RING) % RING)
  `define MOST(a, b) ((a) > (b) ? (a) : (b))

  logic [FBITS-1:0] fill;
  logic free;
  wire write = s_valid & s_ready;
  assign s_ready = fill != FBITS'(BUFFER);

  logic step, run_ends, row_ends, group_ends, x_ends, y_ends;
  bnnflow_walk #(
      .RUN(RUN),
      .ROWS(KH),
      .OUTER(OUTER),
      .OW(OW),
      .OH(OH)
  ) u_walk (
      .clk(clk),
      .rst(rst),
      .step(step),
      .run_ends(run_ends),
      .row_ends(row_ends),
      .group_ends(group_ends),
      .x_ends(x_ends),
      .y_ends(y_ends)
  );
  // The last word of a window moves on to the next one: all that lies between must be there.
  logic [ABITS-1:0] jump;
  logic [FBITS-1:0] need, freed;
  always_comb begin
    need  = FBITS'(HELD);
    freed = '0;
    if (!run_ends) jump = `RING(INNER);
    else if (!row_ends) jump = `RING(TOROW);
    else if (!group_ends) jump = `RING(TOGROUP);
    else if (!x_ends) begin
      jump  = `RING(MOVE - BACK);
      need  = FBITS'(`MOST(HELD, MOVE));
      freed = FBITS'(MOVE);
    end else if (!y_ends) begin
      jump  = `RING(MOVEROW - BACK);
      need  = FBITS'(`MOST(HELD, MOVEROW));
      freed = FBITS'(MOVEROW);
    end else begin
      jump  = `RING(MOVEIMAGE - BACK);
      need  = FBITS'(`MOST(HELD, MOVEIMAGE));
      freed = FBITS'(MOVEIMAGE);
    end
  end
  assign step = free & (fill >= need);
  // A write is the carry of what is freed: fill + write - freed.
  // verilator lint_off UNUSEDSIGNAL
  wire [FBITS:0] filled = {fill, 1'b1} + {step ? -freed : '0, write};
  // verilator lint_on UNUSEDSIGNAL

  always_ff @(posedge clk) begin
    fill <= filled[FBITS:1];
    if (rst) begin
      fill <= '0;
    end
  end

  logic [WIDTH-1:0] word;
  bnnflow_ring #(
      .RING (RING),
      .WIDTH(WIDTH),
      .STYLE(STYLE)
  ) u_ring (
      .clk(clk),
      .rst(rst),
      .write(write),
      .write_data(s_data),
      .step(step),
      .jump(jump),
      .word(word)
  );
  logic push;
  always_ff @(posedge clk) push <= step & ~rst;
  assign m_push = push;
  bnnflow_fifo #(
      .WIDTH  (WIDTH),
      .DEPTH  (DEPTH),
      .LATENCY(LATENCY)
  ) u_out (
      .clk(clk),
      .rst(rst),
      .free(free),
      .take(step),
      .push(m_push),
      .push_data(word),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(m_data)
  );
endmodule
`undef RING
`undef MOST

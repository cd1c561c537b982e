// Memory whose words are read in turn, the first again behind the last, that can be written while it is read.
//
// WORDS, WIDTH  of a set, 1 or more
// SETS          of words, one of which is read
// JOINED        words of a row; every set begins with a row, the last of which may be partly unused
// others        of bnnflow_code: how a row of DATA = JOINED * WIDTH bits is stored
// CODED         1: rows are decoded, and data come two cycles later instead of one
// PASSES        times that an image reads all words; IBITS bits count images
// FILE          rows as they are stored, those of set 0 first; STYLE as for bnnflow_ram
//
// data are, READ = 1 + CODED cycles later, the word whose number is the count of cycles with next before, modulo WORDS.
// An image whose number is at is the first to read set. at and set may change two cycles before that image's first
// next, and while no memory has an image in front of number at to read.
//
// write: row holds write_data from then on. A row that is read and corrected is written back; mended says so. failed: a
// word is read whose row could not be corrected.
module bnnflow_guarded_memory #(
    parameter int WORDS = 2,
    parameter int WIDTH = 1,
    parameter int SETS = 1,
    parameter int JOINED = 1,
    parameter int COPIES = 1,
    parameter int LIMIT = 1,
    parameter int CHECKS = 0,
    parameter int WAYS = 1,
    parameter logic [(CHECKS > 0 ? CHECKS : 1)*LIMIT-1:0] COLUMNS = '1,
    parameter bit CORRECTS = 0,
    parameter bit ZEROS = 0,
    parameter int BITS = 1,
    parameter int PASSES = 1,
    parameter int IBITS = 8,
    parameter FILE = "",
    parameter STYLE = "auto",
    localparam int ROWS = (WORDS + JOINED - 1) / JOINED,
    localparam int RBITS = SETS * ROWS > 1 ? $clog2(SETS * ROWS) : 1,
    localparam int SBITS = SETS > 1 ? $clog2(SETS) : 1,
    localparam int DATA = JOINED * WIDTH
) (
    input logic clk,
    input logic rst,
    input logic next,
    output logic [WIDTH-1:0] data,
    input logic [SBITS-1:0] set,
    input logic [IBITS-1:0] at,
    input logic write,
    input logic [RBITS-1:0] row,
    input logic [DATA-1:0] write_data,
    output logic mended,
    output logic failed
);
  localparam bit CODED = COPIES == 3 || CHECKS > 0;
  localparam int JBITS = JOINED > 1 ? $clog2(JOINED) : 1;
  localparam int WBITS = WORDS > 1 ? $clog2(WORDS) : 1;
  localparam int PBITS = PASSES > 1 ? $clog2(PASSES) : 1;
  // As bnnflow_code has it.
  localparam int GROUPS = (DATA + LIMIT * WAYS - 1) / (LIMIT * WAYS);
  localparam int SHARE = (DATA + GROUPS - 1) / GROUPS;
  localparam int REST = DATA - (GROUPS - 1) * SHARE;
  localparam int EACH = SHARE < WAYS ? SHARE : WAYS;
  localparam int CODEWORDS = (GROUPS - 1) * EACH + (REST < WAYS ? REST : WAYS);
`ifndef __ICARUS__
  if (JOINED > WORDS) begin : g_check
    $error("JOINED is at most WORDS");
  end
  if (BITS != (COPIES == 3 ? 3 * DATA : DATA + CHECKS * CODEWORDS)) begin : g_check2
    $error("BITS are those of a row in its code");
  end
`endif

  // Where it reads: the row, the word in the row, how many words and passes of an image came before.
  logic [RBITS-1:0] addr, base;
  logic [JBITS-1:0] part;
  logic [WBITS-1:0] word;
  logic [PBITS-1:0] pass;
  logic [IBITS-1:0] image;
  wire [RBITS-1:0] other = RBITS'(set * ROWS);
  wire row_ends = part == JBITS'(JOINED - 1);
  wire pass_ends = word == WBITS'(WORDS - 1);
  wire image_ends = pass_ends & (pass == PBITS'(PASSES - 1));
  wire [IBITS-1:0] following = image + 1'b1;
  wire [RBITS-1:0] coming = image_ends & (following == at) ? other : base;
  always_ff @(posedge clk) begin
    if (next) begin
      word <= pass_ends ? '0 : word + 1'b1;
      part <= pass_ends | row_ends ? '0 : part + 1'b1;
      if (pass_ends) pass <= image_ends ? '0 : pass + 1'b1;
      if (image_ends) image <= following;
      if (pass_ends) base <= coming;
      addr <= pass_ends ? coming : row_ends ? addr + 1'b1 : addr;
    end else if (image == at && word == '0 && pass == '0) begin
      base <= other;
      addr <= other;
    end
    if (rst) begin
      addr  <= '0;
      base  <= '0;
      part  <= '0;
      word  <= '0;
      pass  <= '0;
      image <= '0;
    end
  end

  logic [BITS-1:0] stored, written, repaired, encoded;
  logic [DATA-1:0] decoded;
  logic corrected, beyond;
  logic mend;
  logic [RBITS-1:0] mend_row;
  bnnflow_ram #(
      .DEPTH(SETS * ROWS),
      .WIDTH(BITS),
      .FILE (FILE),
      .STYLE(STYLE)
  ) u_rows (
      .clk(clk),
      .addr(addr),
      .data(stored),
      .write(write | mend),
      .write_addr(write ? row : mend_row),
      .write_data(write ? encoded : written)
  );
  bnnflow_code #(
      .DATA(DATA),
      .COPIES(COPIES),
      .LIMIT(LIMIT),
      .CHECKS(CHECKS),
      .WAYS(WAYS),
      .COLUMNS(COLUMNS),
      .CORRECTS(CORRECTS),
      .ZEROS(ZEROS)
  ) u_code (
      .data(write_data),
      .encoded(encoded),
      .stored(stored),
      .decoded(decoded),
      .mended(repaired),
      .corrected(corrected),
      .failed(beyond)
  );

  // The word of the row that comes out of the memory.
  logic [JBITS-1:0] place;
  always_ff @(posedge clk) place <= part;
  wire [WIDTH-1:0] taken = decoded[place*WIDTH+:WIDTH];
  if (CODED) begin : g_coded
    // A row is written back three cycles after its address. Until then, and where the host wrote, what is read is old.
    // Nothing is written at power-up, before a reset.
    initial mend = 1'b0;
    logic used;
    logic [RBITS-1:0] from;
    logic [1:0] old;
    wire begins = used & corrected & (old == '0) & ~write;
    always_ff @(posedge clk) begin
      data <= taken;
      used <= next & ~rst;
      from <= addr;
      written <= repaired;
      mend_row <= from;
      mend <= begins & ~rst;
      failed <= used & beyond & ~rst;
      old <= rst ? '0 : write | begins ? 2'd3 : old == '0 ? '0 : old - 1'b1;
    end
    assign mended = mend & ~write;
  end else begin : g_plain
    wire unused = &{corrected, beyond, repaired};
    assign data = taken;
    assign mend = 1'b0;
    assign mend_row = '0;
    assign written = '0;
    assign mended = 1'b0;
    assign failed = 1'b0;
  end
endmodule

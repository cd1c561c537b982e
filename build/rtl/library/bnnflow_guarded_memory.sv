// Memory whose words are read in turn, the first again behind the last, that can be written while it is read.
//
// WORDS, WIDTH  of a set, 1 or more
// SETS          of words, one of which is read
// JOINED        words of a row; every set begins with a row, the last of which may be partly unused
// others        of bnnflow_code: how a row of DATA = JOINED * WIDTH bits is stored
// CODED         1: rows are decoded, and data come two cycles later instead of one
// LATE          1: rows that are not decoded are read, and data come, a cycle later, too
// SCRUB         0, or PAUSE of a bnnflow_scrubber where rows are corrected
// PASSES        times that an image reads all words; IBITS bits count images
// FILE          rows as they are stored, those of set 0 first; STYLE as for bnnflow_ram
//
// Behind a cycle with next, READ = 1 + (CODED or LATE) cycles later, data are the word whose number is the count of
// such cycles before, modulo WORDS. Behind another cycle they are that word too without SCRUB, and any with it.
// An image whose number is at is the first to read set. at and set may change two cycles before that image's first
// next, and while no memory has an image in front of number at to read.
//
// write: row holds write_data from then on. A row that is read and corrected is written back; mended says so. failed: a
// word is read whose row could not be corrected. SCRUB: in cycles without next all rows of all sets are read in turn,
// so that what is wrong in any of them is mended likewise; failed does not speak of them.
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
    parameter int LATE = 0,
    parameter int SCRUB = 0,
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
  // As bnnflow_code has it.
  localparam int GROUPS = (DATA + LIMIT * WAYS - 1) / (LIMIT * WAYS);
  localparam int SHARE = (DATA + GROUPS - 1) / GROUPS;
  localparam int REST = DATA - (GROUPS - 1) * SHARE;
  localparam int EACH = SHARE < WAYS ? SHARE : WAYS;
  localparam int CODEWORDS = (GROUPS - 1) * EACH + (REST < WAYS ? REST : WAYS);
`ifndef __ICARUS__
  if (BITS != (COPIES == 3 ? 3 * DATA : DATA + CHECKS * CODEWORDS)) begin : g_check
    $error("BITS are those of a row in its code");
  end
  if (LATE < 0 || LATE > 1 || (CODED && LATE == 1)) begin : g_check2
    $error("LATE is 0 or 1, and for rows that are not decoded");
  end
  if (SCRUB < 0 || (SCRUB > 0 && COPIES != 3 && !(CHECKS > 0 && CORRECTS))) begin : g_check3
    $error("SCRUB >= 0, and for rows that are corrected");
  end
`endif

  logic [RBITS-1:0] read;
  logic [JBITS-1:0] place;
  logic looks;
  bnnflow_reader #(
      .WORDS (WORDS),
      .SETS  (SETS),
      .JOINED(JOINED),
      .PASSES(PASSES),
      .IBITS (IBITS),
      .LATE  (LATE),
      .SCRUB (SCRUB)
  ) u_reader (
      .clk  (clk),
      .rst  (rst),
      .next (next),
      .set  (set),
      .at   (at),
      .read (read),
      .looks(looks),
      .place(place)
  );

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
      .addr(read),
      .data(stored),
      .write(write | mend),
      .write_addr(mended ? mend_row : row),
      .write_data(mended ? written : encoded)
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

  wire [WIDTH-1:0] taken = decoded[place*WIDTH+:WIDTH];
  bnnflow_mender #(
      .ROWS (SETS * ROWS),
      .BITS (BITS),
      .CODED(CODED)
  ) u_mender (
      .clk(clk),
      .rst(rst),
      .used(next),
      .looks(looks),
      .row(read),
      .write(write),
      .corrected(corrected),
      .beyond(beyond),
      .repaired(repaired),
      .mend(mend),
      .mend_row(mend_row),
      .written(written),
      .mended(mended),
      .failed(failed)
  );
  if (CODED) begin : g_coded
    always_ff @(posedge clk) data <= taken;
  end else begin : g_plain
    assign data = taken;
  end
endmodule

// bnnflow_guarded_memory: words in turn, of the set that is due, as the host wrote them last, although in the
// beginning up to FLIPS bits of each row are flipped.
//
// ROWS  of all sets: held are these rows of its memory, as they are stored
//
// A word is read right where one bit of its row is flipped. Reading it mends the row, if nothing was written within
// three cycles, and each row is told once. Nothing else changes a row but the host, and, with SCRUB, the scrubber, which
// mends a wrong row, whatever the unit reads, within a walk of so many cycles without next.
module prove_guarded_memory #(
    parameter int WORDS = 2,
    parameter int WIDTH = 1,
    parameter int SETS = 1,
    parameter int JOINED = 1,
    parameter int ROWS = 2,
    parameter int COPIES = 1,
    parameter int CHECKS = 0,
    parameter logic [(CHECKS > 0 ? CHECKS : 1)*JOINED*WIDTH-1:0] COLUMNS = '1,
    parameter bit CORRECTS = 0,
    parameter int PASSES = 1,
    parameter int IBITS = 2,
    parameter int FLIPS = 1,
    parameter int LATE = 0,
    parameter int SCRUB = 0,
    localparam int DATA = JOINED * WIDTH,
    localparam int EACH = (WORDS + JOINED - 1) / JOINED,
    localparam int RBITS = ROWS > 1 ? $clog2(ROWS) : 1,
    localparam int SBITS = SETS > 1 ? $clog2(SETS) : 1,
    localparam int BITS = COPIES == 3 ? 3 * DATA : DATA + CHECKS
) (
    input logic clk,
    input logic rst,
    input logic next,
    input logic [SBITS-1:0] set,
    input logic [IBITS-1:0] at,
    input logic write,
    input logic [RBITS-1:0] row,
    input logic [DATA-1:0] write_data
);
  localparam bit CODED = COPIES == 3 || CHECKS > 0;
  localparam bit READ = CODED || LATE == 1;
  // A walk, and what it may miss within three cycles behind what was written.
  localparam int WALK = (ROWS + 3) << SCRUB;
  if (ROWS != SETS * EACH) begin : g_check
    $error("ROWS are those of all sets");
  end
  logic [WIDTH-1:0] data;
  logic mended, failed;
  (* keep *) logic [ROWS*BITS-1:0] held;
  bnnflow_guarded_memory #(
      .WORDS(WORDS),
      .WIDTH(WIDTH),
      .SETS(SETS),
      .JOINED(JOINED),
      .COPIES(COPIES),
      .LIMIT(DATA),
      .CHECKS(CHECKS),
      .COLUMNS(COLUMNS),
      .CORRECTS(CORRECTS),
      .BITS(BITS),
      .LATE(LATE),
      .SCRUB(SCRUB),
      .PASSES(PASSES),
      .IBITS(IBITS)
  ) u_part (
      .clk(clk),
      .rst(rst),
      .next(next),
      .data(data),
      .set(set),
      .at(at),
      .write(write),
      .row(row),
      .write_data(write_data),
      .mended(mended),
      .failed(failed)
  );
  logic first;
  initial first = 1;
  always_ff @(posedge clk) first <= 0;
  always_comb if (first) assume (rst);
  always_comb assume (int'(set) < SETS && int'(row) < ROWS);

  // The host changes set while the image with number at has not begun, and at once it has.
  logic [7:0] word, pass;
  logic [IBITS-1:0] image, at_before;
  logic [SBITS-1:0] present, set_before;
  logic due;
  wire fresh = word == 0 && pass == 0;
  wire changes = at != at_before || set != set_before;
  wire [SBITS-1:0] reads = fresh && image == at ? set : present;
  wire [7:0] place = 8'(int'(reads) * EACH + int'(word) / JOINED);
  wire [7:0] part = 8'(int'(word) % JOINED);
  always_ff @(posedge clk) begin
    at_before  <= at;
    set_before <= set;
    if (changes) due <= 1;
    if (next) begin
      present <= reads;
      if (fresh && image == at) due <= 0;
      word <= int'(word) == WORDS - 1 ? '0 : word + 1'b1;
      if (int'(word) == WORDS - 1) begin
        pass <= int'(pass) == PASSES - 1 ? '0 : pass + 1'b1;
        if (int'(pass) == PASSES - 1) image <= image + 1'b1;
      end
    end
    if (rst) begin
      word <= '0;
      pass <= '0;
      image <= '0;
      present <= '0;
      due <= 1;
      at_before <= '0;
      set_before <= '0;
    end
  end
  always_comb
    if (!rst && changes) begin
      // An image that has begun keeps its set; the cycle in which both are new is not its first.
      assume (fresh || at != image);
      assume (at == at_before ? due : !due);
      assume (!(next && fresh && image == at));
    end

  // Rows as they should be, and what is flipped in them.
  logic [ROWS*DATA-1:0] right;
  (* anyconst *)logic [ROWS*BITS-1:0] flips;
  logic [ROWS-1:0] wrong, wrong_before, written;
  logic [ROWS*BITS-1:0] good;
  for (genvar r = 0; r < ROWS; r++) begin : g_row
    wire [DATA-1:0] mine = right[r*DATA+:DATA];
    wire [BITS-1:0] mask = flips[r*BITS+:BITS];
    wire [BITS-1:0] stored = held[r*BITS+:BITS];
    if (COPIES == 3) begin : g_copies
      assign good[r*BITS+:BITS] = {3{mine}};
    end else if (CHECKS == 0) begin : g_plain
      assign good[r*BITS+:BITS] = mine;
    end else begin : g_checks
      logic [CHECKS-1:0] sums;
      for (genvar c = 0; c < CHECKS; c++) begin : g_check
        wire [DATA-1:0] taken;
        for (genvar i = 0; i < DATA; i++) begin : g_bit
          assign taken[i] = mine[i] & COLUMNS[i*CHECKS+c];
        end
        assign sums[c] = ^taken;
      end
      assign good[r*BITS+:BITS] = {sums, mine};
    end
    assign wrong[r] = stored != good[r*BITS+:BITS];
    always_comb begin
      if (FLIPS == 0) assume (mask == '0);
      if (FLIPS == 1) assume ((mask & (mask - 1'b1)) == '0);
      if (FLIPS == 2) assume ($countones(mask) == 2 || mask == '0);
      if (first) assume (stored == (good[r*BITS+:BITS] ^ mask));
    end
    always_ff @(posedge clk) begin
      written[r] <= write && int'(row) == r;
      if (write && int'(row) == r) right[r*DATA+:DATA] <= write_data;
      assert (!wrong[r] || stored == (good[r*BITS+:BITS] ^ mask));
      // Nothing becomes wrong again.
      if (!first && !wrong_before[r]) assert (!wrong[r]);
    end
  end

  // The first bit of the word whose turn it is: now, or, as LATE reads, a cycle before.
  wire [7:0] bit_now = 8'(int'(place) * DATA + int'(part) * WIDTH);
  logic [7:0] bit_before;
  wire [WIDTH-1:0] wanted = WIDTH'(right >> (LATE == 1 ? bit_before : bit_now));
  // One and two cycles ago: the word whose turn it was, whether that was sure, whether it was asked for, and whether its
  // row was wrong.
  logic [2*WIDTH-1:0] line;
  logic [1:0] sure, asked, ill;
  logic mended_before;
  logic [2:0] quiet;
  logic [7:0] idle;
  wire [ROWS-1:0] repaired = wrong_before & ~wrong & ~written;
  always_ff @(posedge clk) begin
    bit_before <= bit_now;
    line <= (2 * WIDTH)'({line, wanted});
    // A set that is new in this cycle is read in the next.
    sure <= rst ? '0 : 2'({sure, ~(changes && fresh && image == at)});
    asked <= rst ? '0 : 2'({asked, next});
    ill <= 2'({ill, wrong[place]});
    wrong_before <= wrong;
    mended_before <= mended;
    // Cycles without a write, mending, or a reset.
    quiet <= rst | write | mended ? '0 : quiet + 3'(quiet != '1);
    // Among these, those without next.
    idle <= rst | write | mended ? '0 : idle + 8'(!next && idle != '1);
    if (!rst) begin
      if (sure[READ] && (asked[READ] || SCRUB == 0) && !(FLIPS == 2 && ill[READ]))
        assert (data == (CODED ? line[2*WIDTH-1-:WIDTH] : line[WIDTH-1:0]));
    end
    if (!first && !rst && SCRUB > 0 && FLIPS == 1 && wrong != '0) assert (int'(idle) <= WALK);
    if (!first) begin
      assert ($countones(repaired) == int'(mended_before));
    end
    if (!rst && asked[1] && ill[1] && FLIPS == 1 && CODED && !write && quiet >= 4) assert (mended);
    if (!rst) assert (failed == (FLIPS == 2 && CODED && asked[1] && ill[1]));
  end
endmodule

// Which row of a memory is read, and which word of it: all words of a set in turn, the first again behind the last.
//
// WORDS, SETS, JOINED, PASSES, IBITS  as for bnnflow_guarded_memory
//
// addr, part: of the word whose number is the count of cycles with next before, modulo WORDS: its row among those of all
// sets, and its place in the row. set and at as for bnnflow_guarded_memory.
module bnnflow_turn #(
    parameter  int WORDS  = 2,
    parameter  int SETS   = 1,
    parameter  int JOINED = 1,
    parameter  int PASSES = 1,
    parameter  int IBITS  = 8,
    localparam int ROWS   = (WORDS + JOINED - 1) / JOINED,
    localparam int RBITS  = SETS * ROWS > 1 ? $clog2(SETS * ROWS) : 1,
    localparam int SBITS  = SETS > 1 ? $clog2(SETS) : 1,
    localparam int JBITS  = JOINED > 1 ? $clog2(JOINED) : 1
) (
    input logic clk,
    input logic rst,
    input logic next,
    input logic [SBITS-1:0] set,
    input logic [IBITS-1:0] at,
    output logic [RBITS-1:0] addr,
    output logic [JBITS-1:0] part
);
  localparam int WBITS = WORDS > 1 ? $clog2(WORDS) : 1;
`ifndef __ICARUS__
  if (JOINED > WORDS) begin : g_check
    $error("JOINED is at most WORDS");
  end
`endif
  // How many words of a pass came before.
  logic [WBITS-1:0] word;
  wire row_ends = part == JBITS'(JOINED - 1);
  wire pass_ends = word == WBITS'(WORDS - 1);
  // The first row of the set that is read next, and whether another one is read instead of what next says.
  logic [RBITS-1:0] coming;
  logic other;
  always_ff @(posedge clk) begin
    if (next) begin
      word <= pass_ends ? '0 : word + 1'b1;
      part <= pass_ends | row_ends ? '0 : part + 1'b1;
      addr <= pass_ends ? coming : row_ends ? addr + 1'b1 : addr;
    end else if (other) addr <= coming;
    if (rst) begin
      addr <= '0;
      part <= '0;
      word <= '0;
    end
  end

  if (SETS == 1) begin : g_one
    wire unused = &{set, at};
    assign coming = '0;
    assign other  = 1'b0;
  end else begin : g_sets
    localparam int PBITS = PASSES > 1 ? $clog2(PASSES) : 1;
    // The first row of the set; how many passes of an image came before.
    logic [RBITS-1:0] base;
    logic [PBITS-1:0] pass;
    logic [IBITS-1:0] image;
    wire image_ends = pass_ends & (pass == PBITS'(PASSES - 1));
    wire [IBITS-1:0] following = image + 1'b1;
    wire turns = next & image_ends & (following == at);
    assign other  = ~next & (image == at) & (word == '0) & (pass == '0);
    assign coming = turns | other ? RBITS'(set * ROWS) : base;
    always_ff @(posedge clk) begin
      if (next & pass_ends) pass <= image_ends ? '0 : pass + 1'b1;
      if (next & image_ends) image <= following;
      base <= coming;
      if (rst) begin
        base  <= '0;
        pass  <= '0;
        image <= '0;
      end
    end
  end
endmodule

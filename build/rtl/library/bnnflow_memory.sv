// Read-only memory whose words are read in turn, the first again behind the last.
//
// DEPTH, WIDTH  words and their bits, 1 or more
// JOINED        0, or words of a row of a block RAM
// LATE          0; 1: data come a cycle later
// FILE          hexadecimal for $readmemh: DEPTH words; of JOINED words a row, the first lowest, 0 behind the last
// STYLE         as for bnnflow_rom
//
// Behind a cycle with next, 1 + LATE cycles later, data are the word whose number is the count of such cycles before,
// modulo DEPTH. Behind another cycle they are that word too without JOINED, and any with it.
//
// Rows are read ahead: the register behind a block RAM holds the row before it is asked for, so that nothing but
// another register waits for the block RAM, and a row's words are chosen behind that. Not in the first cycle behind a
// reset: next.
module bnnflow_memory #(
    parameter int DEPTH = 2,
    parameter int WIDTH = 1,
    parameter int JOINED = 0,
    parameter int LATE = 0,
    parameter FILE = "",
    parameter STYLE = "auto"
) (
    input logic clk,
    input logic rst,
    input logic next,
    output logic [WIDTH-1:0] data
);
`ifndef __ICARUS__
  if (JOINED < 0 || JOINED > DEPTH || LATE < 0) begin : g_check
    $error("JOINED is 0 to DEPTH, LATE >= 0");
  end
`endif
  if (JOINED == 0) begin : g_asked
    localparam int ABITS = DEPTH > 1 ? $clog2(DEPTH) : 1;
    logic [ABITS-1:0] addr, read;
    always_ff @(posedge clk)
      if (rst) addr <= '0;
      else if (next) addr <= addr == ABITS'(DEPTH - 1) ? '0 : addr + 1'b1;
    bnnflow_delay #(
        .WIDTH (ABITS),
        .CYCLES(LATE)
    ) u_late (
        .clk(clk),
        .rst(1'b0),
        .d  (addr),
        .q  (read)
    );
    bnnflow_rom #(
        .DEPTH(DEPTH),
        .WIDTH(WIDTH),
        .FILE (FILE),
        .STYLE(STYLE)
    ) u_words (
        .clk (clk),
        .addr(read),
        .data(data)
    );
  end else begin : g_ahead
    localparam int ROWS = (DEPTH + JOINED - 1) / JOINED;
    // Words of the last row.
    localparam int LEFT = DEPTH - (ROWS - 1) * JOINED;
    localparam int ABITS = ROWS > 1 ? $clog2(ROWS) : 1;
    localparam int PBITS = JOINED > 1 ? $clog2(JOINED) : 1;
    logic [ABITS-1:0] addr;
    logic [PBITS-1:0] part, chosen;
    logic [JOINED*WIDTH-1:0] ahead, row;
    logic asked, there, is_last;
    bnnflow_delay #(
        .CYCLES(LATE)
    ) u_late (
        .clk(clk),
        .rst(rst),
        .d  (next),
        .q  (asked)
    );
    wire ends = part == PBITS'(is_last ? LEFT - 1 : JOINED - 1);
    wire read = asked & ends | ~there;
    bnnflow_rom_array #(
        .DEPTH(ROWS),
        .WIDTH(JOINED * WIDTH),
        .FILE (FILE),
        .STYLE(STYLE)
    ) u_rows (
        .clk (clk),
        .en  (read),
        .addr(addr),
        .data(ahead)
    );
    always_ff @(posedge clk) begin
      row <= ahead;
      chosen <= part;
      if (read) begin
        addr <= addr == ABITS'(ROWS - 1) ? '0 : addr + 1'b1;
        is_last <= addr == ABITS'(ROWS - 1);
      end
      if (asked) part <= ends ? '0 : part + 1'b1;
      there <= 1'b1;
      if (rst) begin
        addr  <= '0;
        part  <= '0;
        there <= 1'b0;
      end
    end
    assign data = row[int'(chosen)*WIDTH+:WIDTH];
`ifdef BNNFLOW_ASSERT
    always_ff @(posedge clk) if (!rst && asked) row_there : assert (there);
`endif
  end
endmodule

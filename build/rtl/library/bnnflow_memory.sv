// Read-only memory whose words are read in turn, the first again behind the last.
//
// DEPTH, WIDTH, FILE, STYLE  as for bnnflow_rom
// LATE                       0; 1: data come a cycle later
//
// data are, 1 + LATE cycles later, the word whose number is the count of cycles with next before, modulo DEPTH.
module bnnflow_memory #(
    parameter int DEPTH = 2,
    parameter int WIDTH = 1,
    parameter int LATE = 0,
    parameter FILE = "",
    parameter STYLE = "auto"
) (
    input logic clk,
    input logic rst,
    input logic next,
    output logic [WIDTH-1:0] data
);
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
endmodule

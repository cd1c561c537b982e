// The words of a bnnflow_rom, as memory.
//
// DEPTH, WIDTH  words and their bits, 1 or more
// FILE          hexadecimal words for $readmemh, one a line, word 0 first
// STYLE         "auto", "block" or "distributed"
//
// Data of an address come one cycle after it where en is 1, and stay where it is 0. A module of its own: flattened into its reader, logic ROMs share terms
// across columns and grow.
(* keep_hierarchy *)
module bnnflow_rom_array #(
    parameter int DEPTH = 2,
    parameter int WIDTH = 1,
    parameter FILE = "",
    // verilator lint_off UNUSEDPARAM
    parameter STYLE = "auto",
    // verilator lint_on UNUSEDPARAM
    localparam int ABITS = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
    input logic clk,
    input logic en,
    input logic [ABITS-1:0] addr,
    output logic [WIDTH-1:0] data
);
`ifndef __ICARUS__
  if (DEPTH < 1 || WIDTH < 1) begin : g_check
    $error("DEPTH, WIDTH >= 1");
  end
`endif
`ifdef YOSYS
  (* rom_style = STYLE == "distributed" ? "logic" : STYLE *)
`else
  (* rom_style = STYLE *)
`endif
  logic [WIDTH-1:0] words[DEPTH];
  initial $readmemh(FILE, words, 0, DEPTH - 1);
  always_ff @(posedge clk) if (en) data <= words[addr];
endmodule

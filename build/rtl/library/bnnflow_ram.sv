// Memory with a port that reads and one that writes: data of an address one cycle after it.
//
// DEPTH, WIDTH  words and their bits, 1 or more
// FILE          hexadecimal words for $readmemh, one a line, word 0 first: what it holds in the beginning
// STYLE         "auto", "block" or "distributed"
//
// A word that is read while it is written is the old one.
(* keep_hierarchy *)
module bnnflow_ram #(
    parameter int DEPTH = 2,
    parameter int WIDTH = 1,
    parameter FILE = "",
    // verilator lint_off UNUSEDPARAM
    parameter STYLE = "auto",
    // verilator lint_on UNUSEDPARAM
    localparam int ABITS = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
    input logic clk,
    input logic [ABITS-1:0] addr,
    output logic [WIDTH-1:0] data,
    input logic write,
    input logic [ABITS-1:0] write_addr,
    input logic [WIDTH-1:0] write_data
);
`ifndef __ICARUS__
  if (DEPTH < 1 || WIDTH < 1) begin : g_check
    $error("DEPTH, WIDTH >= 1");
  end
`endif
  (* ram_style = STYLE *) logic [WIDTH-1:0] words[DEPTH];
  initial $readmemh(FILE, words, 0, DEPTH - 1);
  // No always_ff: what it writes, nothing else may write, the first content neither (IEEE 1800-2017, 9.2.2.4).
  always @(posedge clk) begin
    data <= words[addr];
    if (write) words[write_addr] <= write_data;
  end
endmodule

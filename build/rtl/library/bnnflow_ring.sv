// Ring of words, written in turn and read in leaps.
//
// RING   words, 1 or more; WIDTH bits of each
// STYLE  "auto", "block" or "distributed"
//
// word: that at the address of the cycle before. A step moves this address on by jump, from 0 to RING - 1.
module bnnflow_ring #(
    parameter int RING = 2,
    parameter int WIDTH = 1,
    // verilator lint_off UNUSEDPARAM
    parameter STYLE = "auto",
    // verilator lint_on UNUSEDPARAM
    localparam int ABITS = RING > 1 ? $clog2(RING) : 1
) (
    input logic clk,
    input logic rst,
    input logic write,
    input logic [WIDTH-1:0] write_data,
    input logic step,
    input logic [ABITS-1:0] jump,
    output logic [WIDTH-1:0] word
);
`ifndef __ICARUS__
  if (RING < 1 || WIDTH < 1) begin : g_check
    $error("RING, WIDTH >= 1");
  end
`endif
  // Addresses of a power of two wrap by themselves.
  function automatic logic [ABITS-1:0] ahead(input logic [ABITS-1:0] from,
                                             input logic [ABITS-1:0] words);
    if (RING == 2 ** ABITS) ahead = from + words;
    else if (int'(from) < RING - int'(words)) ahead = from + words;
    else ahead = ABITS'(int'(from) + int'(words) - RING);
  endfunction

  logic [ABITS-1:0] write_addr, read_addr;
  always_ff @(posedge clk) begin
    if (write) write_addr <= ahead(write_addr, ABITS'(1 % RING));
    if (step) read_addr <= ahead(read_addr, jump);
    if (rst) begin
      write_addr <= '0;
      read_addr  <= '0;
    end
  end
  (* ram_style = STYLE *) logic [WIDTH-1:0] ring[RING];
  always_ff @(posedge clk) begin
    if (write) ring[write_addr] <= write_data;
    word <= ring[read_addr];
  end
endmodule

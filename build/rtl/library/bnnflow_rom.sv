// Read-only memory: data of an address one cycle after it.
//
// DEPTH, WIDTH  words and their bits, 1 or more
// FILE          hexadecimal words for $readmemh, one a line, word 0 first
// STYLE         "auto", "block" or "distributed"
//
// Up to eight words are functions of the address's three bits, which tools take into the logic that reads them.
module bnnflow_rom #(
    parameter int DEPTH = 2,
    parameter int WIDTH = 1,
    parameter FILE = "",
    parameter STYLE = "auto",
    localparam int ABITS = DEPTH > 1 ? $clog2(DEPTH) : 1
) (
    input logic clk,
    input logic [ABITS-1:0] addr,
    output logic [WIDTH-1:0] data
);
`ifndef __ICARUS__
  if (DEPTH < 1 || WIDTH < 1) begin : g_check
    $error("DEPTH, WIDTH >= 1");
  end
`endif
  if (DEPTH <= 8) begin : g_few
    logic [WIDTH-1:0] words[DEPTH];
    initial $readmemh(FILE, words, 0, DEPTH - 1);
    if (DEPTH == 1) begin : g_one
      wire unused = &{clk, addr};
      assign data = words[0];
    end else begin : g_some
      logic [ABITS-1:0] place;
      // Each word by itself: read by its address, tools would make a register of it again.
      logic [DEPTH*WIDTH-1:0] all;
      for (genvar i = 0; i < DEPTH; i++) begin : g_word
        assign all[i*WIDTH+:WIDTH] = words[i];
      end
      always_ff @(posedge clk) place <= addr;
      assign data = all[int'(place)*WIDTH+:WIDTH];
    end
  end else begin : g_many
    bnnflow_rom_array #(
        .DEPTH(DEPTH),
        .WIDTH(WIDTH),
        .FILE (FILE),
        .STYLE(STYLE)
    ) u_words (
        .clk (clk),
        .en  (1'b1),
        .addr(addr),
        .data(data)
    );
  end
endmodule

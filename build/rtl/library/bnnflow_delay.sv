// The input of CYCLES cycles ago; after a reset 0 for as long.
//
// WIDTH   bits, 1 or more
// CYCLES  0 or more
module bnnflow_delay #(
    parameter int WIDTH  = 1,
    parameter int CYCLES = 1
) (
    input logic clk,
    input logic rst,
    input logic [WIDTH-1:0] d,
    output logic [WIDTH-1:0] q
);
`ifndef __ICARUS__
  if (WIDTH < 1 || CYCLES < 0) begin : g_check
    $error("WIDTH >= 1, CYCLES >= 0");
  end
`endif
  if (CYCLES == 0) begin : g_wire
    wire unused = &{clk, rst};
    assign q = d;
  end else begin : g_line
    logic [WIDTH*CYCLES-1:0] line;
    always_ff @(posedge clk) line <= rst ? '0 : (WIDTH * CYCLES)'({line, d});
    assign q = line[WIDTH*CYCLES-1-:WIDTH];
  end
endmodule

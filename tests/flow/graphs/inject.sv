// Faults on a stream, for tests: word number w leaves with the bits turned that are 1 in line w of FILE.
module inject #(
    parameter int WIDTH = 1,
    parameter int WORDS = 1,
    parameter FILE = ""
) (
    input logic clk,
    input logic rst,
    input logic valid,
    input logic ready,
    input logic [WIDTH-1:0] sent,
    output logic [WIDTH-1:0] found
);
  localparam int BITS = WORDS > 1 ? $clog2(WORDS) : 1;
  logic [WIDTH-1:0] turned[WORDS];
  logic [ BITS-1:0] word;
  initial $readmemh(FILE, turned);
  assign found = sent ^ turned[word];
  always_ff @(posedge clk)
    if (rst) word <= '0;
    else if (valid & ready) word <= word == BITS'(WORDS - 1) ? '0 : word + 1'b1;
endmodule

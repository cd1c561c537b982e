// A memory beside a unit: words in turn, READ cycles later, as bnnflow_memory and bnnflow_guarded_memory give them. What
// they are, all, is any, and stays.
module turns #(
    parameter int WORDS = 2,
    parameter int WIDTH = 1,
    parameter int READ  = 1
) (
    input logic clk,
    input logic rst,
    input logic next,
    output logic [WIDTH-1:0] data,
    output logic [WORDS*WIDTH-1:0] all
);
  (* anyconst *) logic [WORDS*WIDTH-1:0] words;
  assign all = words;
  logic [7:0] number;
  logic [READ*WIDTH-1:0] line;
  assign data = line[READ*WIDTH-1-:WIDTH];
  always_ff @(posedge clk) begin
    line <= (READ * WIDTH)'({line, WIDTH'(words >> (int'(number) * WIDTH))});
    if (rst) number <= '0;
    else if (next) number <= int'(number) == WORDS - 1 ? '0 : number + 1'b1;
  end
endmodule

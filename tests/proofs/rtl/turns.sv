// A memory beside a unit: words in turn, READ cycles behind next, as bnnflow_memory and bnnflow_guarded_memory give them.
// What they are, all, is any, and stays; data behind a cycle without next are any.
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
  logic [READ-1:0] asked;
  (* anyseq *) logic [WIDTH-1:0] other;
  assign data = asked[READ-1] ? line[READ*WIDTH-1-:WIDTH] : other;
  always_ff @(posedge clk) begin
    asked <= READ'({asked, next});
    line  <= (READ * WIDTH)'({line, WIDTH'(words >> (int'(number) * WIDTH))});
    if (rst) number <= '0;
    else if (next) number <= int'(number) == WORDS - 1 ? '0 : number + 1'b1;
  end
endmodule

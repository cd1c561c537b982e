// Words of a file as an AXI-Stream, which stalls at random between them.
//
// WIDTH, WORDS  bits of a word, and how many there are
// SEED          of its stalls, beside that of the run
// FILE          the words in hexadecimal, one a line
//
// +seed=N of the run; +stall_in=N thousandths of cycles in which no new word is offered.
module judge_source #(
    parameter int WIDTH = 1,
    parameter int WORDS = 1,
    parameter int SEED = 1,
    parameter FILE = ""
) (
    input logic clk,
    input logic rst,
    output logic valid,
    input logic ready,
    output logic [WIDTH-1:0] data
);
  logic [WIDTH-1:0] words[WORDS];
  int unsigned seed, share, random, offered;
  initial begin
    $readmemh(FILE, words);
    if ($value$plusargs("seed=%d", seed) == 0) seed = 0;
    if ($value$plusargs("stall_in=%d", share) == 0) share = 0;
  end
  // xorshift32, whose state is never 0.
  wire [31:0] a = random ^ (random << 13);
  wire [31:0] b = a ^ (a >> 17);
  wire stalls = (random >> 8) % 1000 < share;
  always_ff @(posedge clk) begin
    random <= b ^ (b << 5);
    if (!valid || ready) begin
      valid <= offered != WORDS && !stalls;
      if (offered != WORDS && !stalls) begin
        data <= words[offered];
        offered <= offered + 1;
      end
    end
    if (rst) begin
      valid   <= 1'b0;
      offered <= 0;
      random  <= seed * 32'h9E3779B1 + SEED * 32'h85EBCA6B | 1;
    end
  end
endmodule

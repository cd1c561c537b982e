// Writes the words of an AXI-Stream into a file, in hexadecimal, one a line, and stalls at random.
//
// WIDTH   bits of a word
// STALLS  0: never
// SEED    of its stalls, beside that of the run
// FILE    in the folder where the program runs
//
// +seed=N of the run; +stall_out=N thousandths of cycles in which no word is taken.
module judge_sink #(
    parameter int WIDTH = 1,
    parameter bit STALLS = 1,
    parameter int SEED = 1,
    parameter FILE = ""
) (
    input logic clk,
    input logic rst,
    input logic valid,
    output logic ready,
    input logic [WIDTH-1:0] data
);
  int unsigned seed, share, random;
  int file;
  initial begin
    file = $fopen(FILE, "w");
    if ($value$plusargs("seed=%d", seed) == 0) seed = 0;
    if ($value$plusargs("stall_out=%d", share) == 0) share = 0;
  end
  final $fclose(file);
  // xorshift32, whose state is never 0.
  wire [31:0] a = random ^ (random << 13);
  wire [31:0] b = a ^ (a >> 17);
  always_ff @(posedge clk) begin
    random <= b ^ (b << 5);
    ready  <= !STALLS || (random >> 8) % 1000 >= share;
    if (!rst && valid && ready) $fwrite(file, "%h\n", data);
    if (rst) begin
      ready  <= 1'b0;
      random <= seed * 32'h9E3779B1 + SEED * 32'hC2B2AE35 | 1;
    end
  end
endmodule

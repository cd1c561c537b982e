// Number of ones of N bits: compressors of six bits to three (three LUT6 each), then a tree of adders.
//
// N        bits, 1 or more
// LATENCY  what it is: (levels + 1) / 2, with levels = ceil(log2(ceil(N / 6))), the first adders' level registered
//
// The number has CBITS bits. The way over compressors of six bits is of Preusser, FPL 2017 (arXiv:1806.08095).
module bnnflow_ones #(
    parameter int N = 6,
    localparam int GROUPS = (N + 5) / 6,
    localparam int LEVELS = GROUPS > 1 ? $clog2(GROUPS) : 0,
    localparam int CBITS = 3 + LEVELS
) (
    input logic clk,
    input logic [N-1:0] d,
    output logic [CBITS-1:0] count
);
`ifndef __ICARUS__
  if (N < 1) begin : g_check
    $error("N >= 1");
  end
`endif
  wire  [GROUPS*6-1:0] bits = (GROUPS * 6)'(d);
  logic [GROUPS*3-1:0] counts;
  for (genvar i = 0; i < GROUPS; i++) begin : g_group
    wire [5:0] b = bits[6*i+:6];
    // Written so that each of the three bits is one function of six for the tools, not an adder.
    wire [1:0] low = {(b[0] & b[1]) | (b[0] & b[2]) | (b[1] & b[2]), b[0] ^ b[1] ^ b[2]};
    wire [1:0] high = {(b[3] & b[4]) | (b[3] & b[5]) | (b[4] & b[5]), b[3] ^ b[4] ^ b[5]};
    wire carry = low[0] & high[0];
    assign counts[3*i+:3] = {
      (low[1] & high[1]) | (carry & (low[1] ^ high[1])), low[1] ^ high[1] ^ carry, low[0] ^ high[0]
    };
  end
  bnnflow_sum #(
      .N(GROUPS),
      .WIDTH(3),
      .LEVELS(LEVELS),
      .ODD(1'b1)
  ) u_sum (
      .clk(clk),
      .terms(counts),
      .carries({(GROUPS > 1 ? GROUPS - 1 : 1) {1'b0}}),
      .sum(count)
  );
endmodule

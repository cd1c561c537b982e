// Sum of products of N inputs and N weights.
//
// N        lanes, 1 or more; lane i in bits i * XBITS and i * WBITS and up
// XBITS    bits of an input; XSIGNED 1: two's complement
// WBITS    bits of a weight in two's complement; 1 stands for weights -1 (bit 0) and +1 (bit 1)
//
// The sum is signed, has PBITS + LEVELS bits and comes 1 + LEVELS / 2 cycles after its inputs.
module bnnflow_dot #(
    parameter int N = 1,
    parameter int XBITS = 8,
    parameter bit XSIGNED = 0,
    parameter int WBITS = 1,
    localparam int LEVELS = N > 1 ? $clog2(N) : 0,
    localparam int PBITS = XBITS + WBITS + 1,
    localparam int SBITS = PBITS + LEVELS
) (
    input logic clk,
    input logic [N*XBITS-1:0] x,
    input logic [N*WBITS-1:0] w,
    output logic [SBITS-1:0] sum
);
`ifndef __ICARUS__
  if (N < 1 || XBITS < 1 || WBITS < 1) begin : g_check
    $error("N, XBITS, WBITS >= 1");
  end
`endif
  logic [N*PBITS-1:0] products;
  for (genvar i = 0; i < N; i++) begin : g_lane
    wire [PBITS-1:0] a = {{(PBITS - XBITS) {XSIGNED & x[(i+1)*XBITS-1]}}, x[i*XBITS+:XBITS]};
    if (WBITS == 1) begin : g_sign
      always_ff @(posedge clk) products[i*PBITS+:PBITS] <= w[i] ? a : -a;
    end else begin : g_product
      wire [PBITS-1:0] b = {{(PBITS - WBITS) {w[(i+1)*WBITS-1]}}, w[i*WBITS+:WBITS]};
      always_ff @(posedge clk) products[i*PBITS+:PBITS] <= a * b;
    end
  end
  bnnflow_sum #(
      .N(N),
      .WIDTH(PBITS),
      .LEVELS(LEVELS),
      .SIGNED(1)
  ) u_sum (
      .clk  (clk),
      .terms(products),
      .sum  (sum)
  );
endmodule

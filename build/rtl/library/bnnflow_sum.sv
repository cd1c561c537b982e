// Sum of N terms in a balanced tree of adders, registered after every second level.
//
// N       terms, 1 to 2**LEVELS; term i in bits i * WIDTH and up
// WIDTH   bits of a term
// LEVELS  of adders
// SIGNED  1: terms and sum are in two's complement
//
// The sum has WIDTH + LEVELS bits and comes LEVELS / 2 (rounded down) cycles after its terms, one sum a cycle.
module bnnflow_sum #(
    parameter int N = 1,
    parameter int WIDTH = 1,
    parameter int LEVELS = 0,
    parameter bit SIGNED = 0
) (
    input logic clk,
    input logic [N*WIDTH-1:0] terms,
    output logic [WIDTH+LEVELS-1:0] sum
);
`ifndef __ICARUS__
  if (N < 1 || N > 2 ** LEVELS) begin : g_check
    $error("N from 1 to 2**LEVELS");
  end
`endif
  localparam int HALF = LEVELS > 0 ? 2 ** (LEVELS - 1) : 1;
  localparam int OUT = WIDTH + LEVELS;
  if (LEVELS == 0) begin : g_leaf
    wire unused = clk;
    assign sum = terms;
  end else begin : g_node
    logic [OUT-2:0] low, high;
    logic [OUT-1:0] now;
    bnnflow_sum #(
        .N(N < HALF ? N : HALF),
        .WIDTH(WIDTH),
        .LEVELS(LEVELS - 1),
        .SIGNED(SIGNED)
    ) u_low (
        .clk  (clk),
        .terms(terms[(N<HALF?N : HALF)*WIDTH-1:0]),
        .sum  (low)
    );
    if (N > HALF) begin : g_high
      bnnflow_sum #(
          .N(N - HALF),
          .WIDTH(WIDTH),
          .LEVELS(LEVELS - 1),
          .SIGNED(SIGNED)
      ) u_high (
          .clk  (clk),
          .terms(terms[N*WIDTH-1:HALF*WIDTH]),
          .sum  (high)
      );
    end else begin : g_none
      assign high = '0;
    end
    assign now = {SIGNED & low[OUT-2], low} + {SIGNED & high[OUT-2], high};
    if (LEVELS % 2 == 0) begin : g_registered
      always_ff @(posedge clk) sum <= now;
    end else begin : g_straight
      assign sum = now;
    end
  end
endmodule

// Sum of N counts from 0 to 32 in a tree of adders of three, whose inputs are registered.
//
// N        counts, 1 to 3**LEVELS; count i in bits 6 * i and up
// LATENCY  LEVELS
//
// The sum has the bits of that of 3**LEVELS counts.
module bnnflow_threes #(
    parameter int N = 1,
    parameter int LEVELS = 0,
    localparam int BITS = $clog2(32 * 3 ** LEVELS + 1)
) (
    input logic clk,
    input logic [6*N-1:0] terms,
    output logic [BITS-1:0] sum
);
`ifndef __ICARUS__
  if (N < 1 || N > 3 ** LEVELS) begin : g_check
    $error("N from 1 to 3**LEVELS");
  end
`endif
  if (LEVELS == 0) begin : g_leaf
    wire unused = clk;
    assign sum = terms;
  end else begin : g_node
    localparam int THIRD = 3 ** (LEVELS - 1);
    localparam int WIDTH = $clog2(32 * THIRD + 1);
    logic [3*WIDTH-1:0] parts, held;
    for (genvar i = 0; i < 3; i++) begin : g_third
      localparam int LEFT = N - i * THIRD;
      localparam int SIZE = LEFT > THIRD ? THIRD : LEFT;
      if (SIZE > 0) begin : g_there
        bnnflow_threes #(
            .N(SIZE),
            .LEVELS(LEVELS - 1)
        ) u_third (
            .clk  (clk),
            .terms(terms[6*THIRD*i+:6*SIZE]),
            .sum  (parts[WIDTH*i+:WIDTH])
        );
      end else begin : g_none
        assign parts[WIDTH*i+:WIDTH] = '0;
      end
    end
    always_ff @(posedge clk) held <= parts;
    if (N > 2 * THIRD) begin : g_three
      // verilator lint_off UNUSEDSIGNAL
      logic [WIDTH+1:0] whole;
      // verilator lint_on UNUSEDSIGNAL
      bnnflow_ternary #(
          .WIDTH(WIDTH)
      ) u_sum (
          .a(held[WIDTH-1:0]),
          .b(held[2*WIDTH-1:WIDTH]),
          .c(held[3*WIDTH-1:2*WIDTH]),
          .bits(2'b00),
          .sum(whole)
      );
      assign sum = whole[BITS-1:0];
    end else begin : g_two
      wire unused = &held[3*WIDTH-1:2*WIDTH];
      assign sum = BITS'(held[WIDTH-1:0]) + BITS'(held[2*WIDTH-1:WIDTH]);
    end
  end
endmodule

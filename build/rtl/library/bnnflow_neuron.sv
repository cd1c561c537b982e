// A row of a matrix of constants of -1 and +1: how many bounds the sum of its products reaches, or that sum.
//
// N        inputs, 1 or more: bits
// PLUS     bit i: the weight of input i is +1, else -1
// LEVELS   bounds; 0: the sum leaves
// BOUNDS   of 32 bits, two's complement, the first lowest: how many inputs agree with their weights (a bit 1 with +1, a
//          bit 0 with -1) where a bound is reached
// LESS     where the sum leaves it is the number of those that agree, less this
// OBITS    bits of the result: ACT_VAL and the number of bounds that are reached, or the sum
// LATENCY  cycles from x to result, 1 + (levels + 1) / 2 or more, levels = ceil(log2(ceil(N / 6)))
//
// Of up to six inputs and one bound that is one function, a LUT6. With BNNFLOW_COUNTONES the count is said in one
// expression, which simulates faster.
module bnnflow_neuron #(
    parameter int N = 1,
    parameter bit [N-1:0] PLUS = '1,
    parameter int LEVELS = 1,
    parameter logic [(LEVELS > 0 ? LEVELS : 1)*32-1:0] BOUNDS = '0,
    parameter int LESS = 0,
    parameter int OBITS = 1,
    parameter int ACT_VAL = 0,
    parameter int LATENCY = 1
) (
    input logic clk,
    input logic [N-1:0] x,
    output logic [OBITS-1:0] result
);
  localparam int GROUPS = (N + 5) / 6;
  localparam int ADDERS = GROUPS > 1 ? $clog2(GROUPS) : 0;
  localparam int CBITS = 3 + ADDERS;
  localparam int COUNTED = (ADDERS + 1) / 2;
`ifndef __ICARUS__
  if (N < 1) begin : g_check
    $error("N >= 1");
  end
  if (LATENCY < COUNTED + 1) begin : g_check2
    $error("LATENCY is less than counting takes");
  end
`endif
  wire [N-1:0] agrees = x ~^ PLUS;
  // Where the result has fewer bits, the sum's type says that it needs no more.
  // verilator lint_off UNUSEDSIGNAL
  logic [CBITS-1:0] count;
  // verilator lint_on UNUSEDSIGNAL
`ifdef BNNFLOW_COUNTONES
  bnnflow_delay #(
      .WIDTH (CBITS),
      .CYCLES(COUNTED)
  ) u_count (
      .clk(clk),
      .rst(1'b0),
      .d  (CBITS'($countones(agrees))),
      .q  (count)
  );
`else
  bnnflow_ones #(
      .N(N)
  ) u_ones (
      .clk(clk),
      .d(agrees),
      .count(count)
  );
`endif
  logic [OBITS-1:0] now, next;
  if (LEVELS == 0) begin : g_sum
    assign next = OBITS'(count) - OBITS'(LESS);
  end else begin : g_levels
    logic [LEVELS-1:0] reached;
    for (genvar i = 0; i < LEVELS; i++) begin : g_level
      localparam int BOUND = int'(BOUNDS[32*i+:32]);
      if (BOUND <= 0) begin : g_always
        assign reached[i] = 1'b1;
      end else if (BOUND > N) begin : g_never
        assign reached[i] = 1'b0;
      end else begin : g_bound
        assign reached[i] = count >= CBITS'(BOUND);
      end
    end
    always_comb begin
      next = OBITS'(ACT_VAL);
      for (int i = 0; i < LEVELS; i++) next += OBITS'(reached[i]);
    end
  end
  always_ff @(posedge clk) now <= next;
  bnnflow_delay #(
      .WIDTH (OBITS),
      .CYCLES(LATENCY - COUNTED - 1)
  ) u_wait (
      .clk(clk),
      .rst(1'b0),
      .d  (now),
      .q  (result)
  );
endmodule

// bnnflow_neuron: what the signed sum of its products reaches, or that sum, LATENCY cycles later.
//
// MINUS  number of weights -1: a sum is the number of inputs that agree with their weights, less that
module prove_neuron #(
    parameter int N = 1,
    parameter bit [N-1:0] PLUS = '1,
    parameter int LEVELS = 1,
    parameter logic [(LEVELS > 0 ? LEVELS : 1)*32-1:0] BOUNDS = '0,
    parameter int MINUS = 0,
    parameter int OBITS = 1,
    parameter int ACT_VAL = 0,
    parameter int LATENCY = 1
) (
    input logic clk,
    input logic [N-1:0] x
);
  logic [OBITS-1:0] result, expected;
  bnnflow_neuron #(
      .N(N),
      .PLUS(PLUS),
      .LEVELS(LEVELS),
      .BOUNDS(BOUNDS),
      .LESS(MINUS),
      .OBITS(OBITS),
      .ACT_VAL(ACT_VAL),
      .LATENCY(LATENCY)
  ) u_part (
      .clk(clk),
      .x(x),
      .result(result)
  );
  // The products are -1, 0 and +1; a bound of those that agree is one of the sum, MINUS lower.
  logic signed [15:0] sum;
  always_comb begin
    sum = '0;
    for (int i = 0; i < N; i++) sum = sum + (x[i] ? (PLUS[i] ? 16'sd1 : -16'sd1) : 16'sd0);
    if (LEVELS == 0) expected = OBITS'(sum);
    else begin
      expected = OBITS'(ACT_VAL);
      for (int i = 0; i < LEVELS; i++)
      if (sum >= $signed(16'(BOUNDS[32*i+:32])) - 16'(MINUS)) expected = expected + 1'b1;
    end
  end
  logic [OBITS*LATENCY-1:0] line;
  logic [LATENCY-1:0] there;
  initial there = '0;
  always_ff @(posedge clk) begin
    line  <= (OBITS * LATENCY)'({line, expected});
    there <= LATENCY'({there, 1'b1});
    if (there[LATENCY-1]) assert (result == line[OBITS*LATENCY-1-:OBITS]);
  end
endmodule

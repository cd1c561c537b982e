// bnnflow_ones: $countones, (LEVELS + 1) / 2 cycles later.
module prove_ones #(
    parameter int N = 6
) (
    input logic clk,
    input logic [N-1:0] d
);
  localparam int GROUPS = (N + 5) / 6;
  localparam int LEVELS = GROUPS > 1 ? $clog2(GROUPS) : 0;
  localparam int CBITS = 3 + LEVELS;
  localparam int LATENCY = (LEVELS + 1) / 2;
  logic [CBITS-1:0] count;
  bnnflow_ones #(
      .N(N)
  ) u_part (
      .clk  (clk),
      .d    (d),
      .count(count)
  );
  // One place more: a line of no places is none.
  logic [N*(LATENCY+1)-1:0] line;
  logic [LATENCY:0] there;
  initial there = '0;
  always_ff @(posedge clk) begin
    line  <= (N * (LATENCY + 1))'({line, d});
    there <= (LATENCY + 1)'({there, 1'b1});
    if (LATENCY == 0)
      assert (count == CBITS'($countones(d)));
      else if (there[LATENCY-1]) assert (count == CBITS'($countones(line[N*LATENCY-1-:N])));
  end
endmodule

// bnnflow_equal_part: the number of equal bits of x and w, LATENCY cycles later.
module prove_equal_part #(
    parameter int N = 8,
    parameter bit MERGED = 0
) (
    input logic clk,
    input logic [N-1:0] x,
    input logic [N-1:0] w
);
  localparam int LATENCY = MERGED ? 1 : 2;
  logic [5:0] count;
  bnnflow_equal_part #(
      .N(N),
      .MERGED(MERGED)
  ) u_part (
      .clk  (clk),
      .x    (x),
      .w    (w),
      .count(count)
  );
  logic [N*LATENCY-1:0] line;
  logic [  LATENCY-1:0] there;
  initial there = '0;
  always_ff @(posedge clk) begin
    line  <= (N * LATENCY)'({line, ~(x ^ w)});
    there <= LATENCY'({there, 1'b1});
    if (there[LATENCY-1]) assert (count == 6'($countones(line[N*LATENCY-1-:N])));
  end
endmodule

// bnnflow_sum: the sum of N terms and, with CARRY, of N - 1 carries, (LEVELS + ODD) / 2 cycles later.
module prove_sum #(
    parameter int N = 1,
    parameter int WIDTH = 2,
    parameter int LEVELS = 0,
    parameter bit SIGNED = 0,
    parameter bit CARRY = 0,
    parameter bit ODD = 0,
    localparam int CARRIES = N > 1 ? N - 1 : 1
) (
    input logic clk,
    input logic [N*WIDTH-1:0] terms,
    input logic [CARRIES-1:0] carries
);
  localparam int LATENCY = (LEVELS + int'(ODD)) / 2;
  localparam int BITS = WIDTH + LEVELS;
  logic [BITS-1:0] sum;
  bnnflow_sum #(
      .N(N),
      .WIDTH(WIDTH),
      .LEVELS(LEVELS),
      .SIGNED(SIGNED),
      .CARRY(CARRY),
      .ODD(ODD)
  ) u_part (
      .clk(clk),
      .terms(terms),
      .carries(carries),
      .sum(sum)
  );
  // One after the other, as integers.
  logic [BITS-1:0] now;
  always_comb begin
    now = '0;
    for (int i = 0; i < N; i++)
    now = now + {{LEVELS{SIGNED & terms[(i+1)*WIDTH-1]}}, terms[i*WIDTH+:WIDTH]};
    if (CARRY && N > 1) now = now + BITS'($countones(carries));
  end
  logic [BITS*(LATENCY+1)-1:0] line;
  logic [LATENCY:0] there;
  initial there = '0;
  always_comb begin
    line[BITS-1:0] = now;
    there[0] = 1;
  end
  for (genvar i = 0; i < LATENCY; i++) begin : g_later
    always_ff @(posedge clk) begin
      line[(i+1)*BITS+:BITS] <= line[i*BITS+:BITS];
      there[i+1] <= there[i];
    end
  end
  always_ff @(posedge clk) if (there[LATENCY]) assert (sum == line[LATENCY*BITS+:BITS]);
endmodule

// bnnflow_levels: ACT_VAL and the number of bounds, any, that a value reaches, one cycle later, of several bounds two.
module prove_levels #(
    parameter int PE = 1,
    parameter int SBITS = 4,
    parameter int BBITS = 4,
    parameter bit BSIGNED = 1,
    parameter int LEVELS = 1,
    parameter int OBITS = 3,
    parameter int ACT_VAL = 0
) (
    input logic clk,
    input logic [PE*LEVELS*BBITS-1:0] bounds,
    input logic [PE*SBITS-1:0] values
);
  localparam int LATENCY = LEVELS == 1 ? 1 : 2;
  logic [PE*OBITS-1:0] results, now;
  bnnflow_levels #(
      .PE(PE),
      .SBITS(SBITS),
      .BBITS(BBITS),
      .BSIGNED(BSIGNED),
      .LEVELS(LEVELS),
      .OBITS(OBITS),
      .ACT_VAL(ACT_VAL)
  ) u_part (
      .clk(clk),
      .bounds(bounds),
      .values(values),
      .results(results)
  );
  for (genvar p = 0; p < PE; p++) begin : g_lane
    reached #(
        .SBITS  (SBITS),
        .BBITS  (BBITS),
        .BSIGNED(BSIGNED),
        .LEVELS (LEVELS),
        .OBITS  (OBITS),
        .ACT_VAL(ACT_VAL)
    ) u_lane (
        .value (values[p*SBITS+:SBITS]),
        .bounds(bounds[p*LEVELS*BBITS+:LEVELS*BBITS]),
        .result(now[p*OBITS+:OBITS])
    );
  end
  logic [PE*OBITS*LATENCY-1:0] line;
  logic [LATENCY-1:0] there;
  initial there = '0;
  always_ff @(posedge clk) begin
    line  <= (PE * OBITS * LATENCY)'({line, now});
    there <= LATENCY'({there, 1'b1});
    if (there[LATENCY-1]) assert (results == line[PE*OBITS*LATENCY-1-:PE*OBITS]);
  end
endmodule

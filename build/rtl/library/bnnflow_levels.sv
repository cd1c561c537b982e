// How many bounds each of PE values reaches, plus ACT_VAL: the activation of FINN's MultiThreshold.
//
// PE      lanes, 1 or more
// SBITS   bits of a value, two's complement
// BBITS   bits of a bound, at most SBITS (BSIGNED: two's complement), and of SBITS without a sign one less
// LEVELS  bounds of a channel, 1 or more, ascending
// OBITS   bits of a result, which hold all from ACT_VAL to ACT_VAL + LEVELS (two's complement where ACT_VAL is negative)
//
// bounds: bound l of lane p in bits (p * LEVELS + l) * BBITS and up; those of channels f * PE and up are word f of a
// memory.
//
// A value in cycle t gives its result in cycle t + 1, with more than one bound in t + 2.
module bnnflow_levels #(
    parameter int PE = 1,
    parameter int SBITS = 8,
    parameter int BBITS = 8,
    parameter bit BSIGNED = 1,
    parameter int LEVELS = 1,
    parameter int OBITS = 1,
    parameter int ACT_VAL = 0
) (
    input logic clk,
    input logic [PE*LEVELS*BBITS-1:0] bounds,
    input logic [PE*SBITS-1:0] values,
    output logic [PE*OBITS-1:0] results
);
  localparam int COUNT = $clog2(LEVELS + 1);
`ifndef __ICARUS__
  if (BBITS + (BSIGNED ? 0 : 1) > SBITS) begin : g_check2
    $error("a bound does not fit SBITS");
  end
  if (LEVELS < 1) begin : g_check
    $error("LEVELS >= 1");
  end
  if (OBITS < 31 && (ACT_VAL < 0
      ? -ACT_VAL > 2 ** (OBITS - 1) || ACT_VAL + LEVELS >= 2 ** (OBITS - 1)
      : ACT_VAL + LEVELS >= 2 ** OBITS)) begin : g_check3
    $error("a result does not fit OBITS");
  end
`endif
  for (genvar p = 0; p < PE; p++) begin : g_lane
    wire signed [SBITS-1:0] value = values[p*SBITS+:SBITS];
    logic [LEVELS-1:0] reached;
    for (genvar l = 0; l < LEVELS; l++) begin : g_bound
      wire [BBITS-1:0] stored = bounds[(p*LEVELS+l)*BBITS+:BBITS];
      wire signed [SBITS-1:0] bound = SBITS'($signed({BSIGNED & stored[BBITS-1], stored}));
      always_ff @(posedge clk) reached[l] <= value >= bound;
    end
    if (LEVELS == 1) begin : g_one
      assign results[p*OBITS+:OBITS] = OBITS'(ACT_VAL) + OBITS'(reached);
    end else begin : g_count
      wire [COUNT-1:0] count = COUNT'($countones(reached));
      always_ff @(posedge clk) results[p*OBITS+:OBITS] <= OBITS'(ACT_VAL) + OBITS'(count);
    end
  end
endmodule

// ACT_VAL and the number of bounds that a value reaches, both counted from the least that they can be.
module reached #(
    parameter int SBITS   = 4,
    parameter int BBITS   = 4,
    parameter bit BSIGNED = 1,
    parameter int LEVELS  = 1,
    parameter int OBITS   = 3,
    parameter int ACT_VAL = 0
) (
    input logic [SBITS-1:0] value,
    input logic [LEVELS*BBITS-1:0] bounds,
    output logic [OBITS-1:0] result
);
  // Half the range higher, numbers in two's complement have the order of those without a sign.
  wire [SBITS-1:0] height = {~value[SBITS-1], value[SBITS-2:0]};
  always_comb begin
    result = OBITS'(ACT_VAL);
    for (int l = 0; l < LEVELS; l++) begin
      if (BSIGNED) begin
        if (height + 2 ** BBITS >= {1'b0, bounds[l*BBITS+:BBITS] ^ BBITS'(2 ** (BBITS - 1))} +
            2 ** (SBITS - 1) + 2 ** (BBITS - 1))
          result = result + 1'b1;
      end else if (32'(height) >= 32'(bounds[l*BBITS+:BBITS]) + 2 ** (SBITS - 1))
        result = result + 1'b1;
    end
  end
endmodule

// Number of ones among N bits: $countones of up to six, else those of two halves, which are those of bnnflow_ones.
//
// That it is $countones for any N is what a sum is: the ones of a word are those of its two halves.
module ones #(
    parameter int N = 6,
    parameter int BITS = 3
) (
    input  logic [   N-1:0] bits,
    output logic [BITS-1:0] count
);
  if (N <= 6) begin : g_leaf
    assign count = BITS'($countones(bits));
  end else begin : g_node
    localparam int HALF = 6 * 2 ** ($clog2((N + 5) / 6) - 1);
    logic [BITS-1:0] low, high;
    ones #(
        .N(HALF),
        .BITS(BITS)
    ) u_low (
        .bits (bits[HALF-1:0]),
        .count(low)
    );
    ones #(
        .N(N - HALF),
        .BITS(BITS)
    ) u_high (
        .bits (bits[N-1:HALF]),
        .count(high)
    );
    assign count = low + high;
  end
endmodule

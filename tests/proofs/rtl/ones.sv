// Number of ones among N bits: $countones of at most LEAF, else those of two halves.
//
// With LEAF >= N it is $countones; with LEAF 3 the halves are those of bnnflow_popcount. That both are the same
// number for any N is what a sum is: the ones of a word are those of its two halves.
module ones #(
    parameter int N = 3,
    parameter int LEAF = 3,
    parameter int BITS = 4
) (
    input  logic [   N-1:0] bits,
    output logic [BITS-1:0] count
);
  localparam int HALF = LEAF * 2 ** ($clog2((N + LEAF - 1) / LEAF) - 1);
  if (N <= LEAF) begin : g_leaf
    assign count = BITS'($countones(bits));
  end else begin : g_node
    logic [BITS-1:0] low, high;
    ones #(
        .N(HALF),
        .LEAF(LEAF),
        .BITS(BITS - 1)
    ) u_low (
        .bits (bits[HALF-1:0]),
        .count(low[BITS-2:0])
    );
    ones #(
        .N(N - HALF),
        .LEAF(LEAF),
        .BITS(BITS - 1)
    ) u_high (
        .bits (bits[N-1:HALF]),
        .count(high[BITS-2:0])
    );
    assign low[BITS-1] = 0;
    assign high[BITS-1] = 0;
    assign count = low + high;
  end
endmodule

// Number of equal bits of x and w, as synthesis of any FPGA makes it from plain logic.
//
// Parameters, count and LATENCY are those of bnnflow_popcount. XNOR in leaves of three synapses (two LUT6 each), whose
// higher and lower bits are counted apart.
module bnnflow_tree #(
    parameter int N = 3,
    parameter bit FEW = 0,
    localparam int LEAVES = (N + 2) / 3,
    localparam int GROUPS = (LEAVES + 5) / 6,
    localparam int LEVELS = GROUPS > 1 ? $clog2(GROUPS) : 0,
    localparam int CBITS = LEAVES > 1 ? 5 + LEVELS : 2
) (
    input logic clk,
    input logic [N-1:0] x,
    input logic [N-1:0] w,
    output logic [CBITS-1:0] count
);
`ifndef __ICARUS__
  if (N < 1) begin : g_check
    $error("N >= 1");
  end
`endif
  logic [LEAVES*3-1:0] wide_x, wide_w;
  logic [LEAVES-1:0] ones, twos;
  always_comb begin
    // What is missing in the last leaf differs.
    wide_x = '0;
    wide_w = '1;
    wide_x[N-1:0] = x;
    wide_w[N-1:0] = w;
  end
  for (genvar i = 0; i < LEAVES; i++) begin : g_leaf
    logic [1:0] equal;
    if (FEW) begin : g_few
      wire [2:0] s = ~(wide_x[3*i+:3] ^ wide_w[3*i+:3]);
      assign equal = {(s[0] & s[1]) | (s[0] & s[2]) | (s[1] & s[2]), s[0] ^ s[1] ^ s[2]};
    end else begin : g_kept
      bnnflow_leaf u_leaf (
          .x(wide_x[3*i+:3]),
          .w(wide_w[3*i+:3]),
          .count(equal)
      );
    end
    always_ff @(posedge clk) {twos[i], ones[i]} <= equal;
  end
  if (LEAVES == 1) begin : g_one
    assign count = {twos, ones};
  end else begin : g_many
    logic [LEVELS+2:0] low, high;
    bnnflow_ones #(
        .N(LEAVES)
    ) u_ones (
        .clk(clk),
        .d(ones),
        .count(low)
    );
    bnnflow_ones #(
        .N(LEAVES)
    ) u_twos (
        .clk(clk),
        .d(twos),
        .count(high)
    );
    wire [CBITS-1:0] now = CBITS'(low) + CBITS'({high, 1'b0});
    if (LEVELS % 2 == 0) begin : g_registered
      always_ff @(posedge clk) count <= now;
    end else begin : g_straight
      assign count = now;
    end
  end
endmodule

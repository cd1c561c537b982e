// Number of equal bits of x and w, up to 32: about 0.8 LUT a bit.
//
// N        bits, 1 to 32
// MERGED   1: no register between counters and the last adder
// LATENCY  2, with MERGED 1
//
// A LUT adds two XNORs to a sum, three in a row, so that of six bits there are one of weight 1 and three of weight 2:
// these are registered, counted by sevens, registered, and added.
module bnnflow_equal_part #(
    parameter int N = 32,
    parameter bit MERGED = 0
) (
    input logic clk,
    input logic [N-1:0] x,
    input logic [N-1:0] w,
    output logic [5:0] count
);
`ifndef __ICARUS__
  if (N < 1 || N > 32) begin : g_check
    $error("N from 1 to 32");
  end
`endif
  localparam int PAIRS = (N + 1) / 2;
  // Of five inputs the parity, and the majority of two XNORs and a bit.
  localparam logic [63:0] PAIR = 64'h9669_6996_F99F_9009;
  logic [2*PAIRS-1:0] wide_x, wide_w;
  always_comb begin
    // What is missing in the last pair differs.
    wide_x = '0;
    wide_w = '1;
    wide_x[N-1:0] = x;
    wide_w[N-1:0] = w;
  end
  // Rests of leaves, and what pairs carry; none where there is none.
  logic [5:0] rests, ones;
  logic [15:0] carries, twos;
  for (genvar i = 0; i < 16; i++) begin : g_pair
    logic below, sum;
    if (i % 3 == 0) begin : g_first
      assign below = 1'b0;
    end else begin : g_later
      assign below = g_pair[i-1].sum;
    end
    if (i < PAIRS) begin : g_lut
      LUT6_2 #(
          .INIT(PAIR)
      ) u_pair (
          .O6(sum),
          .O5(carries[i]),
          .I0(wide_x[2*i]),
          .I1(wide_w[2*i]),
          .I2(wide_x[2*i+1]),
          .I3(wide_w[2*i+1]),
          .I4(below),
          .I5(1'b1)
      );
    end else begin : g_none
      assign {sum, carries[i]} = {below, 1'b0};
    end
    if (i % 3 == 2 || i == 15) begin : g_leaf
      assign rests[i/3] = sum;
    end
  end
  always_ff @(posedge clk) {ones, twos} <= {rests, carries};
  // What is counted, and what is left to the last adder.
  localparam int COUNTED = N <= 6 ? 4 : N <= 18 ? 8 : 11;
  logic [COUNTED-1:0] counted, held;
  if (MERGED) begin : g_now
    assign held = counted;
  end else begin : g_later
    always_ff @(posedge clk) held <= counted;
  end
  if (N <= 6) begin : g_six
    wire unused = &{ones[5:1], twos[15:3]};
    assign counted = {twos[2:0], ones[0]};
    assign count   = {3'b000, 2'($countones(held[3:1])), held[0]};
  end else if (N <= 18) begin : g_eighteen
    wire unused = &{ones[5:3], twos[15:9]};
    logic [4:0] sum;
    bnnflow_seven u_twos (
        .d(twos[6:0]),
        .count(counted[2:0])
    );
    assign counted[7:3] = {twos[8:7], ones[2:0]};
    bnnflow_ternary #(
        .WIDTH(4),
        .SLOTS(4)
    ) u_sum (
        .a({held[2:0], held[3]}),
        .b({2'b00, held[6], held[4]}),
        .c({2'b00, held[7], held[5]}),
        .bits(2'b00),
        .sum(sum)
    );
    assign count = {1'b0, sum};
  end else begin : g_whole
    bnnflow_seven u_ones (
        .d({1'b0, ones}),
        .count(counted[2:0])
    );
    bnnflow_seven u_low (
        .d(twos[6:0]),
        .count(counted[5:3])
    );
    bnnflow_seven u_high (
        .d(twos[13:7]),
        .count(counted[8:6])
    );
    assign counted[10:9] = twos[15:14];
    assign count[0] = held[0];
    bnnflow_ternary #(
        .WIDTH(3)
    ) u_sum (
        .a(held[5:3]),
        .b(held[8:6]),
        .c({1'b0, held[2:1]}),
        .bits(held[10:9]),
        .sum(count[5:1])
    );
  end
endmodule

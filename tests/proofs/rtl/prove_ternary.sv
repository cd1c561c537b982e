// bnnflow_ternary: the sum of three numbers and two bits, where SLOTS hold it.
module prove_ternary #(
    parameter int WIDTH = 3,
    parameter int SLOTS = 4
) (
    input logic clk,
    input logic [WIDTH-1:0] a,
    input logic [WIDTH-1:0] b,
    input logic [WIDTH-1:0] c,
    input logic [1:0] bits
);
  logic [SLOTS:0] sum;
  bnnflow_ternary #(
      .WIDTH(WIDTH),
      .SLOTS(SLOTS)
  ) u_part (
      .a(a),
      .b(b),
      .c(c),
      .bits(bits),
      .sum(sum)
  );
  localparam int WIDE = WIDTH + 2;
  wire [WIDE-1:0] expected = WIDE'(a) + WIDE'(b) + WIDE'(c) + WIDE'(bits[0]) + WIDE'(bits[1]);
  wire held = SLOTS > WIDTH || 2'($countones({a[WIDTH-1], b[WIDTH-1], c[WIDTH-1]})) < 2;
  always_ff @(posedge clk) if (held) assert (WIDE'(sum) == expected);
endmodule

// Sum of N terms in a balanced tree of adders, registered after every second level.
//
// N       terms, 1 to 2**LEVELS; term i in bits i * WIDTH and up
// WIDTH   bits of a term
// LEVELS  of adders
// SIGNED  1: terms and sum are in two's complement
// CARRY   1: N - 1 single bits are added, too, as carries of the adders, which costs nothing
// ODD     0: registers after levels 2, 4, ...; 1: after levels 1, 3, ...
//
// The sum has WIDTH + LEVELS bits and comes (LEVELS + ODD) / 2 (rounded down) cycles after its terms, one sum a cycle.
module bnnflow_sum #(
    parameter int N = 1,
    parameter int WIDTH = 1,
    parameter int LEVELS = 0,
    parameter bit SIGNED = 0,
    parameter bit CARRY = 0,
    parameter bit ODD = 0,
    localparam int CARRIES = N > 1 ? N - 1 : 1
) (
    input logic clk,
    input logic [N*WIDTH-1:0] terms,
    // verilator lint_off UNUSEDSIGNAL
    input logic [CARRIES-1:0] carries,
    // verilator lint_on UNUSEDSIGNAL
    output logic [WIDTH+LEVELS-1:0] sum
);
`ifndef __ICARUS__
  if (N < 1 || N > 2 ** LEVELS) begin : g_check
    $error("N from 1 to 2**LEVELS");
  end
`endif
  localparam int HALF = LEVELS > 0 ? 2 ** (LEVELS - 1) : 1;
  localparam int OUT = WIDTH + LEVELS;
  localparam int BELOW = LEVELS > 0 ? (LEVELS - 1 + int'(ODD)) / 2 : 0;
  if (LEVELS == 0) begin : g_leaf
    wire unused = clk;
    assign sum = terms;
  end else begin : g_node
    localparam int LOW = N < HALF ? N : HALF;
    logic [OUT-2:0] low, high;
    logic [OUT-1:0] now;
    bnnflow_sum #(
        .N(LOW),
        .WIDTH(WIDTH),
        .LEVELS(LEVELS - 1),
        .SIGNED(SIGNED),
        .CARRY(CARRY),
        .ODD(ODD)
    ) u_low (
        .clk(clk),
        .terms(terms[LOW*WIDTH-1:0]),
        .carries(carries[(LOW>1?LOW-1 : 1)-1:0]),
        .sum(low)
    );
    wire [OUT-1:0] a = {SIGNED & low[OUT-2], low};
    wire [OUT-1:0] b = {SIGNED & high[OUT-2], high};
    if (N > HALF) begin : g_high
      // This adder's carry is the last one; those of the lower terms come first, then those of the higher ones.
      localparam int FIRST = N - HALF > 1 ? HALF - 1 : 0;
      bnnflow_sum #(
          .N(N - HALF),
          .WIDTH(WIDTH),
          .LEVELS(LEVELS - 1),
          .SIGNED(SIGNED),
          .CARRY(CARRY),
          .ODD(ODD)
      ) u_high (
          .clk(clk),
          .terms(terms[N*WIDTH-1:HALF*WIDTH]),
          .carries(carries[FIRST+:(N-HALF>1?N-HALF-1 : 1)]),
          .sum(high)
      );
      if (CARRY) begin : g_carry
        logic carry;
        if (BELOW == 0) begin : g_now
          assign carry = carries[N-2];
        end else begin : g_later
          logic [BELOW-1:0] line;
          always_ff @(posedge clk) line <= BELOW'({line, carries[N-2]});
          assign carry = line[BELOW-1];
        end
        // A carry into the lowest bit, as all tools understand it.
        // verilator lint_off UNUSEDSIGNAL
        wire [OUT:0] whole = {a, 1'b1} + {b, carry};
        // verilator lint_on UNUSEDSIGNAL
        assign now = whole[OUT:1];
      end else begin : g_plain
        assign now = a + b;
      end
    end else begin : g_none
      assign high = '0;
      assign now  = a;
      wire unused = &b;
    end
    if ((LEVELS + int'(ODD)) % 2 == 0) begin : g_registered
      always_ff @(posedge clk) sum <= now;
    end else begin : g_straight
      assign sum = now;
    end
  end
endmodule

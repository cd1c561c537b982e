// Sum of three numbers and two bits: one LUT a digit and a carry chain.
//
// WIDTH  bits of a number
// SLOTS  LUTs: WIDTH + 1, or WIDTH where at most one of the three highest digits is 1
//
// The sum has SLOTS + 1 bits. A LUT makes of three digits their sum, to which the chain adds what it carries, and their
// carry, which goes to the next LUT and is its second summand in the chain (as ternary adders of FPGAs are made).
module bnnflow_ternary #(
    parameter int WIDTH = 1,
    parameter int SLOTS = WIDTH + 1
) (
    input logic [WIDTH-1:0] a,
    input logic [WIDTH-1:0] b,
    input logic [WIDTH-1:0] c,
    input logic [1:0] bits,
    output logic [SLOTS:0] sum
);
`ifndef __ICARUS__
  if (WIDTH < 1 || SLOTS < WIDTH || SLOTS > WIDTH + 1) begin : g_check
    $error("WIDTH >= 1, SLOTS WIDTH or one more");
  end
`endif
  // Of the first four inputs the parity, of the first three the majority.
  localparam logic [63:0] ADD = 64'h6996_6996_E8E8_E8E8;
  localparam int CHAINS = (SLOTS + 3) / 4;
  wire [SLOTS-1:0] a_all = SLOTS'(a);
  wire [SLOTS-1:0] b_all = SLOTS'(b);
  wire [SLOTS-1:0] c_all = SLOTS'(c);
  logic [CHAINS*4-1:0] odd, others;
  // Of the last chain some places are beyond the sum, and nothing is above the last LUT.
  // verilator lint_off UNUSEDSIGNAL
  logic [CHAINS*4-1:0] sums, carries;
  // What each LUT hands on: one a place, not a vector, or simulators would see a circle.
  for (genvar i = 0; i < CHAINS * 4; i++) begin : g_slot
    logic below, above;
    // verilator lint_on UNUSEDSIGNAL
    assign others[i] = below;
    if (i == 0) begin : g_first
      assign below = bits[0];
    end else begin : g_later
      assign below = g_slot[i-1].above;
    end
    if (i < SLOTS) begin : g_lut
      LUT6_2 #(
          .INIT(ADD)
      ) u_add (
          .O6(odd[i]),
          .O5(above),
          .I0(a_all[i]),
          .I1(b_all[i]),
          .I2(c_all[i]),
          .I3(below),
          .I4(1'b0),
          .I5(1'b1)
      );
    end else begin : g_none
      assign odd[i] = 1'b0;
      assign above  = 1'b0;
    end
  end
  for (genvar i = 0; i < CHAINS; i++) begin : g_chain
    logic start, into;
    if (i == 0) begin : g_first
      assign {start, into} = {bits[1], 1'b0};
    end else begin : g_later
      assign {start, into} = {1'b0, carries[4*i-1]};
    end
    CARRY4 u_chain (
        .CO(carries[4*i+:4]),
        .O(sums[4*i+:4]),
        .CI(into),
        .CYINIT(start),
        .DI(others[4*i+:4]),
        .S(odd[4*i+:4])
    );
  end
  assign sum = {carries[SLOTS-1], sums[SLOTS-1:0]};
endmodule

// Number of ones of seven bits: two LUTs and their carry chain.
//
// Bits 0 to 4 are counted by twos in the second LUT; what is left of them, bit 5 and bit 6, the carry into the chain,
// are added in the first. Of Preusser (arXiv:1806.08095), there as a part of compressors of four LUTs.
module bnnflow_seven (
    input  logic [6:0] d,
    output logic [2:0] count
);
  // No bit or one of the five is none of two, two or three are one, four or five are two.
  localparam logic [63:0] PARITY = 64'h6996_9669_9669_6996;
  localparam logic [63:0] TWOS = 64'h177E_7EE8_E880_8000;
  logic odd, one, two, unused_odd;
  logic [3:0] sums, carries;
  wire unused = &{unused_odd, sums[3:2], carries[3:2], carries[0]};
  LUT6_2 #(
      .INIT(PARITY)
  ) u_odd (
      .O6(odd),
      .O5(unused_odd),
      .I0(d[0]),
      .I1(d[1]),
      .I2(d[2]),
      .I3(d[3]),
      .I4(d[4]),
      .I5(d[5])
  );
  LUT6_2 #(
      .INIT(TWOS)
  ) u_twos (
      .O6(one),
      .O5(two),
      .I0(d[0]),
      .I1(d[1]),
      .I2(d[2]),
      .I3(d[3]),
      .I4(d[4]),
      .I5(1'b1)
  );
  CARRY4 u_chain (
      .CO(carries),
      .O(sums),
      .CI(1'b0),
      .CYINIT(d[6]),
      .DI({2'b00, two, d[5]}),
      .S({2'b00, one, odd})
  );
  assign count = {carries[1], sums[1:0]};
endmodule

// What Xilinx's LUT6_2 computes, for simulators that have no models of its primitives; not for synthesis.
//
// INIT  bit i: O6 where the inputs, I0 lowest, are i; O5 is that of the first five with I5 at 0
module LUT6_2 #(
    parameter logic [63:0] INIT = 64'h0
) (
    output logic O6,
    output logic O5,
    input  logic I0,
    input  logic I1,
    input  logic I2,
    input  logic I3,
    input  logic I4,
    input  logic I5
);
  assign O6 = INIT[{I5, I4, I3, I2, I1, I0}];
  assign O5 = INIT[{1'b0, I4, I3, I2, I1, I0}];
endmodule

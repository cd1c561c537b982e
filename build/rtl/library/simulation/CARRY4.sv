// What Xilinx's CARRY4 computes, for simulators that have no models of its primitives; not for synthesis.
//
// O is S plus the carry into each place; CO what each place carries on: what comes in where S is 1, else DI.
module CARRY4 (
    output logic [3:0] CO,
    output logic [3:0] O,
    input logic CI,
    input logic CYINIT,
    input logic [3:0] DI,
    input logic [3:0] S
);
  wire into = CI | CYINIT;
  wire one = S[0] ? into : DI[0];
  wire two = S[1] ? one : DI[1];
  wire three = S[2] ? two : DI[2];
  wire four = S[3] ? three : DI[3];
  assign CO = {four, three, two, one};
  assign O  = S ^ {three, two, one, into};
endmodule

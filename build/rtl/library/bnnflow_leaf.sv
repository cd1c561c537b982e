// Number of equal bits of three and three: two functions of six bits, a LUT6 each.
//
// A module of its own: flattened into a tree, the tools share its XNORs and take three LUTs.
(* keep_hierarchy *)
module bnnflow_leaf (
    input  logic [2:0] x,
    input  logic [2:0] w,
    output logic [1:0] count
);
  wire [2:0] s = ~(x ^ w);
  assign count = {(s[0] & s[1]) | (s[0] & s[2]) | (s[1] & s[2]), s[0] ^ s[1] ^ s[2]};
endmodule

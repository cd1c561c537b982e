// bnnflow_seven: $countones; and model_LUT6_2 and model_CARRY4, which are simulated, against those of yosys.
module prove_seven #(
    parameter logic [63:0] INIT = 64'h0
) (
    input logic clk,
    input logic [6:0] d,
    input logic [9:0] c
);
  logic [2:0] count;
  bnnflow_seven u_part (
      .d(d),
      .count(count)
  );
  logic [1:0] o5, o6;
  logic [3:0] co, o, model_co, model_o;
  LUT6_2 #(
      .INIT(INIT)
  ) u_lut (
      .O6(o6[0]),
      .O5(o5[0]),
      .I0(d[0]),
      .I1(d[1]),
      .I2(d[2]),
      .I3(d[3]),
      .I4(d[4]),
      .I5(d[5])
  );
  model_LUT6_2 #(
      .INIT(INIT)
  ) u_model_lut (
      .O6(o6[1]),
      .O5(o5[1]),
      .I0(d[0]),
      .I1(d[1]),
      .I2(d[2]),
      .I3(d[3]),
      .I4(d[4]),
      .I5(d[5])
  );
  CARRY4 u_chain (
      .CO(co),
      .O(o),
      .CI(c[0]),
      .CYINIT(c[1]),
      .DI(c[5:2]),
      .S(c[9:6])
  );
  model_CARRY4 u_model_chain (
      .CO(model_co),
      .O(model_o),
      .CI(c[0]),
      .CYINIT(c[1]),
      .DI(c[5:2]),
      .S(c[9:6])
  );
  always_ff @(posedge clk) begin
    assert (count == 3'($countones(d)));
    assert (o5[0] == o5[1] && o6[0] == o6[1]);
    assert (co == model_co && o == model_o);
  end
endmodule

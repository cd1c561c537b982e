// Sums of two streams (FINN AddStreams): a word of each in, a word out.
//
// PE       values of a word
// A, B     bits of the values of each (ASIGNED, BSIGNED: two's complement), OBITS of a sum
// DEPTH    places of the output
module bnnflow_add_streams #(
    parameter int PE = 1,
    parameter int ABITS = 1,
    parameter bit ASIGNED = 0,
    parameter int BBITS = 1,
    parameter bit BSIGNED = 0,
    parameter int OBITS = 2,
    parameter int DEPTH = 2
) (
    input logic clk,
    input logic rst,
    input logic a_valid,
    output logic a_ready,
    input logic [PE*ABITS-1:0] a_data,
    input logic b_valid,
    output logic b_ready,
    input logic [PE*BBITS-1:0] b_data,
    output logic m_valid,
    input logic m_ready,
    output logic [PE*OBITS-1:0] m_data,
    output logic m_push
);
`ifndef __ICARUS__
  if (OBITS < ABITS || OBITS < BBITS) begin : g_check
    $error("a sum does not fit OBITS");
  end
`endif
  logic free;
  logic [PE*OBITS-1:0] sums;
  wire step = a_valid & b_valid & free;
  assign a_ready = b_valid & free;
  assign b_ready = a_valid & free;
  for (genvar p = 0; p < PE; p++) begin : g_lane
    wire [OBITS-1:0] a = OBITS'($signed({ASIGNED & a_data[(p+1)*ABITS-1], a_data[p*ABITS+:ABITS]}));
    wire [OBITS-1:0] b = OBITS'($signed({BSIGNED & b_data[(p+1)*BBITS-1], b_data[p*BBITS+:BBITS]}));
    assign sums[p*OBITS+:OBITS] = a + b;
  end
  assign m_push = step;
  bnnflow_fifo #(
      .WIDTH(PE * OBITS),
      .DEPTH(DEPTH)
  ) u_out (
      .clk(clk),
      .rst(rst),
      .free(free),
      .take(step),
      .push(m_push),
      .push_data(sums),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(m_data)
  );
endmodule

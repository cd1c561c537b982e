// The stream of a matrix of constants whose rows are bnnflow_neuron beside it: a vector a word, its results a word.
//
// IN       bits of a vector, value 0 lowest
// OUT      bits of its results, row 0 lowest
// LATENCY  cycles from a word to its results, 2 or more: one more than that of the rows
// DEPTH    places of the output
//
// x is the word that was read in the cycle before; results, those of x, come LATENCY - 1 cycles behind it, and are
// offered a cycle later.
module bnnflow_unrolled #(
    parameter int IN = 1,
    parameter int OUT = 1,
    parameter int LATENCY = 2,
    parameter int DEPTH = 2
) (
    input logic clk,
    input logic rst,
    output logic [IN-1:0] x,
    input logic [OUT-1:0] results,
    input logic s_valid,
    output logic s_ready,
    input logic [IN-1:0] s_data,
    output logic m_valid,
    input logic m_ready,
    output logic [OUT-1:0] m_data,
    output logic m_push
);
`ifndef __ICARUS__
  if (LATENCY < 2) begin : g_check
    $error("LATENCY >= 2");
  end
`endif
  logic free;
  wire  step = s_valid & free;
  assign s_ready = free;
  always_ff @(posedge clk) x <= s_data;
  bnnflow_delay #(
      .CYCLES(LATENCY)
  ) u_push (
      .clk(clk),
      .rst(rst),
      .d  (step),
      .q  (m_push)
  );
  bnnflow_fifo #(
      .WIDTH  (OUT),
      .DEPTH  (DEPTH),
      .LATENCY(LATENCY)
  ) u_out (
      .clk(clk),
      .rst(rst),
      .free(free),
      .take(step),
      .push(m_push),
      .push_data(results),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(m_data)
  );
endmodule

// Width converter to wider words: N words in, the first lowest, one word out with the last.
//
// WIDTH  bits of a narrow word; N of them make a wide one, 2 or more
// DEPTH  places of the output
//
// The wide word is offered the cycle after its last part was read.
module bnnflow_widen #(
    parameter int WIDTH = 1,
    parameter int N = 2,
    parameter int DEPTH = 2
) (
    input logic clk,
    input logic rst,
    input logic s_valid,
    output logic s_ready,
    input logic [WIDTH-1:0] s_data,
    output logic m_valid,
    input logic m_ready,
    output logic [N*WIDTH-1:0] m_data,
    output logic m_push
);
  localparam int NBITS = $clog2(N);
`ifndef __ICARUS__
  if (N < 2) begin : g_check
    $error("N >= 2");
  end
`endif
  logic [NBITS-1:0] part;
  logic [(N-1)*WIDTH-1:0] held;
  // A register: what reads and what is held wait for it.
  logic last;
  logic free;
  wire step = s_valid & s_ready;
  wire [N*WIDTH-1:0] whole = {s_data, held};
  assign s_ready = free | ~last;
  always_ff @(posedge clk) begin
    if (step) held <= whole[N*WIDTH-1:WIDTH];
    if (step) begin
      part <= last ? '0 : part + 1'b1;
      last <= part == NBITS'(N - 2);
    end
    if (rst) begin
      part <= '0;
      last <= 1'b0;
    end
  end
  assign m_push = step & last;
  bnnflow_fifo #(
      .WIDTH(N * WIDTH),
      .DEPTH(DEPTH)
  ) u_out (
      .clk(clk),
      .rst(rst),
      .free(free),
      .take(step & last),
      .push(m_push),
      .push_data(whole),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(m_data)
  );
endmodule

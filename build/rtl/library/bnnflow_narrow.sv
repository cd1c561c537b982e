// Width converter to narrower words: one word in, N words out, its lowest part first.
//
// WIDTH  bits of a narrow word; a wide one has N of them, 2 or more
// DEPTH  places of the output
//
// The first part leaves with the reading; N - 1 more steps follow before the next word is read.
module bnnflow_narrow #(
    parameter int WIDTH = 1,
    parameter int N = 2,
    parameter int DEPTH = 2
) (
    input logic clk,
    input logic rst,
    input logic s_valid,
    output logic s_ready,
    input logic [N*WIDTH-1:0] s_data,
    output logic m_valid,
    input logic m_ready,
    output logic [WIDTH-1:0] m_data,
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
  // A register: as part == 0, tools take the comparison into every bit that it chooses.
  logic first;
  logic free;
  wire step = free & (s_valid | ~first);
  assign s_ready = free & first;
  always_ff @(posedge clk) begin
    if (step)
      held <= first ? s_data[N*WIDTH-1:WIDTH] : ((N - 1) * WIDTH)'({WIDTH'(0), held} >> WIDTH);
    if (step) begin
      part  <= part == NBITS'(N - 1) ? '0 : part + 1'b1;
      first <= part == NBITS'(N - 1);
    end
    if (rst) begin
      part  <= '0;
      first <= 1'b1;
    end
  end
  assign m_push = step;
  bnnflow_fifo #(
      .WIDTH(WIDTH),
      .DEPTH(DEPTH)
  ) u_out (
      .clk(clk),
      .rst(rst),
      .free(free),
      .take(step),
      .push(m_push),
      .push_data(first ? s_data[WIDTH-1:0] : held[WIDTH-1:0]),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(m_data)
  );
endmodule

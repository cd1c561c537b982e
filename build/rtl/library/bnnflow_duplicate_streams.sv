// The same stream to every reader (FINN DuplicateStreams): a word in, N words out when all of them have a place.
//
// WIDTH   bits of a word
// N       readers, 1 or more; DEPTHS, 32 bits each, are the places of their buffers, the first lowest
module bnnflow_duplicate_streams #(
    parameter int WIDTH = 1,
    parameter int N = 2,
    parameter logic [32*N-1:0] DEPTHS = {N{32'd2}}
) (
    input logic clk,
    input logic rst,
    input logic s_valid,
    output logic s_ready,
    input logic [WIDTH-1:0] s_data,
    output logic [N-1:0] m_valid,
    input logic [N-1:0] m_ready,
    output logic [N*WIDTH-1:0] m_data,
    output logic [N-1:0] m_push
);
  logic [N-1:0] free;
  wire step = s_valid & s_ready;
  assign s_ready = &free;
  assign m_push  = {N{step}};
  for (genvar i = 0; i < N; i++) begin : g_reader
    bnnflow_fifo #(
        .WIDTH(WIDTH),
        .DEPTH(int'(DEPTHS[32*i+:32]))
    ) u_out (
        .clk(clk),
        .rst(rst),
        .free(free[i]),
        .take(step),
        .push(step),
        .push_data(s_data),
        .m_valid(m_valid[i]),
        .m_ready(m_ready[i]),
        .m_data(m_data[i*WIDTH+:WIDTH])
    );
  end
endmodule

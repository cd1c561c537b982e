// bnnflow_duplicate_streams: every reader, whatever the others do, gets every word.
module prove_duplicate_streams #(
    parameter int WIDTH = 1,
    parameter int N = 2,
    parameter logic [32*N-1:0] DEPTHS = {N{32'd2}}
) (
    input logic clk,
    input logic rst,
    input logic s_valid,
    input logic [WIDTH-1:0] s_data,
    input logic [N-1:0] m_ready
);
  logic s_ready;
  logic [N-1:0] m_valid;
  logic [N*WIDTH-1:0] m_data;
  bnnflow_duplicate_streams #(
      .WIDTH(WIDTH),
      .N(N),
      .DEPTHS(DEPTHS)
  ) u_part (
      .clk(clk),
      .rst(rst),
      .s_valid(s_valid),
      .s_ready(s_ready),
      .s_data(s_data),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(m_data)
  );
  for (genvar i = 0; i < N; i++) begin : g_reader
    scoreboard #(
        .WIDTH(WIDTH),
        .MOST(int'(DEPTHS[32*i+:32])),
        .PATIENCE(int'(DEPTHS[32*i+:32]) + 1)
    ) u_board (
        .clk(clk),
        .rst(rst),
        .due(s_valid & s_ready),
        .may_pick(1'b1),
        .value(s_data),
        .waits(s_valid & ~s_ready & (&m_ready)),
        .m_valid(m_valid[i]),
        .m_ready(m_ready[i]),
        .m_data(m_data[i*WIDTH+:WIDTH])
    );
  end
endmodule

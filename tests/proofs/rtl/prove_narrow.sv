// bnnflow_narrow: each word gives its N parts, the lowest first.
module prove_narrow #(
    parameter int WIDTH = 1,
    parameter int N = 2,
    parameter int DEPTH = 2
) (
    input logic clk,
    input logic rst,
    input logic s_valid,
    input logic [N*WIDTH-1:0] s_data,
    input logic m_ready
);
  logic s_ready, m_valid;
  logic [WIDTH-1:0] m_data;
  bnnflow_narrow #(
      .WIDTH(WIDTH),
      .N(N),
      .DEPTH(DEPTH)
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
  scoreboard #(
      .WIDTH(WIDTH),
      .BURST(N),
      .MOST(DEPTH + N - 1),
      // With one place a word leaves every second cycle.
      .PATIENCE(2 * (DEPTH + N))
  ) u_board (
      .clk(clk),
      .rst(rst),
      .due(s_valid & s_ready),
      .may_pick(1'b1),
      .value(s_data),
      .waits(s_valid & ~s_ready),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(m_data)
  );
endmodule

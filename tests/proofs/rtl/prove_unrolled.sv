// bnnflow_unrolled: each word's results, here the word itself, LATENCY - 1 cycles behind x.
module prove_unrolled #(
    parameter int IN = 1,
    parameter int LATENCY = 2,
    parameter int DEPTH = 2
) (
    input logic clk,
    input logic rst,
    input logic s_valid,
    input logic [IN-1:0] s_data,
    input logic m_ready
);
  logic s_ready, m_valid, m_push;
  logic [IN-1:0] x, m_data;
  logic [IN*(LATENCY-1)-1:0] line;
  always_ff @(posedge clk) line <= (IN * (LATENCY - 1))'({line, x});
  bnnflow_unrolled #(
      .IN(IN),
      .OUT(IN),
      .LATENCY(LATENCY),
      .DEPTH(DEPTH)
  ) u_part (
      .clk(clk),
      .rst(rst),
      .x(x),
      .results(line[IN*(LATENCY-1)-1-:IN]),
      .s_valid(s_valid),
      .s_ready(s_ready),
      .s_data(s_data),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(m_data),
      .m_push(m_push)
  );
  scoreboard #(
      .WIDTH(IN),
      .MOST(DEPTH + LATENCY),
      .PATIENCE(DEPTH + LATENCY + 1)
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

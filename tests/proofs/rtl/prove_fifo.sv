// bnnflow_fifo: words pushed LATENCY cycles after their places were taken come out as a stream; a place is free
// exactly while fewer than DEPTH + LATENCY are taken, a word is offered from the cycle after its push on.
module prove_fifo #(
    parameter int WIDTH   = 1,
    parameter int DEPTH   = 2,
    parameter int LATENCY = 1
) (
    input logic clk,
    input logic rst,
    input logic wish,
    input logic m_ready,
    input logic [WIDTH-1:0] data
);
  localparam int PLACES = DEPTH + LATENCY;
  localparam int BITS = $clog2(PLACES + 1);
  logic free, push, m_valid;
  logic [WIDTH-1:0] m_data;
  wire take = wish & free;
  if (LATENCY == 0) begin : g_now
    assign push = take;
  end else begin : g_later
    logic [LATENCY-1:0] line;
    always_ff @(posedge clk) line <= rst ? '0 : LATENCY'({line, take});
    assign push = line[LATENCY-1];
  end
  logic [BITS-1:0] taken, stored;
  wire out = m_valid & m_ready;
  always_ff @(posedge clk) begin
    taken  <= rst ? '0 : taken + BITS'(take) - BITS'(out);
    stored <= rst ? '0 : stored + BITS'(push) - BITS'(out);
    if (!rst) assert (free == (int'(taken) < PLACES) && m_valid == (stored != 0));
  end
  bnnflow_fifo #(
      .WIDTH  (WIDTH),
      .DEPTH  (DEPTH),
      .LATENCY(LATENCY)
  ) u_part (
      .clk(clk),
      .rst(rst),
      .free(free),
      .take(take),
      .push(push),
      .push_data(data),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(m_data)
  );
  scoreboard #(
      .WIDTH(WIDTH),
      .MOST(PLACES),
      .PATIENCE(PLACES + 1)
  ) u_board (
      .clk(clk),
      .rst(rst),
      .due(push),
      .may_pick(1'b1),
      .value(data),
      .waits(wish & ~free),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(m_data)
  );
endmodule

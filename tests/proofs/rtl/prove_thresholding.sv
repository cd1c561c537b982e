// bnnflow_thresholding: of each word the results of its lanes, with the bounds whose turn it is, READ cycles after they
// are asked for.
module prove_thresholding #(
    parameter int WORDS = 2,
    parameter int PE = 1,
    parameter int XBITS = 2,
    parameter bit XSIGNED = 0,
    parameter int SBITS = 3,
    parameter int BBITS = 3,
    parameter bit BSIGNED = 1,
    parameter int LEVELS = 1,
    parameter int OBITS = 2,
    parameter int ACT_VAL = 0,
    parameter int READ = 1,
    parameter int DEPTH = 2
) (
    input logic clk,
    input logic rst,
    input logic s_valid,
    input logic [PE*XBITS-1:0] s_data,
    input logic m_ready
);
  localparam int EACH = PE * LEVELS * BBITS;
  logic s_ready, m_valid, bounds_next;
  logic [EACH-1:0] bounds;
  logic [PE*OBITS-1:0] m_data, now;
  bnnflow_thresholding #(
      .PE(PE),
      .XBITS(XBITS),
      .XSIGNED(XSIGNED),
      .SBITS(SBITS),
      .BBITS(BBITS),
      .BSIGNED(BSIGNED),
      .LEVELS(LEVELS),
      .OBITS(OBITS),
      .ACT_VAL(ACT_VAL),
      .READ(READ),
      .DEPTH(DEPTH)
  ) u_part (
      .clk(clk),
      .rst(rst),
      .bounds_next(bounds_next),
      .bounds(bounds),
      .s_valid(s_valid),
      .s_ready(s_ready),
      .s_data(s_data),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(m_data)
  );
  logic [WORDS*EACH-1:0] all;
  turns #(
      .WORDS(WORDS),
      .WIDTH(EACH),
      .READ (READ)
  ) u_bounds (
      .clk (clk),
      .rst (rst),
      .next(bounds_next),
      .data(bounds),
      .all (all)
  );
  logic [7:0] word;
  wire read = s_valid & s_ready;
  always_ff @(posedge clk)
    if (rst) word <= '0;
    else if (read) word <= int'(word) == WORDS - 1 ? '0 : word + 1'b1;
  wire [EACH-1:0] mine = EACH'(all >> (int'(word) * EACH));
  for (genvar p = 0; p < PE; p++) begin : g_lane
    wire sign = XSIGNED & s_data[(p+1)*XBITS-1];
    reached #(
        .SBITS  (SBITS),
        .BBITS  (BBITS),
        .BSIGNED(BSIGNED),
        .LEVELS (LEVELS),
        .OBITS  (OBITS),
        .ACT_VAL(ACT_VAL)
    ) u_lane (
        .value ({{(SBITS - XBITS) {sign}}, s_data[p*XBITS+:XBITS]}),
        .bounds(mine[p*LEVELS*BBITS+:LEVELS*BBITS]),
        .result(now[p*OBITS+:OBITS])
    );
  end
  localparam int LATENCY = READ + (LEVELS == 1 ? 1 : 2);
  scoreboard #(
      .WIDTH(PE * OBITS),
      .MOST(DEPTH + LATENCY),
      .PATIENCE(DEPTH + 2 * LATENCY + 1)
  ) u_board (
      .clk(clk),
      .rst(rst),
      .due(read),
      .may_pick(1'b1),
      .value(now),
      .waits(s_valid & ~s_ready),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(m_data)
  );
endmodule

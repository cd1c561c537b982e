// bnnflow_concat: of each pixel the words of the first input, then those of the second, ..., as wider values.
module prove_concat #(
    parameter int N = 2,
    parameter int SIMD = 1,
    parameter int XMAX = 2,
    parameter logic [32*N-1:0] WORDS = {32'd1, 32'd2},
    parameter logic [32*N-1:0] XBITS = {32'd2, 32'd1},
    parameter logic [N-1:0] SIGNED = 2'b10,
    parameter int OBITS = 3,
    parameter int DEPTH = 2
) (
    input logic clk,
    input logic rst,
    input logic [N-1:0] s_valid,
    input logic [N*SIMD*XMAX-1:0] s_data,
    input logic m_ready
);
  logic [N-1:0] s_ready;
  logic m_valid;
  logic [SIMD*OBITS-1:0] m_data;
  bnnflow_concat #(
      .N(N),
      .SIMD(SIMD),
      .XMAX(XMAX),
      .WORDS(WORDS),
      .XBITS(XBITS),
      .SIGNED(SIGNED),
      .OBITS(OBITS),
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
  // The place in a pixel says which input's turn it is.
  function automatic int first(input int n);
    first = 0;
    for (int i = 0; i < N; i++) if (i < n) first = first + int'(WORDS[32*i+:32]);
  endfunction
  localparam int ALL = first(N);
  localparam int BITS = $clog2(ALL + 1);
  logic [BITS-1:0] place;
  logic [N-1:0] turn;
  logic [N*SIMD*OBITS-1:0] wide;
  for (genvar n = 0; n < N; n++) begin : g_input
    localparam int B = int'(XBITS[32*n+:32]);
    assign turn[n] = int'(place) >= first(n) && int'(place) < first(n + 1);
    for (genvar i = 0; i < SIMD; i++) begin : g_lane
      wire [B-1:0] x = s_data[(n*SIMD+i)*XMAX+:B];
      // The bits above are the sign.
      assign wide[(n*SIMD+i)*OBITS+:OBITS] = {{(OBITS - B) {SIGNED[n] & x[B-1]}}, x};
    end
  end
  logic [SIMD*OBITS-1:0] value;
  always_comb begin
    value = '0;
    for (int n = 0; n < N; n++) if (turn[n]) value = wide[n*SIMD*OBITS+:SIMD*OBITS];
  end
  wire read = |(s_valid & s_ready);
  always_ff @(posedge clk) begin
    if (!rst) assert ((s_valid & s_ready & ~turn) == '0);
    if (rst) place <= '0;
    else if (read) place <= int'(place) == ALL - 1 ? '0 : place + 1'b1;
  end
  scoreboard #(
      .WIDTH(SIMD * OBITS),
      .MOST(DEPTH),
      .PATIENCE(DEPTH + 1)
  ) u_board (
      .clk(clk),
      .rst(rst),
      .due(read),
      .may_pick(1'b1),
      .value(value),
      .waits((s_valid & turn) != '0 & ~read),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(m_data)
  );
endmodule

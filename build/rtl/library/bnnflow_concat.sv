// Channels of several streams, one behind the other (FINN StreamingConcat).
//
// N       inputs, 2 or more; WORDS, 32 bits each, are the words of a pixel of each, the first lowest
// SIMD    values of a word
// XBITS   bits of the inputs' values, 32 bits each, the first lowest; SIGNED, a bit each: two's complement
// XMAX    greatest of XBITS: value i of input n lies in bits (n * SIMD + i) * XMAX and up
// OBITS   bits of a result, enough for all
// DEPTH   places of the output
//
// For each pixel all words of the first input, then those of the second, ...; a word a step.
module bnnflow_concat #(
    parameter int N = 2,
    parameter int SIMD = 1,
    parameter int XMAX = 1,
    parameter logic [32*N-1:0] WORDS = {N{32'd1}},
    parameter logic [32*N-1:0] XBITS = {N{32'd1}},
    parameter logic [N-1:0] SIGNED = '0,
    parameter int OBITS = 1,
    parameter int DEPTH = 2
) (
    input logic clk,
    input logic rst,
    input logic [N-1:0] s_valid,
    output logic [N-1:0] s_ready,
    input logic [N*SIMD*XMAX-1:0] s_data,
    output logic m_valid,
    input logic m_ready,
    output logic [SIMD*OBITS-1:0] m_data,
    output logic m_push
);
  localparam int NB = $clog2(N);
  logic [NB-1:0] turn;
  logic [31:0] word;
  logic free;
  wire step = s_valid[turn] & free;
  wire ends = word == WORDS[32*turn+:32] - 1;
  logic [N*SIMD*OBITS-1:0] wide;
  for (genvar n = 0; n < N; n++) begin : g_input
    localparam int B = int'(XBITS[32*n+:32]);
`ifndef __ICARUS__
    if (B > XMAX || B > OBITS) begin : g_check
      $error("a value does not fit OBITS");
    end
`endif
    assign s_ready[n] = free & (turn == NB'(n));
    for (genvar i = 0; i < SIMD; i++) begin : g_lane
      wire [XMAX-1:0] x = s_data[(n*SIMD+i)*XMAX+:XMAX];
      assign wide[(n*SIMD+i)*OBITS+:OBITS] = OBITS'($signed({SIGNED[n] & x[B-1], x[B-1:0]}));
    end
  end
  always_ff @(posedge clk) begin
    if (step) begin
      word <= ends ? '0 : word + 1'b1;
      if (ends) turn <= turn == NB'(N - 1) ? '0 : turn + 1'b1;
    end
    if (rst) begin
      word <= '0;
      turn <= '0;
    end
  end
  assign m_push = step;
  bnnflow_fifo #(
      .WIDTH(SIMD * OBITS),
      .DEPTH(DEPTH)
  ) u_out (
      .clk(clk),
      .rst(rst),
      .free(free),
      .take(step),
      .push(m_push),
      .push_data(wide[turn*SIMD*OBITS+:SIMD*OBITS]),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(m_data)
  );
endmodule

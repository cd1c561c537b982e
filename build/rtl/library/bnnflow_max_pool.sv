// Maxima of windows that do not overlap (FINN StreamingMaxPool). Words are whole pixels.
//
// H, W      map; KH, KW kernel and stride, that divide it
// C, XBITS  channels, and bits of each; SIGNED 1: two's complement
// DEPTH     places of the output
//
// A pixel a step; the last one of a window writes its maxima.
module bnnflow_max_pool #(
    parameter int H = 2,
    parameter int W = 2,
    parameter int KH = 2,
    parameter int KW = 2,
    parameter int C = 1,
    parameter int XBITS = 1,
    parameter bit SIGNED = 0,
    parameter int DEPTH = 2
) (
    input logic clk,
    input logic rst,
    input logic s_valid,
    output logic s_ready,
    input logic [C*XBITS-1:0] s_data,
    output logic m_valid,
    input logic m_ready,
    output logic [C*XBITS-1:0] m_data,
    output logic m_push
);
  localparam int OW = W / KW;
  localparam int XB = KW > 1 ? $clog2(KW) : 1;
  localparam int YB = KH > 1 ? $clog2(KH) : 1;
  localparam int OB = OW > 1 ? $clog2(OW) : 1;
  // With their sign bit turned values compare as they are.
  localparam logic [XBITS-1:0] TURN = XBITS'(SIGNED) << (XBITS - 1);
`ifndef __ICARUS__
  if (H % KH != 0 || W % KW != 0) begin : g_check
    $error("the kernel divides the map");
  end
`endif

  logic [XB-1:0] kx;
  logic [YB-1:0] ky;
  logic [OB-1:0] ox;
  logic free;
  wire kx_ends = kx == XB'(KW - 1);
  wire ky_ends = ky == YB'(KH - 1);
  wire ox_ends = ox == OB'(OW - 1);
  wire whole = kx_ends & ky_ends;
  wire step = s_valid & s_ready;
  assign s_ready = free | ~whole;

  // Maxima of the row's windows so far.
  logic [C*XBITS-1:0] rows[OW];
  wire [C*XBITS-1:0] earlier = rows[ox];
  // Registers: as logic of the counters they would be repeated for every channel.
  logic begins, top;
  logic [C*XBITS-1:0] most;
  if (XBITS == 1 && !SIGNED) begin : g_bits
    assign most = s_data | (begins ? '0 : earlier);
  end else begin : g_values
    for (genvar c = 0; c < C; c++) begin : g_channel
      wire [XBITS-1:0] a = s_data[c*XBITS+:XBITS];
      wire [XBITS-1:0] b = earlier[c*XBITS+:XBITS];
      wire greater = (a ^ TURN) > (b ^ TURN);
      assign most[c*XBITS+:XBITS] = begins | greater ? a : b;
    end
  end
  always_ff @(posedge clk) begin
    if (step) rows[ox] <= most;
    if (step) begin
      kx <= kx_ends ? '0 : kx + 1'b1;
      if (kx_ends) ox <= ox_ends ? '0 : ox + 1'b1;
      if (kx_ends & ox_ends) begin
        ky  <= ky_ends ? '0 : ky + 1'b1;
        top <= ky_ends;
      end
      begins <= kx_ends & (ox_ends ? ky_ends : top);
    end
    if (rst) begin
      begins <= 1'b1;
      top <= 1'b1;
      kx <= '0;
      ky <= '0;
      ox <= '0;
    end
  end
  assign m_push = step & whole;
  bnnflow_fifo #(
      .WIDTH(C * XBITS),
      .DEPTH(DEPTH)
  ) u_out (
      .clk(clk),
      .rst(rst),
      .free(free),
      .take(step & whole),
      .push(m_push),
      .push_data(most),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(m_data)
  );
endmodule

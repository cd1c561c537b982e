// Which of several sets of words a network's memories read, changed between two images.
//
// SETS  1 or more
//
// began, ended: images so far, but for one that begins or ends now. wanted is taken over when the first image with the
// set before has left, or if none began with it: set is then read from image number at on. settled: all images with the
// set before have left.
module bnnflow_sets #(
    parameter  int SETS  = 1,
    localparam int SBITS = SETS > 1 ? $clog2(SETS) : 1
) (
    input logic clk,
    input logic rst,
    input logic [SBITS-1:0] wanted,
    input logic begins,
    input logic ends,
    input logic [31:0] began,
    input logic [31:0] ended,
    output logic [SBITS-1:0] set,
    output logic [31:0] at,
    output logic settled
);
`ifndef __ICARUS__
  if (SETS < 1) begin : g_check
    $error("SETS >= 1");
  end
`endif
  // Whether the first image with this set has left; numbers alone do not say it of images long ago.
  logic left;
  always_ff @(posedge clk) begin
    if (ends & (ended == at)) left <= 1'b1;
    if (wanted != set && (left || (at == began && !begins))) begin
      set <= wanted;
      at <= began + 32'(begins);
      left <= 1'b0;
      settled <= 1'b0;
    end else if (ended == at) settled <= 1'b1;
    if (rst) begin
      set  <= '0;
      at   <= '0;
      left <= 1'b0;
    end
  end
endmodule

// What happens on a stream: cycles in which a word waits, and the most words in the FIFO in front of it.
//
// PBITS  bits that hold the FIFO's places
//
// push: a word is written into the FIFO, valid and ready: of its output. A word that is being written and one that is
// being read both count. clear: both figures begin again.
module bnnflow_monitor #(
    parameter int PBITS = 4
) (
    input logic clk,
    input logic rst,
    input logic clear,
    input logic push,
    input logic valid,
    input logic ready,
    output logic [31:0] stalls,
    output logic [31:0] peak
);
  logic [PBITS-1:0] fill, most;
  wire read = valid & ready;
  wire [PBITS-1:0] held = fill + PBITS'(push);
  assign peak = 32'(most);
  always_ff @(posedge clk) begin
    fill <= held - PBITS'(read);
    if (held > most) most <= held;
    if (valid & ~ready & ~(&stalls)) stalls <= stalls + 1'b1;
    if (rst | clear) begin
      most   <= '0;
      stalls <= '0;
    end
    if (rst) fill <= '0;
  end
endmodule

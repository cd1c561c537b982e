// Walk through the rows of a memory in cycles in which nobody else reads them.
//
// ROWS   1 or more
// PAUSE  from one row to the next are 2**PAUSE cycles or more; 1 or more
//
// looks: row is read in this cycle, which is the first without busy behind the pause. Rows come in turn, the first again
// behind the last.
module bnnflow_scrubber #(
    parameter  int ROWS  = 2,
    parameter  int PAUSE = 4,
    localparam int RBITS = ROWS > 1 ? $clog2(ROWS) : 1
) (
    input logic clk,
    input logic rst,
    input logic busy,
    output logic looks,
    output logic [RBITS-1:0] row
);
`ifndef __ICARUS__
  if (ROWS < 1 || PAUSE < 1) begin : g_check
    $error("ROWS, PAUSE >= 1");
  end
`endif
  logic [PAUSE-1:0] since;
  assign looks = &since & ~busy;
  always_ff @(posedge clk) begin
    since <= looks ? '0 : since + PAUSE'(~&since);
    if (looks) row <= row == RBITS'(ROWS - 1) ? '0 : row + 1'b1;
    if (rst) begin
      since <= '0;
      row   <= '0;
    end
  end
endmodule

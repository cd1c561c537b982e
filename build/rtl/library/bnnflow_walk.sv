// How the words of windows follow each other: run by run, row by row, group by group, and window by window.
//
// A window is OUTER groups of ROWS runs of RUN words; a map has OH rows of OW windows. All 1 or more.
//
// step moves on to the next word. What ends with the present one: its run; with the run, the rows of its group; with
// them, the groups of its window; with these, the windows of their row; with these, the map.
module bnnflow_walk #(
    parameter int RUN = 1,
    parameter int ROWS = 1,
    parameter int OUTER = 1,
    parameter int OW = 1,
    parameter int OH = 1
) (
    input  logic clk,
    input  logic rst,
    input  logic step,
    output logic run_ends,
    output logic row_ends,
    output logic group_ends,
    output logic x_ends,
    output logic y_ends
);
  localparam int RBITS = RUN > 1 ? $clog2(RUN) : 1;
  localparam int KBITS = ROWS > 1 ? $clog2(ROWS) : 1;
  localparam int OBITS = OUTER > 1 ? $clog2(OUTER) : 1;
  localparam int XBITS = OW > 1 ? $clog2(OW) : 1;
  localparam int YBITS = OH > 1 ? $clog2(OH) : 1;
`ifndef __ICARUS__
  if (RUN < 1 || ROWS < 1 || OUTER < 1 || OW < 1 || OH < 1) begin : g_check
    $error("RUN, ROWS, OUTER, OW, OH >= 1");
  end
`endif

  logic [RBITS-1:0] run;
  logic [KBITS-1:0] row;
  logic [OBITS-1:0] group;
  logic [XBITS-1:0] x;
  logic [YBITS-1:0] y;
  wire window_ends = run_ends & row_ends & group_ends;
  // Whether each counter is at its end: registers, since addresses and the count of what is there wait for them.
  always_ff @(posedge clk) begin
    if (step) begin
      run <= run_ends ? '0 : run + 1'b1;
      if (run_ends) row <= row_ends ? '0 : row + 1'b1;
      if (run_ends & row_ends) group <= group_ends ? '0 : group + 1'b1;
      if (window_ends) x <= x_ends ? '0 : x + 1'b1;
      if (window_ends & x_ends) y <= y_ends ? '0 : y + 1'b1;
      run_ends <= RUN == 1 || run == RBITS'(RUN - 2);
      if (run_ends) row_ends <= ROWS == 1 || row == KBITS'(ROWS - 2);
      if (run_ends & row_ends) group_ends <= OUTER == 1 || group == OBITS'(OUTER - 2);
      if (window_ends) x_ends <= OW == 1 || x == XBITS'(OW - 2);
      if (window_ends & x_ends) y_ends <= OH == 1 || y == YBITS'(OH - 2);
    end
    if (rst) begin
      run <= '0;
      row <= '0;
      group <= '0;
      x <= '0;
      y <= '0;
      run_ends <= RUN == 1;
      row_ends <= ROWS == 1;
      group_ends <= OUTER == 1;
      x_ends <= OW == 1;
      y_ends <= OH == 1;
    end
  end
endmodule

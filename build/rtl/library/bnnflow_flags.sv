// What comes with a sum of a row: whether it is one, the first and the last of its row, and when bounds are asked for.
//
// READ    cycles from a step to its weights, and from bounds_next to bounds: 1, or 2
// SUM     cycles of the products of a step and their sum, 0 or more
// LEVELS  bounds a row
//
// step, first, last: of bnnflow_vector; is_sum, is_first, is_last: of the step of READ + SUM cycles ago. A single bound
// comes with the first sum of a row, many behind the last one.
module bnnflow_flags #(
    parameter int READ   = 1,
    parameter int SUM    = 1,
    parameter int LEVELS = 1
) (
    input  logic clk,
    input  logic rst,
    input  logic step,
    input  logic first,
    input  logic last,
    output logic is_sum,
    output logic is_first,
    output logic is_last,
    output logic bounds_next
);
`ifndef __ICARUS__
  if (READ < 1 || READ > 2 || SUM < 0 || LEVELS < 0) begin : g_check
    $error("READ is 1 or 2, SUM, LEVELS >= 0");
  end
`endif
  // ahead: one cycle before, early: two.
  logic early, ahead, ahead_first, ahead_last;
  bnnflow_delay #(
      .WIDTH (3),
      .CYCLES(READ - 1 + SUM)
  ) u_flags (
      .clk(clk),
      .rst(rst),
      .d  ({step, first, last}),
      .q  ({ahead, ahead_first, ahead_last})
  );
  always_ff @(posedge clk)
    {is_sum, is_first, is_last} <= rst ? '0 : {ahead, ahead_first, ahead_last};
  if (READ == 1) begin : g_at_once
    assign early = 1'b0;
  end else begin : g_early
    bnnflow_delay #(
        .CYCLES(READ - 2 + SUM)
    ) u_early (
        .clk(clk),
        .rst(rst),
        .d  (step & first),
        .q  (early)
    );
  end
  if (LEVELS == 0) begin : g_no_bounds
    wire unused = early;
    assign bounds_next = 1'b0;
  end else if (LEVELS == 1) begin : g_bound
    assign bounds_next = READ == 1 ? ahead & ahead_first : early;
  end else begin : g_bounds
    wire unused = early;
    assign bounds_next = READ == 1 ? is_sum & is_last : ahead & ahead_last;
  end
endmodule

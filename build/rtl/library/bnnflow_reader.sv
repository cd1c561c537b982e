// Which row of a guarded memory is read: for the unit, else for the scrubber.
//
// Parameters, set and at are those of bnnflow_guarded_memory.
//
// read: the row; looks: it is read for the scrubber. place: of the unit's word in the row that comes out of the memory.
module bnnflow_reader #(
    parameter  int WORDS  = 2,
    parameter  int SETS   = 1,
    parameter  int JOINED = 1,
    parameter  int PASSES = 1,
    parameter  int IBITS  = 8,
    parameter  int LATE   = 0,
    parameter  int SCRUB  = 0,
    localparam int ROWS   = (WORDS + JOINED - 1) / JOINED,
    localparam int RBITS  = SETS * ROWS > 1 ? $clog2(SETS * ROWS) : 1,
    localparam int SBITS  = SETS > 1 ? $clog2(SETS) : 1,
    localparam int JBITS  = JOINED > 1 ? $clog2(JOINED) : 1
) (
    input logic clk,
    input logic rst,
    input logic next,
    input logic [SBITS-1:0] set,
    input logic [IBITS-1:0] at,
    output logic [RBITS-1:0] read,
    output logic looks,
    output logic [JBITS-1:0] place
);
`ifndef __ICARUS__
  if (LATE < 0 || LATE > 1 || SCRUB < 0) begin : g_check
    $error("LATE is 0 or 1, SCRUB >= 0");
  end
`endif
  logic [RBITS-1:0] addr, turn, walk;
  logic [JBITS-1:0] part;
  bnnflow_turn #(
      .WORDS (WORDS),
      .SETS  (SETS),
      .JOINED(JOINED),
      .PASSES(PASSES),
      .IBITS (IBITS)
  ) u_turn (
      .clk (clk),
      .rst (rst),
      .next(next),
      .set (set),
      .at  (at),
      .addr(addr),
      .part(part)
  );
  bnnflow_delay #(
      .WIDTH (RBITS),
      .CYCLES(LATE)
  ) u_late (
      .clk(clk),
      .rst(1'b0),
      .d  (addr),
      .q  (turn)
  );
  bnnflow_delay #(
      .WIDTH (JBITS),
      .CYCLES(1 + LATE)
  ) u_place (
      .clk(clk),
      .rst(1'b0),
      .d  (part),
      .q  (place)
  );
  if (SCRUB > 0) begin : g_scrub
    bnnflow_scrubber #(
        .ROWS (SETS * ROWS),
        .PAUSE(SCRUB)
    ) u_scrubber (
        .clk  (clk),
        .rst  (rst),
        .busy (next),
        .looks(looks),
        .row  (walk)
    );
  end else begin : g_no_scrub
    assign looks = 1'b0;
    assign walk  = '0;
  end
  assign read = looks ? walk : turn;
endmodule

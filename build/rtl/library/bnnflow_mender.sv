// Rows of a memory that were read with an error, written back.
//
// ROWS   of the memory, 1 or more; BITS of each, in its code
// CODED  0: there is no code, and nothing to mend
//
// stored rows come a cycle behind their address. used, looks: row is read now for the unit, or to see whether it is
// right. A cycle later: corrected, with repaired to be written, or beyond correction. write: the host writes now. mend:
// written is written to mend_row, unless the host writes; mended: that is done. failed: a row that the unit reads is
// beyond correction.
module bnnflow_mender #(
    parameter  int ROWS  = 2,
    parameter  int BITS  = 1,
    parameter  bit CODED = 1,
    localparam int RBITS = ROWS > 1 ? $clog2(ROWS) : 1
) (
    input logic clk,
    input logic rst,
    input logic used,
    input logic looks,
    input logic [RBITS-1:0] row,
    input logic write,
    input logic corrected,
    input logic beyond,
    input logic [BITS-1:0] repaired,
    output logic mend,
    output logic [RBITS-1:0] mend_row,
    output logic [BITS-1:0] written,
    output logic mended,
    output logic failed
);
`ifndef __ICARUS__
  if (ROWS < 1 || BITS < 1) begin : g_check
    $error("ROWS, BITS >= 1");
  end
`endif
  if (CODED) begin : g_coded
    // A row is written back three cycles after its address. Until then, and where the host wrote, what is read is old.
    // Nothing is written at power-up, before a reset.
    initial mend = 1'b0;
    logic was_used, looked;
    logic [RBITS-1:0] from;
    logic [1:0] old;
    wire begins = (was_used | looked) & corrected & (old == '0) & ~write;
    // No always_ff: what it writes, no initial may write, too.
    always @(posedge clk) begin
      was_used <= used & ~rst;
      looked <= looks & ~rst;
      from <= row;
      written <= repaired;
      mend_row <= from;
      mend <= begins & ~rst;
      failed <= was_used & beyond & ~rst;
      old <= rst ? '0 : write | begins ? 2'd3 : old == '0 ? '0 : old - 1'b1;
    end
    assign mended = mend & ~write;
  end else begin : g_plain
    wire unused = &{clk, rst, used, looks, row, write, corrected, beyond, repaired};
    assign mend = 1'b0;
    assign mend_row = '0;
    assign written = '0;
    assign mended = 1'b0;
    assign failed = 1'b0;
  end
endmodule

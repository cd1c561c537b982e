// What the host of a network writes: see bnnflow_control, whose parameters and addresses these are.
//
// write_addr and write_data are those of a write. A cycle later: clear, wanted, row and data are what was asked for, and
// writes says which memory gets the row, with row and data as they were written before.
module bnnflow_asked #(
    parameter int MEMORIES = 1,
    parameter int SETS = 1,
    parameter int ROW = 1,
    localparam int MANY = MEMORIES > 0 ? MEMORIES : 1,
    localparam int SBITS = SETS > 1 ? $clog2(SETS) : 1
) (
    input logic clk,
    input logic rst,
    input logic write,
    // verilator lint_off UNUSEDSIGNAL
    input logic [15:0] write_addr,
    input logic [31:0] write_data,
    // verilator lint_on UNUSEDSIGNAL
    output logic clear,
    output logic [SBITS-1:0] wanted,
    output logic [MANY-1:0] writes,
    output logic [31:0] row,
    output logic [ROW-1:0] data
);
  localparam int PARTS = (ROW + 31) / 32;
`ifndef __ICARUS__
  if (MEMORIES < 0 || SETS < 1 || ROW < 1) begin : g_check
    $error("MEMORIES >= 0, SETS, ROW >= 1");
  end
`endif

  logic [31:0] memory;
  logic stores;
  // Nothing is written at power-up, before a reset.
  initial stores = 1'b0;
  // No always_ff: what it writes, no initial may write, too.
  // verilator lint_off WIDTHTRUNC
  always @(posedge clk) begin
    clear  <= write & (write_addr[15:2] == 14'h009) & ~rst;
    stores <= write & (write_addr[15:2] == 14'h015) & ~rst;
    memory <= write_data;
    if (write & (write_addr[15:2] == 14'h010) & (write_data < SETS))
      wanted <= write_data[SBITS-1:0];
    if (write & (write_addr[15:2] == 14'h014)) row <= write_data;
    if (rst) begin
      wanted <= '0;
      row <= '0;
    end
  end
  // verilator lint_on WIDTHTRUNC
  for (genvar i = 0; i < PARTS; i++) begin : g_part
    localparam int WIDE = i < PARTS - 1 ? 32 : ROW - 32 * i;
    always_ff @(posedge clk)
      if (write & write_addr[15] & (write_addr[14:2] == 13'(i)))
        data[32*i+:WIDE] <= write_data[WIDE-1:0];
  end
  for (genvar i = 0; i < MANY; i++) begin : g_memory
    assign writes[i] = stores & (memory == i);
  end
endmodule

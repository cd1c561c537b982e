// AXI4-Lite slave of 32-bit registers: one write or read at a time, no wait states, always answered OKAY.
//
// ABITS  bits of a byte address, whose lowest two are ignored
//
// write: in one cycle, with write_addr and write_data; strobes are ignored, words are written whole. read_addr: of the
// register whose read_data are to be there READ cycles later.
module bnnflow_axi_lite #(
    parameter int ABITS = 16,
    parameter int READ  = 2
) (
    input logic clk,
    input logic rst,
    input logic awvalid,
    output logic awready,
    input logic [ABITS-1:0] awaddr,
    input logic wvalid,
    output logic wready,
    input logic [31:0] wdata,
    output logic bvalid,
    input logic bready,
    output logic [1:0] bresp,
    input logic arvalid,
    output logic arready,
    input logic [ABITS-1:0] araddr,
    output logic rvalid,
    input logic rready,
    output logic [31:0] rdata,
    output logic [1:0] rresp,
    output logic write,
    output logic [ABITS-1:0] write_addr,
    output logic [31:0] write_data,
    output logic [ABITS-1:0] read_addr,
    input logic [31:0] read_data
);
  assign bresp = 2'b00;
  assign rresp = 2'b00;

  wire writes = awvalid & wvalid & ~bvalid & ~rst;
  assign awready = writes;
  assign wready  = writes;
  always_ff @(posedge clk) begin
    write <= writes;
    write_addr <= awaddr;
    write_data <= wdata;
    bvalid <= ~rst & (writes | (bvalid & ~bready));
  end

  logic [READ:0] under_way;
  assign arready = ~rvalid & ~(|under_way) & ~rst;
  always_ff @(posedge clk) begin
    under_way <= rst ? '0 : {under_way[READ-1:0], arvalid & arready};
    if (arvalid & arready) read_addr <= araddr;
    if (under_way[READ]) rdata <= read_data;
    rvalid <= ~rst & (under_way[READ] | (rvalid & ~rready));
  end
endmodule

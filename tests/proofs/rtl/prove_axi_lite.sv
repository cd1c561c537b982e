// bnnflow_axi_lite: each transaction is answered once, an answer waits unchanged, one write and one read at a time; a
// strobe a write; what is read is what was there READ cycles after its address.
module prove_axi_lite #(
    parameter  int READ  = 2,
    localparam int ABITS = 4
) (
    input logic clk,
    input logic rst,
    input logic awvalid,
    input logic [ABITS-1:0] awaddr,
    input logic wvalid,
    input logic [31:0] wdata,
    input logic bready,
    input logic arvalid,
    input logic [ABITS-1:0] araddr,
    input logic rready,
    input logic [31:0] read_data
);
  logic awready, wready, bvalid, arready, rvalid, write;
  logic [1:0] bresp, rresp;
  logic [31:0] rdata, write_data;
  logic [ABITS-1:0] write_addr, read_addr;
  bnnflow_axi_lite #(
      .ABITS(ABITS),
      .READ (READ)
  ) u_part (
      .clk(clk),
      .rst(rst),
      .awvalid(awvalid),
      .awready(awready),
      .awaddr(awaddr),
      .wvalid(wvalid),
      .wready(wready),
      .wdata(wdata),
      .bvalid(bvalid),
      .bready(bready),
      .bresp(bresp),
      .arvalid(arvalid),
      .arready(arready),
      .araddr(araddr),
      .rvalid(rvalid),
      .rready(rready),
      .rdata(rdata),
      .rresp(rresp),
      .write(write),
      .write_addr(write_addr),
      .write_data(write_data),
      .read_addr(read_addr),
      .read_data(read_data)
  );
  logic first;
  initial first = 1;
  always_ff @(posedge clk) first <= 0;
  always_comb if (first) assume (rst);

  // A write: address and data are taken together, in the next cycle it is told and answered.
  wire takes = awvalid & awready;
  logic told, owed;
  logic [ABITS-1:0] to;
  logic [31:0] what;
  // A read, and for how many cycles it has been under way.
  wire asks = arvalid & arready;
  logic reading, answered;
  logic [7:0] age;
  logic [ABITS-1:0] from;
  logic [31:0] offered;
  // Cycles in which someone waits although all answers are taken.
  logic [7:0] write_waits, read_waits;
  always_ff @(posedge clk) begin
    told <= takes;
    to   <= awaddr;
    what <= wdata;
    owed <= takes | (owed & ~bready);
    if (asks) begin
      reading <= 1;
      age <= 1;
      from <= araddr;
    end else if (reading) begin
      age <= age + 8'(age != '1);
      if (rvalid & rready) reading <= 0;
    end
    if (reading && int'(age) == READ + 1) offered <= read_data;
    write_waits <= awvalid & wvalid & bready & ~takes ? write_waits + 8'(write_waits != '1) : '0;
    read_waits  <= arvalid & rready & ~asks ? read_waits + 8'(read_waits != '1) : '0;
    if (rst) begin
      owed <= 0;
      reading <= 0;
      write_waits <= '0;
      read_waits <= '0;
    end
    assert (takes == (wvalid & wready) && !(rst & (takes | asks)));
    if (!first) assert (write == told);
    if (!first && told) assert (write_addr == to && write_data == what);
    if (!rst) begin
      assert (bvalid == owed && bresp == 0 && rresp == 0);
      if (takes) assert (!owed);
      if (asks) assert (!reading);
      assert (rvalid == (reading && int'(age) > READ + 1));
      if (reading && int'(age) <= READ + 1) assert (read_addr == from);
      if (rvalid) assert (rdata == offered);
      assert (int'(write_waits) <= 1 && int'(read_waits) <= READ + 2);
    end
  end
endmodule

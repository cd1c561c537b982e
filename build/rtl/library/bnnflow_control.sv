// Registers of a network: what it is, what it did, and what the host asks of its memories.
//
// HASH      first 128 bits of the network's sha256
// ENTRY, LEAVE  words of an image at the input and at the output
// STREAMS   streams that are watched; MEMORIES, that can be written or correct errors; 0: none
// SETS      of words in each memory
// ROW       bits of data of the longest row of a memory
//
// Addresses in bytes; counters of images and cycles are of 32 bits and begin again behind the greatest number,
// stalls stay at it:
//   0000 "BNNF"   0004 version of this table   0008 000c 0010 0014 HASH, its first bits first
//   0018 STREAMS   001c MEMORIES   0020 SETS
//   0024 cycles; written: cycles, stalls, peaks, interval, latency, mended and failed begin again
//   0028 images that began   002c images that ended, since the reset
//   0030 cycles between the ends of the last two images
//   0034 cycles from the first word of an image to its last, of the last image that was timed
//   0038 rows of memories that were corrected and written back   003c words that were read and beyond correction
//   0040 set that is asked for, a greater number than there is changes nothing   0044 set that is read   0048 number of the first image that reads it, from 0 on
//   004c 1: all images in front of that one have left
//   0050 row   0054 written: the row of the memory of this number gets the data
//   4000 + 8 i: stalls of stream i, cycles in which a word waited   4004 + 8 i: most words in its FIFO
//   8000 + 4 i: bits 32 i and up of the data of a row
// A set that is asked for waits until the first image with the one before has left, if that one began.
module bnnflow_control #(
    parameter logic [127:0] HASH = '0,
    parameter int ENTRY = 1,
    parameter int LEAVE = 1,
    parameter int STREAMS = 1,
    parameter int MEMORIES = 1,
    parameter int SETS = 1,
    parameter int ROW = 1,
    localparam int MANY = MEMORIES > 0 ? MEMORIES : 1,
    localparam int SBITS = SETS > 1 ? $clog2(SETS) : 1
) (
    input logic clk,
    input logic rst,
    // Of bnnflow_axi_lite.
    input logic write,
    // verilator lint_off UNUSEDSIGNAL
    input logic [15:0] write_addr,
    input logic [31:0] write_data,
    input logic [15:0] read_addr,
    // verilator lint_on UNUSEDSIGNAL
    output logic [31:0] read_data,
    // A word enters, a word leaves.
    input logic in,
    input logic out,
    output logic clear,
    input logic [32*STREAMS-1:0] stalls,
    input logic [32*STREAMS-1:0] peaks,
    // To and from memories.
    output logic [SBITS-1:0] set,
    output logic [31:0] at,
    output logic [MANY-1:0] writes,
    output logic [31:0] row,
    output logic [ROW-1:0] data,
    input logic [MANY-1:0] mended,
    input logic [MANY-1:0] failed
);
  localparam int CBITS = $clog2(MANY + 1);

  logic begins, ends;
  logic [31:0] cycles, began, ended, interval, latency;
  bnnflow_images #(
      .ENTRY(ENTRY),
      .LEAVE(LEAVE)
  ) u_images (
      .clk(clk),
      .rst(rst),
      .clear(clear),
      .in(in),
      .out(out),
      .begins(begins),
      .ends(ends),
      .cycles(cycles),
      .began(began),
      .ended(ended),
      .interval(interval),
      .latency(latency)
  );
  logic [31:0] repairs, losses;
  // Unsigned, which $countones is not, nor what it is cast to.
  wire [CBITS-1:0] mends = CBITS'($countones(mended));
  wire [CBITS-1:0] fails = CBITS'($countones(failed));
  always_ff @(posedge clk) begin
    repairs <= repairs + 32'(mends);
    losses  <= losses + 32'(fails);
    if (rst | clear) begin
      repairs <= '0;
      losses  <= '0;
    end
  end

  logic [SBITS-1:0] wanted;
  bnnflow_asked #(
      .MEMORIES(MEMORIES),
      .SETS(SETS),
      .ROW(ROW)
  ) u_asked (
      .clk(clk),
      .rst(rst),
      .write(write),
      .write_addr(write_addr),
      .write_data(write_data),
      .clear(clear),
      .wanted(wanted),
      .writes(writes),
      .row(row),
      .data(data)
  );
  logic settled;
  bnnflow_sets #(
      .SETS(SETS)
  ) u_sets (
      .clk(clk),
      .rst(rst),
      .wanted(wanted),
      .begins(begins),
      .ends(ends),
      .began(began),
      .ended(ended),
      .set(set),
      .at(at),
      .settled(settled)
  );

  // What it reads, two cycles after the address.
  wire [12:0] stream = read_addr[15:3] & 13'h7ff;
  logic [31:0] plain, watched;
  always_ff @(posedge clk) begin
    case (read_addr[7:2])
      6'h00:   plain <= 32'h464e4e42;
      6'h01:   plain <= 32'd1;
      6'h02:   plain <= HASH[127:96];
      6'h03:   plain <= HASH[95:64];
      6'h04:   plain <= HASH[63:32];
      6'h05:   plain <= HASH[31:0];
      6'h06:   plain <= STREAMS;
      6'h07:   plain <= MEMORIES;
      6'h08:   plain <= SETS;
      6'h09:   plain <= cycles;
      6'h0a:   plain <= began;
      6'h0b:   plain <= ended;
      6'h0c:   plain <= interval;
      6'h0d:   plain <= latency;
      6'h0e:   plain <= repairs;
      6'h0f:   plain <= losses;
      6'h10:   plain <= 32'(wanted);
      6'h11:   plain <= 32'(set);
      6'h12:   plain <= at;
      6'h13:   plain <= 32'(settled);
      6'h14:   plain <= row;
      default: plain <= '0;
    endcase
    watched <= '0;
    for (int i = 0; i < STREAMS; i++)
    if (stream == 13'(i)) watched <= read_addr[2] ? peaks[32*i+:32] : stalls[32*i+:32];
    read_data <= read_addr[15] ? '0 : read_addr[14] ? watched : read_addr[13:8] == '0 ? plain : '0;
  end
endmodule

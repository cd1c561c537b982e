// Steps of a matrix-vector product, and the vector: read in its first SF steps, kept for the rows that follow.
//
// WIDTH  bits of a word
// SF     words of a vector, a step each, 1 or more
// NF     times that a vector is gone through, 1 or more
// READ   cycles from a step to its word, 1 or more
// STYLE  "auto", "block" or "distributed": where a vector is kept
//
// step: one is done; first, last: it is the first, the last of SF, and waits for free in the latter case. x: the word of
// the step of READ cycles ago.
module bnnflow_vector #(
    parameter int WIDTH = 1,
    parameter int SF = 1,
    parameter int NF = 1,
    parameter int READ = 1,
    // verilator lint_off UNUSEDPARAM
    parameter STYLE = "auto"
    // verilator lint_on UNUSEDPARAM
) (
    input logic clk,
    input logic rst,
    input logic s_valid,
    output logic s_ready,
    input logic [WIDTH-1:0] s_data,
    input logic free,
    output logic step,
    output logic first,
    output logic last,
    output logic [WIDTH-1:0] x
);
  localparam int SFBITS = SF > 1 ? $clog2(SF) : 1;
  localparam int NFBITS = NF > 1 ? $clog2(NF) : 1;
`ifndef __ICARUS__
  if (WIDTH < 1 || SF < 1 || NF < 1 || READ < 1) begin : g_check
    $error("WIDTH, SF, NF, READ >= 1");
  end
`endif

  // Whether a step reads and whether it ends a row are registers, since streams and memories wait for both.
  logic [SFBITS-1:0] sf;
  logic [NFBITS-1:0] nf;
  logic reads;
  assign first = sf == 0;
  assign step = (s_valid | ~reads) & (free | ~last);
  assign s_ready = reads & (free | ~last);
  always_ff @(posedge clk) begin
    if (step) begin
      sf   <= last ? '0 : sf + 1'b1;
      last <= SF == 1 || (SF > 1 && sf == SFBITS'(SF - 2));
      if (last) begin
        nf <= nf == NFBITS'(NF - 1) ? '0 : nf + 1'b1;
        reads <= nf == NFBITS'(NF - 1);
      end
    end
    if (rst) begin
      sf <= '0;
      nf <= '0;
      reads <= 1'b1;
      last <= SF == 1;
    end
  end

  // Cycles from a step to its word in `read`.
  localparam int FOUND = NF > 1 && READ > 1 ? 2 : 1;
  logic [WIDTH-1:0] read;
  if (NF == 1) begin : g_once
    always_ff @(posedge clk) read <= s_data;
  end else begin : g_kept
    (* ram_style = STYLE *)
    logic [WIDTH-1:0] vector[SF];
    always_ff @(posedge clk) if (step && reads) vector[sf] <= s_data;
    if (FOUND == 2) begin : g_written
      // A cycle behind its step a word is in its place, whether that step read it or found it there.
      logic [SFBITS-1:0] place;
      always_ff @(posedge clk) begin
        place <= sf;
        read  <= vector[place];
      end
    end else begin : g_chosen
      logic [WIDTH-1:0] now;
      assign now = vector[sf];
      always_ff @(posedge clk) read <= reads ? s_data : now;
    end
  end
  bnnflow_delay #(
      .WIDTH (WIDTH),
      .CYCLES(READ - FOUND)
  ) u_read (
      .clk(clk),
      .rst(1'b0),
      .d  (read),
      .q  (x)
  );
endmodule

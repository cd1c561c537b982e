// bnnflow_monitor: cycles in which a word waits, up to the greatest number, and whether a number of words, any, was
// ever in the FIFO since its figures began again.
//
// Registers begin with any values: what is said of the next cycle holds of any number of stalls.
module prove_monitor #(
    parameter int PBITS = 2
) (
    input logic clk,
    input logic rst,
    input logic clear,
    input logic push,
    input logic valid,
    input logic ready
);
  logic [31:0] stalls, peak;
  bnnflow_monitor #(
      .PBITS(PBITS)
  ) u_part (
      .clk(clk),
      .rst(rst),
      .clear(clear),
      .push(push),
      .valid(valid),
      .ready(ready),
      .stalls(stalls),
      .peak(peak)
  );
  (* anyconst *) logic [PBITS-1:0] number;
  logic there, known, seen, cleared, waited;
  logic [PBITS:0] count;
  logic [31:0] last;
  initial there = 0;
  initial known = 0;
  wire [PBITS:0] held = count + (PBITS + 1)'(push);
  // Of a FIFO: a word is offered from the cycle after its push on, and there is a place for each.
  always_comb if (known) assume (!(valid && count == 0) && int'(held) < 2 ** PBITS);
  always_ff @(posedge clk) begin
    there <= 1;
    last <= stalls;
    cleared <= rst | clear;
    waited <= valid & ~ready;
    count <= rst ? '0 : held - (PBITS + 1)'(valid & ready);
    if (rst) known <= 1;
    seen <= rst | clear ? 1'b0 : seen | (held >= number);
    if (there) begin
      if (cleared)
        assert (stalls == 0);
        else if (waited && last != '1)
          assert (stalls == last + 1);
          else assert (stalls == last);
    end
    if (known && number != 0) assert (seen == (peak >= 32'(number)));
  end
endmodule

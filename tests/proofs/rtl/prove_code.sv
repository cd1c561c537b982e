// bnnflow_code: rows in which any bits are flipped, at most MOST in a codeword, or, of three copies, of a bit.
//
// What is read of a codeword is its data where it corrects all that is flipped. Which codeword a stored bit is of
// follows from the header, counted anew.
module prove_code #(
    parameter int DATA = 8,
    parameter int COPIES = 1,
    parameter int LIMIT = 8,
    parameter int CHECKS = 1,
    parameter int WAYS = 1,
    parameter logic [(CHECKS > 0 ? CHECKS : 1)*LIMIT-1:0] COLUMNS = '1,
    parameter bit CORRECTS = 0,
    parameter bit ZEROS = 0,
    parameter int MOST = 2
) (
    input logic clk,
    input logic [DATA-1:0] data,
    input logic [(COPIES == 3 ? 3 : 1+CHECKS)*DATA-1:0] flips
);
  localparam int GROUPS = (DATA + LIMIT * WAYS - 1) / (LIMIT * WAYS);
  localparam int SHARE = (DATA + GROUPS - 1) / GROUPS;
  localparam int WORDS = COPIES == 3 ? DATA : GROUPS * WAYS;
  // Codewords of a group of so many bits, and where a group begins.
  function automatic int codewords(input int bits);
    codewords = bits < WAYS ? bits : WAYS;
  endfunction
  function automatic int begins(input int group);
    begins = group * (SHARE + CHECKS * codewords(SHARE));
  endfunction
  localparam int REST = DATA - (GROUPS - 1) * SHARE;
  localparam int CODED = begins(GROUPS - 1) + REST + CHECKS * codewords(REST);
  localparam int BITS = COPIES == 3 ? 3 * DATA : CODED;
  // Of a stored bit: group, place in it, bits of data of the group; then codeword, and bit of the data or a check bit.
  function automatic int group(input int i);
    group = i / (SHARE + CHECKS * codewords(SHARE));
  endfunction
  function automatic int mine(input int i);
    mine = group(i) == GROUPS - 1 ? REST : SHARE;
  endfunction
  function automatic int place(input int i);
    place = i - begins(group(i));
  endfunction
  function automatic bit is_data(input int i);
    is_data = COPIES == 3 || place(i) < mine(i);
  endfunction
  function automatic int codeword(input int i);
    int at;
    at = is_data(i) ? place(i) : place(i) - mine(i);
    codeword = COPIES == 3 ? i % DATA : group(i) * WAYS + at % codewords(mine(i));
  endfunction
  function automatic int of_data(input int i);
    of_data = COPIES == 3 ? i % DATA : group(i) * SHARE + place(i);
  endfunction

  logic [DATA-1:0] decoded;
  logic [BITS-1:0] encoded, mended;
  logic corrected, failed;
  wire [BITS-1:0] mask = flips[BITS-1:0];
  wire [BITS-1:0] stored = encoded ^ mask;
  bnnflow_code #(
      .DATA(DATA),
      .COPIES(COPIES),
      .LIMIT(LIMIT),
      .CHECKS(CHECKS),
      .WAYS(WAYS),
      .COLUMNS(COLUMNS),
      .CORRECTS(CORRECTS),
      .ZEROS(ZEROS)
  ) u_part (
      .data(data),
      .encoded(encoded),
      .stored(stored),
      .decoded(decoded),
      .mended(mended),
      .corrected(corrected),
      .failed(failed)
  );

  // Flips of each codeword, and whether it reads right, and tells.
  logic [WORDS-1:0] right, bad, few, none, odd;
  logic [16*BITS-1:0] owner;
  for (genvar w = 0; w < WORDS; w++) begin : g_word
    logic [BITS-1:0] here;
    for (genvar i = 0; i < BITS; i++) begin : g_bit
      assign here[i] = mask[i] & (owner[16*i+:16] == 16'(w));
    end
    // No bit below the lowest one is left: none, or one alone; of those, the same again.
    wire [BITS-1:0] others = here & (here - 1'b1);
    assign none[w] = here == '0;
    assign few[w]  = others == '0;
    assign odd[w]  = ^here;
    always_comb begin
      if (MOST == 2) assume ((others & (others - 1'b1)) == '0);
      if (MOST == 1) assume (others == '0);
    end
    if (COPIES == 3 || CORRECTS) begin : g_corrects
      assign right[w] = few[w];
      assign bad[w]   = ~few[w];
    end else begin : g_finds
      assign right[w] = none[w];
      assign bad[w]   = CHECKS != 0 & odd[w];
    end
  end
  for (genvar i = 0; i < BITS; i++) begin : g_stored
    localparam int W = codeword(i);
    localparam int D = of_data(i);
    assign owner[16*i+:16] = 16'(W);
    always_ff @(posedge clk) begin
      if (right[W])
        assert (mended[i] == encoded[i]);
        else if (COPIES != 3)
          assert (mended[i] == stored[i]);
          else assert (mended[i] != encoded[i]);
      if (is_data(i)) begin
        assert (encoded[i] == data[D]);
        if (right[W])
          assert (decoded[D] == data[D]);
          else if (COPIES == 3)
            assert (decoded[D] != data[D]);
            else assert (decoded[D] == (stored[i] & ~(ZEROS & bad[W])));
      end
    end
  end
  always_ff @(posedge clk) begin
    if (COPIES == 3)
      assert (corrected == (mended != stored) & ~failed);
      else if (CORRECTS)
        assert (corrected == |(few & ~none) && failed == |bad);
        else assert (~corrected & failed == |bad);
  end
endmodule

// Codewords of a row of a memory: their check bits, and what is read of a row that has changed.
//
// DATA      bits of data of a row
// COPIES    1; 3: the row is stored three times, and two of three say what it is. What follows is then ignored
// LIMIT     bits of data of a codeword, at most; CHECKS, its check bits, 1 or more; 0: the data are stored alone
// WAYS      neighbouring bits belong to so many codewords in turn
// COLUMNS   of the check matrix, CHECKS bits each, that of the first bit of data lowest
// CORRECTS  1: a syndrome that is a column, or of a single check bit, is an error there
// ZEROS     1: a codeword with another syndrome is read as zeros; 0: as it is stored
//
// A row is GROUPS groups of SHARE bits of data (the last may be shorter), each followed by the check bits of its
// codewords: check bit 0 of each of them, then check bit 1 ... encoded: data as they are stored. decoded: what is read
// of stored; mended: stored without the errors that are corrected; corrected, failed: whether there were such, and
// others.
module bnnflow_code #(
    parameter int DATA = 8,
    parameter int COPIES = 1,
    parameter int LIMIT = 8,
    parameter int CHECKS = 1,
    parameter int WAYS = 1,
    parameter logic [(CHECKS > 0 ? CHECKS : 1)*LIMIT-1:0] COLUMNS = '1,
    parameter bit CORRECTS = 0,
    parameter bit ZEROS = 0,
    localparam int GROUPS = (DATA + LIMIT * WAYS - 1) / (LIMIT * WAYS),
    localparam int SHARE = (DATA + GROUPS - 1) / GROUPS,
    localparam int REST = DATA - (GROUPS - 1) * SHARE,
    localparam int EACH = SHARE < WAYS ? SHARE : WAYS,
    localparam int BITS = COPIES == 3 ? 3 * DATA :
        DATA + CHECKS * ((GROUPS - 1) * EACH + (REST < WAYS ? REST : WAYS))
) (
    input logic [DATA-1:0] data,
    output logic [BITS-1:0] encoded,
    input logic [BITS-1:0] stored,
    output logic [DATA-1:0] decoded,
    output logic [BITS-1:0] mended,
    output logic corrected,
    output logic failed
);
`ifndef __ICARUS__
  if (COPIES != 1 && COPIES != 3) begin : g_check
    $error("COPIES is 1 or 3");
  end
  if (DATA < 1 || LIMIT < 1 || WAYS < 1 || CHECKS < 0) begin : g_check2
    $error("DATA, LIMIT, WAYS >= 1, CHECKS >= 0");
  end
`endif
  if (COPIES == 3) begin : g_vote
    wire [DATA-1:0] a = stored[0+:DATA];
    wire [DATA-1:0] b = stored[DATA+:DATA];
    wire [DATA-1:0] c = stored[2*DATA+:DATA];
    assign encoded = {3{data}};
    assign decoded = (a & b) | (a & c) | (b & c);
    assign mended = {3{decoded}};
    assign corrected = mended != stored;
    assign failed = 1'b0;
  end else if (CHECKS == 0) begin : g_plain
    assign encoded = data;
    assign decoded = stored;
    assign mended = stored;
    assign corrected = 1'b0;
    assign failed = 1'b0;
  end else begin : g_code
    logic [GROUPS*EACH-1:0] right, wrong;
    assign corrected = |right;
    assign failed = |wrong;
    for (genvar g = 0; g < GROUPS; g++) begin : g_group
      localparam int MINE = g == GROUPS - 1 ? REST : SHARE;
      localparam int MANY = MINE < WAYS ? MINE : WAYS;
      localparam int FROM = g * SHARE;
      localparam int PLACE = FROM + g * EACH * CHECKS;
      if (MANY < EACH) begin : g_fewer
        assign right[g*EACH+MANY+:EACH-MANY] = '0;
        assign wrong[g*EACH+MANY+:EACH-MANY] = '0;
      end
      for (genvar w = 0; w < MANY; w++) begin : g_word
        localparam int N = (MINE - w + MANY - 1) / MANY;
        wire [N*CHECKS-1:0] columns = COLUMNS[N*CHECKS-1:0];
        logic [N-1:0] given, kept, turned;
        logic [CHECKS-1:0] checks, syndrome;
        for (genvar j = 0; j < N; j++) begin : g_bit
          assign given[j] = data[FROM+w+j*MANY];
          assign kept[j] = stored[PLACE+w+j*MANY];
          assign turned[j] = CORRECTS & (syndrome == columns[j*CHECKS+:CHECKS]);
          assign encoded[PLACE+w+j*MANY] = given[j];
          assign mended[PLACE+w+j*MANY] = kept[j] ^ turned[j];
          assign decoded[FROM+w+j*MANY] = (kept[j] ^ turned[j]) & ~(ZEROS & wrong[g*EACH+w]);
        end
        for (genvar c = 0; c < CHECKS; c++) begin : g_check
          localparam int AT = PLACE + MINE + c * MANY + w;
          logic [N-1:0] row;
          for (genvar j = 0; j < N; j++) begin : g_place
            assign row[j] = columns[j*CHECKS+c];
          end
          assign encoded[AT] = ^(given & row);
          assign checks[c]   = CORRECTS & (syndrome == CHECKS'(1) << c);
          assign syndrome[c] = ^(kept & row) ^ stored[AT];
          assign mended[AT]  = stored[AT] ^ checks[c];
        end
        assign right[g*EACH+w] = |{turned, checks};
        assign wrong[g*EACH+w] = |syndrome & ~(|{turned, checks});
      end
    end
  end
endmodule

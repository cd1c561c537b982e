// bnnflow_memory: word by word, 1 + LATE cycles later, the first again behind the last. Word number i of its file is i,
// or where words are joined row number i.
module prove_memory #(
    parameter int DEPTH  = 3,
    parameter int WIDTH  = 4,
    parameter int JOINED = 0,
    parameter int LATE   = 0
) (
    input logic clk,
    input logic rst,
    input logic next
);
  localparam int ROW = JOINED > 0 ? JOINED : 1;
  logic [WIDTH-1:0] data;
  bnnflow_memory #(
      .DEPTH (DEPTH),
      .WIDTH (WIDTH),
      .JOINED(JOINED),
      .LATE  (LATE),
      .FILE  ("numbers.hex")
  ) u_part (
      .clk (clk),
      .rst (rst),
      .next(next),
      .data(data)
  );
  logic first;
  logic [LATE:0] after;
  initial first = 1;
  initial after = '0;
  always_comb if (first) assume (rst);
  logic [7:0] number;
  logic [WIDTH-1:0] word;
  wire [ROW*WIDTH-1:0] row = (ROW * WIDTH)'(int'(number) / ROW);
  assign word = WIDTH'(row >> (int'(number) % ROW) * WIDTH);
  logic [(LATE+1)*WIDTH-1:0] line;
  logic was_rst;
  // Behind a reset it takes a cycle to read ahead.
  always_ff @(posedge clk) was_rst <= rst;
  always_comb if (JOINED > 0 && (first || was_rst)) assume (rst || !next);
  always_ff @(posedge clk) begin
    first <= 0;
    after <= rst ? '0 : (LATE + 1)'({after, JOINED == 0 || next});
    line  <= ((LATE + 1) * WIDTH)'({line, word});
    if (rst) number <= '0;
    else if (next) number <= int'(number) == DEPTH - 1 ? '0 : number + 1'b1;
    if (after[LATE]) assert (data == line[(LATE+1)*WIDTH-1-:WIDTH]);
  end
endmodule

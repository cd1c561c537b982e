// bnnflow_memory: word by word, 1 + LATE cycles later, the first again behind the last. Word number i of its file is i.
module prove_memory #(
    parameter int DEPTH = 3,
    parameter int WIDTH = 4,
    parameter int LATE  = 0
) (
    input logic clk,
    input logic rst,
    input logic next
);
  logic [WIDTH-1:0] data;
  bnnflow_memory #(
      .DEPTH(DEPTH),
      .WIDTH(WIDTH),
      .LATE (LATE),
      .FILE ("numbers.hex")
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
  logic [WIDTH-1:0] number;
  logic [(LATE+1)*WIDTH-1:0] line;
  always_ff @(posedge clk) begin
    first <= 0;
    after <= rst ? '0 : (LATE + 1)'({after, 1'b1});
    line  <= ((LATE + 1) * WIDTH)'({line, number});
    if (rst) number <= '0;
    else if (next) number <= int'(number) == DEPTH - 1 ? '0 : number + 1'b1;
    if (after[LATE]) assert (data == line[(LATE+1)*WIDTH-1-:WIDTH]);
  end
endmodule

// bnnflow_memory: word by word, the first again behind the last. Word number i of its file is i.
module prove_memory #(
    parameter int DEPTH = 3,
    parameter int WIDTH = 4
) (
    input logic clk,
    input logic rst,
    input logic next
);
  logic [WIDTH-1:0] data;
  bnnflow_memory #(
      .DEPTH(DEPTH),
      .WIDTH(WIDTH),
      .FILE ("numbers.hex")
  ) u_part (
      .clk (clk),
      .rst (rst),
      .next(next),
      .data(data)
  );
  logic first, after;
  initial first = 1;
  initial after = 0;
  always_comb if (first) assume (rst);
  logic [WIDTH-1:0] number, last;
  always_ff @(posedge clk) begin
    first <= 0;
    after <= ~rst;
    last  <= number;
    if (rst) number <= '0;
    else if (next) number <= int'(number) == DEPTH - 1 ? '0 : number + 1'b1;
    if (after) assert (data == last);
  end
endmodule

// bnnflow_channelwise: each value times, or plus, the constant of its place. Word number i of the table is i.
module prove_channelwise #(
    parameter int XBITS = 2,
    parameter bit SIGNED = 0,
    parameter int FBITS = 3,
    parameter int OBITS = 5,
    parameter bit ADD = 0,
    parameter int H = 1,
    parameter int W = 1,
    parameter int CF = 3,
    parameter int ENTRIES = 3,
    parameter logic [32*H-1:0] ROWS = '0,
    parameter logic [32*W-1:0] COLUMNS = '0,
    parameter int DEPTH = 2
) (
    input logic clk,
    input logic rst,
    input logic s_valid,
    input logic [XBITS-1:0] s_data,
    input logic m_ready
);
  logic s_ready, m_valid;
  logic [OBITS-1:0] m_data;
  bnnflow_channelwise #(
      .XBITS(XBITS),
      .SIGNED(SIGNED),
      .FBITS(FBITS),
      .OBITS(OBITS),
      .ADD(ADD),
      .H(H),
      .W(W),
      .CF(CF),
      .ENTRIES(ENTRIES),
      .ROWS(ROWS),
      .COLUMNS(COLUMNS),
      .VALUES("numbers.hex"),
      .DEPTH(DEPTH)
  ) u_part (
      .clk(clk),
      .rst(rst),
      .s_valid(s_valid),
      .s_ready(s_ready),
      .s_data(s_data),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(m_data)
  );
  // The number of the word in its image, and so its place.
  logic [7:0] number;
  wire read = s_valid & s_ready;
  always_ff @(posedge clk)
    if (rst) number <= '0;
    else if (read) number <= int'(number) == H * W * CF - 1 ? '0 : number + 1'b1;
  logic [31:0] entry;
  always_comb begin
    entry = '0;
    for (int y = 0; y < H; y++) begin
      for (int x = 0; x < W; x++) begin
        for (int c = 0; c < CF; c++)
        if (int'(number) == (y * W + x) * CF + c) entry = ROWS[32*y+:32] + COLUMNS[32*x+:32] + c;
      end
    end
  end
  wire sign = SIGNED & s_data[XBITS-1];
  wire [OBITS-1:0] value = {{(OBITS - XBITS) {sign}}, s_data};
  wire [OBITS-1:0] constant = {{(OBITS - FBITS) {entry[FBITS-1]}}, entry[FBITS-1:0]};
  scoreboard #(
      .WIDTH(OBITS),
      .MOST(DEPTH + 2),
      .PATIENCE(DEPTH + 5)
  ) u_board (
      .clk(clk),
      .rst(rst),
      .due(read),
      .may_pick(1'b1),
      .value(ADD ? value + constant : value * constant),
      .waits(s_valid & ~s_ready),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(m_data)
  );
endmodule

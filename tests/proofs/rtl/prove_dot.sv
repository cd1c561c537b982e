// bnnflow_dot: sum and lacking are together the sum of products, LEVELS / 2 cycles later, and one more where WBITS is
// not 1.
module prove_dot #(
    parameter int N = 2,
    parameter int XBITS = 2,
    parameter bit XSIGNED = 0,
    parameter int WBITS = 2
) (
    input logic clk,
    input logic [N*XBITS-1:0] x,
    input logic [N*WBITS-1:0] w
);
  localparam int LEVELS = N > 1 ? $clog2(N) : 0;
  localparam int BITS = XBITS + WBITS + 1 + LEVELS;
  localparam int SBITS = LEVELS + (WBITS == 1 ? XBITS + (XSIGNED ? 0 : 1) : XBITS + WBITS);
  localparam int LATENCY = LEVELS / 2 + (WBITS == 1 ? 0 : 1);
  logic [SBITS-1:0] sum;
  logic lacking;
  bnnflow_dot #(
      .N(N),
      .XBITS(XBITS),
      .XSIGNED(XSIGNED),
      .WBITS(WBITS)
  ) u_part (
      .clk(clk),
      .x(x),
      .w(w),
      .sum(sum),
      .lacking(lacking)
  );
  wire  [BITS-1:0] whole = {{(BITS - SBITS) {sum[SBITS-1]}}, sum} + BITS'(lacking);
  // Each bit of a weight adds the input so many times, its sign takes it away; one bit alone is -1 or +1.
  logic [BITS-1:0] now;
  always_comb begin
    now = '0;
    for (int i = 0; i < N; i++) begin
      if (WBITS == 1) now = w[i] ? now + value(i) : now - value(i);
      else begin
        for (int b = 0; b < WBITS - 1; b++) if (w[i*WBITS+b]) now = now + (value(i) << b);
        if (w[(i+1)*WBITS-1]) now = now - (value(i) << (WBITS - 1));
      end
    end
  end
  function automatic logic [BITS-1:0] value(input int i);
    value = {{(BITS - XBITS) {XSIGNED & x[(i+1)*XBITS-1]}}, x[i*XBITS+:XBITS]};
  endfunction
  // One place more: a line of no places is none.
  logic [BITS*(LATENCY+1)-1:0] line;
  logic [LATENCY:0] there;
  initial there = '0;
  always_ff @(posedge clk) begin
    line  <= (BITS * (LATENCY + 1))'({line, now});
    there <= (LATENCY + 1)'({there, 1'b1});
    if (LATENCY == 0)
      assert (whole == now);
      else if (there[LATENCY-1]) assert (whole == line[BITS*LATENCY-1-:BITS]);
  end
endmodule

// Sum of products of N inputs and N weights.
//
// N        lanes, 1 or more; lane i in bits i * XBITS and i * WBITS and up
// XBITS    bits of an input; XSIGNED 1: two's complement
// WBITS    bits of a weight in two's complement; 1 stands for weights -1 (bit 0) and +1 (bit 1)
// LATENCY  what it is: levels / 2, levels = ceil(log2(N)), and one more where WBITS is not 1
//
// sum and lacking come LATENCY cycles after their inputs; the sum of the products is sum, signed, plus lacking. Where
// WBITS is 1, -x is the complement of x plus one, which all lanes but the last add as carries of the adders: lacking is
// what the last one lacks, a carry for whoever adds sum to something. With BNNFLOW_COUNTONES that is said in one
// expression, which simulates faster.
module bnnflow_dot #(
    parameter int N = 1,
    parameter int XBITS = 8,
    parameter bit XSIGNED = 0,
    parameter int WBITS = 1,
    localparam int LEVELS = N > 1 ? $clog2(N) : 0,
    localparam int PBITS = WBITS == 1 ? XBITS + (XSIGNED ? 0 : 1) : XBITS + WBITS,
    localparam int SBITS = PBITS + LEVELS
) (
    input logic clk,
    input logic [N*XBITS-1:0] x,
    input logic [N*WBITS-1:0] w,
    output logic [SBITS-1:0] sum,
    output logic lacking
);
  localparam int CARRIES = N > 1 ? N - 1 : 1;
`ifndef __ICARUS__
  if (N < 1 || XBITS < 1 || WBITS < 1) begin : g_check
    $error("N, XBITS, WBITS >= 1");
  end
`endif
  logic [N*PBITS-1:0] products;
  logic [CARRIES-1:0] carries;
  for (genvar i = 0; i < N; i++) begin : g_lane
    wire sign = XSIGNED & x[(i+1)*XBITS-1];
    if (WBITS == 1) begin : g_sign
      assign products[i*PBITS+:PBITS] = PBITS'({sign, x[i*XBITS+:XBITS]}) ^ {PBITS{~w[i]}};
    end else begin : g_product
      wire [PBITS-1:0] a = {{(PBITS - XBITS) {sign}}, x[i*XBITS+:XBITS]};
      wire [PBITS-1:0] b = {{(PBITS - WBITS) {w[(i+1)*WBITS-1]}}, w[i*WBITS+:WBITS]};
      always_ff @(posedge clk) products[i*PBITS+:PBITS] <= a * b;
    end
  end
  if (WBITS != 1) begin : g_whole
    assign carries = '0;
    assign lacking = 1'b0;
  end else begin : g_carries
    if (N == 1) begin : g_none
      assign carries = '0;
    end else begin : g_some
      assign carries = ~w[N-2:0];
    end
    bnnflow_delay #(
        .CYCLES(LEVELS / 2)
    ) u_short (
        .clk(clk),
        .rst(1'b0),
        .d  (~w[N-1]),
        .q  (lacking)
    );
  end
`ifdef BNNFLOW_COUNTONES
  localparam bit SAID = WBITS == 1;
`else
  localparam bit SAID = 0;
`endif
  if (SAID) begin : g_said
    localparam int LATER = LEVELS / 2;
    logic [SBITS-1:0] now, wide;
    always_comb begin
      now = '0;
      for (int i = 0; i < N; i++) begin
        wide = {{(SBITS - XBITS) {XSIGNED & x[(i+1)*XBITS-1]}}, x[i*XBITS+:XBITS]};
        now += w[i] ? wide : i == N - 1 ? ~wide : -wide;
      end
    end
    if (LATER == 0) begin : g_now
      wire unused = &{products, carries};
      assign sum = now;
    end else begin : g_later
      wire unused = &{products, carries};
      logic [SBITS*LATER-1:0] line;
      always_ff @(posedge clk) line <= (SBITS * LATER)'({line, now});
      assign sum = line[SBITS*LATER-1-:SBITS];
    end
  end else begin : g_sum
    bnnflow_sum #(
        .N(N),
        .WIDTH(PBITS),
        .LEVELS(LEVELS),
        .SIGNED(1'b1),
        .CARRY(WBITS == 1)
    ) u_sum (
        .clk(clk),
        .terms(products),
        .carries(carries),
        .sum(sum)
    );
  end
endmodule

// Thresholds of a stream (FINN Thresholding): a word in, a word out.
//
// PE      channels of a word
// XBITS   bits of a value (XSIGNED: two's complement), SBITS of it and of a bound, two's complement
// others  as bnnflow_levels
// READ    cycles from bounds_next to bounds, which are words of a memory that is read in turn: 1, or 2
// DEPTH   places of the output
module bnnflow_thresholding #(
    parameter int PE = 1,
    parameter int XBITS = 8,
    parameter bit XSIGNED = 0,
    parameter int SBITS = 9,
    parameter int BBITS = 8,
    parameter bit BSIGNED = 1,
    parameter int LEVELS = 1,
    parameter int OBITS = 1,
    parameter int ACT_VAL = 0,
    parameter int READ = 1,
    parameter int DEPTH = 2
) (
    input logic clk,
    input logic rst,
    output logic bounds_next,
    input logic [PE*LEVELS*BBITS-1:0] bounds,
    input logic s_valid,
    output logic s_ready,
    input logic [PE*XBITS-1:0] s_data,
    output logic m_valid,
    input logic m_ready,
    output logic [PE*OBITS-1:0] m_data,
    output logic m_push
);
  localparam int LATENCY = READ + (LEVELS == 1 ? 1 : 2);
`ifndef __ICARUS__
  if (SBITS < XBITS + (XSIGNED ? 0 : 1)) begin : g_check
    $error("a value does not fit SBITS");
  end
  if (READ != 1 && READ != 2) begin : g_check2
    $error("READ is 1 or 2");
  end
`endif
  logic free, push;
  logic [PE*SBITS-1:0] taken, values;
  logic [PE*OBITS-1:0] results;
  wire step = s_valid & free;
  assign s_ready = free;
  assign bounds_next = step;
  for (genvar p = 0; p < PE; p++) begin : g_lane
    assign taken[p*SBITS+:SBITS] = SBITS'($signed(
        {XSIGNED & s_data[(p+1)*XBITS-1], s_data[p*XBITS+:XBITS]}
    ));
  end
  bnnflow_delay #(
      .WIDTH (PE * SBITS),
      .CYCLES(READ)
  ) u_values (
      .clk(clk),
      .rst(1'b0),
      .d  (taken),
      .q  (values)
  );
  bnnflow_levels #(
      .PE(PE),
      .SBITS(SBITS),
      .BBITS(BBITS),
      .BSIGNED(BSIGNED),
      .LEVELS(LEVELS),
      .OBITS(OBITS),
      .ACT_VAL(ACT_VAL)
  ) u_levels (
      .clk(clk),
      .bounds(bounds),
      .values(values),
      .results(results)
  );
  bnnflow_delay #(
      .CYCLES(LATENCY)
  ) u_push (
      .clk(clk),
      .rst(rst),
      .d  (step),
      .q  (push)
  );
  assign m_push = push;
  bnnflow_fifo #(
      .WIDTH  (PE * OBITS),
      .DEPTH  (DEPTH),
      .LATENCY(LATENCY)
  ) u_out (
      .clk(clk),
      .rst(rst),
      .free(free),
      .take(step),
      .push(m_push),
      .push_data(results),
      .m_valid(m_valid),
      .m_ready(m_ready),
      .m_data(m_data)
  );
endmodule

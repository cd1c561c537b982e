// Clocks the module `judge` until no word has moved for QUIET cycles; what its sinks wrote is the result.
#include <cstdint>

#include "Vjudge.h"
#include "verilated.h"

int main(int count, char** arguments) {
  constexpr int QUIET = 2000, RESET = 8;
  VerilatedContext context;
  context.commandArgs(count, arguments);
  // What no reset sets is random, so that nothing may depend on it.
  context.randReset(2);
  context.randSeed(1);
  Vjudge design{&context};
  // Registers are random until the reset: what is asserted holds behind it.
  context.assertOn(false);
  uint64_t quiet = 0;
  for (uint64_t cycle = 0; quiet < QUIET; cycle++) {
    design.rst = cycle < RESET;
    if (cycle == RESET) context.assertOn(true);
    design.clk = 0;
    design.eval();
    quiet = design.moves ? 0 : quiet + 1;
    design.clk = 1;
    design.eval();
    context.timeInc(1);
  }
  design.final();
  return 0;
}

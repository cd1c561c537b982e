// Counts of ones by the processor's instruction, 64 bits at a time: Verilator's own take a dozen operations for 32.
#include <cstring>

#include "verilated.h"

#if defined(__POPCNT__) || defined(__aarch64__)
static inline IData bnnflow_ones(int words, WDataInP const at) {
    IData ones = 0;
    int word = 0;
    for (; word + 1 < words; word += 2) {
        QData two;
        std::memcpy(&two, &at[word], sizeof two);
        ones += __builtin_popcountll(two);
    }
    return word < words ? ones + __builtin_popcount(at[word]) : ones;
}
#define VL_COUNTONES_I(value) (static_cast<IData>(__builtin_popcount(value)))
#define VL_COUNTONES_Q(value) (static_cast<IData>(__builtin_popcountll(value)))
#define VL_COUNTONES_W(words, at) bnnflow_ones(words, at)
#endif

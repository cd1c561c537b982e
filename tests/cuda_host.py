"""Kernels of `flow/device/cuda_source.py` on the processor: compiled by the computer's C++ compiler, threads as fibers.

What CUDA gives a kernel is written anew here in plain C++, tensor cores by the layout of fragments in NVIDIA's PTX
ISA ("Matrix fragments for mma.m16n8k256"). A thread runs until a barrier or an exchange with its warp, then the next.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from bnnflow.flow.device.cuda_driver import KERNELS
from bnnflow.flow.device.cuda_source import SOURCE, THREADS, LayerArguments

_BEFORE = r"""
#include <algorithm>
#include <vector>
#include <ucontext.h>
using std::min;

#define __device__
#define __global__
#define __shared__ static
#define __launch_bounds__(...)
struct alignas(16) uint4 { unsigned x, y, z, w; };
struct Index { int x, y; };
static Index threadIdx, blockIdx;

static const int LANES = 32, STACK = 1 << 16;
static ucontext_t scheduler;
static std::vector<ucontext_t> fibers;
static std::vector<char> ended;
static int current;
// What a lane shows the others of its warp; two sets, so that the next exchange does not overwrite the last.
static unsigned long long shown[2][1024][6];
static int round_of[1024];

static void pause_fiber() { swapcontext(&fibers[current], &scheduler); }
static void __syncthreads() { pause_fiber(); }

// All lanes of all warps pause at the same exchange, so one turn of the scheduler brings every value here.
template <class F> static unsigned long long *exchange(F show) {
    const int set = round_of[current]++ & 1;
    show(shown[set][current]);
    pause_fiber();
    return shown[set][current / LANES * LANES];
}

static unsigned __ballot_sync(unsigned, bool flag) {
    unsigned long long *all = exchange([&](unsigned long long *mine) { mine[0] = flag; });
    unsigned made = 0;
    for (int lane = 0; lane < LANES; ++lane) made |= (unsigned)all[lane * 6] << lane;
    return made;
}

static unsigned long long __shfl_xor_sync(unsigned, unsigned long long x, int mask) {
    unsigned long long *all = exchange([&](unsigned long long *mine) { mine[0] = x; });
    return all[(threadIdx.x % LANES ^ mask) * 6];
}

static int __popc(unsigned x) { return __builtin_popcount(x); }

static int __dp4a(int a, int b, int sum) {
    for (int i = 0; i < 32; i += 8) sum += (int)(signed char)(a >> i) * (int)(signed char)(b >> i);
    return sum;
}

// Row r of A: lanes 4 * (r % 8) to 4 * (r % 8) + 3 hold its words 0 to 3 in register r / 8 and 4 to 7 in r / 8 + 2;
// column n of B: lanes 4 * n to 4 * n + 3, likewise; a lane's results: row lane / 4 (and + 8), columns 2 * (lane % 4).
static void emulated_product(int (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    unsigned long long *all = exchange([&](unsigned long long *mine) {
        mine[0] = a[0], mine[1] = a[1], mine[2] = a[2], mine[3] = a[3], mine[4] = b0, mine[5] = b1;
    });
    const int lane = threadIdx.x % LANES;
    for (int i = 0; i < 4; ++i) {
        const int row = lane / 4 + 8 * (i / 2), column = lane % 4 * 2 + i % 2;
        for (int word = 0; word < 8; ++word) {
            const unsigned long long x = all[(row % 8 * 4 + word % 4) * 6 + row / 8 + word / 4 * 2];
            c[i] += __popc((unsigned)(x & all[(column * 4 + word % 4) * 6 + 4 + word / 4]));
        }
    }
}
"""
_AFTER = r"""
static void (*kernel)(const Layer);
static const Layer *given;

static void enter() {
    kernel(*given);
    ended[current] = 1;
    pause_fiber();
}

extern "C" void launch(void (*run)(const Layer), int across, int down, int threads, const Layer *layer) {
    static std::vector<std::vector<char>> stacks;
    kernel = run, given = layer;
    fibers.resize(threads), stacks.resize(threads);
    for (auto &stack : stacks) stack.resize(STACK);
    for (blockIdx.y = 0; blockIdx.y < down; ++blockIdx.y)
        for (blockIdx.x = 0; blockIdx.x < across; ++blockIdx.x) {
            ended.assign(threads, 0);
            for (int i = 0; i < threads; ++i) {
                round_of[i] = 0;
                getcontext(&fibers[i]);
                fibers[i].uc_stack.ss_sp = stacks[i].data(), fibers[i].uc_stack.ss_size = STACK;
                fibers[i].uc_link = nullptr;
                makecontext(&fibers[i], enter, 0);
            }
            for (int left = threads; left;)
                for (current = 0, left = 0; current < threads; ++current) {
                    if (ended[current]) continue;
                    threadIdx.x = current;
                    swapcontext(&scheduler, &fibers[current]);
                    left += !ended[current];
                }
        }
}
"""


@dataclass(frozen=True, slots=True)
class Host:
    """`cuda_driver.Launcher` on the processor, at once.

    Attributes:
        library: the compiled kernels.
        capability: of the GPU that is meant.
    """

    library: ctypes.CDLL
    capability: tuple[int, int]

    def launch(self, kernel: str, grid: tuple[int, int], layer: LayerArguments) -> None:
        assert kernel in KERNELS
        self.library.launch(self.library[kernel], *grid, THREADS, ctypes.byref(layer))


def compiler() -> str | None:
    return next((found for name in ("c++", "g++", "clang++") if (found := shutil.which(name))), None)


@cache
def library(folder: Path, *macros: str) -> ctypes.CDLL:
    """The kernels, compiled with these macros."""
    source, made = folder / "kernels.cpp", folder / f"kernels{len(list(folder.iterdir()))}.so"
    source.write_text(_BEFORE + SOURCE + _AFTER)
    command: Sequence[str] = (str(compiler()), "-std=c++17", "-O1", "-w", "-fPIC", "-shared", *macros)
    done = subprocess.run([*command, str(source), "-o", str(made)], capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return ctypes.CDLL(str(made))

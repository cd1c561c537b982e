"""CUDA C++ of the packed simulator on NVIDIA's GPUs: one kernel a layer, from packed bits to packed bits.

A layer is a matrix product without a matrix of windows: places (of all images) by filters, over the taps of a
window, which lie at the same offsets behind every window's first. Thresholds are compared while sums are in
registers, and their results packed there.

* `popc_*` and `dot_*`: a lane is a filter and holds the sums of `PLACES` places; windows are read from shared memory
  by all lanes at once, and a ballot over the lanes is the packed result. Inside are exclusive or and population count,
  or products of four bytes (dp4a).
* `tensor_*`: products of 16 places by 8 filters by 256 bits on tensor cores (PTX `mma...b1...and.popc`, compute
  capability 8.0 to 9.0; 10.0 and later only imitate it). They count ones in x AND w; unequal bits are
  ones(x) + ones(w) - 2 * ones(x AND w), and ones(x) is one more column of the product, of weights that are all ones.

Macros are tile sizes. The source needs no headers, so that NVRTC compiles it on any computer.
"""

from __future__ import annotations

import ctypes

GROUP = 64
"""Filters of one block of threads: a word of results."""
THREADS = 128


class LayerArguments(ctypes.Structure):
    """What a kernel is given: `struct Layer` of the source.

    Attributes:
        x: words (bits) or bytes, channels last.
        weights: as the kernel wants them, filters filled up to whole groups.
        offsets: int32, where a window's values lie behind its first.
        limits: int32, (classes, filters filled up): bounds of bits; what sums start from.
        classes: int32, (area,), the class of a place; null for one class.
        made: words of bits, or int32 sums.
        image, row, column: values from an image, a row or a column of windows to the next.
        places: windows in all images.
        area, columns: places of an image, and in a row of it.
        taps: values of a window.
        filters, padded: filters, and filled up.
        factor: sums are limits - factor * count.
    """

    _fields_ = (
        *((name, ctypes.c_void_p) for name in ("x", "weights", "offsets", "limits", "classes", "made")),
        *((name, ctypes.c_longlong) for name in ("image", "row", "column")),
        *((name, ctypes.c_int) for name in ("places", "area", "columns", "taps", "filters", "padded", "factor")),
    )


SOURCE = r"""
#ifndef PLACES
#define PLACES 16
#endif
#ifndef TILES
#define TILES 2
#endif
#ifndef STEPS
#define STEPS 16
#endif
#ifndef UNROLL
#define UNROLL 2
#endif
#define THREADS 128
#define CHUNK 32
enum { AT_ONCE = UNROLL };  // macros are not expanded in pragmas

typedef unsigned long long word;
typedef unsigned char byte;

struct Layer {
    const void *x, *weights;
    const int *offsets, *limits, *classes;
    void *made;
    long long image, row, column;
    int places, area, columns, taps, filters, padded, factor;
};

// Where the window of a place begins; places behind the last read the first window.
static __device__ long long window(const Layer &l, int place) {
    if (place >= l.places) return 0;
    int image = place / l.area, inside = place - image * l.area, row = inside / l.columns;
    return image * l.image + row * l.row + (inside - row * l.columns) * l.column;
}

// What the sums of a place are compared with.
static __device__ const int *limits(const Layer &l, int place) {
    return l.limits + (place < l.places ? (long long)l.classes[place % l.area] * l.padded : 0);
}

struct Popc {
    typedef word Value;
    static const int PER = 2;
    __device__ static word taken(word x) { return x; }
    __device__ static int add(int sum, unsigned x, unsigned w) { return sum + __popc(x ^ w); }
    __device__ static bool reached(int sum, int limit) { return sum <= limit; }
};

// Bytes are stored less 128, which limits know of.
struct Dot {
    typedef byte Value;
    static const int PER = 16;
    __device__ static byte taken(byte x) { return x ^ 0x80; }
    __device__ static int add(int sum, unsigned x, unsigned w) { return __dp4a((int)x, (int)w, sum); }
    __device__ static bool reached(int sum, int limit) { return sum >= limit; }
};

// Two warps of filters by two of places. Weights: (parts of 16 bytes, filters).
template <class Kind, bool BITS> static __device__ void lanes(const Layer &l) {
    typedef typename Kind::Value Value;
    const int PLACES_A_BLOCK = 2 * PLACES, COPIERS = THREADS / PLACES_A_BLOCK, PER = Kind::PER;
    __shared__ uint4 tile[PLACES_A_BLOCK][CHUNK + 1];
    const int lane = threadIdx.x & 31, warp = threadIdx.x >> 5, own = (warp >> 1) * PLACES;
    const int first = blockIdx.x * PLACES_A_BLOCK, filter = blockIdx.y * 64 + (warp & 1) * 32 + lane;
    const int mine = threadIdx.x / COPIERS, parts = (l.taps + PER - 1) / PER;
    const Value *x = (const Value *)l.x + window(l, first + mine);
    const uint4 *weights = (const uint4 *)l.weights + filter;
    int sums[PLACES];
#pragma unroll
    for (int p = 0; p < PLACES; ++p) sums[p] = 0;
    for (int start = 0; start < parts; start += CHUNK) {
        const int count = min(CHUNK, parts - start);
        __syncthreads();
        for (int k = threadIdx.x % COPIERS; k < count * PER; k += COPIERS) {
            const int tap = start * PER + k;
            ((Value *)tile[mine])[k] = tap < l.taps ? Kind::taken(x[l.offsets[tap]]) : 0;
        }
        __syncthreads();
        for (int part = 0; part < count; ++part) {
            const uint4 w = weights[(long long)(start + part) * l.padded];
#pragma unroll
            for (int p = 0; p < PLACES; ++p) {
                const uint4 v = tile[own + p][part];
                sums[p] = Kind::add(sums[p], v.x, w.x);
                sums[p] = Kind::add(sums[p], v.y, w.y);
                sums[p] = Kind::add(sums[p], v.z, w.z);
                sums[p] = Kind::add(sums[p], v.w, w.w);
            }
        }
    }
    unsigned packed = 0;
    const int limit = l.limits[filter];
#pragma unroll
    for (int p = 0; p < PLACES; ++p) {
        const int place = first + own + p;
        if (BITS) {
            const bool reached = Kind::reached(sums[p], l.classes ? limits(l, place)[filter] : limit);
            const unsigned bits = __ballot_sync(0xffffffffu, reached);
            if (lane == p) packed = bits;
        } else if (place < l.places && filter < l.filters) {
            ((int *)l.made)[(long long)place * l.filters + filter] = limit - l.factor * sums[p];
        }
    }
    const int place = first + own + lane;
    if (BITS && lane < PLACES && place < l.places)
        ((unsigned *)l.made)[(long long)place * (l.padded / 32) + blockIdx.y * 2 + (warp & 1)] = packed;
}

// c += ones(a AND b): a (16 places, 256 bits), b (256 bits, 8 filters).
static __device__ void product(int (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ >= 800
    asm("mma.sync.aligned.m16n8k256.row.col.s32.b1.b1.s32.and.popc {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, "
        "{%0,%1,%2,%3};"
        : "+r"(c[0]), "+r"(c[1]), "+r"(c[2]), "+r"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
#elif !defined(__CUDACC__) && !defined(__CUDACC_RTC__)
    emulated_product(c, a, b0, b1);
#endif
}

// A warp: 16 * TILES places by 64 filters. A thread's two words of a step are any two, the same in x and weights: so
// it reads them as one of 64 bits. Weights: (groups, steps of 4 words, pairs of 8 filters, lanes, 2 words).
template <bool BITS> static __device__ void tensor(const Layer &l) {
    __shared__ uint4 tile[STEPS][4][32];
    const int lane = threadIdx.x & 31, high = lane >> 2, low = lane & 3;
    const int first = (blockIdx.x * (THREADS / 32) + (threadIdx.x >> 5)) * (16 * TILES);
    const int steps = (l.taps + 3) / 4;
    const uint4 *weights = (const uint4 *)l.weights + (long long)blockIdx.y * steps * 128;
    const word *x[TILES][2];
    int sums[TILES][8][4], ones[TILES][4];
#pragma unroll
    for (int m = 0; m < TILES; ++m) {
#pragma unroll
        for (int h = 0; h < 2; ++h) x[m][h] = (const word *)l.x + window(l, first + m * 16 + h * 8 + high);
#pragma unroll
        for (int c = 0; c < 4; ++c) {
            ones[m][c] = 0;
#pragma unroll
            for (int n = 0; n < 8; ++n) sums[m][n][c] = 0;
        }
    }
    for (int start = 0; start < steps; start += STEPS) {
        const int count = min(STEPS, steps - start);
        __syncthreads();
        for (int k = threadIdx.x; k < count * 128; k += THREADS) (&tile[0][0][0])[k] = weights[start * 128 + k];
        __syncthreads();
#pragma unroll AT_ONCE
        for (int step = 0; step < count; ++step) {
            const int tap = (start + step) * 4 + low;
            const int offset = tap < l.taps ? l.offsets[tap] : 0;
            // No bits are behind the last tap. The mask also makes the compiler gather a product's four registers once,
            // not again before each product.
            const unsigned mask = tap < l.taps ? 0xffffffffu : 0;
            unsigned a[TILES][4];
#pragma unroll
            for (int m = 0; m < TILES; ++m) {
                const word upper = x[m][0][offset], lower = x[m][1][offset];
                a[m][0] = (unsigned)upper & mask, a[m][1] = (unsigned)lower & mask;
                a[m][2] = (unsigned)(upper >> 32) & mask, a[m][3] = (unsigned)(lower >> 32) & mask;
                product(ones[m], a[m], 0xffffffffu, 0xffffffffu);
            }
#pragma unroll
            for (int n = 0; n < 4; ++n) {
                const uint4 w = tile[step][n][lane];
#pragma unroll
                for (int m = 0; m < TILES; ++m) {
                    product(sums[m][2 * n], a[m], w.x, w.y);
                    product(sums[m][2 * n + 1], a[m], w.z, w.w);
                }
            }
        }
    }
#pragma unroll
    for (int m = 0; m < TILES; ++m) {
#pragma unroll
        for (int h = 0; h < 2; ++h) {
            const int place = first + m * 16 + h * 8 + high, filter = blockIdx.y * 64 + low * 2;
            const int *bounds = (l.classes ? limits(l, place) : l.limits) + filter;
            word bits = 0;
#pragma unroll
            for (int n = 0; n < 8; ++n) {
#pragma unroll
                for (int j = 0; j < 2; ++j) {
                    const int count = ones[m][h * 2] - 2 * sums[m][n][h * 2 + j], at = n * 8 + j;
                    if (BITS) bits |= (word)(count <= bounds[at]) << (at + low * 2);
                    else if (place < l.places && filter + at < l.filters)
                        ((int *)l.made)[(long long)place * l.filters + filter + at] = bounds[at] - l.factor * count;
                }
            }
            if (BITS) {
                bits |= __shfl_xor_sync(0xffffffffu, bits, 1);
                bits |= __shfl_xor_sync(0xffffffffu, bits, 2);
                if (low == 0 && place < l.places)
                    ((word *)l.made)[(long long)place * (l.padded / 64) + blockIdx.y] = bits;
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS) popc_bits(const Layer l) { lanes<Popc, true>(l); }
extern "C" __global__ void __launch_bounds__(THREADS) popc_sums(const Layer l) { lanes<Popc, false>(l); }
extern "C" __global__ void __launch_bounds__(THREADS) dot_bits(const Layer l) { lanes<Dot, true>(l); }
extern "C" __global__ void __launch_bounds__(THREADS) dot_sums(const Layer l) { lanes<Dot, false>(l); }
extern "C" __global__ void __launch_bounds__(THREADS) tensor_bits(const Layer l) { tensor<true>(l); }
extern "C" __global__ void __launch_bounds__(THREADS) tensor_sums(const Layer l) { tensor<false>(l); }

// Union of a window's words; a thread makes one word. Here `filters` are the words of a pixel.
extern "C" __global__ void __launch_bounds__(THREADS) pool_bits(const Layer l) {
    const long long index = (long long)blockIdx.x * THREADS + threadIdx.x;
    if (index >= (long long)l.places * l.filters) return;
    const int place = (int)(index / l.filters);
    const word *x = (const word *)l.x + window(l, place) + (index - (long long)place * l.filters);
    word made = 0;
    for (int tap = 0; tap < l.taps; ++tap) made |= x[l.offsets[tap]];
    ((word *)l.made)[index] = made;
}
"""

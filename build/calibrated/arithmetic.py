"""What popcounts, sums and products are made of, in the terms of `counts`."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log2

from ..rtl.unrolled import GROUP, counting_levels
from .pieces import OF_FOUR_INPUTS, SUMMED, Pieces


def different(kinds: int, drawn: int) -> int:
    """How many of some kinds are among so many that are drawn, on average; all differ where kinds are without end."""
    return round(kinds * (1 - (1 - 1 / kinds) ** drawn)) if kinds else drawn


def luts(family: str, inputs: int) -> int:
    """LUTs of a function of some bits; multiplexers behind them are no LUTs."""
    return 2 ** max(0, inputs - (4 if family in OF_FOUR_INPUTS else 6))


def sixes(bits: int) -> list[int]:
    """Sizes of the groups of up to six bits that bnnflow_ones counts first."""
    return [min(GROUP, bits - first) for first in range(0, bits, GROUP)]


def compressors(bits: int) -> int:
    """Functions that count so many bits, up to six; one by itself needs none."""
    return bits.bit_length() if bits > 1 else 0


def popcount(lane: Pieces, simd: int, most: int) -> None:
    """bnnflow_popcount behind its leaves, of whose result `most` bits are read."""
    leaves = ceil(simd / 3)
    if leaves > 1:
        levels = counting_levels(leaves)
        sizes = sixes(leaves)
        terms = [size.bit_length() for size in sizes]
        six = sum(compressors(size) * luts(lane.family, size) for size in sizes)
        for _ in range(2):
            lane.term("six", six)
            width = tree(lane, terms, levels, odd=True)
        # The sum of ones and twice the twos: the lowest bit is there.
        width = min(width + 2, 5 + levels, most)
        lane.adder(width - 1)
        if levels % 2 == 0:
            lane.ff(width)


def tree(lane: Pieces, bits: Sequence[int], levels: int, *, odd: bool = False, carries: bool = False) -> int:
    """bnnflow_sum of terms of so many bits, with carries that wait for their adders; the bits of the sum."""
    if levels == 0:
        return bits[0]
    half = 2 ** (levels - 1)
    width = tree(lane, bits[:half], levels - 1, odd=odd, carries=carries)
    if len(bits) > half:
        width = max(width, tree(lane, bits[half:], levels - 1, odd=odd, carries=carries)) + 1
        lane.adder(width)
        if carries:
            lane.ff((levels - 1 + odd) // 2)
    if (levels + odd) % 2 == 0:
        lane.ff(width)
    return width


def dot(lane: Pieces, simd: int, x_bits: int, signed: bool, w_bits: int, few: bool) -> None:
    """bnnflow_dot; `few`: weights of few words."""
    levels = ceil(log2(simd)) if simd > 1 else 0
    lane.path(SUMMED, x_bits + w_bits)
    if w_bits == 1:
        bits = x_bits + (0 if signed else 1)
        lane.term("few signs" if few else "signs", simd * bits)
        lane.ff(levels // 2)
    else:
        bits = x_bits + w_bits
        # The product with a bit is the weight, or nothing.
        lane.product(simd, (x_bits, w_bits), bits if x_bits > 1 or signed else w_bits, 0)
    tree(lane, [bits] * simd, levels, carries=w_bits == 1)

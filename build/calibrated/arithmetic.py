"""What popcounts, sums and products are made of, in the terms of `counts`."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log2

import numpy as np

from ...transforms.ir.tensor import Array
from ..rtl.unrolled import GROUP, counting_levels
from .pieces import MULTIPLIED, MULTIPLIER_BITS, OF_FOUR_INPUTS, SUMMED, Pieces


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


def constant_dot(made: Pieces, weights: Array, x_bits: int, signed: bool, w_bits: int) -> None:
    """bnnflow_dot of all rows of a matrix at once, of weights that are constants: what rows have in common is there
    once, and what is 0 is not there.

    Args:
        made: of all rows.
        weights: int64, (rows, columns).
        x_bits, signed: of the inputs, 2 bits or more.
        w_bits: of a weight; 1: weights are -1 and +1.
    """
    made.path(SUMMED, x_bits + w_bits)
    high = 2 ** (x_bits - 1) - 1 if signed else 2**x_bits - 1
    low = -(2 ** (x_bits - 1)) if signed else 0

    def leaf(weight: int) -> int:
        ends = sorted((weight * low, weight * high))
        return max((-ends[0] - 1).bit_length(), ends[1].bit_length()) + 1 if ends[0] < 0 else ends[1].bit_length()

    def node(first: int, end: int, levels: int, carry: int) -> tuple[Array, Array]:
        """Sums over columns `first` to `end`, whose carries are those of columns from `carry` on: bits of each row's,
        and a number that rows have in common whose sums are the same circuit."""
        if levels == 0:
            kinds, place, same = np.unique(weights[:, first], return_index=True, return_inverse=True)
            sizes = [x_bits + (not signed) if w_bits == 1 else leaf(weight) for weight in kinds.tolist()]
            bits = np.array(sizes)[same]
        else:
            middle = min(end, first + 2 ** (levels - 1))
            bits, same = node(first, middle, levels - 1, carry)
            place = np.unique(same, return_index=True)[1]
            if middle < end:
                other, others = node(middle, end, levels - 1, carry + middle - first - 1)
                same = same * (1 + int(others.max())) + others
                if w_bits == 1:
                    same = 2 * same + (weights[:, carry + end - first - 2] > 0)
                place, same = np.unique(same, return_index=True, return_inverse=True)[1:]
                both = (bits > 0) & (other > 0)
                bits = np.maximum(bits, other) + both
                made.term("sum of signs" if w_bits == 1 else "sum of constants", int((bits * both)[place].sum()))
        if levels % 2 == 0 and (levels or w_bits > 1):
            made.ff(int(bits[place].sum()))
        return bits, same

    # What is no shift is multiplied, where the family has multipliers for so few bits; tools may share some.
    multiplied = int((np.abs(weights) & (np.abs(weights) - 1) != 0).sum())
    if multiplied and x_bits + w_bits >= MULTIPLIER_BITS.get(made.family, x_bits + w_bits + 1) and x_bits > 1:
        made.exact["dsp"] += multiplied
        made.path(MULTIPLIED, 0)
    columns = weights.shape[1]
    whole, _ = node(0, columns, ceil(log2(columns)) if columns > 1 else 0, 0)
    made.term("total of constants", int(whole.sum()))

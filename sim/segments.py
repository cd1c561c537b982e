"""Sums of XNOR products by segments: what hardware counts at a time, as a crossbar's column or an adder tree does.

A unit's operands are divided in the order in which it reads them (kernel row, kernel column, channel) into segments of
`size` products; where `size` does not divide their number, the last segment, the tail, has fewer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ..transforms.ir.ops import Mvau
from ..transforms.ir.tensor import Array

Popcounts = Callable[[Array], Iterator[Array]]


@dataclass(frozen=True, slots=True)
class Segments:
    """How a fan-in is divided.

    Args:
        fan_in: products of a sum.
        size: of a segment; 1 or more.
    """

    fan_in: int
    size: int

    @property
    def lengths(self) -> tuple[int, ...]:
        """Products of each segment; the last one may have fewer."""
        whole, tail = divmod(self.fan_in, self.size)
        return (self.size,) * whole + ((tail,) if tail else ())

    @property
    def count(self) -> int:
        """Segments of a sum."""
        return -(-self.fan_in // self.size)

    @property
    def tail(self) -> int:
        """Products of the tail; 0 where there is none."""
        return self.fan_in % self.size


def popcounts(op: Mvau, segments: Segments) -> Popcounts:
    """A function of a batch (..., fan-in) that gives each segment's popcounts, (..., MH) whole float32, in turn.

    Args:
        op: with `xnor`, inputs are 0 and 1; else inputs and weights are -1 and +1. Products that are +1 count.
        segments: of its fan-in.
    """
    signs = (2.0 * op.weight - 1.0 if op.xnor else op.weight).T.astype(np.float32)
    starts = np.cumsum((0, *segments.lengths[:-1]))
    # Bits 0, 1: x . (2 w - 1) + zeros of w. Signs: (x . w + length) / 2. Whole float32 are exact below 2^24.
    parts = []
    for start, length in zip(starts.tolist(), segments.lengths, strict=True):
        part = np.ascontiguousarray(signs[start : start + length])
        zeros = (part < 0).sum(axis=0, dtype=np.float32)
        parts.append((start, part) + ((np.float32(1), zeros) if op.xnor else (np.float32(0.5), np.float32(length / 2))))

    def count(x: Array) -> Iterator[Array]:
        rows = x.reshape(-1, x.shape[-1]).astype(np.float32)
        for start, part, factor, shift in parts:
            made = rows[:, start : start + len(part)] @ part
            made *= factor
            made += shift
            yield made.reshape(*x.shape[:-1], -1)

    return count


def operand_counts(op: Mvau, x: Array) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """How many products of each sum have weight w and input x: `[w][x]`, (..., MH) int64, 0 standing for -1.

    Args:
        op: as for `popcounts`.
        x: (..., fan-in).
    """
    weight = (op.weight > 0).astype(np.float32)
    bits = (x > 0).astype(np.float32)
    flat = bits.reshape(-1, bits.shape[-1])
    both = (flat @ weight.T).astype(np.int64).reshape(*x.shape[:-1], -1)
    ones, set_inputs = weight.sum(axis=1).astype(np.int64), bits.sum(axis=-1).astype(np.int64)[..., None]
    only_weight, only_input = ones - both, set_inputs - both
    neither = op.weight.shape[1] - ones - only_input
    return (neither, only_input), (only_weight, both)

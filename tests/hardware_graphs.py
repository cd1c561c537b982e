"""Small folded graphs that hold every unit of hardware, with the types that units may meet."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import (
    NO_BOUNDS,
    AddBorder,
    AddStreams,
    ChannelwiseMul,
    DuplicateStreams,
    Flatten,
    FMPadding,
    GlobalAccPool,
    LabelSelect,
    Mvau,
    Pool,
    SlidingWindow,
    StreamingConcat,
    StreamingMaxPool,
    Thresholding,
)

from .random_graphs import Builder


class Chain(Builder):
    """Units one behind the other, with random contents."""

    def mvau(self, x: str, rows: int, pe: int, simd: int, *, levels: int = 1, act_val: int = 0, top: int = 0) -> str:
        """Bits where the input is bits and `top` is 0, else weights from -top to top, or -1 and +1."""
        kind = self.type(x)
        columns = kind.channels
        xnor = kind.is_binary and not top
        if xnor:
            weight = self.bits(rows, columns)
        elif top:
            weight = self.rng.integers(-top, top + 1, (rows, columns)).astype(np.int8)
        else:
            weight = (2 * self.bits(rows, columns).astype(np.int8) - 1).astype(np.int8)
        unit = Mvau(weight, NO_BOUNDS, xnor, act_val, pe, simd)
        if levels:
            from bnnflow.transforms.ir.infer import accumulator

            bounds = self.bounds(accumulator(unit, kind), rows, levels)
            unit = Mvau(weight, bounds, xnor, act_val, pe, simd)
        return self.add(unit, x)

    def thresholds(self, x: str, levels: int, act_val: int, pe: int) -> str:
        kind = self.type(x)
        return self.add(Thresholding(self.bounds(kind, kind.channels, levels), act_val, pe), x)


def convolutions() -> Graph:
    """Pixels, a padded and strided convolution, maxima, XNOR windows with a remainder, pools, top 2."""
    build = Chain(7, (9, 8, 2), 0, 255)
    x = build.add(FMPadding((1, 0, 1, 1), 0, 1), "image")
    x = build.add(SlidingWindow((3, 3), (2, 1), 1), x)
    x = build.mvau(x, 12, 3, 6)
    x = build.add(SlidingWindow((2, 2), (1, 2), 3), x)
    x = build.mvau(x, 8, 2, 8)
    x = build.add(FMPadding((0, 1, 0, 0), 1, 4), x)
    x = build.add(StreamingMaxPool((2, 2)), x)
    x = build.add(SlidingWindow((1, 1), (1, 1), 2, True), x)
    x = build.add(Pool((1, 1), False, 2), x)
    x = build.add(Flatten(), x)
    x = build.mvau(x, 8, 4, 2, levels=3)
    x = build.mvau(x, 6, 2, 4, levels=0)
    return build.graph(build.add(LabelSelect(2, 2), x))


def residual() -> Graph:
    """A fork, a skip that is joined, another that is concatenated, and sums over the map; depths that must grow."""
    build = Chain(13, (6, 5, 4), 0, 1)
    fork = build.add(DuplicateStreams(2), "image")
    x = build.add(FMPadding((1, 1, 1, 1), 0, 2), fork)
    x = build.add(SlidingWindow((3, 3), (1, 1), 2), x)
    x = build.mvau(x, 4, 2, 6, levels=3, act_val=-2)
    x = build.add(AddStreams(2), fork, x)
    x = build.thresholds(x, 1, 0, 4)
    fork = build.add(DuplicateStreams(1), x)
    y = build.add(SlidingWindow((1, 1), (1, 1), 1), fork)
    y = build.mvau(y, 2, 1, 1, levels=5, act_val=-3, top=1)
    x = build.add(StreamingConcat(2), fork, y)
    return build.graph(build.add(GlobalAccPool(3), x))


def integers() -> Graph:
    """Signed values of several bits, ternary and wider weights, sums of borders, products, and the sum of a window."""
    build = Chain(10, (5, 7, 3), -8, 7)
    x = build.add(FMPadding((0, 1, 1, 0), 9, 3), "image")
    x = build.add(SlidingWindow((2, 3), (1, 2), 3), x)
    x = build.mvau(x, 4, 4, 9, levels=0, top=1)
    rows, columns = (np.minimum(np.arange(size), 1) for size in build.type(x).shape[:2])
    x = build.add(AddBorder(build.rng.integers(-30, 31, (2, 2, 4)), rows, columns, 2), x)
    x = build.thresholds(x, 7, -4, 2)
    x = build.add(StreamingMaxPool((5, 1)), x)
    x = build.add(ChannelwiseMul(np.array([3, -2, 0, 5]), 2), x)
    x = build.add(SlidingWindow((1, 2), (1, 1), 2, True), x)
    x = build.add(Pool((1, 2), True, 2), x)
    x = build.add(Flatten(), x)
    x = build.mvau(x, 5, 5, 2, levels=2, act_val=-1, top=7)
    return build.graph(build.mvau(x, 3, 1, 5, levels=0))


def ternary() -> Graph:
    """Ternary weights of bits, constants in the logic: one word, several, with a bound, and sums that leave."""
    build = Chain(4, (4, 3, 3), 0, 1)
    x = build.add(SlidingWindow((2, 2), (1, 1), 3), "image")
    x = build.mvau(x, 20, 10, 6, top=1)
    x = build.add(Flatten(), x)
    x = build.mvau(x, 12, 12, 60, top=1)
    return build.graph(build.mvau(x, 5, 5, 12, levels=0, top=1))


def unrolled() -> Graph:
    """Whole matrices of constants at once: bits, ternary weights, several bounds, rows of nothing, sums that leave."""
    build = Chain(96, (5, 4, 3), 0, 1)
    x = build.add(SlidingWindow((3, 2), (2, 1), 3), "image")
    x = build.mvau(x, 9, 9, 18)
    x = build.add(Flatten(), x)
    x = build.mvau(x, 20, 20, 54, levels=3, act_val=-2, top=1)
    x = build.thresholds(x, 1, 0, 20)
    x = build.mvau(x, 13, 13, 20, levels=0)
    x = build.thresholds(x, 1, 0, 13)
    graph = build.graph(build.mvau(x, 5, 5, 13, levels=0, top=1))
    return graph.with_nodes(tuple(_sparse(node) for node in graph.nodes))


def _sparse(node: Node) -> Node:
    """An MVAU of ternary weights without those of its first row, which then reaches all of its bounds or none."""
    if not isinstance(node.op, Mvau) or node.op.xnor:
        return node
    weight = node.op.weight.copy()
    weight[0] = 0
    return replace(node, op=replace(node.op, weight=weight))


def winner() -> Graph:
    """Scores of which the best is asked for, several a word and several words."""
    build = Chain(5, (30,), 0, 1)
    return build.graph(build.add(LabelSelect(1, 5), build.mvau("image", 15, 15, 1, levels=0)))


GRAPHS: dict[str, Callable[[], Graph]] = {
    "ternary": ternary,
    "convolutions": convolutions,
    "residual": residual,
    "integers": integers,
    "winner": winner,
    "unrolled": unrolled,
}

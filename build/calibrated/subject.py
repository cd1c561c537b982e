"""A unit that the model is fitted to: every module of the library, of the sizes that are asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ...transforms.ir.graph import Graph, Node
from ...transforms.ir.infer import accumulator
from ...transforms.ir.ops import (
    NO_BOUNDS,
    AddBorder,
    AddStreams,
    AnyOp,
    ChannelwiseMul,
    DuplicateStreams,
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
from ...transforms.ir.tensor import TensorType
from ..rtl.control import Control

UNIT, ENTRANCE = "unit", "(input)"
BITS, PIXELS = TensorType((), 0, 1), TensorType((), 0, 255)


@dataclass(frozen=True, slots=True)
class Subject:
    """A unit.

    Attributes:
        name: of it, with its sizes.
        graph: with the unit, which is called UNIT, and whatever it needs beside it.
        part: the part of the graph's hardware that is meant: UNIT, a converter, or ENTRANCE.
        depth: words of FIFOs.
        control: what a host can ask of it.
    """

    name: str
    graph: Graph
    part: str = UNIT
    depth: int = 2
    control: Control | None = None


def matrix(
    shape: tuple[int, int, int, int],
    levels: int = 1,
    x: TensorType = BITS,
    top: int = 0,
    style: str = "auto",
    depth: int = 2,
    zeros: int | None = None,
) -> Subject:
    """An MVAU of rows, columns, PE and SIMD: bits where the inputs are bits and `top` is 0, else up to `top`.

    With `zeros`, weights of -1 and +1, of a hundred so many 0.
    """
    rows, columns, pe, simd = shape
    name = f"mvau {rows}x{columns} {pe}x{simd} of {x.low}..{x.high}, levels {levels}, top {top}, {style}, {depth} deep"
    name += "" if zeros is None else f", {zeros} % zeros"
    rng, xnor = _rng(name), x.is_binary and not top
    weight = rng.integers(0, 2, (rows, columns), np.uint8) if xnor else rng.integers(-top, top + 1, (rows, columns))
    if not xnor:
        weight = (2 * rng.integers(0, 2, (rows, columns)) - 1 if not top or zeros is not None else weight).astype(
            np.int8
        )
    if zeros is not None:
        weight *= rng.random((rows, columns)) >= zeros / 100
    kind = replace(x, shape=(columns,))
    op = Mvau(weight, NO_BOUNDS, xnor, 0, pe, simd, ram_style=style, ram_style_thresholds="auto")
    if levels and zeros is not None:
        # Near the middle of each row's sums, as they are learnt, so that no row is constant.
        middle, few = (weight.sum(axis=1) // 2)[:, None], np.abs(weight).sum(axis=1)[:, None] // 4
        op = replace(op, bounds=np.sort(middle + rng.integers(-few, few + 1, (rows, levels)), axis=1))
    elif levels:
        low, high = accumulator(op, kind).range
        op = replace(op, bounds=np.sort(rng.integers(low + 1, high + 1, (rows, levels)), axis=1))
    return _alone(name, op, kind, depth)


def thresholds(low: int, high: int, channels: int, levels: int, pe: int) -> Subject:
    """Thresholds of channels, `levels` each, on a map of integers from low to high."""
    name = f"thresholding {low}..{high} {channels} {levels} {pe}"
    bounds = np.sort(_rng(name).integers(low + 1, high + 1, (channels, levels)), axis=1)
    return _alone(name, Thresholding(bounds, 0, pe), TensorType((7, 7, channels), low, high))


def window(
    height: int,
    width: int,
    channels: int,
    simd: int,
    kernel: int,
    stride: int,
    bits: int,
    depthwise: int,
    style: str,
) -> Subject:
    """A sliding window on a map of values of so many bits."""
    sides = (min(kernel, height), min(kernel, width))
    steps = (stride if sides[0] > 1 or kernel == 1 else 1, stride if sides[1] > 1 or kernel == 1 else 1)
    name = f"window {kernel} by {stride} on {height}x{width}x{channels} {simd} {bits} bits {bool(depthwise)} {style}"
    op = SlidingWindow(sides, steps, simd, bool(depthwise), ram_style=style)
    return _alone(name, op, TensorType((height, width, channels), 0, 2**bits - 1))


def max_pool(height: int, width: int, channels: int, kernel: int, low: int, high: int) -> Subject:
    """A maximum pool without overlap."""
    x = TensorType((height, width, channels), low, high)
    return _alone(f"max pool {kernel} on {x.shape} {low}..{high}", StreamingMaxPool((kernel, kernel)), x)


def pool(pe: int, kernel: int, total: int, low: int, high: int) -> Subject:
    """A pool of windows that come one after the other: maxima, or with `total` sums."""
    x = TensorType((1, 1, kernel * kernel * 32), low, high)
    return _alone(f"pool {pe} of {kernel} {bool(total)} {low}..{high}", Pool((kernel, kernel), bool(total), pe), x)


def padding(
    side: int, channels: int, simd: int, top: int, left: int, bottom: int, right: int, low: int, high: int, value: int
) -> Subject:
    """Padding of a square map on its four sides."""
    x, pads = TensorType((side, side, channels), low, high), (top, left, bottom, right)
    return _alone(f"padding {pads} of {x.shape} {simd} {low}..{high}", FMPadding(pads, value, simd), x)


def sums(side: int, channels: int, pe: int, low: int, high: int) -> Subject:
    """Sums of the channels of a square map."""
    x = TensorType((side, side, channels), low, high)
    return _alone(f"sums of {x.shape} {pe} {low}..{high}", GlobalAccPool(pe), x)


def product(channels: int, pe: int, low: int, high: int, most: int) -> Subject:
    """Products of channels with factors of at most `most`."""
    name = f"product {channels} {pe} {low}..{high} {most}"
    factor = _rng(name).integers(-most, most + 1, channels)
    return _alone(name, ChannelwiseMul(factor, pe), TensorType((4, 4, channels), low, high))


def border(side: int, channels: int, pe: int, most: int) -> Subject:
    """Border sums of at most `most` on a square map."""
    name = f"border {side} {channels} {pe} {most}"
    values = _rng(name).integers(-most, most + 1, (3, 3, channels))
    classes = np.minimum(np.arange(side), 1) + (np.arange(side) == side - 1)
    return _alone(name, AddBorder(values, classes, classes, pe), TensorType((side, side, channels), -100, 100))


def adder(pe: int, low: int, high: int) -> Subject:
    """Sums of two streams."""
    return _joined(f"sum {pe} {low}..{high}", AddStreams(pe), low, high, pe)


def concat(simd: int, low: int, high: int) -> Subject:
    """Two streams behind each other."""
    return _joined(f"concat {simd} {low}..{high}", StreamingConcat(simd), low, high, simd)


def fork(pe: int, high: int) -> Subject:
    """A stream that two read."""
    return replace(adder(pe, 0, high), name=f"fork {pe} of 0..{high}", part="fork")


def labels(labels: int, pe: int, k: int, low: int, high: int) -> Subject:
    """The `k` best of some scores."""
    return _alone(f"labels {labels} {pe} {k} {low}..{high}", LabelSelect(k, pe), TensorType((labels,), low, high))


def converter(first: int, second: int, high: int, depth: int) -> Subject:
    """A converter of words of so many values, with the FIFO behind it."""
    x = TensorType((1, 1, max(first, second)), 0, high)
    nodes = (Node("a", GlobalAccPool(first), ("x",)), Node("b", GlobalAccPool(second), ("a",)))
    name = f"{first} to {second} of 0..{high}, {depth} deep"
    return Subject(name, Graph("converter", "x", x, nodes, "b"), "a_to_b", depth)


def entrance(width: int, depth: int) -> Subject:
    """The FIFO at the input."""
    graph = Graph("input", "x", TensorType((1, 1, width), 0, 1), (Node("a", GlobalAccPool(width), ("x",)),), "a")
    return Subject(f"input of {width}, {depth} deep", graph, ENTRANCE, depth)


def _rng(name: str) -> np.random.Generator:
    return np.random.default_rng(list(name.encode()))


def _alone(name: str, op: AnyOp, x: TensorType, depth: int = 2) -> Subject:
    return Subject(name, Graph("alone", "x", x, (Node(UNIT, op, ("x",)),), UNIT), UNIT, depth)


def _joined(name: str, op: AnyOp, low: int, high: int, width: int) -> Subject:
    fork = Node("fork", DuplicateStreams(width), ("x",))
    nodes = (fork, Node(UNIT, op, ("fork", "fork")))
    return Subject(name, Graph("joined", "x", TensorType((4, 4, 32), low, high), nodes, UNIT), UNIT)

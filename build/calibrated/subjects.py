"""The units that the model is fitted to: every module of the library over the sizes that networks give it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

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

UNIT, ENTRANCE = "unit", "(input)"
BITS, PIXELS = TensorType((), 0, 1), TensorType((), 0, 255)
HELD_OUT = 80

# Rows, columns, PE, SIMD.
_MATRICES = """
    64x64 1x8, 64x64 4x16, 64x64 8x32, 64x64 16x8, 64x64 16x64, 128x128 4x64, 256x256 8x16, 256x256 16x32, 256x256 2x4,
    64x576 8x32, 128x576 16x32, 256x1152 4x64, 256x784 16x49, 256x784 16x16, 512x512 2x8, 256x2304 1x32,
    1024x1024 8x64, 512x512 1x1, 96x432 6x12, 64x784 16x49, 32x288 32x36, 48x144 12x24, 24x72 3x9, 40x200 5x25,
    16x27 4x3, 128x64 32x2, 20x60 10x6, 128x1024 64x16, 72x648 9x18, 30x90 15x45,
    64x256 1x256, 40x64 2x64, 96x100 3x100"""
_EITHER_MEMORY = "64x64 8x32, 128x1152 16x32, 256x256 4x16, 40x200 5x25, 64x64 1x8"
_SCORES = "10x64 1x8, 10x512 1x8, 10x128 10x16, 100x256 5x32, 64x64 16x16, 12x96 2x3"
_OF_LEVELS = "64x64 8x16, 128x288 4x36, 32x64 2x4, 256x256 16x16"
_FEW_WORDS = "16x16 16x16, 32x64 32x64, 10x48 10x48, 64x24 64x24, 16x64 8x32, 24x36 8x18"
_OF_PIXELS = "64x27 16x3, 64x27 4x1, 32x9 8x9, 96x75 8x15, 64x784 4x8, 16x25 2x5, 128x27 32x27"
_TERNARY = "20x12 10x6, 12x60 12x60, 32x64 32x64, 16x96 8x48"
# Rows and columns of whole matrices of ternary weights, and how many in a hundred of them are 0.
_UNROLLED = """
    64 64 0, 64 64 50, 64 64 75, 64 64 90, 32 128 80, 100 48 60, 24 200 90, 200 64 95, 16 400 97, 40 784 95, 10 64 50,
    128 16 30"""
_MORE_TERNARY = "24x48 12x24, 36x60 9x60"
# Of whole columns, as MLPs are folded.
_WIDE = "32x576 1x576, 48x360 2x360, 64x512 1x512, 24x720 1x720, 40x448 4x448"
_UNROLLED_HELD_OUT = "48 96 70, 96 128 92, 64 200 85, 20 60 20, 150 100 97, 10 128 75, 72 72 0, 30 500 96"
# Rows and columns of whole matrices of numbers of several bits: low, high, levels, greatest weight (0: -1 and +1) and
# how many in a hundred are 0 (-1: as they are drawn).
_CONSTANTS = """
    24 9 0 255 1 0 -1, 16 64 0 3 1 0 -1, 16 27 0 255 3 0 -1, 12 25 0 255 1 1 -1, 16 64 0 3 1 1 -1, 20 36 0 3 1 3 -1,
    10 32 -8 7 0 0 -1, 32 16 0 15 1 1 75, 16 48 0 1 1 3 -1, 10 64 0 3 0 7 -1, 16 64 0 3 1 1 90"""
_CONSTANTS_HELD_OUT = "64 16 0 255 1 0 -1, 8 49 0 255 1 0 -1, 40 12 -4 3 1 1 50, 32 27 0 255 3 1 -1, 20 48 0 7 0 1 80"
# Low, high, channels, levels, PE.
_THRESHOLDS = """
    0 255 3 1 1, 0 255 16 3 4, 0 255 64 255 1, -512 511 64 1 8, -512 511 64 3 8, -100 100 32 15 2, -100 100 128 1 32,
    -8 7 16 7 16, -2000 2000 256 3 4, 0 576 128 1 1, -60 60 24 3 24, -1000 1000 512 1 2, -300 300 10 2 5,
    0 31 48 1 12"""
# Height, width, channels, SIMD, kernel, stride, bits, depthwise, and where its ring lies.
_WINDOWS = """
    32 32 3 3 3 1 8 0 distributed, 30 30 64 32 3 1 1 0 distributed, 14 14 64 64 3 1 1 0 distributed,
    12 12 128 32 3 1 1 0 distributed, 5 5 128 32 3 1 1 0 distributed, 3 3 256 32 3 1 1 0 distributed,
    28 28 1 1 5 1 8 0 distributed, 28 28 16 4 3 1 1 0 distributed, 9 9 24 12 3 2 1 0 distributed,
    16 16 8 2 1 2 2 0 distributed, 10 49 1 1 3 1 8 0 distributed, 20 1 40 8 4 1 1 0 distributed,
    16 16 32 8 2 2 4 1 distributed, 8 8 16 16 3 1 4 1 distributed, 30 30 64 32 3 1 1 0 block, 32 32 16 16 3 1 2 0 block,
    18 18 96 96 3 1 1 0 block, 32 32 64 64 3 1 1 0 auto, 64 64 3 1 7 2 8 0 auto, 16 16 128 4 3 1 1 0 auto,
    8 8 6 6 2 1 8 0 auto, 34 34 16 1 3 1 1 0 distributed, 6 6 48 3 3 1 3 0 distributed"""
# Height, width, channels, kernel, low, high.
_MAX_POOLS = """
    28 28 64 2 0 1, 10 10 128 2 0 1, 12 12 16 3 0 1, 8 8 8 2 -8 7, 24 24 32 2 0 3, 128 128 16 2 0 1, 10 10 24 5 -2 1,
    4 4 256 2 0 1"""
# PE, kernel, whether the sum, low, high.
_POOLS = "8 2 0 0 15, 16 3 1 0 3, 1 7 1 -8 7, 4 2 1 0 255, 32 3 0 -2 1, 8 4 1 0 1"
# Side, channels, SIMD, four sides' pads, low, high, value.
_PADDINGS = """
    32 3 3 1 1 1 1 0 255 0, 16 64 32 1 1 1 1 0 1 0, 8 128 16 0 1 0 1 0 1 1, 28 16 1 2 2 2 2 0 3 0,
    10 24 12 1 0 1 2 -8 7 3, 48 8 8 1 1 1 1 0 1 0"""
# Side, channels, PE, low, high.
_SUMS = "8 64 8 -100 100, 4 128 4 0 3, 7 32 32 -8 7, 6 256 16 0 1, 13 10 1 0 255"
# Channels, PE, low, high, greatest factor; side, channels, PE, greatest value; PE or SIMD, low, high; PE, high.
_PRODUCTS = "64 4 -8 7 3, 16 16 -100 100 1, 32 2 0 3 7, 128 8 -500 500 15"
_BORDERS = "8 32 4 20, 16 64 16 9, 6 16 1 60, 10 12 12 5"
_ADDERS, _CONCATS, _FORKS = "4 0 1, 16 0 3, 1 -100 100, 8 -8 7", "4 0 1, 16 0 3, 1 -8 7, 8 0 1", "1 1, 8 1, 32 3, 4 255"
# Labels, PE, k, low, high.
_LABELS = "10 1 1 0 255, 10 10 1 -60 60, 100 5 1 0 511, 10 2 5 -100 100, 12 1 3 0 64, 1000 1 1 -500 500"
# Of modules whose logic differs most between alike sizes, some more.
_MORE_LABELS = "10 2 1 -100 100, 20 5 1 -200 200, 35 1 1 -200 200, 16 4 1 -128 127, 12 6 1 -60 60, 40 8 1 -30 200"
_MORE_PADDINGS = """
    12 16 1 1 1 1 1 0 3 0, 20 32 4 1 1 1 1 0 1 0, 24 16 2 1 1 1 1 0 1 0, 32 64 8 1 1 1 1 0 1 0, 18 32 2 1 1 1 1 0 3 0,
    8 16 4 1 1 1 1 0 3 0"""
_MORE_MAX_POOLS = "12 12 32 2 0 3, 20 20 64 2 0 1, 16 16 24 2 0 3, 6 6 48 2 0 1"
# Narrow, wide, high, depth; bits, depth.
_CONVERTERS = "8 16 1 2, 4 64 1 2, 1 8 1 2, 16 32 3 2, 3 27 255 2, 2 128 1 32, 32 64 1 100"
_ENTRANCES = "1 2, 8 2, 8 16, 49 16, 64 32, 24 33, 32 64, 16 128, 8 500, 1 1000, 3 200"


@dataclass(frozen=True, slots=True)
class Subject:
    """A unit.

    Attributes:
        name: of it, with its sizes.
        graph: with the unit, which is called UNIT, and whatever it needs beside it.
        part: the part of the graph's hardware that is meant: UNIT, a converter, or ENTRANCE.
        depth: words of FIFOs.
    """

    name: str
    graph: Graph
    part: str = UNIT
    depth: int = 2


def subjects() -> Iterator[Subject]:
    """Those that the model is fitted to; what they hold is drawn from their names."""
    yield from _matrices()
    yield from _matrices_of_integers()
    yield from (_thresholding(*row) for row in _rows(_THRESHOLDS))
    yield from (_window(*row) for row in _rows(_WINDOWS))
    yield from (_max_pool(*row) for row in _rows(_MAX_POOLS))
    yield from (_pool(*row) for row in _rows(_POOLS))
    yield from (_padding(*row) for row in _rows(_PADDINGS))
    yield from (_sums(*row) for row in _rows(_SUMS))
    yield from (_product(*row) for row in _rows(_PRODUCTS))
    yield from (_border(*row) for row in _rows(_BORDERS))
    yield from (_adder(*row) for row in _rows(_ADDERS))
    yield from (_concat(*row) for row in _rows(_CONCATS))
    yield from (_fork(*row) for row in _rows(_FORKS))
    yield from (_labels(*row) for row in _rows(_LABELS))
    for narrow, wide, high, depth in _rows(_CONVERTERS):
        yield _converter(narrow, wide, high, depth)
        yield _converter(wide, narrow, high, depth)
    yield from (_entrance(*row) for row in _rows(_ENTRANCES))
    yield from (_labels(*row) for row in _rows(_MORE_LABELS))
    yield from (_padding(*row) for row in _rows(_MORE_PADDINGS))
    yield from (_max_pool(*row) for row in _rows(_MORE_MAX_POOLS))
    yield from _unrolled(_UNROLLED)
    yield from (matrix(shape, 1, BITS, 1) for shape in _shapes(_MORE_TERNARY))
    yield from (matrix(shape) for shape in _shapes(_WIDE))
    yield from _constants(_CONSTANTS)


def held_out(number: int = HELD_OUT, seed: int = 0) -> Iterator[Subject]:
    """Units of drawn sizes, none of them among `subjects`, that judge the fit; half matrices, and unrolled ones."""
    rng, seen = np.random.default_rng(seed), {each.name for each in subjects()}
    while number:
        made = _drawn(rng)
        if made.name not in seen:
            seen.add(made.name)
            number -= 1
            yield made
    yield from _unrolled(_UNROLLED_HELD_OUT)
    yield from _constants(_CONSTANTS_HELD_OUT)


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


def _rows(text: str) -> Iterator[list[Any]]:
    """Rows of a table: numbers, and words among them."""
    for row in text.split(","):
        yield [int(word) if re.fullmatch(r"-?\d+", word) else word for word in row.split()]


def _shapes(text: str) -> Iterator[tuple[int, int, int, int]]:
    for rows, columns, pe, simd in re.findall(r"(\d+)x(\d+) (\d+)x(\d+)", text):
        yield int(rows), int(columns), int(pe), int(simd)


def _matrices() -> Iterator[Subject]:
    yield from (matrix(shape) for shape in _shapes(_MATRICES))
    for shape in _shapes(_EITHER_MEMORY):
        yield matrix(shape, style="distributed")
        yield matrix(shape, style="block")
    yield from (matrix(shape, 0) for shape in _shapes(_SCORES))
    yield from (matrix(shape, levels) for shape in _shapes(_OF_LEVELS) for levels in (2, 3, 7, 15))
    yield from (matrix(shape, levels) for shape in _shapes(_FEW_WORDS) for levels in (1, 0))
    yield from (matrix((64, 64, 8, 16), depth=depth) for depth in (8, 31, 64, 200))


def _matrices_of_integers() -> Iterator[Subject]:
    yield from (matrix(shape, x=PIXELS) for shape in _shapes(_OF_PIXELS))
    yield from (matrix(shape, 3, PIXELS) for shape in ((64, 27, 16, 3), (32, 75, 4, 15)))
    yield matrix((10, 64, 2, 16), 0, PIXELS)
    for high, shape in (
        (3, (64, 64, 4, 16)),
        (3, (32, 288, 8, 9)),
        (7, (64, 144, 4, 12)),
        (15, (16, 64, 2, 8)),
        (3, (10, 128, 5, 8)),
    ):
        yield matrix(shape, 1, TensorType((), 0, high))
        yield matrix(shape, 3, TensorType((), -(high + 1) // 2, high // 2))
    for top in (1, 3, 7):
        yield matrix((64, 64, 4, 8), 1, BITS, top)
        yield matrix((32, 144, 2, 16), 3, BITS, top)
        yield matrix((32, 36, 4, 6), 1, TensorType((), 0, 3), top)
        yield matrix((16, 27, 2, 3), 1, PIXELS, top)
    yield from (matrix(shape, levels, BITS, 1) for shape in _shapes(_TERNARY) for levels in (1, 0))


def _unrolled(text: str) -> Iterator[Subject]:
    """Every third with sums that leave, every fourth with three bounds."""
    for place, (rows, columns, zeros) in enumerate(_rows(text)):
        levels = 3 if place % 4 == 3 else 0 if place % 3 == 2 else 1
        yield matrix((rows, columns, rows, columns), levels, BITS, 1, zeros=zeros)


def _constants(text: str) -> Iterator[Subject]:
    for rows, columns, low, high, levels, top, zeros in _rows(text):
        shape, x = (rows, columns, rows, columns), TensorType((), low, high)
        yield matrix(shape, levels, x, top, zeros=None if zeros < 0 else zeros)


def _thresholding(low: int, high: int, channels: int, levels: int, pe: int) -> Subject:
    name = f"thresholding {low}..{high} {channels} {levels} {pe}"
    bounds = np.sort(_rng(name).integers(low + 1, high + 1, (channels, levels)), axis=1)
    return _alone(name, Thresholding(bounds, 0, pe), TensorType((7, 7, channels), low, high))


def _window(
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
    sides = (min(kernel, height), min(kernel, width))
    steps = (stride if sides[0] > 1 or kernel == 1 else 1, stride if sides[1] > 1 or kernel == 1 else 1)
    name = f"window {kernel} by {stride} on {height}x{width}x{channels} {simd} {bits} bits {bool(depthwise)} {style}"
    op = SlidingWindow(sides, steps, simd, bool(depthwise), ram_style=style)
    return _alone(name, op, TensorType((height, width, channels), 0, 2**bits - 1))


def _max_pool(height: int, width: int, channels: int, kernel: int, low: int, high: int) -> Subject:
    x = TensorType((height, width, channels), low, high)
    return _alone(f"max pool {kernel} on {x.shape} {low}..{high}", StreamingMaxPool((kernel, kernel)), x)


def _pool(pe: int, kernel: int, total: int, low: int, high: int) -> Subject:
    x = TensorType((1, 1, kernel * kernel * 32), low, high)
    return _alone(f"pool {pe} of {kernel} {bool(total)} {low}..{high}", Pool((kernel, kernel), bool(total), pe), x)


def _padding(
    side: int, channels: int, simd: int, top: int, left: int, bottom: int, right: int, low: int, high: int, value: int
) -> Subject:
    x, pads = TensorType((side, side, channels), low, high), (top, left, bottom, right)
    return _alone(f"padding {pads} of {x.shape} {simd} {low}..{high}", FMPadding(pads, value, simd), x)


def _sums(side: int, channels: int, pe: int, low: int, high: int) -> Subject:
    x = TensorType((side, side, channels), low, high)
    return _alone(f"sums of {x.shape} {pe} {low}..{high}", GlobalAccPool(pe), x)


def _product(channels: int, pe: int, low: int, high: int, most: int) -> Subject:
    name = f"product {channels} {pe} {low}..{high} {most}"
    factor = _rng(name).integers(-most, most + 1, channels)
    return _alone(name, ChannelwiseMul(factor, pe), TensorType((4, 4, channels), low, high))


def _border(side: int, channels: int, pe: int, most: int) -> Subject:
    name = f"border {side} {channels} {pe} {most}"
    values = _rng(name).integers(-most, most + 1, (3, 3, channels))
    classes = np.minimum(np.arange(side), 1) + (np.arange(side) == side - 1)
    return _alone(name, AddBorder(values, classes, classes, pe), TensorType((side, side, channels), -100, 100))


def _adder(pe: int, low: int, high: int) -> Subject:
    return _joined(f"sum {pe} {low}..{high}", AddStreams(pe), low, high, pe)


def _concat(simd: int, low: int, high: int) -> Subject:
    return _joined(f"concat {simd} {low}..{high}", StreamingConcat(simd), low, high, simd)


def _fork(pe: int, high: int) -> Subject:
    return replace(_adder(pe, 0, high), name=f"fork {pe} of 0..{high}", part="fork")


def _labels(labels: int, pe: int, k: int, low: int, high: int) -> Subject:
    return _alone(f"labels {labels} {pe} {k} {low}..{high}", LabelSelect(k, pe), TensorType((labels,), low, high))


def _converter(first: int, second: int, high: int, depth: int) -> Subject:
    x = TensorType((1, 1, max(first, second)), 0, high)
    nodes = (Node("a", GlobalAccPool(first), ("x",)), Node("b", GlobalAccPool(second), ("a",)))
    name = f"{first} to {second} of 0..{high}, {depth} deep"
    return Subject(name, Graph("converter", "x", x, nodes, "b"), "a_to_b", depth)


def _entrance(width: int, depth: int) -> Subject:
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


def _drawn(rng: np.random.Generator) -> Subject:
    def one(*values: int) -> int:
        return int(rng.choice(values))

    def part(whole: int, most: int = 64) -> int:
        return one(*(each for each in range(1, min(whole, most) + 1) if whole % each == 0))

    match one(*range(12)):
        case 0 | 1 | 2 | 3 | 4:
            rows, columns = (
                one(10, 16, 24, 36, 48, 64, 100, 128, 200, 256),
                one(48, 72, 96, 128, 200, 288, 400, 512, 784),
            )
            return matrix((rows, columns, part(rows, 32), part(columns)), one(1, 1, 1, 0, 3))
        case 5:
            rows, columns = one(16, 32, 48, 64, 96), one(9, 25, 27, 48, 75, 144)
            x = (PIXELS, TensorType((), 0, 3), TensorType((), -8, 7))[one(0, 1, 2)]
            return matrix((rows, columns, part(rows, 16), part(columns, 27)), one(1, 1, 3), x, one(0, 0, 1))
        case 6:
            channels = one(8, 16, 24, 48, 64, 96, 128)
            side, kernel, bits = one(6, 8, 10, 14, 20, 28), one(2, 3, 3, 5), one(1, 1, 2, 4)
            style = ("distributed", "distributed", "auto", "block")[one(0, 1, 2, 3)]
            return _window(side, side, channels, part(channels), kernel, 1, bits, 0, style)
        case 7:
            side, channels = one(6, 8, 14, 20, 28), one(16, 32, 48, 64)
            return _max_pool(side, side, channels, 2, 0, one(1, 1, 3))
        case 8:
            channels, high = one(10, 16, 40, 64, 128), one(30, 100, 600)
            return _thresholding(-high, high, channels, one(1, 3, 7), part(channels, 16))
        case 9:
            side, channels, high = one(7, 10, 14, 16, 28), one(16, 32, 64), one(1, 1, 3)
            return _padding(side, channels, part(channels), 1, 1, 1, 1, 0, high, 0)
        case 10:
            wide = one(12, 16, 24, 32, 48, 64)
            ends = sorted((part(wide // 2), wide), reverse=bool(one(0, 1)))
            return _converter(ends[0], ends[1], one(1, 1, 3), one(2, 2, 16, 40))
        case _:
            labels = one(10, 20, 35)
            return _labels(labels, part(labels, 10), 1, -one(60, 200), one(60, 200))

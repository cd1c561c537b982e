"""The units that the model is fitted to: every module of the library over the sizes that networks give it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from ...transforms.ir.tensor import TensorType
from .guarded_subjects import guarded_held_out, guarded_subjects
from .subject import (
    BITS,
    PIXELS,
    Subject,
    adder,
    border,
    concat,
    converter,
    entrance,
    fork,
    labels,
    matrix,
    max_pool,
    padding,
    pool,
    product,
    sums,
    thresholds,
    window,
)

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


def subjects() -> Iterator[Subject]:
    """Those that the model is fitted to; what they hold is drawn from their names."""
    yield from _matrices()
    yield from _matrices_of_integers()
    yield from (thresholds(*row) for row in _rows(_THRESHOLDS))
    yield from (window(*row) for row in _rows(_WINDOWS))
    yield from (max_pool(*row) for row in _rows(_MAX_POOLS))
    yield from (pool(*row) for row in _rows(_POOLS))
    yield from (padding(*row) for row in _rows(_PADDINGS))
    yield from (sums(*row) for row in _rows(_SUMS))
    yield from (product(*row) for row in _rows(_PRODUCTS))
    yield from (border(*row) for row in _rows(_BORDERS))
    yield from (adder(*row) for row in _rows(_ADDERS))
    yield from (concat(*row) for row in _rows(_CONCATS))
    yield from (fork(*row) for row in _rows(_FORKS))
    yield from (labels(*row) for row in _rows(_LABELS))
    for narrow, wide, high, depth in _rows(_CONVERTERS):
        yield converter(narrow, wide, high, depth)
        yield converter(wide, narrow, high, depth)
    yield from (entrance(*row) for row in _rows(_ENTRANCES))
    yield from (labels(*row) for row in _rows(_MORE_LABELS))
    yield from (padding(*row) for row in _rows(_MORE_PADDINGS))
    yield from (max_pool(*row) for row in _rows(_MORE_MAX_POOLS))
    yield from _unrolled(_UNROLLED)
    yield from (matrix(shape, 1, BITS, 1) for shape in _shapes(_MORE_TERNARY))
    yield from (matrix(shape) for shape in _shapes(_WIDE))
    yield from _constants(_CONSTANTS)
    yield from guarded_subjects()


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
    yield from guarded_held_out()


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
            return window(side, side, channels, part(channels), kernel, 1, bits, 0, style)
        case 7:
            side, channels = one(6, 8, 14, 20, 28), one(16, 32, 48, 64)
            return max_pool(side, side, channels, 2, 0, one(1, 1, 3))
        case 8:
            channels, high = one(10, 16, 40, 64, 128), one(30, 100, 600)
            return thresholds(-high, high, channels, one(1, 3, 7), part(channels, 16))
        case 9:
            side, channels, high = one(7, 10, 14, 16, 28), one(16, 32, 64), one(1, 1, 3)
            return padding(side, channels, part(channels), 1, 1, 1, 1, 0, high, 0)
        case 10:
            wide = one(12, 16, 24, 32, 48, 64)
            ends = sorted((part(wide // 2), wide), reverse=bool(one(0, 1)))
            return converter(ends[0], ends[1], one(1, 1, 3), one(2, 2, 16, 40))
        case _:
            number = one(10, 20, 35)
            return labels(number, part(number, 10), 1, -one(60, 200), one(60, 200))

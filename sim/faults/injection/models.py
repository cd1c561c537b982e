"""Fault models: which cells of a memory are hit together, and what happens to them.

A model is a shape (what one fault covers) and an effect. The rate is the probability that a unit of that shape is
hit, independently of all others: a cell; a bit line (one bit position of all words); a word line (all bits of a
word); a PE (its bits in all words); the first cell of a burst or cluster; a row or column of a block RAM.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from bnnflow import Problem

from ....transforms.ir.tensor import Array
from ....transforms.memories import Style
from .draws import uniforms
from .layout import Memory, chosen

CLEAR, SET, FLIP = 0, 1, 2

SHAPES = ("cell", "bit-line", "word-line", "pe", "burst", "cluster", "bram-row", "bram-column")
EFFECTS = ("flip", "asymmetric", "stuck-at-0", "stuck-at-1", "stuck")


@dataclass(frozen=True, slots=True)
class Cells:
    """Faulty cells of one memory.

    Attributes:
        index: (n,) int64, ascending; word * width + bit.
        effect: (n,) uint8: 0 cell holds 0, 1 cell holds 1, 2 cell holds the opposite.
    """

    index: Array
    effect: Array

    def on(self, bits: Array) -> Array:
        """The content with these faults; `bits` of any shape, in the order of the cells."""
        flat = bits.reshape(-1).copy()
        flat[self.index] = np.where(self.effect == FLIP, flat[self.index] ^ 1, self.effect)
        return flat.reshape(bits.shape)

    @staticmethod
    def none() -> Cells:
        """No fault."""
        return Cells(np.zeros(0, np.int64), np.zeros(0, np.uint8))


@dataclass(frozen=True, slots=True)
class Rate:
    """How often units are hit: probability `up` of errors from 0 to 1, `down` of errors from 1 to 0.

    Only asymmetric effects can tell them apart; all others need `up` and `down` to be equal.

    Attributes:
        label: for tables, such as a temperature; the rate itself where it is empty.
    """

    up: float
    down: float
    label: str = ""

    def __post_init__(self) -> None:
        for value in (self.up, self.down):
            if not 0 <= value <= 1:
                raise Problem(f"a fault rate of {value:g}", self.label, "give a number from 0 to 1")

    @staticmethod
    def of(value: float, label: str = "") -> Rate:
        """The same rate in both directions."""
        return Rate(float(value), float(value), label)

    @property
    def figures(self) -> str:
        """The rate as text; both directions where they differ."""
        return f"{self.up:g}" if self.up == self.down else f"p01 {self.up:g} p10 {self.down:g}"

    def __str__(self) -> str:
        return self.label or self.figures


@dataclass(frozen=True, slots=True)
class Model:
    """A shape and an effect. `Model.parse` reads its text form.

    Attributes:
        shape: one of SHAPES.
        effect: "flip"; "asymmetric" (0 to 1 at the rate `up`, 1 to 0 at `down`); "stuck-at-0" and "stuck-at-1";
            "stuck": each unit at 0 or 1 with equal chance.
        rows, columns: of a cluster in words and bits; a burst covers `columns` bits of one word. What passes
            the memory's edge is cut off.
        style: of which primitives the memory is made, for block-RAM rows and columns.
        logical: number the cells by (channel, value, bit) and not as they lie in hardware, so that folding does
            not change the damage; for the shape "cell" alone.
    """

    shape: str = "cell"
    effect: str = "flip"
    rows: int = 1
    columns: int = 1
    style: Style = "block"
    logical: bool = False

    def __post_init__(self) -> None:
        chosen(self.shape, SHAPES, "fault shape")
        chosen(self.effect, EFFECTS, "fault effect")
        if self.rows < 1 or self.columns < 1:
            raise Problem("a burst or cluster without cells", "fault model", "sizes are at least 1")
        if self.logical and self.shape != "cell":
            raise Problem(f"a {self.shape} has no logical address", "fault model", "use logical with cells alone")

    @staticmethod
    def parse(text: str) -> Model:
        """`[shape[:size]-]effect` or `[logical ]effect`: "flip", "stuck-at-1", "bit-line stuck-at-0", "burst:4 flip".

        Sizes: burst:LENGTH, cluster:WORDSxBITS.

        Raises:
            Problem: unknown words (the hint names the closest), or a size that is none.
        """
        words = text.split()
        logical = words[:1] == ["logical"]
        words = words[1:] if logical else words
        if len(words) == 1:
            named = words[0].partition(":")[0]
            words = [words[0], "flip"] if named in SHAPES else ["cell", words[0]]
        if len(words) != 2:
            hint = "for example 'flip', 'bit-line stuck-at-1', 'burst:4 flip', 'cluster:2x3 stuck'"
            raise Problem(f"{text!r} is no fault model", "fault model", hint)
        shape, _, size = words[0].partition(":")
        rows, columns = _size(chosen(shape, SHAPES, "fault shape"), size)
        return Model(shape, chosen(words[1], EFFECTS, "fault effect"), rows, columns, logical=logical)

    def __str__(self) -> str:
        size = {"burst": f":{self.columns}", "cluster": f":{self.rows}x{self.columns}"}.get(self.shape, "")
        shape = "" if self.shape == "cell" else f"{self.shape}{size} "
        return f"{'logical ' if self.logical else ''}{shape}{self.effect}"

    def units(self, memory: Memory) -> int:
        """How many units of this shape a memory has."""
        match self.shape:
            case "bit-line":
                return memory.width
            case "word-line":
                return memory.depth
            case "pe":
                return memory.lanes
            case "bram-row":
                return memory.depth * (memory.width // memory.bank) * memory.primitives(self.style).across
            case "bram-column":
                return memory.width * memory.primitives(self.style).down
            case _:
                return memory.size

    def draw(self, memory: Memory, rate: Rate, source: Callable[[int], np.random.Generator]) -> Cells:
        """The faulty cells of one map; nested over rates.

        Args:
            memory: the memory that suffers.
            rate: of units.
            source: `draws.stream` of the seed, the trial and the memory.
        """
        if self.effect != "asymmetric" and rate.up != rate.down:
            what = f"'{self}' has no directions, but the rates are {rate.figures}"
            raise Problem(what, rate.label or "fault rates", "use the effect asymmetric, or give one rate for both")
        most = max(rate.up, rate.down)
        units, values = uniforms(source, self.units(memory), most)
        match self.effect:
            case "flip":
                effect = np.full(len(units), FLIP, np.uint8)
            case "asymmetric":
                up, down = values < rate.up, values < rate.down
                effect = np.where(up & down, FLIP, np.where(up, SET, CLEAR)).astype(np.uint8)
            case "stuck":
                # Which half of [0, rate) would break nesting: the number's low digits are as good as a coin.
                effect = (np.floor(values * 2.0**52) % 2).astype(np.uint8)
            case _:
                effect = np.full(len(units), SET if self.effect == "stuck-at-1" else CLEAR, np.uint8)
        if self.shape == "cell":
            cells = memory.physical()[units] if self.logical else units
            order = np.argsort(cells, kind="stable")
            return Cells(cells[order], effect[order])
        return self._spread(memory, units, effect)

    def _spread(self, memory: Memory, units: Array, effect: Array) -> Cells:
        """All cells that the units cover; where units overlap, flips are counted and the last stuck one wins."""
        depth, width = memory.depth, memory.width
        every, flips = [], np.zeros(0, np.int64)
        for unit, what in zip(units.tolist(), effect.tolist(), strict=True):
            top, bottom, left, right = self._area(memory, unit)
            rows = np.arange(top, min(bottom, depth))
            cells = (rows[:, None] * width + np.arange(left, min(right, width))).reshape(-1)
            every.append((cells, what))
        if not every:
            return Cells.none()
        index = np.concatenate([cells for cells, _ in every])
        what = np.concatenate([np.full(len(cells), what, np.uint8) for cells, what in every])
        if self.effect == "flip":
            index, flips = np.unique(index, return_counts=True)
            index = index[flips % 2 == 1]
            return Cells(index, np.full(len(index), FLIP, np.uint8))
        # np.unique keeps the first: turn round so that it is the last.
        index, first = np.unique(index[::-1], return_index=True)
        return Cells(index, what[::-1][first])

    def _area(self, memory: Memory, unit: int) -> tuple[int, int, int, int]:
        """First and last-plus-one word, first and last-plus-one bit of a unit."""
        depth, width = memory.depth, memory.width
        match self.shape:
            case "bit-line":
                return 0, depth, unit, unit + 1
            case "word-line":
                return unit, unit + 1, 0, width
            case "pe":
                lane = width // memory.lanes
                return 0, depth, unit * lane, (unit + 1) * lane
            case "burst" | "cluster":
                row, column = divmod(unit, width)
                return row, row + self.rows, column, column + self.columns
            case "bram-column":
                part, column = divmod(unit, width)
                rows = memory.primitives(self.style).rows
                return part * rows, min((part + 1) * rows, depth), column, column + 1
            case _:
                cut = memory.primitives(self.style)
                row, rest = divmod(unit, (width // memory.bank) * cut.across)
                bank, part = divmod(rest, cut.across)
                left = bank * memory.bank + part * cut.columns
                return row, row + 1, left, min(left + cut.columns, (bank + 1) * memory.bank)


def _size(shape: str, text: str) -> tuple[int, int]:
    given = re.fullmatch(r"(?:(\d+)x)?(\d+)", text)
    if shape in ("burst", "cluster"):
        if given is None or (shape == "cluster") != (given[1] is not None):
            hint = "write burst:LENGTH, such as burst:4, or cluster:WORDSxBITS, such as cluster:2x3"
            raise Problem(f"a {shape} of the size {text!r}", "fault model", hint)
        return int(given[1] or 1), int(given[2])
    if text:
        raise Problem(f"a {shape} has no size", "fault model", "only bursts and clusters have one")
    return 1, 1

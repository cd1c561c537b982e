"""Popcounts of segments that are read with few levels, or wrongly by chance.

CapMin and CapMin-V (Yayla et al., arXiv:2309.02111): an in-memory array gives a segment's popcount as a time or a
charge. Levels that seldom occur are not told apart, which needs a smaller capacitor; under variation a level is read as
another with some probability.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from bnnflow import Problem

from ...transforms.ir.graph import Graph
from ...transforms.ir.tensor import Array
from ..faults.injection.draws import stream
from ..segments import Segments, popcounts
from ..walk import BATCH, Change, Walk
from .layers import KEY, BinaryLayer

ARRAY = 32
_DRAW = 41
_SUM = 1e-6


def histograms(graph: Graph, layers: Sequence[BinaryLayer], images: Array, size: int = ARRAY) -> dict[str, Array]:
    """How often each popcount occurs in the segments of each layer's sums, while all is exact: (size + 1,) int64.

    Args:
        graph: at the dataflow level.
        layers: of it.
        images: as the graph takes them; training images, where a map is made of it.
        size: products of a segment; the tail, which has fewer, counts, too.
    """
    found = {layer.name: np.zeros(size + 1, np.int64) for layer in layers}
    counting: dict[str, list[BinaryLayer]] = {graph.node(layer.name).input: [] for layer in layers}
    for layer in layers:
        counting[graph.node(layer.name).input].append(layer)
    counters = {layer.name: popcounts(layer.op, Segments(layer.fan_in, size)) for layer in layers}

    def look(name: str) -> Change:
        def count(values: Array, first: int) -> Array:
            for layer in counting[name]:
                for popcount in counters[layer.name](values):
                    flat = popcount.reshape(-1).astype(np.int64)
                    found[layer.name] += np.bincount(flat, minlength=size + 1)
            return values

        return count

    Walk.of(graph, {name: look(name) for name in counting}, {}).scores(images)
    return found


@dataclass(frozen=True, slots=True)
class CapMin:
    """Each segment's popcount p becomes levels[p]; a sum is that of its segments' 2 levels[p] - products.

    The tail's popcounts are read as those of whole segments: by the same circuit.

    Args:
        levels: of 0 to a, for segments of a products; whole numbers from 0 to a.

    Raises:
        Problem: there are fewer than two levels, or one is out of range.
    """

    name: ClassVar[str] = "capmin"
    on_bits: ClassVar[bool] = False
    """Whether it gives the bit behind the sums, and not sums."""
    drawn: ClassVar[bool] = False
    """Whether it differs from trial to trial."""

    levels: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.levels) < 2 or not all(0 <= level < len(self.levels) for level in self.levels):
            what = f"levels {self.levels} of popcounts"
            raise Problem(what, "approximation", f"whole numbers from 0 to {len(self.levels) - 1}", key=KEY)

    @staticmethod
    def keeping(histogram: Array, kept: int) -> CapMin:
        """So many neighbouring levels, others becoming the nearest of them.

        From the most frequent level on, the more frequent neighbour is added each time, the lower one where both are
        equal: the most frequent levels, where the histogram has one peak.

        Args:
            histogram: how often each popcount occurs, (a + 1,).
            kept: levels, 1 to a + 1.

        Raises:
            Problem: it is out of range.
        """
        many = len(histogram)
        if not 1 <= kept <= many:
            raise Problem(f"{kept} levels", "approximation", f"1 to {many} for segments of {many - 1}", key=KEY)
        low = high = int(np.argmax(histogram))
        while high - low + 1 < kept:
            if high == many - 1 or (low > 0 and histogram[low - 1] >= histogram[high + 1]):
                low -= 1
            else:
                high += 1
        return CapMin.between(low, high, many - 1)

    @staticmethod
    def between(low: int, high: int, size: int = ARRAY) -> CapMin:
        """The levels from low to high of segments of `size` products, others becoming the nearest of them.

        Raises:
            Problem: not 0 <= low <= high <= size.
        """
        if not 0 <= low <= high <= size:
            what = f"levels {low} to {high} of segments of {size} products"
            raise Problem(what, "approximation", f"two numbers from 0 to {size}, the lower one first", key=KEY)
        return CapMin(tuple(np.clip(np.arange(size + 1), low, high).tolist()))

    @property
    def size(self) -> int:
        """Products of a whole segment."""
        return len(self.levels) - 1

    @property
    def kept(self) -> int:
        """Levels that are told apart."""
        return len(set(self.levels))

    @property
    def range_ratio(self) -> float:
        """How much smaller the range of popcounts is, in steps: a / (highest - lowest level); inf for one level."""
        span = max(self.levels) - min(self.levels)
        return self.size / span if span else float("inf")

    def segments(self, layer: BinaryLayer) -> Segments:
        """How it divides a layer's sums."""
        return Segments(layer.fan_in, self.size)

    def read(self, popcount: Array, rng: np.random.Generator) -> Array:
        """Popcounts, whole floats, as they are read."""
        low, high = min(self.levels), max(self.levels)
        if self.levels == tuple(np.clip(np.arange(self.size + 1), low, high).tolist()):
            return np.clip(popcount, low, high)
        return np.array(self.levels, np.float32)[popcount.astype(np.intp)]

    def replacing(self, layer: BinaryLayer, seed: int, trial: int) -> Change:
        """What the layer does in place of exact sums."""
        return _summing(self, layer, seed, trial)


@dataclass(frozen=True, slots=True)
class Confusion:
    """Each segment's popcount p is read as p' with a probability of chances[p][p'], every segment of every sum anew.

    Args:
        chances: (a + 1, a + 1) for segments of a products; rows sum to 1.
        levels: a map that popcounts go through first; None: none.

    Raises:
        Problem: not square, a number is no probability, a row does not sum to 1 (within 1e-6), or the map is of other
            segments.
    """

    name: ClassVar[str] = "confusion"
    on_bits: ClassVar[bool] = False
    """Whether it gives the bit behind the sums, and not sums."""
    drawn: ClassVar[bool] = True
    """Whether it differs from trial to trial."""

    chances: Array
    levels: CapMin | None = None

    def __post_init__(self) -> None:
        check_chances(self.chances, "approximation")
        if self.levels is not None and self.levels.size != self.size:
            what = f"levels of segments of {self.levels.size} beside a confusion of segments of {self.size}"
            raise Problem(what, "approximation", "give both for one size", key=KEY)

    @property
    def size(self) -> int:
        """Products of a whole segment."""
        return len(self.chances) - 1

    def segments(self, layer: BinaryLayer) -> Segments:
        """How it divides a layer's sums."""
        return Segments(layer.fan_in, self.size)

    def read(self, popcount: Array, rng: np.random.Generator) -> Array:
        """Popcounts, whole floats, as they are read; draws one number for each."""
        given = popcount if self.levels is None else self.levels.read(popcount, rng)
        chance, made = rng.random(given.shape), np.empty(given.shape, np.float32)
        rows = np.cumsum(self.chances, axis=1)
        for level in range(self.size + 1):
            here = given == level
            if here.any():
                # What rounding leaves of a row's sum is its last possible level's.
                last = int(np.flatnonzero(self.chances[level])[-1])
                made[here] = np.minimum(np.searchsorted(rows[level], chance[here], side="right"), last)
        return made

    def replacing(self, layer: BinaryLayer, seed: int, trial: int) -> Change:
        """What the layer does in place of exact sums."""
        return _summing(self, layer, seed, trial)


def _summing(how: CapMin | Confusion, layer: BinaryLayer, seed: int, trial: int) -> Change:
    """Sums of what is read: popcounts, or of -1 and +1 twice that less the fan-in."""
    counts = popcounts(layer.op, how.segments(layer))
    draws = stream(seed, trial, _DRAW, layer.index)

    def run(x: Array, first: int) -> Array:
        assert first % BATCH == 0
        rng = draws(first // BATCH)
        total = np.zeros(1, np.int64)
        for popcount in counts(x):
            total = total + how.read(popcount, rng).astype(np.int32)
        return total if layer.op.xnor else 2 * total - layer.fan_in

    return run


def check_chances(chances: Array, where: str) -> None:
    """Refuse what is no matrix of probabilities of levels.

    Raises:
        Problem: not square, a number is no probability, or a row does not sum to 1 (within 1e-6).
    """
    if chances.ndim != 2 or chances.shape[0] != chances.shape[1] or len(chances) < 2:
        what = f"a confusion matrix of {' x '.join(map(str, chances.shape))}"
        raise Problem(what, where, "a row and a column for each popcount from 0 to the segment's products", key=KEY)
    if not ((chances >= 0) & (chances <= 1)).all():
        raise Problem("a confusion matrix with numbers that are no probabilities", where, "from 0 to 1", key=KEY)
    sums = chances.sum(axis=1)
    wrong = np.flatnonzero(np.abs(sums - 1) > _SUM)
    if wrong.size:
        what = f"row {wrong[0]} of the confusion matrix sums to {sums[wrong[0]]:.9g}"
        raise Problem(what, where, "what a popcount is read as must sum to 1", key=KEY)


def read_confusion(path: Path, size: int) -> Array:
    """A confusion matrix from a CSV file without a header: row p, column p', for segments of `size` products.

    Raises:
        Problem: the file cannot be read, a cell is no number, or as for `Confusion`; another size.
    """
    chances = read_numbers(path, "a confusion matrix")
    check_chances(chances, str(path))
    if len(chances) != size + 1:
        what = f"a confusion matrix of {len(chances)} levels for segments of {size} products"
        raise Problem(what, str(path), f"{size + 1} rows and columns", key=KEY)
    return chances


def read_numbers(path: Path, what: str) -> Array:
    """A CSV file of numbers alone, float64; lines that start with # are skipped.

    Raises:
        Problem: it cannot be read, a cell is no number, or rows differ in length.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise Problem(f"{what} cannot be read", str(path), "give a CSV file of numbers") from error
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    try:
        rows = [[float(cell) for cell in row] for row in csv.reader(lines)]
        return np.array(rows, np.float64)
    except ValueError:
        hint = "numbers separated by commas, as many in each row, without a header"
        raise Problem(f"{what} holds something else than numbers", str(path), hint, key=KEY) from None

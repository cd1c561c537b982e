"""What a shape of faults must say: how many units a memory has, and which set of cells one of them hits."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from bnnflow import Problem

from ....transforms.entries import Registry
from ....transforms.ir.tensor import Array
from ..injection.draws import Stream
from ..injection.layout import Memory

_OWN = 64  # streams of a memory below this number are of `draws.uniforms`

Streams = Stream


class Coins:
    """Uniform random numbers of one unit, the same at every rate and whatever other units are hit."""

    def __init__(self, source: Streams, unit: int) -> None:
        self._source, self._unit = source, unit
        self._own: np.random.Generator | None = None

    def __call__(self, count: int) -> Array:
        """The next `count` numbers in [0, 1)."""
        if self._own is None:
            self._own = self._source(_OWN + self._unit)
        return self._own.random(count)


class Shape(ABC):
    """What one fault covers; its parameters are the fields of a dataclass.

    Attributes:
        name: in texts.
        example: with parameters, where it needs any.
        of_words: it depends on how values lie in words, and so on PE and SIMD.
        in_codes: it lies in a memory, and so in the check bits of a protected one.
        in_streams: streams and FIFOs have such units, too.
        lasting: of a stream it hits the same cells in every image.
        cancels: two flips of a cell that two units hit leave it as it was.
        measured: which cells are hit was measured on a board, so that there is no rate and no other effect.
        own_effect: what becomes of its cells where the model names no effect.
    """

    name: ClassVar[str]
    example: ClassVar[str] = ""
    of_words: ClassVar[bool] = True
    in_codes: ClassVar[bool] = True
    in_streams: ClassVar[bool] = True
    lasting: ClassVar[bool] = False
    cancels: ClassVar[bool] = True
    measured: ClassVar[bool] = False
    own_effect: ClassVar[str] = "flip"

    @property
    def fixed(self) -> bool:
        """It names the only unit that can be hit, so that nothing is drawn where the rate is 1."""
        return False

    @abstractmethod
    def units(self, memory: Memory) -> int:
        """How many units a memory has; each is hit at the rate, independently of all others.

        Raises:
            Problem: it has not the one that the shape names.
        """

    @abstractmethod
    def cells(self, memory: Memory, unit: int, coins: Coins) -> Array:
        """The cells that a unit hits, each once: int64, word * width + bit.

        Args:
            memory: as it lies in hardware.
            unit: 0 to units - 1.
            coins: random numbers, for units that do not always hit the same cells.
        """

    def reach(self, memory: Memory, units: Array, source: Streams) -> tuple[Array, Array]:
        """The cells of many units, one behind the other, and for each cell which of `units` hits it."""
        found = [self.cells(memory, unit, Coins(source, unit)) for unit in units.tolist()]
        sizes = [len(cells) for cells in found]
        return np.concatenate([np.zeros(0, np.int64), *found]), np.repeat(np.arange(len(units)), sizes)


SHAPES: Registry[Shape] = Registry()


def block(memory: Memory, words: Sequence[int], bits: Sequence[int]) -> Array:
    """The cells of these bits of these words; those beyond the memory's edges are left out."""
    rows, columns = _inside(words, memory.depth), _inside(bits, memory.width)
    return (rows[:, None] * memory.width + columns).reshape(-1)


def _inside(numbers: Sequence[int], end: int) -> Array:
    if isinstance(numbers, range):
        return np.arange(max(numbers.start, 0), min(numbers.stop, end))
    found = np.array(numbers, np.int64)
    return found[(found >= 0) & (found < end)]


def sized(*sizes: int) -> None:
    """Refuse a burst or cluster without cells.

    Raises:
        Problem: a size below 1.
    """
    if min(sizes) < 1:
        raise Problem("a burst or cluster without cells", "fault model", "sizes are at least 1")

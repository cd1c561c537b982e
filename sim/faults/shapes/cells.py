"""Single cells."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....transforms.ir.tensor import Array
from ..injection.layout import Memory
from .base import SHAPES, Coins, Shape, Streams


@SHAPES.add
@dataclass(frozen=True, slots=True)
class Cell(Shape):
    """One cell; the shape of a model that names none."""

    name = "cell"
    of_words = False

    def units(self, memory: Memory) -> int:
        """Cells."""
        return memory.size

    def cells(self, memory: Memory, unit: int, coins: Coins) -> Array:
        """The unit itself."""
        return np.array([unit], np.int64)

    def reach(self, memory: Memory, units: Array, source: Streams) -> tuple[Array, Array]:
        """All at once."""
        return units, np.arange(len(units))


@SHAPES.add
@dataclass(frozen=True, slots=True)
class Logical(Shape):
    """One cell, numbered by channel, value and bit, so that folding does not change the damage."""

    name = "logical"
    of_words = False
    in_codes = False
    in_streams = False

    def units(self, memory: Memory) -> int:
        """Cells."""
        return memory.size

    def cells(self, memory: Memory, unit: int, coins: Coins) -> Array:
        """The cell of that number."""
        return memory.physical()[[unit]]

    def reach(self, memory: Memory, units: Array, source: Streams) -> tuple[Array, Array]:
        """All at once."""
        return memory.physical()[units], np.arange(len(units))

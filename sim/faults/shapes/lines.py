"""Lines of a memory: bit lines, word lines, and the part of a PE."""

from __future__ import annotations

from dataclasses import dataclass

from ....transforms.ir.tensor import Array
from ..injection.layout import Memory
from .base import SHAPES, Coins, Shape, block


@SHAPES.add
@dataclass(frozen=True, slots=True)
class BitLine(Shape):
    """One bit position of all words."""

    name = "bit-line"
    lasting = True

    def units(self, memory: Memory) -> int:
        """Bits of a word."""
        return memory.width

    def cells(self, memory: Memory, unit: int, coins: Coins) -> Array:
        """That bit of every word."""
        return block(memory, range(memory.depth), [unit])


@SHAPES.add
@dataclass(frozen=True, slots=True)
class WordLine(Shape):
    """All bits of one word."""

    name = "word-line"

    def units(self, memory: Memory) -> int:
        """Words."""
        return memory.depth

    def cells(self, memory: Memory, unit: int, coins: Coins) -> Array:
        """Every bit of that word."""
        return block(memory, [unit], range(memory.width))


@SHAPES.add
@dataclass(frozen=True, slots=True)
class Pe(Shape):
    """The bits of one PE in all words."""

    name = "pe"
    in_codes = False
    lasting = True

    def units(self, memory: Memory) -> int:
        """PEs."""
        return memory.lanes

    def cells(self, memory: Memory, unit: int, coins: Coins) -> Array:
        """Its neighbouring bits of every word."""
        lane = memory.width // memory.lanes
        return block(memory, range(memory.depth), range(unit * lane, (unit + 1) * lane))

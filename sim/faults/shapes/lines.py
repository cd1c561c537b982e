"""Lines of a memory: bit lines, word lines, and the part of a PE."""

from __future__ import annotations

from dataclasses import dataclass

from bnnflow import Problem

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
    """The bits of one PE in all words: of any, or of PE INDEX alone.

    PE p of a unit with PE of them computes the channels p, p + PE, p + 2 PE, ...

    Attributes:
        index: of the only PE that is hit, from 0; -1: each may be.
    """

    index: int = -1

    name = "pe"
    in_codes = False
    lasting = True

    @property
    def fixed(self) -> bool:
        """A PE that is named."""
        return self.index >= 0

    def units(self, memory: Memory) -> int:
        """PEs, or the one that is named.

        Raises:
            Problem: the memory or stream has no such PE.
        """
        if self.index >= memory.lanes:
            count = f"{memory.lanes} PEs, the last of which is" if memory.lanes > 1 else "one PE, which is"
            what = f"there is no PE {self.index}: {memory.name} has {count} {memory.lanes - 1}"
            raise Problem(what, "fault campaign", "name the layers that have it, or another PE", key="faults")
        return 1 if self.fixed else memory.lanes

    def cells(self, memory: Memory, unit: int, coins: Coins) -> Array:
        """Its neighbouring bits of every word."""
        lane, pe = memory.width // memory.lanes, self.index if self.fixed else unit
        return block(memory, range(memory.depth), range(pe * lane, (pe + 1) * lane))

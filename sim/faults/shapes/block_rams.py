"""Rows and columns of the block RAMs, or of the LUTs, that a memory is made of (`transforms.memories`)."""

from __future__ import annotations

from dataclasses import dataclass

from ....transforms.ir.tensor import Array
from ....transforms.memories import Style
from ..injection.layout import Memory
from .base import SHAPES, Coins, Shape, block


@SHAPES.add
@dataclass(frozen=True, slots=True)
class BramRow(Shape):
    """One row of one block RAM (or of one LUT, where memories are distributed)."""

    name = "bram-row"
    in_streams = False
    style: Style = "block"

    def units(self, memory: Memory) -> int:
        """Words times the RAMs that one word lies in."""
        return memory.depth * (memory.width // memory.bank) * memory.primitives(self.style).across

    def cells(self, memory: Memory, unit: int, coins: Coins) -> Array:
        """The part of a word that lies in one RAM."""
        cut = memory.primitives(self.style)
        word, rest = divmod(unit, (memory.width // memory.bank) * cut.across)
        bank, part = divmod(rest, cut.across)
        left = bank * memory.bank + part * cut.columns
        return block(memory, [word], range(left, min(left + cut.columns, (bank + 1) * memory.bank)))


@SHAPES.add
@dataclass(frozen=True, slots=True)
class BramColumn(Shape):
    """One column of one block RAM (or of one LUT, where memories are distributed)."""

    name = "bram-column"
    in_streams = False
    style: Style = "block"

    def units(self, memory: Memory) -> int:
        """Bits of a word times the RAMs that lie behind one another."""
        return memory.width * memory.primitives(self.style).down

    def cells(self, memory: Memory, unit: int, coins: Coins) -> Array:
        """One bit of the words that lie in one RAM."""
        rows = memory.primitives(self.style).rows
        part, bit = divmod(unit, memory.width)
        return block(memory, range(part * rows, (part + 1) * rows), [bit])

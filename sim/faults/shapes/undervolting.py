"""Block RAMs below their nominal voltage: which cells fail was measured on a board (`injection.boards`)."""

from __future__ import annotations

from dataclasses import dataclass

from ....transforms.ir.tensor import Array
from ..injection.layout import Memory
from .base import SHAPES, Coins, Shape, block


@SHAPES.add
@dataclass(frozen=True, slots=True)
class Undervolting(Shape):
    """Cells of block RAMs that read 0 at VOLTAGE volts, as many in each as a board's memories have; no rate.

    A unit is one block RAM. Which of its cells are faulty is drawn by `injection.undervolting`.
    """

    name = "undervolting"
    example = "undervolting:0.54"
    in_streams = False
    measured = True
    own_effect = "stuck-at-0"
    voltage: float

    def units(self, memory: Memory) -> int:
        """Block RAMs of 18 kbit."""
        return memory.block_rams

    def cells(self, memory: Memory, unit: int, coins: Coins) -> Array:
        """All cells of the memory that lie in it."""
        place = memory.block_ram(unit)
        return block(memory, place.words, place.bits)

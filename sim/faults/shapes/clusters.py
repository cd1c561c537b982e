"""Neighbouring cells: bursts within a word, clusters over several. What passes the memory's edge is cut off."""

from __future__ import annotations

from dataclasses import dataclass

from ....transforms.ir.tensor import Array
from ..injection.layout import Memory
from .base import SHAPES, Coins, Shape, block, sized


@SHAPES.add
@dataclass(frozen=True, slots=True)
class Burst(Shape):
    """LENGTH neighbouring bits of one word, from the cell that is hit on."""

    name = "burst"
    example = "burst:4"
    length: int

    def __post_init__(self) -> None:
        sized(self.length)

    def units(self, memory: Memory) -> int:
        """First cells."""
        return memory.size

    def cells(self, memory: Memory, unit: int, coins: Coins) -> Array:
        """From the first cell to the word's end at most."""
        word, bit = divmod(unit, memory.width)
        return block(memory, [word], range(bit, bit + self.length))


@SHAPES.add
@dataclass(frozen=True, slots=True)
class Cluster(Shape):
    """BITS neighbouring bits of WORDS neighbouring words, from the cell that is hit on."""

    name = "cluster"
    example = "cluster:2x3"
    words: int
    bits: int

    def __post_init__(self) -> None:
        sized(self.words, self.bits)

    def units(self, memory: Memory) -> int:
        """First cells."""
        return memory.size

    def cells(self, memory: Memory, unit: int, coins: Coins) -> Array:
        """A rectangle whose first corner is the first cell."""
        word, bit = divmod(unit, memory.width)
        return block(memory, range(word, word + self.words), range(bit, bit + self.bits))

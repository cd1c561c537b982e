"""Row hammer: a word that is accessed often disturbs the words beside it.

Y. Kim, R. Daly, J. Kim, C. Fallin, J. H. Lee, D. Lee, C. Wilkerson, K. Lai, O. Mutlu: Flipping Bits in Memory Without
Accessing Them: An Experimental Study of DRAM Disturbance Errors, ISCA 2014. Cells of the rows beside an aggressor row
lose their charge; the aggressor itself keeps its content. In the worst of their modules one in 1,700 cells is a victim.

That is DRAM. Block RAMs and LUTs are static memories, in which the effect is not known: for weights on the chip a map
says what would be if it were. A row is a word of the memory, as for word lines.
"""

from __future__ import annotations

from dataclasses import dataclass

from bnnflow import Problem

from ....transforms.ir.tensor import Array
from ..injection.layout import Memory
from .base import SHAPES, Coins, Shape, block


@SHAPES.add
@dataclass(frozen=True, slots=True)
class RowHammer(Shape):
    """Cells of the words beside a hammered one, each with PROBABILITY (1/1700: Kim, ISCA 2014, of DRAM; a what-if).

    The rate is that of hammered words. A victim of two of them is hit once: lost charge does not come back.
    """

    name = "row-hammer"
    example = "row-hammer:0.01"
    in_streams = False
    cancels = False
    probability: float = 1 / 1700

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise Problem(f"victims with a probability of {self.probability:g}", "fault model", "give 0 to 1")

    def units(self, memory: Memory) -> int:
        """Words that can be hammered."""
        return memory.depth

    def cells(self, memory: Memory, unit: int, coins: Coins) -> Array:
        """Of the word before and the word behind, those whose number falls below the probability."""
        beside = block(memory, [unit - 1, unit + 1], range(memory.width))
        return beside[coins(len(beside)) < self.probability]

"""Designs of a network and what they are chosen of: a way to build a unit, and a way to build all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..transforms.ir.graph import Graph
from ..transforms.ir.ops import Unit
from ..transforms.ir.tensor import Array
from .parts import Part
from .schedule import like_folded

# What two resources are weighed: LUTs, with multipliers as so many, and block RAMs.
WEIGHED, MULTIPLIER_LUT = 2, 80


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """A way to build a unit.

    Attributes:
        op: folded, with its memories' style.
        entry, leave: values a word of what it reads and writes.
        cycles: an image.
        dsp, ff: multipliers and registers.
        cost: (2,) LUTs, those that are memories and what multipliers are worth among them, and block RAMs.
    """

    op: Unit
    entry: int
    leave: int
    cycles: int
    dsp: int
    ff: int
    cost: Array


@dataclass(frozen=True, slots=True)
class Point:
    """A design.

    Attributes:
        ops: of the units, by name.
        cycles: an image, of the slowest unit.
        lut, bram18, dsp, ff: estimated, with FIFOs of two words; LUTs that are memories count as LUTs, `bram18` are
            block RAMs of the family's size. Registers are not weighed, as parts have more of them than a design needs.
    """

    ops: Mapping[str, Unit]
    cycles: int
    lut: int
    bram18: int
    dsp: int
    ff: int

    def graph(self, graph: Graph) -> Graph:
        """A graph folded so."""
        return graph.with_nodes(
            tuple(
                replace(node, op=like_folded(node.op, self.ops[node.name]))
                if isinstance(node.op, Unit) and node.name in self.ops
                else node
                for node in graph.nodes
            )
        )

    def share(self, part: Part) -> float:
        """Of a part's LUTs, block RAMs and multipliers, added up; what it has none of counts nothing."""
        pairs = ((self.lut, part.lut), (self.bram18, part.block_rams), (self.dsp, part.dsp))
        return sum(taken / there for taken, there in pairs if there)

    def fits(self, part: Part) -> bool:
        """Whether the part has as much."""
        pairs = ((self.lut, part.lut), (self.bram18, part.block_rams), (self.dsp, part.dsp))
        return all(taken <= there for taken, there in pairs) and (not part.ff or self.ff <= part.ff)


# Choices by the name of their unit and the widths of words that it reads and writes.
Ways = Mapping[str, Mapping[tuple[int, int], Sequence[Choice]]]

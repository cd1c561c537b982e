"""Fault models: which cells of a memory are hit together, and what happens to them.

A model is a shape (`faults.shapes`: the set of cells that one fault covers) and an effect (`effects`). The rate is the
probability that a unit of that shape is hit, independently of all others: a cell, a word line, the first cell of a
burst, a row that is hammered.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from bnnflow import Problem

from ....transforms.entries import entry_form, read_entry, written
from ....transforms.ir.tensor import Array
from ..shapes import SHAPES, Shape
from ..shapes.base import Streams
from .cells import FLIP, CellRate, Cells
from .draws import uniforms
from .effects import EFFECTS, Effect, Flip
from .layout import Memory, chosen

_CELL, _FLIP = SHAPES["cell"](), Flip()


@dataclass(frozen=True, slots=True)
class FaultModel:
    """A shape and an effect. `FaultModel.parse` reads its text form."""

    shape: Shape = _CELL
    effect: Effect = _FLIP

    @staticmethod
    @cache
    def parse(text: str) -> FaultModel:
        """`[shape[:parameters] ]effect`: "flip", "stuck-at-1", "bit-line stuck-at-0", "burst:4 flip", "logical flip".

        Raises:
            Problem: unknown words (the hint names the closest), or parameters that the shape has not.
        """
        words = text.split()
        if len(words) == 1:
            named = chosen(words[0].partition(":")[0], (*EFFECTS, *SHAPES), "fault model")
            words = [words[0], SHAPES[named].own_effect] if named in SHAPES else ["cell", words[0]]
        if len(words) != 2:
            hint = "for example 'flip', 'bit-line stuck-at-1', 'burst:4 flip', 'cluster:2x3 stuck'"
            raise Problem(f"{text!r} is no fault model", "fault model", hint)
        shape, effect = _shape(words[0]), EFFECTS[chosen(words[1], tuple(EFFECTS), "fault effect")]()
        if shape.measured and effect.name != shape.own_effect:
            what = f"{text!r}: no board was measured for that, cells read 0 where 1 was written"
            raise Problem(what, "fault model", f"write {written(shape)}")
        return FaultModel(shape, effect)

    def __str__(self) -> str:
        if self.shape.measured:
            return written(self.shape)
        shape = "" if self.shape == _CELL else f"{written(self.shape)} "
        return f"{shape}{self.effect.name}"

    @property
    def sure(self) -> bool:
        """At a rate of 1 all maps are the same one."""
        return self.shape.fixed and not self.effect.drawn

    def draw(self, memory: Memory, rate: CellRate, source: Streams) -> Cells:
        """The faulty cells of one map; nested over rates, but for flips that meet: two of them are none. Those of
        measured shapes are drawn by `undervolting`.

        Args:
            memory: the memory that suffers.
            rate: of units.
            source: `draws.stream` of the seed, the trial and the memory.
        """
        assert not self.shape.measured, "a board says how many, not a rate"
        if not self.effect.directed and rate.up != rate.down:
            what = f"'{self}' has no directions, but the rates are {rate.figures}"
            raise Problem(what, rate.label or "fault rates", "use the effect asymmetric, or give one rate for both")
        units, values = uniforms(source, self.shape.units(memory), max(rate.up, rate.down))
        return self.hit(memory, units, values, rate, source)

    def hit(self, memory: Memory, units: Array, values: Array, rate: CellRate, source: Streams) -> Cells:
        """The faulty cells of units that are hit, of which `values` are the uniform numbers."""
        index, which = self.shape.reach(memory, units, source)
        if self.effect.cancels and self.shape.cancels:
            index, hits = np.unique(index, return_counts=True)
            index = index[hits % 2 == 1]
            return Cells(index, np.full(len(index), FLIP, np.uint8))
        effect = self.effect.of(values, rate)[which]
        # Of units that overlap the one with the lowest number counts, so that a higher rate changes nothing of it.
        order = np.argsort(values[which], kind="stable")
        index, first = np.unique(index[order], return_index=True)
        return Cells(index, effect[order][first])


def _shape(text: str) -> Shape:
    name, _, parameters = text.partition(":")
    shape = SHAPES[chosen(name, tuple(SHAPES), "fault shape")]
    try:
        return read_entry(shape, parameters)
    except ValueError:
        example = f", such as {shape.example}" if shape.example else ""
        raise Problem(f"{text!r} is no fault shape", "fault model", f"write {entry_form(shape)}{example}") from None

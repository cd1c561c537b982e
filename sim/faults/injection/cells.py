"""Faulty cells of a memory, and the rate at which units are hit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bnnflow import Problem

from ....transforms.ir.tensor import Array

CLEAR, SET, FLIP = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Cells:
    """Faulty cells of one memory.

    Attributes:
        index: (n,) int64, ascending; word * width + bit.
        effect: (n,) uint8: 0 cell holds 0, 1 cell holds 1, 2 cell holds the opposite.
    """

    index: Array
    effect: Array

    def on(self, bits: Array) -> Array:
        """The content with these faults; `bits` of any shape, in the order of the cells."""
        flat = bits.reshape(-1).copy()
        flat[self.index] = np.where(self.effect == FLIP, flat[self.index] ^ 1, self.effect)
        return flat.reshape(bits.shape)


@dataclass(frozen=True, slots=True)
class CellRate:
    """How often units are hit: probability `up` of errors from 0 to 1, `down` of errors from 1 to 0.

    Only asymmetric effects can tell them apart; all others need `up` and `down` to be equal.

    Attributes:
        label: for tables, such as a temperature; the rate itself where it is empty.
    """

    up: float
    down: float
    label: str = ""

    def __post_init__(self) -> None:
        for value in (self.up, self.down):
            if not 0 <= value <= 1:
                raise Problem(f"a fault rate of {value:g}", self.label, "give a number from 0 to 1")

    @staticmethod
    def of(value: float, label: str = "") -> CellRate:
        """The same rate in both directions."""
        return CellRate(float(value), float(value), label)

    @property
    def figures(self) -> str:
        """The rate as text; both directions where they differ."""
        return f"{self.up:g}" if self.up == self.down else f"p01 {self.up:g} p10 {self.down:g}"

    def __str__(self) -> str:
        return self.label or self.figures

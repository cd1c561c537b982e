"""Effects of faults: what becomes of a cell that is hit. An effect is one class here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ....transforms.entries import Registry
from ....transforms.ir.tensor import Array
from .cells import CLEAR, FLIP, SET, CellRate


class Effect(ABC):
    """What becomes of hit cells.

    Attributes:
        name: in texts.
        directed: errors from 0 to 1 and from 1 to 0 have rates of their own.
        lasting: a defect: neither scrubbing nor the next image mends it.
        cancels: two of them on one cell leave it as it was; else the last one counts.
        drawn: what becomes of a cell is drawn with it, even where it is sure to be hit.
    """

    name: ClassVar[str]
    directed: ClassVar[bool] = False
    lasting: ClassVar[bool] = False
    cancels: ClassVar[bool] = False
    drawn: ClassVar[bool] = False

    @abstractmethod
    def of(self, values: Array, rate: CellRate) -> Array:
        """What hit units do: uint8, CLEAR, SET or FLIP, one per unit.

        Args:
            values: the units' uniform numbers, below the greater rate of both directions.
            rate: of units.
        """


EFFECTS: Registry[Effect] = Registry()


@EFFECTS.add
@dataclass(frozen=True, slots=True)
class Flip(Effect):
    """A cell holds the opposite of what was written."""

    name = "flip"
    cancels = True

    def of(self, values: Array, rate: CellRate) -> Array:
        """All flip."""
        return np.full(len(values), FLIP, np.uint8)


@EFFECTS.add
@dataclass(frozen=True, slots=True)
class Asymmetric(Effect):
    """Errors from 0 to 1 at the rate p01, from 1 to 0 at the rate p10, which a table gives."""

    name = "asymmetric"
    directed = True

    def of(self, values: Array, rate: CellRate) -> Array:
        """Below both rates a cell flips, below one it goes that way alone."""
        up, down = values < rate.up, values < rate.down
        return np.where(up & down, FLIP, np.where(up, SET, CLEAR)).astype(np.uint8)


@EFFECTS.add
@dataclass(frozen=True, slots=True)
class StuckAt0(Effect):
    """A cell holds 0, whatever is written."""

    name = "stuck-at-0"
    lasting = True

    def of(self, values: Array, rate: CellRate) -> Array:
        """All hold 0."""
        return np.full(len(values), CLEAR, np.uint8)


@EFFECTS.add
@dataclass(frozen=True, slots=True)
class StuckAt1(Effect):
    """A cell holds 1, whatever is written."""

    name = "stuck-at-1"
    lasting = True

    def of(self, values: Array, rate: CellRate) -> Array:
        """All hold 1."""
        return np.full(len(values), SET, np.uint8)


@EFFECTS.add
@dataclass(frozen=True, slots=True)
class Stuck(Effect):
    """All cells of a fault hold 0, or all hold 1, with equal chance."""

    name = "stuck"
    lasting = True
    drawn = True

    def of(self, values: Array, rate: CellRate) -> Array:
        """Half of them hold 0."""
        # Which half of [0, rate) would break nesting: the number's low digits are as good as a coin.
        return (np.floor(values * 2.0**52) % 2).astype(np.uint8)

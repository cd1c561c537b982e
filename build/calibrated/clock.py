"""How fast a clock can be: what each kind of path takes, fitted to units that were placed and routed by themselves.

A unit's period is that of its slowest path. Paths are of few kinds, and each takes a time that grows with a size:

* those through memories and multipliers, which `counts` names with their sizes (`Pieces.paths`);
* logic alone, a kind for each module of the library, whose size is log2 of its LUTs: more of them lie further apart.

A network's clock is that of its slowest unit, less what it costs to lie among others (`crowded`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log2

from .pieces import Pieces

LOGIC = (3.0, 0.25)
"""Least time of logic, and more with each doubling of its LUTs, in ns, where a fit says nothing of a kind."""


@dataclass(frozen=True, slots=True)
class Timed:
    """A unit that was placed and routed, and what the table says of it.

    Attributes:
        name: with its sizes.
        fmax_mhz: as it was found.
        predicted_mhz: by the table.
    """

    name: str
    fmax_mhz: float
    predicted_mhz: float

    @property
    def error(self) -> float:
        """Relative to what was found."""
        return self.predicted_mhz / self.fmax_mhz - 1


@dataclass(frozen=True, slots=True)
class Clock:
    """What paths take on a part.

    Attributes:
        part, grade: that units were placed on.
        tools: that synthesized, placed and routed, with their versions.
        paths: by kind the time at size 0, and with each further step of size, in ns.
        mean_error, worst_error: of the clocks of units that the fit did not see, relative.
        fitted, held_out: units that it was fitted to, and others.
    """

    part: str
    grade: str
    tools: Sequence[str]
    paths: Mapping[str, Sequence[float]]
    mean_error: float
    worst_error: float
    fitted: Sequence[Timed] = ()
    held_out: Sequence[Timed] = ()

    def slowest(self, sizes: Mapping[str, float]) -> tuple[float, str]:
        """The period in ns of a unit with paths of these sizes, and the kind of the slowest."""
        return slowest(self.paths, sizes)


# What TFC at 64 cycles and CNV at 32,768 took longer than their slowest units, on an LFE5U-85F; other networks are
# beside their predictions in docs/results/estimates.md.
_LONGER, _ALONE_LUT = 0.04, 1000


def crowded(lut: int) -> float:
    """Period of a network of so many LUTs over that of its slowest unit by itself: more of them lie further apart."""
    return 1 + _LONGER * max(0.0, log2(max(1, lut) / _ALONE_LUT))


def sizes_of(made: Pieces, lut: int) -> dict[str, float]:
    """Sizes of a unit's paths: those that `counts` names, and that of its logic, which takes so many LUTs."""
    return {**made.paths, made.module: log2(1 + lut)}


def slowest(paths: Mapping[str, Sequence[float]], sizes: Mapping[str, float]) -> tuple[float, str]:
    """Time in ns and kind of the slowest path."""
    times = []
    for kind, size in sizes.items():
        least, more = paths.get(kind, LOGIC)
        times.append((least + more * size, kind))
    return max(times)

"""What a simulation of cycles finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class UnitTiming:
    """How a unit spent the cycles until its last step, over all images; busy + starved + blocked is their number.

    Attributes:
        name: of its node; of a converter, of the units that it joins.
        kind: its operation, or "Converter".
        busy: cycles in which it works.
        starved: cycles in which it waits for a word to read.
        blocked: cycles in which it waits for a place to write, all it reads being there.
    """

    name: str
    kind: str
    busy: int
    starved: int
    blocked: int


@dataclass(frozen=True, slots=True)
class FifoTiming:
    """What went through a FIFO.

    Attributes:
        name: "unit -> unit".
        depth: places; 0 where it is unbounded.
        width: values per word.
        words: words per image.
        written, read: words in all.
        peak: most words that it held at a time.
        stalls: cycles in which its output waited with a word.
    """

    name: str
    depth: int
    width: int
    words: int
    written: int
    read: int
    peak: int
    stalls: int


@dataclass(frozen=True, slots=True)
class Deadlock:
    """A circle of units that wait for each other.

    Attributes:
        cycle: the last one in which anything moved; -1 for none.
        waits: what every unit of the circle waits for, for people.
        fifo: name of the FIFO of the circle that is full.
        enough: name to depth of this FIFO and those found full after it, with which the graph runs, as fast as if
            they were unbounded; the others as they were given.
    """

    cycle: int
    waits: tuple[str, ...]
    fifo: str
    enough: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Timing:
    """Timing of some images, sent one behind the other.

    Attributes:
        images: sent.
        finished: for each image that came out whole, the cycles from the start until its last word was written.
        units, fifos: in the order of the graph.
        deadlock: None where all images came out.
    """

    images: int
    finished: tuple[int, ...]
    units: tuple[UnitTiming, ...]
    fifos: tuple[FifoTiming, ...]
    deadlock: Deadlock | None = None

    @property
    def latency(self) -> int | None:
        """Cycles of the first image from its first word on; None where it does not come out."""
        return self.finished[0] if self.finished else None

    @property
    def intervals(self) -> tuple[int, ...]:
        """Cycles from each image's end to the next one's."""
        return tuple(b - a for a, b in pairwise(self.finished))

    @property
    def interval(self) -> int | None:
        """Initiation interval: cycles between the last two images; None of a single image, and after a deadlock."""
        return self.intervals[-1] if self.deadlock is None and self.intervals else None

    def fps(self, clock_mhz: float) -> float | None:
        """Images a second in the steady state at a clock in MHz; None where `interval` is."""
        return None if self.interval is None else clock_mhz * 1e6 / self.interval

"""Where the cycles of a folded graph go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...sim.pipeline import Deadlock, FifoTiming, UnitTiming
from .costs import InputHeld


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedUnit(UnitTiming):
    """How a unit spent its cycles.

    Attributes:
        estimated_cycles: an image, by FINN's formula; None of converters.
    """

    estimated_cycles: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cycles:
    """What `flow cycles` finds: timing word by word. After a deadlock, of the graph with the FIFOs that suffice.

    Attributes:
        name: of the graph.
        input: what it holds; None where it is not known.
        clock_mhz: in MHz.
        images: sent through.
        notes: of the compiler and the folding.
        fifo_depth: words of each FIFO; 0 for unbounded ones.
        fifo_depths: of single FIFOs, by name.
        source: of the figures.
        interval_cycles: cycles between the last two images.
        intervals: between all images.
        fps: images per second.
        latency_cycles, latency_us: of the first image, in cycles and microseconds.
        estimated_cycles, estimated_fps: by FINN's formulas.
        deep_interval_cycles, deep_fps: with unbounded FIFOs.
        restoring_depths: name to depth of FIFOs that make the rate that of unbounded ones.
        units, fifos: in the order of the graph.
        deadlock: None where all images came out.
    """

    name: str
    input: InputHeld | None
    clock_mhz: float
    images: int
    notes: list[str]
    fifo_depth: int
    fifo_depths: Mapping[str, int]
    source: str
    interval_cycles: int
    intervals: list[int]
    fps: float
    latency_cycles: int
    latency_us: float
    estimated_cycles: int
    estimated_fps: float
    deep_interval_cycles: int
    deep_fps: float
    restoring_depths: Mapping[str, int]
    units: list[TimedUnit]
    fifos: list[FifoTiming]
    deadlock: Deadlock | None

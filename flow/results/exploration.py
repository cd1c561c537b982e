"""What `flow explore` finds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..run.typed_json import OPTIONAL


@dataclass(frozen=True, slots=True, kw_only=True)
class DesignFound:
    """A design that no other beats in cycles, LUTs and block RAMs.

    Attributes:
        number: from 1 on, fastest first.
        cycles: an image, of the slowest unit.
        fps: images per second at the target's clock.
        lut: look-up tables, those that are memories among them.
        bram18: block RAMs of 18 kbit.
        dsp: multipliers.
        share: LUTs, block RAMs and multipliers as shares of the part's, added up.
        fits: whether it is within what was allowed.
    """

    number: int
    cycles: int
    fps: float
    lut: int
    bram18: int
    dsp: int
    share: float
    fits: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DesignChosen:
    """A design with FIFOs that keep its rate.

    Attributes:
        number: of it.
        interval_cycles, latency_cycles: simulated word by word: cycles an image in the steady state, and of the first.
        fps, latency_us: the same at the target's clock.
        fifo_depths: words of FIFOs that are deeper than two, by name.
        lut, bram18, dsp: estimated, with these FIFOs.
        files: written.
    """

    number: int
    interval_cycles: int
    latency_cycles: int
    fps: float
    latency_us: float
    fifo_depths: Mapping[str, int]
    lut: int
    bram18: int
    dsp: int
    files: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exploration:
    """The design space of a network.

    Attributes:
        name: of the graph.
        part, clock_mhz: target.
        source: of LUTs and block RAMs, and their mean error on units that the model was not fitted to.
        exact: whether the front is proved: the network is a chain.
        lut, bram18: that designs may take.
        designs: the front, fastest first.
        shown: numbers of those that are spread evenly over the rates, each the cheapest of its rate.
        foldings: of those that are shown, by number: PE, SIMD and memory by FINN's name of the unit.
        chosen: a design that was asked for; left out where none was.
        notes: of the compiler.
    """

    name: str
    part: str
    clock_mhz: float
    source: str
    exact: bool
    lut: int
    bram18: int
    designs: list[DesignFound]
    shown: list[int]
    foldings: Mapping[str, Mapping[str, Mapping[str, int | str]]]
    chosen: DesignChosen | None = field(default=None, metadata=OPTIONAL)
    notes: list[str]

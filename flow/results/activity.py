"""How often bits of hardware change."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitActivity:
    """Bits that change in a part of the hardware for an image, on average.

    Attributes:
        name: of its unit, or of the units that a converter joins; in brackets what is no unit.
        logic: in its own module.
        memory: of constants that it reads: words, addresses.
        streams: in its output's FIFO and on the wires behind it.
        counted_nj: energy that is counted for the unit; None for what is no unit.
    """

    name: str
    logic: float
    memory: float
    streams: float
    counted_nj: float | None

    @property
    def total(self) -> float:
        """All three."""
        return self.logic + self.memory + self.streams


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """How often bits change in a network's hardware.

    Attributes:
        name: of the graph.
        sha256: of the network, its folding and its FIFOs.
        tool: that simulated it.
        level: of truth.
        images: that are averaged over; one more went in front of them.
        drawn: whether they were drawn at random, so that the figures are of noise.
        interval_cycles: between images.
        units: in the order of the graph.
        changes: of an image, in all.
        counted_nj: energy that is counted for an image.
        saif: file for tools of others; empty: none was asked for.
    """

    name: str
    sha256: str
    tool: str
    level: str = "simulated"
    images: int
    drawn: bool
    interval_cycles: int
    units: list[UnitActivity]
    changes: float
    counted_nj: float
    saif: str

"""How fast programs and the accelerator run a network."""

from __future__ import annotations

from dataclasses import dataclass

from .costs import InputHeld


@dataclass(frozen=True, slots=True)
class SpeedRow:
    """One program on one network.

    Attributes:
        engine: name of the program, its arithmetic and, where it is not the processor, its device.
        images_per_second: in batches of `batch`.
        latency_ms: of one image alone, batch 1, in milliseconds.
        batch: images at a time; None for the accelerator, into which images stream.
        source: "measured" or "estimated".
        images, asked: that the rate was timed on, and that were given: more, where a pass over all takes too long; None
            as for `batch`.
        compared: of these, how many were compared.
        other_classes: images with another class than the integer network gives them; None where not compared.
        inexact: why results are not those of float32; empty where they are, or were not compared.
    """

    engine: str
    images_per_second: float
    latency_ms: float
    batch: int | None
    source: str = "measured"
    images: int | None = None
    asked: int | None = None
    compared: int | None = None
    other_classes: int | None = None
    inexact: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpeedRow(SpeedRow):
    """One program on one network of a run.

    Attributes:
        network: "base" or "pruned".
    """

    network: str


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A program that was not timed.

    Attributes:
        engine: as of `SpeedRow`.
        reason: why not.
    """

    engine: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeedResult:
    """Programs on the networks of a run.

    Attributes:
        device: the processor.
        threads: that programs had.
        rows: one a program and network.
        missing: what was left out.
    """

    device: str
    threads: int
    rows: list[NetworkSpeedRow]
    missing: list[LeftOut]


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphSpeed:
    """What `flow speed` finds.

    Attributes:
        device, threads, missing: as of `SpeedResult`.
        input: what the graph's input holds; None where it is not known.
        rows: one a program.
    """

    device: str
    threads: int
    input: InputHeld | None
    rows: list[SpeedRow]
    missing: list[LeftOut]

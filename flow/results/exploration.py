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
        bram18: block RAMs of 18 kbit, by our own model those of the part's size.
        dsp, ff: multipliers and registers.
        share: LUTs, block RAMs and multipliers as shares of the part's, added up.
        fits: whether it is within what was allowed.
    """

    number: int
    cycles: int
    fps: float
    lut: int
    bram18: int
    dsp: int
    ff: int
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
class NetworkTaken:
    """What a whole network takes at its cheapest folding for a number of cycles, estimated by sizes alone.

    Attributes:
        lut: look-up tables, those that are memories among them; FIFOs of two words.
        bram18: block RAMs of 18 kbit, by our own model those of the part's size.
        cycles: an image, of the slowest unit.
    """

    lut: int
    bram18: int
    cycles: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FriendlyWidth:
    """Another number of channels with which a layer divides better.

    Attributes:
        side: "outputs" or "inputs" of the layer that divides badly.
        layer: that makes the channels.
        now, channels: how many there are, and how many there would be.
        overshoot: products a cycle that the layer would then take, of one that is needed.
        network: what the whole network would take.
    """

    side: str
    layer: str
    now: int
    channels: int
    overshoot: float
    network: NetworkTaken


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerWidth:
    """A layer whose widths divide badly.

    Attributes:
        name: of its unit.
        rows, columns: of its weights.
        needed: products a cycle that the rate asks for.
        pe, simd: of the legal folding with the fewest products a cycle that do.
        overshoot: products a cycle that this takes, of one that is needed.
        choices: the nearest friendly widths below and above; empty where no width around it can be changed so.
    """

    name: str
    rows: int
    columns: int
    needed: int
    pe: int
    simd: int
    overshoot: float
    choices: list[FriendlyWidth]


@dataclass(frozen=True, slots=True, kw_only=True)
class Widths:
    """Layers of a network whose widths divide badly for a rate.

    Attributes:
        cycles: an image, that units may take.
        now: what the network takes, counted like the others; None where no other widths were looked for.
        layers: the worst first; empty where all divide well.
        reason: why other widths were not looked for; empty where they were, or where all divide well.
    """

    cycles: int
    now: NetworkTaken | None
    layers: list[LayerWidth]
    reason: str


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
        widths: layers whose widths divide badly for the rate of that design; left out where not asked for.
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
    widths: Widths | None = field(default=None, metadata=OPTIONAL)
    notes: list[str]

"""What placing and routing make of a network's hardware."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..run.typed_json import BESIDE, OPTIONAL


@dataclass(frozen=True, slots=True, kw_only=True)
class SlowestPath:
    """The path from register to register that the clock waits for.

    Attributes:
        start, end: units and converters that its registers belong to; empty: of the harness.
        logic_ns: in cells, with set-up.
        routing_ns: between them.
        cells: look-up tables, carries and multiplexers on it.
    """

    start: str
    end: str
    logic_ns: float
    routing_ns: float
    cells: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedSeed:
    """One run of the placer.

    Attributes:
        seed: of its random numbers.
        fmax_mhz: the fastest that the clock may be.
        path: that it waits for.
        seconds: that synthesis, placing and routing took, when it was done.
        kept: whether it was done before.
    """

    seed: int
    fmax_mhz: float
    path: SlowestPath
    seconds: float
    kept: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedUnit:
    """A unit, or all of them, placed and routed by itself.

    Attributes:
        name: of the unit; empty: all of the network.
        fmax_mhz: of the best seed.
        path: of that seed.
        seeds: all that were tried.
        used, available: cells by the type that nextpnr calls them, the harness among them.
        harness_ff, harness_lut: flip-flops and, at most, look-up tables of the harness that holds its ports.
        predicted_mhz: what the cost model says of its clock; left out where it does not know, or knows another grade.
    """

    name: str
    fmax_mhz: float
    path: SlowestPath
    seeds: list[RoutedSeed]
    used: Mapping[str, int]
    available: Mapping[str, int]
    harness_ff: int
    harness_lut: int
    predicted_mhz: float | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """A network's hardware on a part.

    Attributes:
        name: of the graph.
        sha256: of the network, its folding and its FIFOs.
        part, grade: that it lies on; an empty grade where the part has none.
        tools: synthesis, then placer and router, with versions.
        level: of truth.
        interval_cycles: between images, as `sim.pipeline` simulates them.
        clock_mhz: that was asked for.
        whole: of all units; None where single ones were asked for.
        units: those that were asked for.
        fps: images per second at the clock that was found; None without `whole`.
        reached: whether the clock that was asked for is; None without `whole`.
        notes: of the compiler and the folding.
    """

    name: str
    sha256: str
    part: str
    grade: str
    tools: list[str]
    level: str = "placed and routed"
    interval_cycles: int
    clock_mhz: float
    whole: RoutedUnit | None
    units: list[RoutedUnit]
    fps: float | None
    reached: bool | None
    notes: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingResult:
    """The networks' routing, by network: of a run "base" and "pruned", else the graph's name."""

    networks: Mapping[str, Routing] = field(default_factory=dict, metadata=BESIDE)

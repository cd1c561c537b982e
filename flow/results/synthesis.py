"""What synthesis makes of a network's hardware."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..run.typed_json import BESIDE


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What cells of a netlist take, before placing.

    Attributes:
        lut: look-up tables, of the family's number of inputs; inverters count.
        lut_ram: look-up tables that are memories or shift registers.
        ff: flip-flops.
        carry: carry cells.
        block_ram: memory blocks, of the size that the family's `block` says.
        dsp: multipliers.
    """

    lut: int
    lut_ram: int
    ff: int
    carry: int
    block_ram: int
    dsp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthesizedUnit:
    """A unit by itself, with its memories and its output's FIFO.

    Attributes:
        name: of its node; of converters, of the units that they join; in brackets what is no unit.
        module: of the library; empty where it is several.
        resources: cells of the family that it takes.
        seconds: that synthesis took, when it was done.
        kept: whether it was done before.
        estimated_lut: LUTs of logic as they were estimated; None for what the estimate does not know.
    """

    name: str
    module: str
    resources: Resources
    seconds: float
    kept: bool
    estimated_lut: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Synthesis:
    """A network's hardware as cells.

    Attributes:
        name: of the graph.
        sha256: of the network, its folding and its FIFOs.
        family, block: FPGA family, and what `block_ram` counts.
        tool: name and version.
        level: of truth.
        interval_cycles: cycles between images, as `sim.pipeline` simulates them.
        units: in the order of the graph, then registers.
        total: sum of the units.
        whole: of all in one netlist; None where it was not asked for.
        whole_seconds: that it took; None as above.
        estimated_lut: sum of the units' estimates.
        estimated_by: model of the estimate: our own hardware's, without registers, codes and primitives alone; else
            FINN's formulas, which are for other hardware.
        notes: of the compiler and the folding.
    """

    name: str
    sha256: str
    family: str
    block: str
    tool: str
    level: str = "synthesized"
    interval_cycles: int
    units: list[SynthesizedUnit]
    total: Resources
    whole: Resources | None
    whole_seconds: float | None
    estimated_lut: int
    estimated_by: str
    notes: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthesisResult:
    """The networks' synthesis, by network: of a run "base" and "pruned", else the graph's name."""

    networks: Mapping[str, Synthesis] = field(default_factory=dict, metadata=BESIDE)

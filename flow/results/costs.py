"""What a folded graph costs, how fast it streams, and what its input holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ...build.unrolled import UnrolledCost
from ..run.typed_json import BESIDE, OPTIONAL


@dataclass(frozen=True, slots=True, kw_only=True)
class InputHeld:
    """What a graph's input holds.

    Attributes:
        datatype: of the data as they are given.
        formula: what brings them to the network's inputs; None where it is not known.
        host: what the host computes in front; None for nothing.
        hardware: QONNX's name of the input's datatype in hardware.
        range: least and greatest integer; None for floats.
        shape: of one image.
        layout: where channels are; None where nothing says so.
        source: what says all this.
        text: the same for people.
    """

    datatype: str | None
    formula: str | None
    host: str | None
    hardware: str
    range: list[int] | None
    shape: list[int]
    layout: str | None
    source: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerFigures:
    """What every cost model says of one dataflow unit in its graph.

    Attributes:
        name: of the unit.
        op: its FINN unit.
        shape: what it computes.
        pe, simd: its folding.
        cycles: an image.
        weight_bits: of its weights, however FINN would store them.
        choices: FINN's attributes of its memories, products and windows.
        energy_pj: of one image, in pJ.
        bottleneck: whether it is the slowest, which sets the rate.
    """

    name: str
    op: str
    shape: str
    pe: int
    simd: int
    cycles: int
    weight_bits: int
    choices: Mapping[str, str | int]
    energy_pj: float
    bottleneck: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCost(LayerFigures):
    """Estimate of one dataflow unit in its graph, in resources of an FPGA.

    Attributes:
        lut: look-up tables, those that are memories among them.
        bram18: block RAMs of 18 kbit, by our own model those of the part's size.
        uram, dsp: UltraRAMs and DSP slices.
    """

    lut: int
    bram18: int
    uram: int
    dsp: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerCounts(LayerFigures):
    """The same by a cost model that need not count resources.

    Attributes:
        lut, bram18, uram, dsp: as of `LayerCost`; left out where they are not counted.
        counts: what the model counts beside these, by key.
    """

    lut: int | None = field(default=None, metadata=OPTIONAL)
    bram18: int | None = field(default=None, metadata=OPTIONAL)
    uram: int | None = field(default=None, metadata=OPTIONAL)
    dsp: int | None = field(default=None, metadata=OPTIONAL)
    counts: Mapping[str, int] = field(default_factory=dict, metadata=BESIDE)

    @property
    def amounts(self) -> Mapping[str, int]:
        """Every figure that a cost model may name, by key."""
        return _resources(self) | {"weight_bits": self.weight_bits} | dict(self.counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphFigures:
    """What every cost model says of a folded dataflow graph.

    Attributes:
        cycles: initiation interval, clock cycles per image.
        latency_cycles: clock cycles of one image's way through, at most.
        fps: images per second.
        latency_us: of one image, in microseconds.
        weight_bits: of all weights, however FINN would store them.
        energy_nj: of one image, in nJ, relative (45 nm).
        energy_operations_nj, energy_memory_nj, energy_streams_nj: its parts.
    """

    cycles: int
    latency_cycles: int
    fps: float
    latency_us: float
    weight_bits: int
    energy_nj: float
    energy_operations_nj: float
    energy_memory_nj: float
    energy_streams_nj: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CostEstimate(GraphFigures):
    """Estimate of a folded dataflow graph, in resources of an FPGA.

    Attributes:
        lut: look-up tables, those that are memories among them.
        bram18: block RAMs of 18 kbit, by our own model those of the part's size.
        uram, dsp: UltraRAMs and DSP slices.
        layers: of every unit, in order.
    """

    lut: int
    bram18: int
    uram: int
    dsp: int
    layers: list[LayerCost]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What a cost model counts that is not FINN's.

    Attributes:
        figures: key of each figure to its heading.
        source: whose formulas they are.
    """

    figures: Mapping[str, str]
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictedClock:
    """The clock that hardware could have, from what paths of units took that were placed and routed.

    Attributes:
        fmax_mhz: of all units together.
        unit: that bounds it.
        path: kind of its slowest path.
        placed_on, grade: the part, and its speed grade, that units of the calibration were placed on.
        mean_error: of the clocks of units that the calibration did not see, relative.
        source: of the figure.
    """

    fmax_mhz: float
    unit: str
    path: str
    placed_on: str
    grade: str
    mean_error: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CostCounts(GraphFigures):
    """Figures of a folded dataflow graph by any cost model.

    Attributes:
        lut, bram18, uram, dsp: as of `CostEstimate`; left out where the model does not count them.
        layers: of every unit, in order.
        counted: what is counted; left out where it is resources of an FPGA by FINN's formulas.
        clock: that it could have; left out where the model does not know it, of families whose units were not placed.
        counts: what the model counts beside resources, by key.
    """

    lut: int | None = field(default=None, metadata=OPTIONAL)
    bram18: int | None = field(default=None, metadata=OPTIONAL)
    uram: int | None = field(default=None, metadata=OPTIONAL)
    dsp: int | None = field(default=None, metadata=OPTIONAL)
    layers: list[LayerCounts]
    counted: Counted | None = field(default=None, metadata=OPTIONAL)
    clock: PredictedClock | None = field(default=None, metadata=OPTIONAL)
    counts: Mapping[str, int] = field(default_factory=dict, metadata=BESIDE)

    @property
    def amounts(self) -> Mapping[str, int]:
        """Every figure that a cost model may name, by key."""
        return _resources(self) | {"weight_bits": self.weight_bits} | dict(self.counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkCost(CostEstimate):
    """Estimate of a network, with what it computes an image.

    Attributes:
        weights: of all layers, binary or not.
        binary_macs: products of two bits, each counted with its addition as one.
        int8_macs: products of which a factor has several bits.
        neurons: filters and neurons with an activation.
        unrolled_lut: of its layers fully unrolled; left out where pruning leaves no zeros.
        synapses: weights that are not 0; left out likewise.
    """

    weights: int
    binary_macs: int
    int8_macs: int
    neurons: int
    unrolled_lut: int | None = field(default=None, metadata=OPTIONAL)
    synapses: int | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class CostTarget:
    """What a graph is folded for.

    Attributes:
        part: its name.
        clock_mhz: in MHz.
        fps: images per second that are asked for; None where a folding file says how to fold.
        lut, bram18, uram, dsp: that the part has; block RAMs as the cost model counts them: by our own those of the
            part's size.
        folded_by: name of the cost model that chose the folding; left out where it was given.
    """

    part: str
    clock_mhz: float
    fps: float | None
    lut: int
    bram18: int
    uram: int | None = field(default=None, metadata=OPTIONAL)
    dsp: int | None = field(default=None, metadata=OPTIONAL)
    folded_by: str | None = field(default=None, metadata=OPTIONAL)

    @property
    def amounts(self) -> Mapping[str, int]:
        """What the part has, by key."""
        return _resources(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class FifoRate:
    """The rate with FIFOs of given depths, simulated word by word.

    Attributes:
        depth: words of each FIFO; 0 for unbounded ones.
        depths: of single FIFOs, by name.
        source: of the figures.
        deadlock: whether it comes to a halt.
        interval_cycles, fps: cycles per image and images per second; None after a deadlock.
        deep_interval_cycles, deep_fps: the same with unbounded FIFOs.
        restoring_depths: name to depth of FIFOs that make the rate that of unbounded ones; empty where it is.
    """

    depth: int
    depths: Mapping[str, int]
    source: str
    deadlock: bool
    interval_cycles: int | None
    fps: float | None
    deep_interval_cycles: int
    deep_fps: float
    restoring_depths: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unrolled:
    """Every layer fully unrolled, its weights built in.

    Attributes:
        source: of the figures.
        layers: in order.
    """

    source: str
    layers: list[UnrolledCost]


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphCost(CostCounts):
    """What `flow estimate` finds.

    Attributes:
        name: of the graph.
        input: what it holds; None where it is not known.
        target: what it is folded for.
        energy_source: of the energy.
        notes: of the compiler and the folding.
        weights, binary_macs, int8_macs, neurons: as of `NetworkCost`; left out of a graph given in dataflow units.
        files: of the folded graph, where one was asked for.
        unrolled: its layers unrolled, where asked for.
    """

    name: str
    input: InputHeld | None
    target: CostTarget
    energy_source: str
    notes: list[str]
    weights: int | None = field(default=None, metadata=OPTIONAL)
    binary_macs: int | None = field(default=None, metadata=OPTIONAL)
    int8_macs: int | None = field(default=None, metadata=OPTIONAL)
    neurons: int | None = field(default=None, metadata=OPTIONAL)
    files: list[str] | None = field(default=None, metadata=OPTIONAL)
    unrolled: Unrolled | None = field(default=None, metadata=OPTIONAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedGraphCost(GraphCost):
    """The same with the rate that FIFOs leave.

    Attributes:
        fifos: the rate; None where the graph is too large to simulate beside an estimate.
    """

    fifos: FifoRate | None


def _resources(of: LayerCounts | CostCounts | CostTarget) -> dict[str, int]:
    """The resources that are known."""
    found = {"lut": of.lut, "bram18": of.bram18, "uram": of.uram, "dsp": of.dsp}
    return {key: amount for key, amount in found.items() if amount is not None}

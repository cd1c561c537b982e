"""Cycles, LUTs and block RAMs of dataflow units, and of whole graphs.

What one unit costs is said by a model (`cost_models`): of our own hardware, fitted to open synthesis, or of FINN's, by
its formulas, for UltraScale and 7-series parts alike. As in FINN, pools and padding cost no LUTs in the latter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod

import numpy as np

from bnnflow import Problem

from ..transforms.ir.choices import stated
from ..transforms.ir.graph import Graph
from ..transforms.ir.ops import (
    AddBorder,
    AddStreams,
    Affine,
    AnyOp,
    ChannelwiseMul,
    Conv,
    Dense,
    DuplicateStreams,
    FMPadding,
    GlobalAccPool,
    LabelSelect,
    Mvau,
    Op,
    Pool,
    SlidingWindow,
    StreamingConcat,
    StreamingMaxPool,
    Thresholding,
    Unit,
    XnorConv,
    XnorDense,
)
from ..transforms.ir.tensor import TensorType
from ..transforms.streams import Converter, Stream, streams_of
from .calibrated.clock import Clock
from .calibrated.table import Table, calibrated, table
from .cost_models import COST_MODELS, CostModel
from .cost_models.base import Widths
from .cost_models.bnnflow import Bnnflow
from .finn_formulas import FinnCost
from .finn_types import last_unit
from .parts import BLOCK_BITS, Part
from .rtl.control import Control
from .rtl.modules import module_of, modules_of
from .rtl.top_control import REGISTERS, image_bits

SOURCE = "estimated (FINN formulas)"
OWN_SOURCE = "estimated (our own hardware, fitted to synthesis)"
_EXACT = COST_MODELS["exact"]()
# FINN's names of what stands between units.
_FIFO, _CONVERTER = BETWEEN = ("StreamingFIFO", "StreamingDataWidthConverter")


@dataclass(frozen=True, slots=True)
class UnitCost:
    """Estimate of one dataflow unit.

    Attributes:
        name, op: of the node; op is FINN's name of the unit.
        shape: for people, such as "64x784".
        pe, simd: folding; 1 where a unit has none.
        cycles: clock cycles per image.
        lut: look-up tables, of 6 inputs by FINN's formulas, by our own model as the family has them
            (docs/synthesis.md).
        bram18: block RAMs of 18 kbit, by our own model those of the part's size.
        weight_bits: of its weights, however FINN would store them.
        uram, dsp: UltraRAMs and DSP slices; FINN's default choices take DSP slices nowhere here.
        choices: FINN's attributes of its memories, products and windows (`transforms/ir/choices.py`).
        counts: what the cost model counts beside these.
        paths: sizes of paths from register to register, by kind, where the cost model knows them.
    """

    name: str
    op: str
    shape: str
    pe: int
    simd: int
    cycles: int
    lut: int
    bram18: int
    weight_bits: int
    uram: int = 0
    dsp: int = 0
    choices: Mapping[str, str | int] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    paths: Mapping[str, float] = field(default_factory=dict)

    @property
    def lut_ram(self) -> int:
        """LUTs that are memories, beside `lut`; 0 where a model does not count them."""
        return self.counts.get("lut_ram", 0)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Estimate of a whole dataflow graph; units stream into each other, so the slowest sets the rate.

    Attributes:
        units: in order.
        latency_cycles: cycles of all units on the longest way through: FINN's pessimistic bound of one image's way.
    """

    units: tuple[UnitCost, ...]
    latency_cycles: int

    @property
    def bottleneck(self) -> UnitCost:
        """The unit with the most cycles per image; a FIFO or a converter only where it has more than all of them."""
        return max(self.units, key=lambda unit: (unit.cycles, unit.op not in BETWEEN))

    @property
    def cycles(self) -> int:
        """Initiation interval: cycles from one image to the next."""
        return self.bottleneck.cycles

    @property
    def lut(self) -> int:
        """Look-up tables of all units."""
        return sum(unit.lut for unit in self.units)

    @property
    def bram18(self) -> int:
        """Block RAMs of 18 kbit of all units."""
        return sum(unit.bram18 for unit in self.units)

    @property
    def uram(self) -> int:
        """UltraRAMs of all units."""
        return sum(unit.uram for unit in self.units)

    @property
    def dsp(self) -> int:
        """DSP slices of all units."""
        return sum(unit.dsp for unit in self.units)

    @property
    def lut_ram(self) -> int:
        """LUTs that are memories, of all units."""
        return sum(unit.lut_ram for unit in self.units)

    @property
    def weight_bits(self) -> int:
        """Bits of all weight memories."""
        return sum(unit.weight_bits for unit in self.units)

    def fps(self, clock_mhz: float) -> float:
        """Images a second at a clock in MHz."""
        return clock_mhz * 1e6 / self.cycles

    def latency_us(self, clock_mhz: float) -> float:
        """Pessimistic latency in microseconds at a clock in MHz."""
        return self.latency_cycles / clock_mhz

    def slowest(self, clock: Clock) -> tuple[UnitCost, float, str]:
        """The unit that bounds the clock, its period in ns by itself, and the kind of its path; paths must be known."""
        timed = [(*clock.slowest(unit.paths), unit) for unit in self.units]
        period, kind, unit = max(timed, key=lambda one: one[0])
        return unit, period, kind


def estimate(
    graph: Graph,
    model: str | CostModel = "exact",
    depth: int = 2,
    depths: Mapping[str, int] | None = None,
    control: Control | None = None,
) -> Estimate:
    """Cost of every unit of a dataflow graph, in order; shape changes and class scores cost nothing.

    Args:
        graph: dataflow level, folded.
        model: that counts, or the name of one of FINN's formulas.
        depth, depths: words of every FIFO, and of single ones by the names of `streams_of`, for models of our own
            hardware, which also count converters and the FIFO at the input.
        control: what a host can ask of the hardware, for these models; None: it has no registers.

    Raises:
        Problem: a unit without hardware, for such models.
    """
    counted = COST_MODELS[model]() if isinstance(model, str) else model
    if isinstance(counted, Bnnflow):
        return _of_hardware(graph, counted, depth, depths or {}, control)
    units = []
    passed = {graph.input: 0}
    types = counted.types(graph)
    last = last_unit(graph)
    for node in graph.nodes:
        cycles = 0
        if isinstance(node.op, Unit):
            x = types[node.input]
            width = counted.widths(node.op, x, node.name == last)
            units.append(unit(node.name, node.op, x, width, types[node.name], counted))
            cycles = units[-1].cycles
        passed[node.name] = max(passed[tensor] for tensor in node.inputs) + cycles
    return Estimate(tuple(units), max(passed.values()))


def _of_hardware(
    graph: Graph, model: Bnnflow, depth: int, depths: Mapping[str, int], control: Control | None
) -> Estimate:
    """The estimate of our own hardware, with all that stands between units."""
    streams, types = streams_of(graph), graph.types
    if control is None and any(getattr(node.op, "runtime_writeable_weights", 0) for node in graph.nodes):
        # What is written is written by a host, whoever asks for an estimate.
        control = Control()
    held = {each.name: depths.get(each.name, depth) for each in streams.streams}
    modules = modules_of(streams, types, control)
    scrub, bits = control is not None and control.scrub, image_bits(streams, held, modules)
    entry = streams.entries[0]
    units = [_between("(input)", entry, _FIFO, model.entrance(entry, held[entry.name]))]
    passed = {entry.name: 0}
    for part in streams.parts:
        if isinstance(part, Converter):
            cost = model.converter(part, held[part.leave.name])
            units.append(_between(part.name, part.leave, _CONVERTER, cost))
            before, made = [part.entry], [part.leave]
        else:
            node = part.node
            assert isinstance(node.op, Unit)
            own = [held[each.name] for each in part.outputs]
            cost = model.of_module(node, modules[node.name], types, own, bits, scrub=scrub)
            units.append(_unit_cost(node.name, node.op, types[node.input], cost, _counts(cost)))
            before, made = list(part.inputs), list(part.outputs)
        after = max(passed[each.name] for each in before) + cost.cycles
        passed |= {each.name: after for each in made}
    if control is not None:
        cost, shape = model.registers(streams, modules, held), f"{len(streams.streams)} streams"
        units.append(
            UnitCost(REGISTERS, "Registers", shape, 1, 1, 0, cost.lut, 0, 0, counts=_counts(cost), paths=cost.paths)
        )
    return Estimate(tuple(units), max(passed.values()))


def _between(name: str, stream: Stream, op: str, cost: FinnCost) -> UnitCost:
    """What stands between units, and writes a stream."""
    shape = f"{stream.width} x {stream.type.datatype}"
    return UnitCost(
        name, op, shape, 1, 1, cost.cycles, cost.lut, cost.bram18, 0, counts=_counts(cost), paths=cost.paths
    )


def _counts(cost: FinnCost) -> dict[str, int]:
    return {"lut_ram": cost.lut_ram, "ff": cost.ff}


def flip_flops(cost: Estimate) -> int:
    """Flip-flops of all units; 0 by models that count none."""
    return sum(int(unit.counts.get("ff", 0)) for unit in cost.units)


def beyond(cost: Estimate, part: Part, model: CostModel) -> str:
    """What an estimate takes more of than a part has, such as "77 BRAM18 of 74"; empty where it fits.

    LUTs that are memories are LUTs of the part. Flip-flops are held against a part that says how many it has.
    """
    ff = flip_flops(cost)
    taken = {
        "LUT": (cost.lut + cost.lut_ram, part.lut),
        "FF": (ff if part.ff else 0, part.ff),
        "BRAM18": (cost.bram18, blocks_of(part, model.name)),
        "UltraRAM": (cost.uram, part.uram),
        "DSP": (cost.dsp, part.dsp),
    }
    return ", ".join(f"{need:,} {name} of {there:,}" for name, (need, there) in taken.items() if need > there)


def model_for(name: str, family: str, own: Table | None = None) -> CostModel:
    """A cost model by its name, for parts of an FPGA family.

    Args:
        name: of `COST_MODELS`.
        family: of the part; empty for one that nothing maps to.
        own: calibration of our own hardware; None: the one that comes with the package.

    Raises:
        Problem: there is none of that name; it is not calibrated for the family, or `own` is of another one.
    """
    if name not in COST_MODELS:
        hint = f"models are: {', '.join(sorted(COST_MODELS))}"
        raise Problem(f"there is no cost model {name!r}", "--cost-model", hint)
    kind = COST_MODELS[name]
    if not issubclass(kind, Bnnflow):
        if own is not None:
            raise Problem(f"{name} takes no calibration", "--calibration", f"leave it out, or take {Bnnflow.name}")
        return kind()
    if own is not None and own.family != family:
        what = f"this calibration is of {own.family}, the part of {family or 'no family that is mapped to'}"
        raise Problem(what, "--calibration", f"name a part of {own.family}")
    return kind(own or table(family))


def blocks_of(part: Part, model: str = Bnnflow.name) -> int:
    """Block RAMs of a part as a cost model counts them: by ours its own, else those of 18 kbit that they make."""
    return part.block_rams if model == Bnnflow.name and part.family in calibrated() else part.bram18


def block_note(part: Part, model: CostModel) -> str:
    """What BRAM18 counts where a model takes a part's own block RAMs and these are of another size; else nothing."""
    if not isinstance(model, Bnnflow) or part.block_bits == BLOCK_BITS:
        return ""
    return f"BRAM18 counts the block RAMs that {part.name} has, of {part.block_bits / 1024:g} kbit each"


def usual_model(graph: Graph, family: str, own: Table | None = None) -> tuple[CostModel, str]:
    """The model of our own hardware where it knows a graph and a family, else FINN's formulas, and a note why.

    Args:
        graph: dataflow level.
        family: of the part; empty for one that nothing maps to.
        own: calibration of our own hardware for this family; None: the one that comes with the package.
    """
    if own is None and family not in calibrated():
        return _EXACT, f"our hardware is not calibrated for {family or 'this part'}: FINN's formulas in its place"
    for node in graph.nodes:
        if isinstance(node.op, Unit):
            try:
                module_of(node, graph.types, Control())
            except Problem as problem:
                return _EXACT, f"{problem.where}: {problem.what}: FINN's formulas in its place"
    return Bnnflow(own or table(family)), ""


def widths(op: Unit, x: TensorType) -> Widths:
    """The widths that the exact model takes."""
    return _EXACT.widths(op, x)


def unit(
    name: str,
    op: Unit,
    x: TensorType,
    width: Widths | None = None,
    made: TensorType | None = None,
    model: CostModel = _EXACT,
) -> UnitCost:
    """Cost of one unit.

    Args:
        name: of its node.
        op: the unit.
        x: type of the (first) tensor that it reads.
        width: of the model; None to work it out.
        made: type of what it makes; only needed for joins.
        model: what counts.
    """
    width = model.widths(op, x) if width is None else width
    return _unit_cost(name, op, x, model.cost(op, x, width, made), model.counts(op, x, width))


def _unit_cost(name: str, op: Unit, x: TensorType, cost: FinnCost, counts: Mapping[str, int]) -> UnitCost:
    return UnitCost(
        name=name,
        op=finn_op(op),
        shape=_shape(op, x),
        pe=getattr(op, "pe", 1),
        simd=getattr(op, "simd", 1),
        cycles=cost.cycles,
        lut=cost.lut,
        bram18=cost.bram18,
        weight_bits=op.weight.size * op.weight_bits if isinstance(op, Mvau) else 0,
        uram=cost.uram,
        dsp=cost.dsp,
        choices=stated(op),
        counts=counts,
        paths=cost.paths,
    )


def _shape(op: Unit, x: TensorType) -> str:
    """A unit's size for people."""
    size = "x".join(map(str, x.shape))
    match op:
        case Mvau(weight):
            rows, columns = weight.shape
            times = f", {prod(x.shape[:-1])} times" if prod(x.shape[:-1]) > 1 else ""
            return f"{rows}x{columns}{times}"
        case SlidingWindow(kernel) | StreamingMaxPool(kernel):
            return f"{kernel[0]}x{kernel[1]} on {size}"
        case Pool(kernel):
            return f"{kernel[0]}x{kernel[1]} windows of {size}"
        case _:
            return size


_IN_FINN_PLUS = {AddStreams: "ElementwiseAdd_hls", ChannelwiseMul: "ElementwiseMul_hls"}


def finn_op(op: Op, finn_plus: bool = False) -> str:
    """FINN's name of a unit, or finn-plus'; KeyError for what is none."""
    if finn_plus and type(op) in _IN_FINN_PLUS:
        return _IN_FINN_PLUS[type(op)]
    if isinstance(op, Thresholding):
        return f"Thresholding_{op.form}"
    return {
        Mvau: "MVAU_hls",
        SlidingWindow: "ConvolutionInputGenerator_rtl",
        StreamingMaxPool: "StreamingMaxPool_hls",
        Pool: "Pool_hls",
        FMPadding: "FMPadding_rtl",
        GlobalAccPool: "GlobalAccPool_hls",
        AddStreams: "AddStreams_hls",
        AddBorder: "ElementwiseAdd_hls",
        DuplicateStreams: "DuplicateStreams_hls",
        StreamingConcat: "StreamingConcat_hls",
        ChannelwiseMul: "ChannelwiseOp_hls",
        LabelSelect: "LabelSelect_hls",
    }[type(op)]


def unit_cycles(op: AnyOp, x: TensorType, made: TensorType | None = None) -> int:
    """Cycles an image of a unit that reads a tensor of type `x` and makes one of type `made`; 0 for what is no unit."""
    return _EXACT.cost(op, x, Widths(), made).cycles if isinstance(op, Unit) else 0


def _is_binary(op: Conv | Dense | XnorConv | XnorDense) -> bool:
    return isinstance(op, XnorConv | XnorDense) or not np.any((op.weight != 1) & (op.weight != -1))


@dataclass(frozen=True, slots=True)
class Operations:
    """Work of one image.

    Attributes:
        weights: of all layers, binary or not.
        binary_macs: products of two bits (XNOR), each counted with its addition as one.
        int8_macs: products of which a factor has several bits, such as those of an 8-bit pixel and a bit.
        neurons: thresholds stored (filters and neurons with an activation).
    """

    weights: int
    binary_macs: int
    int8_macs: int
    neurons: int


def operations(graph: Graph) -> Operations:
    """Weights and operations of a graph at the XNOR or integer level."""
    weights = binary = wide = neurons = 0
    for node in graph.nodes:
        if isinstance(node.op, Conv | Dense | XnorConv | XnorDense):
            macs = prod(graph.types[node.name].shape) * node.op.weight[0].size
            weights += node.op.weight.size
            if graph.types[node.input].bits == 1 and _is_binary(node.op):
                binary += macs
            else:
                wide += macs
            reader = next((n.op for n in graph.readers(node.name)), None)
            if reader is not None and not isinstance(reader, Affine):
                neurons += len(node.op.weight)
    return Operations(weights, binary, wide, neurons)

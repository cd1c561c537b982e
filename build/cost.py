"""Cycles, LUTs and block RAMs of dataflow units by FINN's formulas.

They are estimates of FINN's own hardware, not synthesis results, for UltraScale and 7-series parts alike. The model
"finn" repeats FINN digit for digit, with its accumulator widths; "exact" takes widths that hold every sum, UltraRAM
only where a unit asks for it, and counts the adders of joins and borders. As in FINN, pools and padding cost no LUTs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import ceil, floor, prod
from typing import Any, Literal, assert_never, cast

import numpy as np

from ..transforms.ir.choices import stated
from ..transforms.ir.graph import Graph
from ..transforms.ir.infer import accumulator
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
from . import finn_formulas
from .finn_formulas import FinnCost
from .finn_types import finn_types, last_unit

Model = Literal["exact", "finn"]
MODELS: dict[str, Model] = {"exact": "exact", "finn": "finn"}
SOURCE = "estimated (FINN formulas)"


@dataclass(frozen=True, slots=True)
class UnitCost:
    """Estimate of one dataflow unit.

    Attributes:
        name, op: of the node; op is FINN's name of the unit.
        shape: for people, such as "64x784".
        pe, simd: folding; 1 where a unit has none.
        cycles: clock cycles an image.
        lut: 6-input look-up tables.
        bram18: block RAMs of 18 kbit.
        weight_bits: of its weights, however FINN would store them.
        uram, dsp: UltraRAMs and DSP slices; FINN's default choices take DSP slices nowhere here.
        choices: FINN's attributes of its memories, products and windows (`transforms/ir/choices.py`).
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
        """The unit with the most cycles an image."""
        return max(self.units, key=lambda unit: unit.cycles)

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
    def weight_bits(self) -> int:
        """Bits of all weight memories."""
        return sum(unit.weight_bits for unit in self.units)

    def fps(self, clock_mhz: float) -> float:
        """Images a second at a clock in MHz."""
        return clock_mhz * 1e6 / self.cycles

    def latency_us(self, clock_mhz: float) -> float:
        """Pessimistic latency in microseconds at a clock in MHz."""
        return self.latency_cycles / clock_mhz


def estimate(graph: Graph, model: Model = "exact") -> Estimate:
    """Cost of every unit of a dataflow graph, in order; shape changes and class scores cost nothing."""
    units = []
    passed = {graph.input: 0}
    types = finn_types(graph) if model == "finn" else graph.types
    last = last_unit(graph)
    for node in graph.nodes:
        cycles = 0
        if isinstance(node.op, Unit):
            x = types[node.input]
            width = widths(node.op, x, model, node.name == last)
            units.append(unit(node.name, node.op, x, width, types[node.name]))
            cycles = units[-1].cycles
        passed[node.name] = max(passed[tensor] for tensor in node.inputs) + cycles
    return Estimate(tuple(units), max(passed.values()))


@dataclass(frozen=True, slots=True)
class Widths:
    """Bits of what a unit stores and computes: weights, sums, bounds; and by whose rules."""

    model: Model = "exact"
    weights: int = 0
    sums: int = 0
    bounds: int = 0


def widths(op: Unit, x: TensorType, model: Model = "exact", last: bool = False) -> Widths:
    """The widths that a unit's cost follows from; they do not depend on its folding.

    Args:
        op: the unit.
        x: type of the tensor that it reads.
        model: "exact" for the least width that holds every sum, "finn" for the width that FINN takes.
        last: no unit follows.
    """
    low, high = _type_range(x)
    if isinstance(op, Mvau):
        # FINN's bit-width minimization makes INT2 of -1 and +1 wherever the inputs are not bits.
        bits = 1 if op.xnor else finn_formulas.weight_type(op.weight).bits
        if model == "finn":
            ends = last and not op.has_bounds
            return Widths(model, bits, finn_formulas.accumulator_type(op.weight, low, high, op.xnor, ends).bits)
        return Widths(model, bits, accumulator(op, x).bits)
    if isinstance(op, Thresholding):
        return Widths(model, bounds=finn_formulas.bound_type(op.bounds, low, high).bits)
    return Widths(model)


def _type_range(x: TensorType) -> tuple[int, int]:
    """Least and greatest value of FINN's data type of a tensor."""
    if x.is_bipolar:
        return -1, 1
    low, _ = x.range
    return (0, 2**x.bits - 1) if low >= 0 else (-(2 ** (x.bits - 1)), 2 ** (x.bits - 1) - 1)


def unit(name: str, op: Unit, x: TensorType, width: Widths | None = None, made: TensorType | None = None) -> UnitCost:
    """Cost of one unit.

    Args:
        name: of its node.
        op: the unit.
        x: type of the (first) tensor that it reads.
        width: from `widths`; None to work it out.
        made: type of what it makes; only needed for joins.
    """
    width = widths(op, x) if width is None else width
    cost = _cost(op, x, width, made)
    pe, simd = getattr(op, "pe", 1), getattr(op, "simd", 1)
    bits = op.weight.size * op.weight_bits if isinstance(op, Mvau) else 0
    shape = _shape(op, x)
    return UnitCost(
        name,
        finn_op(op),
        shape,
        pe,
        simd,
        cost.cycles,
        cost.lut,
        cost.bram18,
        bits,
        cost.uram,
        cost.dsp,
        stated(op),
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
    return _cost(op, x, Widths(), made).cycles if isinstance(op, Unit) else 0


def _cost(op: Unit, x: TensorType, width: Widths, made: TensorType | None) -> FinnCost:
    """FINN's cost of a unit; adders of joins and borders, which FINN counts as nothing, under the exact model."""
    exact = width.model == "exact"
    match op:
        case Mvau(weight, _, _, _, pe, simd):
            signed = x.low is not None and x.low < 0
            sums = max(1, width.sums)
            (rows, columns), vectors = weight.shape, prod(x.shape[:-1])
            stored = op.has_bounds and op.ram_style_thresholds == "distributed"
            cost = finn_formulas.mvau(
                rows,
                columns,
                pe,
                simd,
                vectors,
                max(1, width.weights),
                x.bits,
                signed,
                sums,
                ram_style=cast(finn_formulas.RamStyle, op.ram_style),
                dsp=op.res_type == "dsp",
                mem_mode=cast(finn_formulas.MemMode, op.mem_mode),
                result_bits=_result_bits(op) if stored else 0,
            )
            # FINN counts deep embedded weights in both kinds of memory.
            return replace(cost, uram=0) if exact and op.mem_mode == "internal_embedded" else cost
        case SlidingWindow(kernel, stride, simd, depthwise):
            height, columns, channels = x.shape
            return finn_formulas.sliding_window(
                (height, columns, channels),
                kernel,
                stride,
                simd,
                x.bits,
                depthwise=depthwise,
                parallel=bool(op.parallel_window),
                ram_style=cast(finn_formulas.RamStyle, op.ram_style),
            )
        case Thresholding(_, _, pe):
            vectors = prod(x.shape[:-1])
            if op.form == "hls":
                style: Any = op.ram_style
                return finn_formulas.thresholding_hls(x.channels, pe, vectors, x.bits, style)
            return finn_formulas.thresholding(
                x.channels,
                pe,
                vectors,
                max(1, width.bounds),
                _result_bits(op),
                block_from=op.depth_trigger_bram,
                ultra_from=op.depth_trigger_uram,
                uniform=bool(op.uniform_thres),
                literal=not exact,
            )
        case StreamingMaxPool(kernel):
            # FINN's formula: h * w * (1 + 1 / kernel area), whatever the channels.
            return FinnCost(floor(x.shape[0] * x.shape[1] * (1 + 1 / (kernel[0] * kernel[1]))))
        case Pool(kernel, _, pe):
            height, columns, values = x.shape
            return finn_formulas.pool((height, columns, values // prod(kernel)), kernel, pe)
        case FMPadding(pads, _, simd):
            height, columns, channels = x.shape
            return finn_formulas.padding((height + pads[0] + pads[2], columns + pads[1] + pads[3], channels), simd)
        case GlobalAccPool(pe):
            height, columns, channels = x.shape
            return finn_formulas.global_pool((height, columns, channels), pe)
        case AddStreams(pe) | DuplicateStreams(pe) | ChannelwiseMul(_, pe) | AddBorder(_, _, _, pe):
            cost = finn_formulas.elementwise(x.shape, pe)
            lut = 0 if made is None or not exact else _adder_lut(op, pe, made)
            return replace(cost, lut=cost.lut + lut)
        case StreamingConcat(simd):
            return finn_formulas.concat((x.shape if made is None else made.shape), simd)
        case LabelSelect(_, pe):
            return finn_formulas.label_select(x.channels, pe)
        case _:
            assert_never(op)


def _result_bits(op: Mvau | Thresholding) -> int:
    """Bits of what a unit's thresholds make."""
    return TensorType((), op.low, op.low + op.bounds.shape[1]).bits


def _adder_lut(op: Unit, pe: int, made: TensorType) -> int:
    """One LUT a bit of sum, and the border's values in LUTs used as memories of 64 bits."""
    if isinstance(op, AddStreams):
        return pe * made.bits
    if isinstance(op, AddBorder):
        rows, columns, channels = op.values.shape
        bits = TensorType((), min(0, int(op.values.min())), int(op.values.max())).bits
        return pe * made.bits + pe * bits * ceil(rows * columns * channels / pe / 64)
    return 0


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

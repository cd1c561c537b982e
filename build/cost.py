"""Cycles, LUTs and block RAMs of dataflow units by FINN's formulas.

The formulas are those of FINN's `get_exp_cycles`, `lut_estimation` and `bram_estimation` (HLS MVAU and
max pool, RTL sliding window and thresholding), for UltraScale and 7-series parts alike. They are
estimates of FINN's own hardware, not synthesis results. As in FINN, max pools cost no LUTs.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, log2, prod

from ..transforms.graph import (
    Affine,
    AnyOp,
    Conv,
    Dense,
    Graph,
    Mvau,
    SlidingWindow,
    StreamingMaxPool,
    TensorType,
    Thresholding,
    XnorConv,
    XnorDense,
    accumulator,
    result_type,
)

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
        weight_bits: weights of one bit each, however FINN would store them.
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


@dataclass(frozen=True, slots=True)
class Estimate:
    """Estimate of a whole dataflow graph; units stream into each other, so the slowest sets the rate."""

    units: tuple[UnitCost, ...]

    @property
    def bottleneck(self) -> UnitCost:
        """The unit with the most cycles an image."""
        return max(self.units, key=lambda unit: unit.cycles)

    @property
    def cycles(self) -> int:
        """Initiation interval: cycles from one image to the next."""
        return self.bottleneck.cycles

    @property
    def latency_cycles(self) -> int:
        """Sum of all units' cycles: FINN's pessimistic bound of one image's way through."""
        return sum(unit.cycles for unit in self.units)

    @property
    def lut(self) -> int:
        """Look-up tables of all units."""
        return sum(unit.lut for unit in self.units)

    @property
    def bram18(self) -> int:
        """Block RAMs of 18 kbit of all units."""
        return sum(unit.bram18 for unit in self.units)

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


def estimate(graph: Graph) -> Estimate:
    """Cost of every unit of a dataflow graph, in order; shape changes and class scores cost nothing."""
    units = [
        unit(node.name, node.op, graph.types[node.input])
        for node in graph.nodes
        if isinstance(node.op, Mvau | SlidingWindow | Thresholding | StreamingMaxPool)
    ]
    return Estimate(tuple(units))


def unit(name: str, op: Mvau | SlidingWindow | Thresholding | StreamingMaxPool, x: TensorType) -> UnitCost:
    """Cost of one unit that reads a tensor of type `x`."""
    cycles, lut, bram = unit_cycles(op, x), 0, 0
    pe = simd = 1
    bits = 0
    if isinstance(op, Mvau):
        rows, columns = op.weight.shape
        lut, bram = _mvau_lut(op, x), _mvau_bram18(op)
        shape, pe, simd, bits = f"{rows}x{columns}", op.pe, op.simd, rows * columns
        if prod(x.shape[:-1]) > 1:
            shape += f", {prod(x.shape[:-1])} times"
    elif isinstance(op, SlidingWindow):
        lut, simd = _window_lut(op, x), op.simd
        shape = f"{op.kernel[0]}x{op.kernel[1]} on {'x'.join(map(str, x.shape))}"
    elif isinstance(op, Thresholding):
        width = max(x.bits, int(op.bounds.max()).bit_length())
        lut, pe, shape = op.pe * width * ceil(x.channels / op.pe / 64), op.pe, "x".join(map(str, x.shape))
    else:
        shape = f"{op.kernel[0]}x{op.kernel[1]} on {'x'.join(map(str, x.shape))}"
    return UnitCost(name, finn_op(op), shape, pe, simd, cycles, lut, bram, bits)


def finn_op(op: AnyOp) -> str:
    """FINN's name of a unit."""
    return {
        Mvau: "MVAU_hls",
        SlidingWindow: "ConvolutionInputGenerator_rtl",
        Thresholding: "Thresholding_rtl",
        StreamingMaxPool: "StreamingMaxPool_hls",
    }[type(op)]


def unit_cycles(op: AnyOp, x: TensorType) -> int:
    """Cycles an image of a unit that reads a tensor of type `x`.

    MVAU: positions * (MH / PE) * (MW / SIMD). Sliding window: the first window's fill plus, for each
    row of windows, the longer of reading and writing. Max pool: h * w * (1 + 1 / kernel area).
    """
    match op:
        case Mvau(weight, _, _, pe, simd):
            return prod(x.shape[:-1]) * (weight.shape[0] // pe) * (weight.shape[1] // simd)
        case Thresholding(_, pe):
            return prod(x.shape) // pe
        case StreamingMaxPool(kernel):
            return floor(x.shape[0] * x.shape[1] * (1 + 1 / (kernel[0] * kernel[1])))
        case SlidingWindow(kernel, stride, simd):
            fold = x.channels // simd
            rows, columns = result_type(op, x).shape[:2]
            fill = ((kernel[0] - 1) * x.shape[1] + kernel[1]) * fold
            row = max(columns * kernel[0] * kernel[1] * fold, stride[1] * x.shape[1] * fold)
            return fill + rows * row
        case _:
            return 0


def _finn_weight_bits(op: Mvau) -> int:
    # FINN's bit-width minimization makes INT2 of -1 and +1 wherever the inputs are not bits.
    return 1 if op.xnor else 2


def _mvau_lut(op: Mvau, x: TensorType) -> int:
    weight_bits, input_bits = _finn_weight_bits(op), x.bits
    signed = x.low is not None and x.low < 0
    both = weight_bits + input_bits
    multiply = op.simd * (2 * ceil(both / 6) - 1) * both
    tree = both * (2 * op.simd - 1)
    alpha = log2(op.weight.shape[1]) + both - 1 - int(signed)
    sums = min(accumulator(op, x).bits, ceil(alpha + log2(1 + 2**-alpha) + 1))
    return floor(300 + 1.1 * op.pe * (multiply + tree + sums))


def _mvau_bram18(op: Mvau) -> int:
    depth = op.weight.size // (op.pe * op.simd)
    width = op.pe * op.simd * _finn_weight_bits(op)
    if width == 1:
        return ceil(depth / 16384)
    if width == 2:
        return ceil(depth / 8192)
    if width <= 4:
        return ceil(depth / 4096) * ceil(width / 4)
    if width <= 9:
        return ceil(depth / 2048) * ceil(width / 9)
    if width <= 18 or depth > 512:
        return ceil(depth / 1024) * ceil(width / 18)
    return ceil(depth / 512) * ceil(width / 36)


def _window_lut(op: SlidingWindow, x: TensorType) -> int:
    fold, area = x.channels // op.simd, op.kernel[0] * op.kernel[1]
    depth = ((op.kernel[0] - 1) * x.shape[1] + op.kernel[1]) * fold
    depth += max(0, (op.stride[1] - 1 - area) * fold)
    depth += max(0, ((op.stride[0] - 1) * x.shape[1] - area) * fold)
    return 300 + op.simd * x.bits * ceil(depth / 38)


@dataclass(frozen=True, slots=True)
class Operations:
    """Work of one image.

    Attributes:
        weights: binary weights.
        binary_macs: products of two bits (XNOR), each counted with its addition as one.
        int8_macs: products of an 8-bit pixel and a bit.
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
            if graph.types[node.input].bits == 1:
                binary += macs
            else:
                wide += macs
            reader = next((n.op for n in graph.readers(node.name)), None)
            if reader is not None and not isinstance(reader, Affine):
                neurons += len(node.op.weight)
    return Operations(weights, binary, wide, neurons)

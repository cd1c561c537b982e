"""Dynamic energy of one image, to compare two designs: what happens in the units, times the energy of each event.

The energies are those of a 45 nm process at 0.9 V (Horowitz, Computing's energy problem, ISSCC 2014): integer add 0.03
pJ at 8 bits and 0.1 pJ at 32, integer multiply 0.2 pJ at 8 x 8 bits and 3.1 pJ at 32 x 32, 64 bits from an SRAM of
8 kB 10 pJ, of 32 kB 20 pJ, of 1 MB 100 pJ. Between the table's sizes:

* an addition of b bits is linear in b through (0, 0), (8, 0.03) and (32, 0.1), and goes on like the last part;
* a product of a and b bits is 0.2 / 64 pJ for each of its a * b bit products (32 x 32 comes to 3.2 pJ that way);
* a bit of a memory is a 64th of a word; energy over capacity is a power law between two entries; below 8 kB it is that
  of 8 kB, above 1 MB the last power law goes on. Writing costs as much as reading.

What is counted for one image:

* operations: an XNOR with its share of the popcount is one adder bit; any other product is a multiplication and an
  addition of its width; each partial sum of a neuron beyond its first (MW / SIMD in all) is an addition at the
  accumulator's width; a comparison with a threshold is an addition of the width that is compared; joins, borders,
  pools and the class with the highest score are additions of the width that they make or compare.
* memory: every weight of an MVAU once for each vector, every threshold once for each value, every border value.
* streams: each value that leaves a unit is written to and read from a FIFO once for each reader, and each value of the
  graph's input is read; a sliding window writes each pixel into its line buffer and reads each value of each window;
  a streaming max pool reads and writes one value for each window that a row of pixels reaches.

Folding changes the partial sums alone. It is a relative figure, not the watts of a board: routing, clock tree,
configuration memory and leakage of an FPGA are not in it, nor registers, control and off-chip memory, and its LUTs and
block RAMs are no 45 nm standard cells. How often bits toggle is not looked at; a weight of 0 costs as much as others.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from math import log, prod

from ..transforms.ir.graph import Graph
from ..transforms.ir.ops import (
    AddBorder,
    AddStreams,
    ChannelwiseMul,
    GlobalAccPool,
    LabelSelect,
    Mvau,
    Pool,
    SlidingWindow,
    StreamingMaxPool,
    Thresholding,
    Unit,
)
from ..transforms.ir.tensor import Array, TensorType
from .cost import widths

SOURCE = "estimated (Horowitz 2014, 45 nm; relative)"

_ADD_PJ = ((8, 0.03), (32, 0.1))
_BIT_PRODUCT_PJ = 0.2 / 64
_WORD_BITS = 64
_KBYTE = 8 * 1024
_SRAM_PJ = ((8 * _KBYTE, 10.0), (32 * _KBYTE, 20.0), (1024 * _KBYTE, 100.0))


@dataclass(frozen=True, slots=True)
class UnitEnergy:
    """Energy of one unit for an image, in pJ.

    Attributes:
        name: of its node.
        operations, memory, streams: as the module says; memory holds weights, thresholds and border values.
    """

    name: str
    operations: float
    memory: float
    streams: float

    @property
    def total(self) -> float:
        """Sum of the three, in pJ."""
        return self.operations + self.memory + self.streams


def energy(graph: Graph) -> tuple[UnitEnergy, ...]:
    """Energy of every unit of a folded dataflow graph, in order; what is no unit costs nothing."""
    return tuple(_unit(graph, node.name, node.op) for node in graph.nodes if isinstance(node.op, Unit))


def energy_nj(units: tuple[UnitEnergy, ...]) -> dict[str, float]:
    """Energy of all units, and of each kind of event, in nJ per image."""
    parts = {kind: sum(getattr(unit, kind) for unit in units) / 1000 for kind in ("operations", "memory", "streams")}
    return {"energy_nj": sum(parts.values()), **{f"energy_{kind}_nj": value for kind, value in parts.items()}}


def add_pj(bits: int) -> float:
    """Energy of an integer addition of so many bits, in pJ."""
    (small, low), (large, high) = _ADD_PJ
    return bits * low / small if bits <= small else low + (bits - small) * (high - low) / (large - small)


def multiply_pj(bits: int, others: int) -> float:
    """Energy of the product of two integers of so many bits, in pJ."""
    return _BIT_PRODUCT_PJ * bits * others


def access_pj(memory_bits: int) -> float:
    """Energy of reading or writing one bit of a memory of so many bits, in pJ."""
    memory_bits = max(memory_bits, _SRAM_PJ[0][0])
    below, above = next((pair for pair in pairwise(_SRAM_PJ) if memory_bits <= pair[1][0]), _SRAM_PJ[1:])
    exponent = log(above[1] / below[1]) / log(above[0] / below[0])
    return below[1] * (memory_bits / below[0]) ** exponent / _WORD_BITS


def _unit(graph: Graph, name: str, op: Unit) -> UnitEnergy:
    node, made = graph.node(name), graph.types[name]
    taken = [graph.types[tensor] for tensor in node.inputs]
    readers = max(1, sum(reader.inputs.count(name) for reader in graph.readers(name)))
    words = sum(_bits(x) for x in taken) + readers * _bits(made)
    return UnitEnergy(
        name,
        _operations(op, taken[0], made),
        _memory(op, taken[0], made),
        access_pj(0) * words + _buffer(op, taken[0], made),
    )


def _bits(x: TensorType) -> int:
    return prod(x.shape) * x.bits


def _operations(op: Unit, x: TensorType, made: TensorType) -> float:
    values, width = prod(made.shape), widths(op, x)
    match op:
        case Mvau(weight, _, xnor, _, _, simd):
            columns = weight.shape[1]
            product = add_pj(1) if xnor else multiply_pj(op.weight_bits, x.bits) + add_pj(op.weight_bits + x.bits)
            compared = op.bounds.shape[1] if op.has_bounds else 0
            return values * (columns * product + (columns // simd - 1 + compared) * add_pj(width.sums))
        case Thresholding(bounds):
            return values * bounds.shape[1] * add_pj(x.bits)
        case AddStreams() | AddBorder():
            return values * add_pj(made.bits)
        case Pool(_, total):
            return prod(x.shape) * add_pj(made.bits if total else x.bits)
        case GlobalAccPool():
            return prod(x.shape) * add_pj(made.bits)
        case StreamingMaxPool() | LabelSelect():
            return prod(x.shape) * add_pj(x.bits)
        case ChannelwiseMul(factor):
            return values * multiply_pj(_signed_bits(factor), x.bits)
        case _:
            return 0.0


def _memory(op: Unit, x: TensorType, made: TensorType) -> float:
    """Of weights, thresholds, and values per channel or place."""
    values, width = prod(made.shape), widths(op, x)
    match op:
        case Mvau(weight, bounds):
            stored = weight.size * op.weight_bits
            read = prod(x.shape[:-1]) * stored * access_pj(stored)
            levels = bounds.shape[1] if op.has_bounds else 0
            return read + values * levels * width.sums * access_pj(bounds.size * width.sums)
        case Thresholding(bounds):
            return values * bounds.shape[1] * width.bounds * access_pj(bounds.size * width.bounds)
        case AddBorder(stored_values):
            bits = _signed_bits(stored_values)
            return values * bits * access_pj(stored_values.size * bits)
        case ChannelwiseMul(factor):
            bits = _signed_bits(factor)
            return values * bits * access_pj(factor.size * bits)
        case _:
            return 0.0


def _buffer(op: Unit, x: TensorType, made: TensorType) -> float:
    """Of what a unit keeps of its input while it works."""
    match op:
        case SlidingWindow(kernel):
            lines = kernel[0] * x.shape[1] * x.channels * x.bits
            return (_bits(x) + _bits(made)) * access_pj(lines)
        case StreamingMaxPool():
            row = made.shape[1] * made.channels * x.bits
            return 2 * x.shape[0] * row * access_pj(row)
        case _:
            return 0.0


def _signed_bits(values: Array) -> int:
    return TensorType((), min(0, int(values.min())), int(values.max())).bits

"""Modules of our library and of finn-rtllib that are to give the same words, a family a row, with their parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import lcm, prod

import numpy as np

from bnnflow.build.memories import weight_lines
from bnnflow.build.rtl.modules import Module, module_of
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.infer import accumulator
from bnnflow.transforms.ir.ops import NO_BOUNDS, AddStreams, AnyOp, FMPadding, Mvau, SlidingWindow, Thresholding, Unit
from bnnflow.transforms.ir.tensor import Array, TensorType, signed_bits
from bnnflow.transforms.streams import Stream, streams_of
from bnnflow.transforms.writing.units import UnitNode, unit_node

# Of DSP58 and of DSP48E2, for which finn-plus takes other modules.
VERSAL, ULTRASCALE = "xcvc1902-vsva2197-2MP-e-S", "xczu7ev-ffvc1156-2-e"
IMAGES = 16
# Bits of inputs and of weights that FINN's module for DSP58 gets.
WIDE = 8

MATRICES = (
    "finn-plus' matrix unit for DSP58, as FINN describes it for simulation, gets the values of ours in 8 bits, and in "
    "place of bits that meet bits -1 and +1, whose sums are 2 * popcount - columns: finn-plus has no XNOR as RTL"
)
LAYERS = "finn-plus' matrix unit has no thresholds: its own thresholding stands behind it"
OVERFLOWS = (
    "where every step makes a word, finn-rtllib's matrix unit for DSP58 overflows its output if that stalls, as its "
    "own assertion says; there its words are always taken"
)
MISREAD = (
    "where the type of results has more bits than their number needs, as that of 3 to 5 has, finn-plus lays out bounds "
    "for more stages than its RTL has, which then reads others: one parameter set shows it and is not counted"
)
REFUSED = (
    "Verilator elaborates neither finn-rtllib's FIFO (a constant function that returns a struct), which its sums hold, "
    "too, nor its matrix unit for DSP48 (a constant function inside a generate block)"
)
BORDERS = (
    "finn-plus pads with 0 only, so that other borders are not compared, and writes the border in front of an image "
    "before the image is there: as many words more as that has, behind the last image"
)


@dataclass(frozen=True, slots=True)
class Side:
    """Modules one behind the other.

    Attributes:
        parts: modules of ours, or units of FINN.
        entries, leave: streams of the first and of the last one.
        links: bits of the words between ours; FINN's say theirs themselves.
        weights: words that FINN's first unit reads beside its inputs, of all images, and their bits.
        ahead: words that it writes of an image which is not there.
        waits: its words are taken with stalls; else at once.
    """

    parts: Sequence[Module] | Sequence[UnitNode]
    entries: tuple[Stream, ...]
    leave: Stream
    links: tuple[int, ...] = ()
    weights: tuple[list[str], int] | None = None
    ahead: int = 0
    waits: bool = True


@dataclass(frozen=True, slots=True)
class Duel:
    """Modules of ours and of FINN that are to give the same values.

    Attributes:
        name: what is special about its parameters.
        ours, theirs: the sides.
        planted: ours with a fault, which must be found; None: none is planted here.
        enters, leaves: (factor, offset): a value of FINN's is factor * ours + offset, of inputs and of outputs.
        near: values that inputs are often close to.
        part: FPGA that FINN generates for.
        misread: FINN's is known to give other values; wrong here is that it does not.
    """

    name: str
    ours: Side
    theirs: Side
    planted: Side | None = None
    enters: tuple[int, int] = (1, 0)
    leaves: tuple[int, int] = (1, 0)
    near: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    part: str = VERSAL
    misread: bool = False


@dataclass(frozen=True, slots=True)
class Family:
    """Duels that are simulated in one program: a row of the page.

    Attributes:
        name: what they are.
        duels: one or more.
        notes: for the page.
        refused: Verilator is known to refuse FINN's; wrong here is that it does not.
    """

    name: str
    duels: tuple[Duel, ...]
    notes: tuple[str, ...] = ()
    refused: bool = False


def families() -> list[Family]:
    """All that is compared."""
    return [
        Family("thresholding", thresholding(), (MISREAD,)),
        Family("padding", padding(), (BORDERS,)),
        Family("sliding windows", windows()),
        Family("converters of widths", converters()),
        Family("matrix units, sums", matrices(), (MATRICES, OVERFLOWS)),
        Family("matrix units with thresholds", layers(), (MATRICES, LAYERS, OVERFLOWS)),
        Family("FIFOs", fifos(), (REFUSED,), refused=True),
        Family("sums of two streams", joins(), (REFUSED,), refused=True),
        Family("matrix units for DSP48", matrices(ULTRASCALE), (REFUSED,), refused=True),
    ]


def thresholding() -> tuple[Duel, ...]:
    """FINN searches by bisection, ours compares with all bounds at once."""
    rng = np.random.default_rng(1)

    def bounds(kind: TensorType, levels: int, below: int = 0, above: int = 0) -> Array:
        low, high = kind.range
        made = rng.integers(low - below, high + 1 + above, (kind.channels, levels), endpoint=True)
        return np.sort(made, axis=1).astype(np.int64)

    def duel(
        name: str, kind: TensorType, made: Array, act_val: int = 0, pe: int = 1, shift: int = 0, misread: bool = False
    ) -> Duel:
        ours, planted = (_graph(kind, Thresholding(each, act_val, pe)) for each in (made, made + shift))
        return Duel(name, _ours(ours), _theirs(ours), _ours(planted) if shift else None, near=made, misread=misread)

    pixels, signed, bit = TensorType((3, 4, 6), 0, 255), TensorType((2, 5, 8), -128, 127), TensorType((4, 4, 4), 0, 1)
    wide, odd = TensorType((40, 3), -40_000, 40_000), TensorType((5, 6), -5, 9)
    every = np.tile(np.arange(-7, 8), (3, 1))
    return (
        duel("unsigned, 3 bounds, a fold a channel", pixels, bounds(pixels, 3), shift=1),
        duel("unsigned, one bound, PE 3 of 6", pixels, bounds(pixels, 1), pe=3),
        duel("unsigned, one fold", pixels, bounds(pixels, 7), pe=6),
        duel("signed, negative results, PE 2 of 8", signed, bounds(signed, 15), act_val=-8, pe=2),
        duel("signed, 5 bounds, as many as no power of two", signed, bounds(signed, 5), act_val=-3, pe=4),
        duel("signed, results of -1 and 0", signed, bounds(signed, 1), act_val=-1, pe=8),
        duel("signed, results of 3 to 5", signed, bounds(signed, 2), act_val=3, pe=4, misread=True),
        duel("signed, results of 1 to 3", signed, bounds(signed, 2), act_val=1, pe=4),
        duel("bits", bit, bounds(bit, 1), pe=2),
        duel("bits, 3 bounds, equal ones", bit, np.array([[0, 0, 1], [1, 1, 1], [0, 1, 2], [2, 2, 2]]), pe=4),
        duel("17 bits, 255 bounds", wide, bounds(wide, 255), act_val=-128, pe=3),
        duel("a range of no power of two", odd, bounds(odd, 6), act_val=1, pe=2),
        duel("bounds outside the range on both ends", odd, bounds(odd, 4, below=30, above=30), pe=3),
        duel("all bounds below the range", odd, bounds(odd, 3) - 40, pe=6),
        duel("all bounds above the range", odd, bounds(odd, 3) + 40, pe=1),
        duel("every value a bound", TensorType((30, 3), -8, 7), every, act_val=-8, pe=1),
    )


def padding() -> tuple[Duel, ...]:
    """A border of zeros, on all sides and on single ones."""

    def duel(name: str, kind: TensorType, pads: tuple[int, int, int, int], simd: int, fault: bool = False) -> Duel:
        top, left, bottom, right = pads
        ours, planted = (_graph(kind, FMPadding(each, 0, simd)) for each in (pads, (top, right, bottom, left)))
        ahead = (top * (left + kind.shape[1] + right) + left) * kind.channels // simd
        return Duel(name, _ours(ours), replace(_theirs(ours), ahead=ahead), _ours(planted) if fault else None)

    pixels, signed = TensorType((5, 4, 6), 0, 255), TensorType((3, 7, 4), -8, 7)
    return (
        duel("all sides", pixels, (1, 1, 1, 1), 2),
        duel("each side another", pixels, (2, 1, 0, 3), 3, fault=True),
        duel("above alone", pixels, (1, 0, 0, 0), 6),
        duel("left alone", pixels, (0, 2, 0, 0), 1),
        duel("below alone, signed", signed, (0, 0, 2, 0), 4),
        duel("right alone, signed", signed, (0, 0, 0, 1), 2),
        duel("a row of bits", TensorType((1, 9, 16), 0, 1), (0, 3, 0, 2), 8),
        duel("a pixel", TensorType((1, 1, 2), 0, 3), (2, 2, 2, 2), 1),
        duel("12 bits a value, words of 5 values", TensorType((4, 3, 5), -2048, 2047), (0, 1, 1, 0), 5),
    )


def windows() -> tuple[Duel, ...]:
    """Kernels and strides of both directions; finn-plus takes another module for kernels of one pixel."""

    def duel(
        name: str,
        shape: tuple[int, int, int],
        kernel: tuple[int, int],
        stride: tuple[int, int],
        simd: int,
        *,
        high: int = 255,
        depthwise: bool = False,
        fault: bool = False,
    ) -> Duel:
        kind = TensorType(shape, 0, high)
        ours = _graph(kind, SlidingWindow(kernel, stride, simd, depthwise))
        # Words of a window in another order.
        planted = _graph(kind, SlidingWindow(kernel, stride, simd, not depthwise)) if fault else None
        return Duel(name, _ours(ours), _theirs(ours), None if planted is None else _ours(planted))

    return (
        duel("three by three, words of a channel", (6, 7, 4), (3, 3), (1, 1), 1, fault=True),
        duel("words of a pixel", (6, 6, 4), (3, 3), (1, 1), 4),
        duel("stride 2, rows and columns left over", (8, 10, 2), (3, 3), (2, 2), 2),
        duel("other strides down and across", (7, 9, 4), (3, 2), (1, 3), 2),
        duel("stride greater than the kernel", (9, 8, 2), (2, 2), (3, 4), 1),
        duel("kernel as large as the map", (4, 5, 6), (4, 5), (1, 1), 3),
        duel("a kernel row", (5, 9, 2), (1, 4), (1, 2), 2),
        duel("a kernel column, stride 2", (9, 5, 2), (4, 1), (2, 1), 1),
        duel("five by five of bits, 64 a word", (9, 7, 64), (5, 5), (1, 1), 64, high=1),
        duel("a map of one row", (1, 12, 3), (1, 3), (1, 1), 3),
        duel("depthwise, a channel a word", (5, 6, 4), (3, 3), (1, 1), 1, depthwise=True),
        duel("depthwise, two channels a word, stride 2", (6, 8, 6), (2, 2), (2, 2), 2, depthwise=True, fault=True),
        duel("depthwise, one group", (5, 5, 4), (3, 3), (2, 1), 4, depthwise=True),
        duel("one pixel", (5, 4, 6), (1, 1), (1, 1), 2),
        duel("one pixel, stride 2", (5, 7, 4), (1, 1), (2, 2), 4),
        duel("one pixel, a channel a word, rows left out", (8, 3, 2), (1, 1), (3, 1), 1),
    )


def converters() -> tuple[Duel, ...]:
    """Ours go over the least common multiple where neither width divides the other; FINN's converts at once."""

    def duel(name: str, bits: int, entry: int, leave: int, size: int) -> Duel:
        kind = TensorType((size,), 0, 2**bits - 1)
        ends = (_stream(kind, entry),), _stream(kind, leave)
        wide = lcm(entry, leave)
        widen = Module("bnnflow_widen", {"WIDTH": entry * bits, "N": wide // entry})
        narrow = Module("bnnflow_narrow", {"WIDTH": leave * bits, "N": wide // leave})
        parts = [each for each, needed in ((widen, wide > entry), (narrow, wide > leave)) if needed]
        ours = Side(parts, *ends, links=(wide * bits,) * (len(parts) - 1))
        widths = {"inWidth": entry * bits, "outWidth": leave * bits}
        shapes = {"inShape": [1, size], "outShape": [1, size], "dataType": kind.datatype}
        unit = UnitNode("StreamingDataWidthConverter", "dwc", {**widths, **shapes})
        return Duel(name, ours, Side((unit,), *ends))

    return (
        duel("1 to 8 values of a bit", 1, 1, 8, 64),
        duel("8 to 1 values of 3 bits", 3, 8, 1, 64),
        duel("2 to 6 values of 4 bits", 4, 2, 6, 60),
        duel("40 to 10 values of 7 bits", 7, 40, 10, 200),
        duel("2 to 3 values", 5, 2, 3, 36),
        duel("6 to 4 values", 2, 6, 4, 48),
        duel("9 to 6 values of 8 bits", 8, 9, 6, 72),
        duel("64 to 48 values of a bit", 1, 64, 48, 384),
        duel("5 to 7 values", 3, 5, 7, 70),
    )


def fifos() -> tuple[Duel, ...]:
    """FINN keeps words in shift registers, LUTs or block RAM by their number."""

    def duel(name: str, bits: int, depth: int) -> Duel:
        kind = TensorType((128,), 0, 2**bits - 1)
        ends = (_stream(kind, 1),), _stream(kind, 1)
        module = Module("bnnflow_fifo", {"WIDTH": bits, "DEPTH": depth})
        settings = {"folded_shape": [1, 128, 1], "normal_shape": [1, 128], "dataType": kind.datatype, "depth": depth}
        unit = UnitNode("StreamingFIFO", "fifo", settings)
        return Duel(name, Side((module,), *ends), Side((unit,), *ends))

    return tuple(
        duel(f"{depth} words of {bits} bits", bits, depth) for bits, depth in ((8, 2), (3, 32), (24, 100), (17, 300))
    )


def joins() -> tuple[Duel, ...]:
    """FINN adds values of one width and sign."""

    def duel(name: str, kind: TensorType, pe: int, fault: bool = False) -> Duel:
        ours = _graph(kind, AddStreams(pe), inputs=2)
        made = _ours(ours)
        module = made.parts[0]
        assert isinstance(module, Module)
        # Its second stream's sign is not extended.
        other = replace(module, parameters=dict(module.parameters) | {"BSIGNED": False})
        return Duel(name, made, _theirs(ours), replace(made, parts=(other,)) if fault else None)

    return (
        duel("unsigned", TensorType((5, 6), 0, 255), 3),
        duel("signed", TensorType((5, 6), -8, 7), 2, fault=True),
        duel("13 bits, one fold", TensorType((4, 4), -4096, 4095), 4),
    )


def matrices(part: str = VERSAL) -> tuple[Duel, ...]:
    """Sums that leave the unit."""
    rng = np.random.default_rng(2)
    bits, pixels = TensorType((7, 12), 0, 1), TensorType((5, 18), 0, 255)
    signed, odd = TensorType((6, 15), -8, 7), TensorType((6, 10), 0, 5)
    vector = TensorType((96,), 0, 1)

    def weights(low: int, high: int, rows: int, kind: TensorType, skip: int | None = None) -> Array:
        values = np.array([each for each in range(low, high + 1) if each != skip])
        return rng.choice(values, (rows, kind.channels))

    def duel(
        name: str, kind: TensorType, weight: Array, pe: int, simd: int, *, xnor: bool = False, fault: bool = False
    ) -> Duel:
        unit, other = Mvau(_stored(weight, xnor), NO_BOUNDS, xnor, 0, pe, simd), None
        if fault:
            changed = unit.weight.copy()
            changed[-1, 0] = 1 - changed[-1, 0]
            other = replace(unit, weight=changed)
        return _matrix(name, kind, unit, other, part)

    return (
        duel("XNOR, PE 2 of 8, SIMD 3 of 12", bits, weights(0, 1, 8, bits), 2, 3, xnor=True, fault=True),
        duel("XNOR, one row and column a step", bits, weights(0, 1, 5, bits), 1, 1, xnor=True),
        duel("XNOR, one fold", bits, weights(0, 1, 6, bits), 6, 12, xnor=True),
        duel("XNOR, 96 columns, SIMD 48", vector, weights(0, 1, 10, vector), 5, 48, xnor=True),
        duel("ternary weights of bits, few words", bits, weights(-1, 1, 4, bits), 2, 6),
        duel("ternary weights of bits, many words", bits, weights(-1, 1, 8, bits), 1, 2),
        duel("-1 and +1 with pixels", pixels, weights(-1, 1, 6, pixels, skip=0), 3, 9),
        duel("-1 and +1 with pixels, one column a step", pixels, weights(-1, 1, 4, pixels, skip=0), 2, 1),
        duel("-1 and +1 with signed inputs", signed, weights(-1, 1, 4, signed, skip=0), 4, 5),
        duel("4 bits with 4 signed bits", signed, weights(-8, 7, 6, signed), 2, 3),
        duel("4 bits with 4 signed bits, one fold", signed, weights(-8, 7, 3, signed), 3, 15),
        duel("4 narrow bits with 3 bits", odd, weights(-7, 7, 5, odd), 5, 2),
        duel("8 bits with pixels", pixels, weights(-128, 127, 4, pixels), 2, 6),
        duel("8 bits with 4 signed bits", signed, weights(-128, 127, 6, signed), 3, 15),
    )


def layers() -> tuple[Duel, ...]:
    """Thresholds behind the sums, in one unit of ours."""
    rng = np.random.default_rng(3)
    bits, pixels, signed = TensorType((7, 12), 0, 1), TensorType((6, 18), 0, 255), TensorType((6, 15), -8, 7)

    def duel(
        name: str,
        kind: TensorType,
        weight: Array,
        levels: int,
        act_val: int,
        pe: int,
        simd: int,
        *,
        xnor: bool = False,
        shift: int = 0,
    ) -> Duel:
        unit = Mvau(_stored(weight, xnor), NO_BOUNDS, xnor, act_val, pe, simd)
        low, high = accumulator(unit, kind).range
        # Amid the sums, but for a row that always reaches its bounds and one that never does.
        spread = max(1, (high - low) // 8)
        bounds = (low + high) // 2 + np.sort(rng.integers(-spread, spread + 1, (len(weight), levels)), axis=1)
        bounds[0], bounds[-1] = low, high + 1
        made, other = (replace(unit, bounds=(bounds + by).astype(np.int64)) for by in (0, shift))
        return _matrix(name, kind, made, other if shift else None)

    def weights(low: int, high: int, rows: int, kind: TensorType) -> Array:
        return rng.integers(low, high + 1, (rows, kind.channels))

    return (
        duel("XNOR, a sign, PE 2 of 8", bits, weights(0, 1, 8, bits), 1, 0, 2, 3, xnor=True, shift=1),
        duel("XNOR, a sign, one fold", bits, weights(0, 1, 6, bits), 1, 0, 6, 12, xnor=True),
        duel("XNOR, 3 bounds, negative results", bits, weights(0, 1, 6, bits), 3, -2, 3, 4, xnor=True),
        duel("ternary weights of bits, a sign", bits, weights(-1, 1, 4, bits), 1, 0, 2, 6),
        duel("ternary weights of bits, 2 bounds, one fold", bits, weights(-1, 1, 6, bits), 2, -1, 6, 12, shift=1),
        duel("ternary weights of bits, 2 bounds", bits, weights(-1, 1, 6, bits), 2, -1, 1, 2),
        duel("-1 and +1 with pixels, a sign", pixels, 2 * weights(0, 1, 6, pixels) - 1, 1, 0, 2, 9, shift=300),
        duel("-1 and +1 with pixels, 15 bounds", pixels, 2 * weights(0, 1, 4, pixels) - 1, 15, -8, 4, 6),
        duel("4 bits with signed inputs, 7 bounds", signed, weights(-8, 7, 6, signed), 7, -4, 2, 5),
    )


def _stored(weight: Array, xnor: bool) -> Array:
    return weight.astype(np.uint8 if xnor else np.int16)


def _matrix(name: str, kind: TensorType, unit: Mvau, other: Mvau | None, part: str = VERSAL) -> Duel:
    """A matrix unit against FINN's and, where it has bounds, FINN's thresholding; the other one is planted."""
    columns, (factor, offset) = unit.weight.shape[1], (2, -1) if unit.xnor else (1, 0)
    x = _wide(kind.shape, WIDE, signed=unit.xnor or kind.range[0] < 0)
    weight = unit.weight.astype(np.int64) * factor + offset
    whole = Mvau(weight.astype(np.int16), NO_BOUNDS, False, 0, unit.pe, unit.simd)
    sums = accumulator(whole, x)
    # FINN wants room for a single product, of whatever weight.
    sums = _wide(sums.shape, max(signed_bits(*sums.range), 2 * WIDE))
    node = unit_node("mvau", whole, [x], sums, elementwise=True)
    types = {"weightDataType": f"INT{WIDE}", "accDataType": sums.datatype, "outputDataType": sums.datatype}
    node = replace(node, settings=node.settings | types | {"mem_mode": "external", "resType": "dsp"})
    words = weight_lines(weight, unit.pe, unit.simd, WIDE) * (IMAGES * prod(kind.shape[:-1]))
    parts, leave, leaves = [node], _stream(sums, unit.pe), (1, 0)
    if unit.has_bounds:
        behind = _graph(sums, Thresholding(factor * unit.bounds + offset * columns, unit.act_val, unit.pe))
        made = _theirs(behind)
        parts, leave = [*parts, *_units(behind)], made.leave
    elif unit.xnor:
        leaves = factor, offset * columns
    theirs = Side(
        parts,
        (_stream(x, unit.simd),),
        leave,
        weights=(words, unit.pe * unit.simd * WIDE),
        waits=unit.simd < columns,
    )
    planted = None if other is None else _ours(_graph(kind, other))
    return Duel(name, _ours(_graph(kind, unit)), theirs, planted, (factor, offset), leaves, part=part)


def _wide(shape: tuple[int, ...], bits: int, signed: bool = True) -> TensorType:
    """All integers of so many bits."""
    return TensorType(shape, *((-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)))


def _graph(kind: TensorType, op: AnyOp, inputs: int = 1) -> Graph:
    return Graph("duel", "image", kind, (Node("unit", op, ("image",) * inputs),), "unit")


def _stream(kind: TensorType, width: int) -> Stream:
    return Stream("", "", "", width, prod(kind.shape) // width, kind)


def _ours(graph: Graph) -> Side:
    streams = streams_of(graph)
    return Side([module_of(node, graph.types) for node in graph.nodes], streams.entries, streams.leave)


def _theirs(graph: Graph) -> Side:
    streams = streams_of(graph)
    return Side(_units(graph), streams.entries, streams.leave)


def _units(graph: Graph) -> list[UnitNode]:
    made = []
    for node in graph.nodes:
        assert isinstance(node.op, Unit)
        kinds = [graph.types[name] for name in node.inputs]
        made.append(unit_node(node.name, node.op, kinds, graph.types[node.name], elementwise=True))
    return made

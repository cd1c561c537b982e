"""Which module of the library a unit is, with which parameters, memories and latency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import ceil, log2, prod
from typing import assert_never

import numpy as np

from bnnflow import Problem

from ...transforms.ir.graph import Graph, Node
from ...transforms.ir.infer import accumulator
from ...transforms.ir.ops import (
    AddBorder,
    AddStreams,
    ChannelwiseMul,
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
)
from ...transforms.ir.tensor import Array, TensorType, signed_bits
from ...transforms.memories import FEW_WORDS
from ...transforms.streams import Streams, StreamUnit, WindowMoves
from ..memories import weight_lines, words_hex
from .control import Control, Rows
from .memory import Memory
from .unrolled import Unrolled
from .words import packed, value_bits

Parameter = int | str
MOST_LEVELS = 1023
# A vector of so many words, and of as many bits where four lie beside each other, is kept in LUT RAM, whatever tools
# would take: behind a block RAM its path would be the unit's slowest (6 ns on an ECP5), and blocks are few.
_FEW_KEPT, _MOST_KEPT = 16, 8192


@dataclass(frozen=True, slots=True)
class Module:
    """An instance of a module of the library.

    Attributes:
        name: of the module.
        parameters: by name: numbers, `bool` for those of one bit, or text as it stands in SystemVerilog.
        latency: cycles from a step to the word that it writes; the module's header has it.
        memories: beside the instance, read in turn: by the port that takes their words.
        tables: within the instance: by the parameter that is to be the file's name.
        unrolled: the rows beside the instance, of constants.
    """

    name: str
    parameters: Mapping[str, Parameter]
    latency: int = 0
    memories: Mapping[str, Memory] = field(default_factory=dict)
    tables: Mapping[str, Memory] = field(default_factory=dict)
    unrolled: Unrolled | None = None


@dataclass(frozen=True, slots=True)
class Products:
    """What an MVAU's hardware needs to know of its weights, whatever its folding.

    Attributes:
        low, high: range of its sums.
        weight_bits: one stands for -1 and +1; other weights, those of -1 and 0 alone too, have two or more.
        ternary: inputs are bits, weights -1, 0 and +1.
    """

    low: int
    high: int
    weight_bits: int
    ternary: bool

    @classmethod
    def of(cls, op: Mvau, x: TensorType) -> Products:
        """Of an MVAU and the type of its inputs."""
        low, high = accumulator(op, x).range
        least, most, bits = int(op.weight.min()), int(op.weight.max()), op.stored_bits
        return cls(low, high, bits, not op.xnor and x.is_binary and bits == 2 and max(-least, most) <= 1)


def module_of(
    node: Node, types: Mapping[str, TensorType], control: Control | None = None, products: Products | None = None
) -> Module:
    """The module of a unit, but for the depth of its output and the places of its memories' files.

    Args:
        node: the unit.
        types: of the tensors that it reads and makes, by name.
        control: what a host can ask of its memories.
        products: of an MVAU; None: worked out here.

    Raises:
        Problem: a unit, or a choice of one, that has no module.
    """
    x, made = types[node.input], types[node.name]
    for kind in (*(types[name] for name in node.inputs), made):
        if kind.is_float:
            raise _refused(node, "computes on floats", "compile the graph to dataflow")
    match node.op:
        case Mvau() if _is_unrolled(node, node.op, x, control):
            return _unrolled(node, node.op, x, made)
        case Mvau():
            return _read(node, node.op, x, _mvau(node, node.op, x, made, products or Products.of(node.op, x)), control)
        case Thresholding():
            return _read(node, node.op, x, _thresholding(node, node.op, x, made), control)
        case SlidingWindow():
            return _window(node, node.op, x)
        case StreamingMaxPool((kh, kw)):
            shape = {"H": x.shape[0], "W": x.shape[1], "KH": kh, "KW": kw, "C": x.channels}
            return Module("bnnflow_max_pool", shape | _values(x))
        case Pool(kernel, total, pe):
            sizes = {"AREA": prod(kernel), "PE": pe, "OBITS": value_bits(made), "TOTAL": bool(total)}
            return Module("bnnflow_pool", sizes | _values(x))
        case GlobalAccPool(pe):
            sizes = {"PIXELS": prod(x.shape[:-1]), "CF": x.channels // pe, "PE": pe, "OBITS": value_bits(made)}
            return Module("bnnflow_global_acc_pool", sizes | _values(x))
        case AddStreams(pe):
            a, b = (types[name] for name in node.inputs)
            sizes = {"PE": pe, "OBITS": value_bits(made), "ABITS": value_bits(a), "BBITS": value_bits(b)}
            return Module("bnnflow_add_streams", sizes | {"ASIGNED": _signed(a), "BSIGNED": _signed(b)})
        case DuplicateStreams(pe):
            return Module("bnnflow_duplicate_streams", {"WIDTH": pe * value_bits(x)})
        case StreamingConcat(simd):
            return _concat(node, simd, types, made)
        case FMPadding((top, left, bottom, right), value, simd):
            bits = value_bits(made)
            border = f"{bits}'h{words_hex(np.array([[value]]), bits)[0]}"
            sizes = {"H": x.shape[0], "W": x.shape[1], "TOP": top, "LEFT": left, "BOTTOM": bottom, "RIGHT": right}
            own: dict[str, Parameter] = {"CF": x.channels // simd, "SIMD": simd, "OBITS": bits, "BORDER": border}
            return Module("bnnflow_padding", sizes | own | _values(x))
        case ChannelwiseMul(factor, pe):
            table = np.broadcast_to(factor, (x.channels,)).reshape(-1, pe)
            return _channelwise(table, x, made, pe, {"ADD": False, "CF": x.channels // pe})
        case AddBorder(values, rows, columns, pe):
            return _border(values, rows, columns, pe, x, made)
        case LabelSelect(k, pe):
            sizes = {"LABELS": x.channels, "PE": pe, "K": k, "IBITS": value_bits(made)}
            return Module("bnnflow_label_select", sizes | _values(x), ceil(log2(pe)) if k == 1 else 0)
        case Op():
            raise _refused(node, f"is no unit of hardware ({type(node.op).__name__})", "compile the graph to dataflow")
        case _:
            assert_never(node.op)


def modules_of(streams: Streams, types: Mapping[str, TensorType], control: Control | None = None) -> dict[str, Module]:
    """The modules of all units of a graph, by name; arguments and errors as for `module_of`."""
    units = [part.node for part in streams.parts if isinstance(part, StreamUnit)]
    return {node.name: module_of(node, types, control) for node in units}


def latencies(graph: Graph, control: Control | None = None) -> dict[str, int]:
    """Cycles from a step of each unit to the word that it writes, by name; what has no module is left out."""
    found = {}
    for node in graph.nodes:
        try:
            found[node.name] = module_of(node, graph.types, control or Control()).latency
        except Problem:
            continue
    return found


def _mvau(node: Node, op: Mvau, x: TensorType, made: TensorType, products: Products) -> Module:
    low, high, weight_bits = products.low, products.high, products.weight_bits
    levels = op.bounds.shape[1] if op.has_bounds else 0
    rows, columns = op.weight.shape
    depth = op.weight.size // (op.pe * op.simd)
    ternary = products.ternary and depth <= FEW_WORDS
    latency = 2 + sum_latency(op.simd, weight_bits, bits=op.xnor or ternary) + (2 if levels > 1 else 0)
    memory = Memory(
        depth,
        op.pe * op.simd * weight_bits,
        lambda: weight_lines(op.weight, op.pe, op.simd, weight_bits),
        wired=depth == 1 and weight_bits > 1,
    )
    memories = {"weights": _held(node, op.ram_style, memory)}
    if levels:
        _few(node, levels)
        memories["bounds"] = _bounds(node, op.ram_style_thresholds, op.bounds, op.pe, low, high)
    else:
        memories["bounds"] = Memory(0, op.pe * TensorType((), low, high + 1).bits)
    parameters: dict[str, Parameter] = {
        "MH": rows,
        "MW": columns,
        "PE": op.pe,
        "SIMD": op.simd,
        "XBITS": value_bits(x),
        "XSIGNED": _signed(x),
        "WBITS": weight_bits,
        "XNOR": bool(op.xnor),
        "TERNARY": ternary,
        "SBITS": signed_bits(low, high + 1),
        "LEVELS": levels,
        **_bound_type(low, high),
        "OBITS": value_bits(made),
        "ACT_VAL": op.act_val,
    }
    kept = columns // op.simd
    if op.pe < rows and kept > _FEW_KEPT and kept * 4 * ceil(op.simd * value_bits(x) / 4) <= _MOST_KEPT:
        parameters["STYLE"] = '"distributed"'
    if op.mem_mode == "external":
        raise _refused(node, "has weights that come from outside", "let them lie inside: internal_decoupled")
    if memories["weights"].joined:
        # Block RAMs lie far from what decides a step, late in a cycle: they hear of it behind a register.
        parameters["READ"] = 2
        latency += 1
    return Module("bnnflow_mvau", parameters, latency, memories)


def _is_unrolled(node: Node, op: Mvau, x: TensorType, control: Control | None) -> bool:
    """Whether the whole matrix is multiplied at once, of constants -1, 0 and +1 and inputs of a bit."""
    if op.weight.shape != (op.pe, op.simd) or op.mem_mode == "external":
        return False
    if control is not None and any(unit == node.name for unit, _ in control.coded):
        return False
    if op.runtime_writeable_weights or not (op.xnor or x.is_binary):
        return False
    # No absolute values: that of -128 has no place in eight bits.
    return int(op.weight.min()) >= -1 and int(op.weight.max()) <= 1


def _unrolled(node: Node, op: Mvau, x: TensorType, made: TensorType) -> Module:
    _style(node, op.ram_style)
    if op.has_bounds:
        _style(node, op.ram_style_thresholds)
        _few(node, op.bounds.shape[1])
    rows = Unrolled(op)
    sizes: dict[str, Parameter] = {"IN": op.simd * value_bits(x), "OUT": op.pe * value_bits(made)}
    return Module("bnnflow_unrolled", {**sizes, "LATENCY": rows.latency}, rows.latency, unrolled=rows)


def _read(node: Node, op: Mvau | Thresholding, x: TensorType, made: Module, control: Control | None) -> Module:
    """The module with its memories as a host finds them; where one is in a code, all are read in two cycles."""
    if op.runtime_writeable_weights and control is None:
        raise _refused(node, "has a memory that is written while it runs, and no registers", "give --sets 1")
    if control is None:
        return made
    coded = [key for key in made.memories if (node.name, key) in control.coded]
    memories = {}
    for key, memory in made.memories.items():
        rows = control.coded.get((node.name, key))
        if rows is None and op.runtime_writeable_weights and memory.depth:
            rows = Rows(memory.words, memory.width)
        sets = control.sets if op.runtime_writeable_weights else 1
        memories[key] = replace(memory, rows=rows, sets=sets, passes=prod(x.shape[:-1]))
    own = int(made.parameters.get("READ", 1))
    read = 2 if coded else own
    parameters = {**made.parameters, "READ": read}
    return replace(made, parameters=parameters, memories=memories, latency=made.latency + read - own)


def sum_latency(simd: int, weight_bits: int, *, bits: bool) -> int:
    """Cycles of bnnflow_popcount (of `bits`) or bnnflow_dot: from a step's inputs to the sum of its products."""
    if bits:
        return 1 if simd <= 3 else 2 + ceil(log2(ceil(simd / 18))) // 2
    return ceil(log2(simd)) // 2 + (weight_bits > 1)


def _thresholding(node: Node, op: Thresholding, x: TensorType, made: TensorType) -> Module:
    low, high = x.range
    bits, levels = signed_bits(low, high + 1), op.bounds.shape[1]
    _few(node, levels)
    memories = {"bounds": _bounds(node, op.ram_style, op.bounds, op.pe, low, high)}
    parameters: dict[str, Parameter] = {
        "PE": op.pe,
        "XBITS": value_bits(x),
        "XSIGNED": _signed(x),
        "SBITS": bits,
        "LEVELS": levels,
        **_bound_type(low, high),
        "OBITS": value_bits(made),
        "ACT_VAL": op.act_val,
    }
    return Module("bnnflow_thresholding", parameters, 1 + min(levels, 2), memories)


def _window(node: Node, op: SlidingWindow, x: TensorType) -> Module:
    if op.parallel_window:
        raise _refused(node, "has parallel_window", "set parallel_window to 0")
    (kh, kw), (down, across) = op.kernel, op.stride
    parameters: dict[str, Parameter] = {
        "H": x.shape[0],
        "W": x.shape[1],
        "KH": kh,
        "KW": kw,
        "SH": down,
        "SW": across,
        "CF": x.channels // op.simd,
        "WIDTH": op.simd * value_bits(x),
        "DEPTHWISE": bool(op.depthwise),
        "BUFFER": WindowMoves.of(op, x.shape).buffer,
        "STYLE": f'"{_style(node, op.ram_style)}"',
    }
    return Module("bnnflow_sliding_window", parameters, 1)


def _concat(node: Node, simd: int, types: Mapping[str, TensorType], made: TensorType) -> Module:
    kinds = [types[name] for name in node.inputs]
    parameters: dict[str, Parameter] = {
        "N": len(kinds),
        "SIMD": simd,
        "XMAX": max(value_bits(kind) for kind in kinds),
        "WORDS": packed([kind.channels // simd for kind in kinds]),
        "XBITS": packed([value_bits(kind) for kind in kinds]),
        "SIGNED": packed([int(_signed(kind)) for kind in kinds], 1),
        "OBITS": value_bits(made),
    }
    return Module("bnnflow_concat", parameters)


def _border(values: Array, rows: Array, columns: Array, pe: int, x: TensorType, made: TensorType) -> Module:
    fold = x.channels // pe
    places: dict[str, Parameter] = {
        "ADD": True,
        "H": rows.size,
        "W": columns.size,
        "CF": fold,
        "ROWS": packed((rows * (values.shape[1] * fold)).tolist()),
        "COLUMNS": packed((columns * fold).tolist()),
    }
    return _channelwise(values.reshape(-1, pe), x, made, pe, places)


def _channelwise(table: Array, x: TensorType, made: TensorType, pe: int, places: Mapping[str, Parameter]) -> Module:
    bits = signed_bits(int(table.min()), int(table.max()))
    sizes = {"PE": pe, "FBITS": bits, "OBITS": value_bits(made), "ENTRIES": len(table)}
    memory = _placed(Memory(len(table), pe * bits, lambda: words_hex(table, bits)))
    parameters = {**sizes, **_values(x), **places, "STYLE": f'"{memory.style}"'}
    return Module("bnnflow_channelwise", parameters, 2, tables={"VALUES": memory})


def _bound_type(low: int, high: int) -> dict[str, Parameter]:
    return {"BBITS": TensorType((), low, high + 1).bits, "BSIGNED": low < 0}


def _bounds(node: Node, style: str, bounds: Array, pe: int, low: int, high: int) -> Memory:
    """A word a group of channels; what every value reaches is `low`, what none does `high` + 1.

    It is the memory that faults are laid into (`sim/faults/injection/layout.py`).
    """
    bits, values = TensorType((), low, high + 1).bits, pe * bounds.shape[1]

    def contents() -> list[str]:
        return words_hex(np.clip(bounds, low, high + 1).reshape(-1, values), bits)

    memory = Memory(len(bounds) // pe, values * bits, contents, same=lambda: _fixed(bounds.reshape(-1, values), bits))
    return _held(node, style, memory)


def _fixed(words: Array, bits: int) -> int:
    """Bits of words of values of so many bits that are the same in all words."""
    ones, zeros = np.bitwise_and.reduce(words, axis=0), ~np.bitwise_or.reduce(words, axis=0)
    return sum((int(value) & (1 << bits) - 1).bit_count() for value in ones | zeros)


def _held(node: Node, style: str, memory: Memory) -> Memory:
    """A memory of the style that was asked for."""
    asked = _style(node, style)
    return _placed(memory) if asked == "auto" else replace(memory, style=asked)


def _placed(memory: Memory) -> Memory:
    """A memory whose style is decided: its contents are known, so that all tools take the same."""
    return replace(memory, style="block" if memory.prefers_block_ram else "distributed")


def _values(x: TensorType) -> dict[str, Parameter]:
    return {"XBITS": value_bits(x), "SIGNED": _signed(x)}


def _signed(kind: TensorType) -> bool:
    return kind.range[0] < 0


def _style(node: Node, style: str) -> str:
    if style == "ultra":
        raise _refused(node, "asks for UltraRAM", "set its ram_style to auto, block or distributed")
    return style


def _few(node: Node, levels: int) -> None:
    if levels > MOST_LEVELS:
        raise _refused(node, f"has {levels} thresholds a channel, more than {MOST_LEVELS}", "use fewer levels")


def _refused(node: Node, what: str, hint: str) -> Problem:
    return Problem(f"{type(node.op).__name__} {what}, which has no hardware here", f"operation {node.name!r}", hint)

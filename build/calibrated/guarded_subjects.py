"""Units of the fit whose memories a host writes or that lie in a code, and the registers that a host talks to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ...transforms.codes import odd_columns, words_of_a_coded_row
from ...transforms.ir.graph import Graph, Node
from ...transforms.ir.ops import Mvau, Thresholding
from ...transforms.ir.tensor import TensorType
from ..rtl.control import Coding, Control, Rows
from ..rtl.memory import Memory
from ..rtl.modules import module_of
from ..rtl.top_control import REGISTERS
from .subject import BITS, PIXELS, UNIT, Subject, matrix, thresholds

# Bits of data and of checks of Hsiao's codes.
WIDE, NARROW = "secded-72-64", "secded-39-32"
_HSIAO = {WIDE: (64, 8), NARROW: (32, 7)}
# Code (as of `coding`) and sets.
_ALL = (("", 1), ("", 2), ("parity", 1), (WIDE, 1), ("tmr", 1), (f"{WIDE}:x2", 2))
# Units, those that are written, channels, PE and sets, and a code.
_REGISTERS = (
    (1, 0, 16, 1, 1, ""),
    (2, 0, 16, 4, 1, ""),
    (6, 0, 16, 4, 1, ""),
    (12, 0, 16, 4, 1, ""),
    (4, 3, 16, 4, 2, ""),
    (4, 4, 32, 16, 3, ""),
    (5, 1, 64, 32, 1, "tmr"),
)
_REGISTERS_HELD_OUT = ((3, 2, 32, 2, 1, NARROW), (6, 6, 16, 8, 1, ""), (9, 4, 16, 2, 2, ""))


def guarded_subjects() -> Iterator[Subject]:
    """Those that the model is fitted to."""
    yield from (guarded(matrix((64, 64, 8, 16)), *chosen) for chosen in _ALL)
    yield guarded(matrix((64, 64, 8, 16)), WIDE, 1, scrub=False)
    for base, codes in (
        (thresholds(-100, 100, 64, 3, 4), (("", 1), (NARROW, 1), ("tmr", 1))),
        (thresholds(0, 255, 16, 3, 4), ((f"{WIDE}:x2", 1), ("parity", 1))),
        (thresholds(-1000, 1000, 512, 1, 2), ((NARROW, 1), ("", 4))),
        (matrix((256, 256, 2, 4)), (("", 1), ("", 3), (NARROW, 1), ("parity", 1))),
        (matrix((16, 32, 8, 16)), (("", 1), (WIDE, 1))),
        (matrix((128, 288, 4, 36), 3), (("", 2), (WIDE, 1), ("parity", 1))),
        (matrix((64, 784, 4, 8), x=PIXELS), ((f"{NARROW}:x4", 1),)),
        (matrix((10, 128, 2, 16), 0), (("", 1), (WIDE, 1))),
        (matrix((32, 144, 2, 16), 3, BITS, 1), (("", 1), (NARROW, 1))),
        (matrix((256, 784, 16, 16)), ((WIDE, 1), ("tmr", 1))),
    ):
        yield from (guarded(base, *chosen) for chosen in codes)
    yield from (registers(*row) for row in _REGISTERS)


def guarded_held_out() -> Iterator[Subject]:
    """Others, of other sizes."""
    yield guarded(matrix((48, 96, 6, 12)), WIDE)
    yield guarded(matrix((128, 128, 4, 16)), "parity", 2)
    yield guarded(matrix((72, 648, 9, 18)), NARROW)
    yield guarded(matrix((40, 200, 5, 25)), "tmr")
    yield guarded(matrix((64, 512, 16, 4), 3), "", 1)
    yield guarded(matrix((200, 72, 8, 12)), f"{NARROW}:x2")
    yield guarded(matrix((100, 256, 5, 32), 0), "parity")
    yield guarded(matrix((128, 288, 1, 2)), WIDE)
    yield guarded(thresholds(-60, 60, 24, 3, 8), WIDE)
    yield guarded(thresholds(0, 576, 128, 1, 4), "tmr")
    yield guarded(thresholds(-300, 300, 48, 7, 4), "", 2)
    yield from (registers(*row) for row in _REGISTERS_HELD_OUT)


def coding(code: str, width: int) -> Coding:
    """A code of words of `width` bits: "", "tmr", "parity", or one of Hsiao's, with ":x2" for two ways."""
    if code in ("", "tmr"):
        return Coding(copies=3 if code else 1)
    if code == "parity":
        return Coding(limit=width, checks=1, columns=(1,) * width, zeros=True)
    name, _, ways = code.partition(":x")
    bits, checks = _HSIAO[name]
    columns = odd_columns(checks, 64)[:, :bits]
    ones = [sum(int(bit) << place for place, bit in enumerate(column)) for column in columns.T]
    return Coding(1, bits, checks, int(ways or 1), ones, corrects=True)


def stored(memory: Memory, code: str) -> Rows:
    """A memory's rows, whose content is 0, in a code."""
    how = coding(code, memory.width)
    joined = words_of_a_coded_row(how.limit, how.ways, memory.width, memory.depth) if how.checks else 1
    return Rows(("0",) * -(-memory.depth // joined), how.stored_bits(joined * memory.width), joined, how, code)


def guarded(base: Subject, code: str, sets: int = 1, scrub: bool = True) -> Subject:
    """A unit whose memories lie in a code, or, with code "" or several sets, are written by a host."""
    node = base.graph.node(UNIT)
    assert isinstance(node.op, Mvau | Thresholding)
    memories = module_of(node, base.graph.types).memories
    coded = {(UNIT, port): stored(held, code) for port, held in memories.items() if code and held.depth}
    if sets > 1 or not code:
        node = Node(UNIT, replace(node.op, runtime_writeable_weights=1), node.inputs)
    control = Control(sets, coded, scrub and any(rows.coding.mends for rows in coded.values()))
    graph = base.graph.with_nodes((node,))
    name = f"{base.name}, {code or 'no code'}, {sets} sets{', scrubbed' if control.scrub else ''}"
    return replace(base, name=name, graph=graph, control=control)


def registers(units: int, writable: int, channels: int, pe: int, sets: int, code: str) -> Subject:
    """The registers of a chain of thresholds, of which a host writes the first `writable`."""
    rng = np.random.default_rng(units)
    nodes, types, coded = list[Node](), TensorType((4, 4, channels), 0, 7), dict[tuple[str, str], Rows]()
    for place in range(units):
        op = Thresholding(np.sort(rng.integers(1, 8, (channels, 3)), axis=1), 0, pe)
        if place < writable:
            op = replace(op, runtime_writeable_weights=int(not code))
        nodes.append(Node(f"u{place}", op, (nodes[-1].name if nodes else "x",)))
    graph = Graph("chain", "x", types, tuple(nodes), nodes[-1].name)
    if code:
        for node in nodes[:writable]:
            held = module_of(node, graph.types).memories["bounds"]
            coded[node.name, "bounds"] = stored(held, code)
    control = Control(sets, coded, any(rows.coding.mends for rows in coded.values()))
    name = f"registers of {units} units, {writable} of {channels} by {pe} are written, {sets} sets, {code or 'no code'}"
    return Subject(name, graph, REGISTERS, 2, control)

"""Memories of a dataflow graph as the hardware lays them out, and the way back.

A weight memory of an MVAU has MW * MH / (PE * SIMD) words of PE * SIMD weights: word nf * SF + sf holds, at
place p * SIMD + s, the weight of row nf * PE + p and column sf * SIMD + s (FINN's packing). A threshold memory
has MH / PE words: word nf holds, for PE p and level l, the bounds of channel nf * PE + p; each PE and level is a
memory of its own in FINN's hardware (fully partitioned arrays), which `bank` says. The bits of a value stand side
by side, least significant first, in two's complement where negative; one bit stands for {-1, +1}, 1 for +1.

A bound below the least or above the greatest sum acts as `least` or `greatest + 1` does, and is stored as that.
Bounds that a fault brings out of order are compared one by one and counted, as FINN's HLS units do.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from bnnflow import Problem

from ....transforms.ir.graph import Graph
from ....transforms.ir.infer import accumulator
from ....transforms.ir.ops import AnyOp, Mvau, Thresholding
from ....transforms.ir.tensor import Array, TensorType
from ....transforms.memories import FEW_WORDS, Slices, Style, prefers_block_ram, slices

KINDS = ("weights", "thresholds")


@dataclass(frozen=True, slots=True)
class BlockRam:
    """What one 18-kbit block RAM holds of a memory.

    Attributes:
        words, bits: of the memory, that lie in it.
        rows, columns: words of the block RAM, and bits of each; those beyond `words` and `bits` are not used.
    """

    words: range
    bits: range
    rows: int
    columns: int

    def cells(self, places: Array, width: int) -> Array:
        """Cells of the memory, word * width + bit, at places (row * columns + column) of the block RAM.

        Places that are not used are left out; the others keep their order.
        """
        row, column = places // self.columns, places % self.columns
        used = (row < len(self.words)) & (column < len(self.bits))
        found: Array = (self.words.start + row[used]) * width + self.bits.start + column[used]
        return found


@dataclass(frozen=True, slots=True)
class Memory:
    """One memory of a unit: `depth` words of `width` bits.

    Attributes:
        layer: the unit's name in the graph.
        kind: "weights" or "thresholds".
        index: position of the layer among those with such a memory; a part of the seed.
        depth, width: words, and bits of each.
        lanes: PEs; each owns width / lanes neighbouring bits.
        bank: bits of a word of one physical memory; `width`, or one bound's bits.
        bits: of one value.
        values: logical shape, (channels, values per channel).
        simd: weights of one PE in a word; all levels for thresholds.
        signed, least, most: how values are stored.
    """

    layer: str
    kind: str
    index: int
    depth: int
    width: int
    lanes: int
    bank: int
    bits: int
    values: tuple[int, int]
    simd: int
    signed: bool
    least: int
    most: int

    @property
    def size(self) -> int:
        """Bits of the memory."""
        return self.depth * self.width

    @property
    def name(self) -> str:
        """Layer and kind, for people and files."""
        return f"{self.layer}.{self.kind}"

    def primitives(self, style: Style = "block") -> Slices:
        """The primitives of one bank; a memory has width / bank of them side by side."""
        return slices(self.bank, self.depth, style)

    @property
    def block_rams(self) -> int:
        """18-kbit block RAMs of all its banks, were it in block RAM."""
        return self.width // self.bank * self.primitives().count

    def block_ram(self, number: int) -> BlockRam:
        """One of its block RAMs: bank by bank, in each word group by word group, in each bits from the lowest on."""
        cut = self.primitives()
        bank, rest = divmod(number, cut.count)
        down, across = divmod(rest, cut.across)
        left = bank * self.bank + across * cut.columns
        end = min(left + cut.columns, (bank + 1) * self.bank)
        words = range(down * cut.rows, min((down + 1) * cut.rows, self.depth))
        return BlockRam(words, range(left, end), cut.rows, cut.columns)

    def held_in(self, op: AnyOp) -> str:
        """Where our hardware holds it: "block RAM", "LUTs", "UltraRAM" or "outside" (weights that are streamed in).

        Where the unit says "auto" it is the rule of `transforms.memories`, by which `build/rtl` decides, too. Memories
        of up to 8 words become logic, whatever they are to be.
        """
        assert isinstance(op, Mvau | Thresholding)
        if isinstance(op, Mvau):
            if self.kind == "weights" and op.mem_mode == "external":
                return "outside"
            style = op.ram_style if self.kind == "weights" else op.ram_style_thresholds
        else:
            style = op.ram_style
        if style == "ultra":
            return "UltraRAM"
        block = style == "block" or (style == "auto" and prefers_block_ram(self.width, self.depth))
        return "block RAM" if block and self.depth > FEW_WORDS else "LUTs"

    def words(self, op: AnyOp) -> Array:
        """The content: uint8 bits, (depth, width)."""
        if isinstance(op, Mvau) and self.kind == "weights":
            if self.bits == 1:
                return self._packed((op.weight > 0).astype(np.uint8)[..., None])
            stored = op.weight
        else:
            assert isinstance(op, Mvau | Thresholding)
            stored = np.clip(op.bounds, self.least, self.most)
        cells = (stored.astype(np.int64)[..., None] >> np.arange(self.bits)) & 1
        return self._packed(cells.astype(np.uint8))

    def holding(self, op: AnyOp, words: Array) -> AnyOp:
        """The unit whose memory holds `words`."""
        cells = self._unpacked(words.reshape(self.depth, self.width))
        if self.kind == "weights" and self.bits == 1:
            assert isinstance(op, Mvau)
            bit = cells[..., 0].astype(np.uint8)
            return replace(op, weight=bit.astype(op.weight.dtype) if op.xnor else 2 * bit.astype(np.int8) - 1)
        places = 1 << np.arange(self.bits, dtype=np.int64)
        if self.signed:
            places[-1] = -places[-1]
        values = (cells * places).sum(axis=-1)
        if self.kind == "weights":
            assert isinstance(op, Mvau)
            return replace(op, weight=values.astype(op.weight.dtype))
        assert isinstance(op, Mvau | Thresholding)
        return replace(op, bounds=values)

    def logical(self) -> Array:
        """The logical number of every cell, (size,) int64: (channel * values + value) * bits + bit."""
        return self._packed(np.arange(self.size).reshape(*self.values, self.bits)).reshape(-1)

    def physical(self) -> Array:
        """The cell of every logical number, (size,) int64: the inverse of `logical`."""
        back = np.empty(self.size, np.int64)
        back[self.logical()] = np.arange(self.size)
        return back

    def _packed(self, cells: Array) -> Array:
        channels, values = self.values
        blocks = cells.reshape(channels // self.lanes, self.lanes, values // self.simd, self.simd * self.bits)
        return blocks.transpose(0, 2, 1, 3).reshape(self.depth, self.width)

    def _unpacked(self, words: Array) -> Array:
        channels, values = self.values
        blocks = words.reshape(channels // self.lanes, values // self.simd, self.lanes, self.simd, self.bits)
        return blocks.transpose(0, 2, 1, 3, 4).reshape(channels, values, self.bits)


def memories(graph: Graph, kinds: Sequence[str] = ("weights",)) -> list[Memory]:
    """The memories of a dataflow graph, in its order; those of one unit weights first.

    Raises:
        Problem: a kind is not known.
    """
    for kind in kinds:
        chosen(kind, KINDS, "memory")
    return [memory for memory in _memories(graph) if memory.kind in kinds]


@lru_cache(maxsize=4)
def _memories(graph: Graph) -> tuple[Memory, ...]:
    """All of them; kept, since every trial asks."""
    found, count = [], dict.fromkeys(KINDS, 0)
    for node in graph.nodes:
        for kind in KINDS:
            made = _memory(node.name, node.op, graph.types[node.input], kind, count[kind])
            if made is not None:
                count[kind] += 1
                found.append(made)
    return tuple(found)


def _memory(layer: str, op: AnyOp, x: TensorType, kind: str, index: int) -> Memory | None:
    if kind == "weights" and isinstance(op, Mvau):
        bits, shape = op.stored_bits, (op.weight.shape[0], op.weight.shape[1])
        width = op.pe * op.simd * bits
        signed = bits > 1
        depth = op.weight.size // (op.pe * op.simd)
        return Memory(layer, kind, index, depth, width, op.pe, width, bits, shape, op.simd, signed, 0, 0)
    if kind == "thresholds" and isinstance(op, Mvau | Thresholding) and op.bounds.size:
        sums = accumulator(op, x) if isinstance(op, Mvau) else x
        if sums.is_float:
            return None
        least, most = sums.range[0], sums.range[1] + 1
        bits = TensorType((), least, most).bits
        channels, levels = op.bounds.shape
        width = op.pe * levels * bits
        return Memory(
            layer, kind, index, channels // op.pe, width, op.pe, bits, bits, (channels, levels), levels,
            least < 0, least, most,
        )  # fmt: skip
    return None


def in_block_ram(graph: Graph, kinds: Sequence[str]) -> list[Memory]:
    """Memories of a dataflow graph that our hardware holds in block RAM (`Memory.held_in`)."""
    return [memory for memory in memories(graph, kinds) if memory.held_in(graph.node(memory.layer).op) == "block RAM"]


def elsewhere(graph: Graph, kinds: Sequence[str]) -> dict[str, str]:
    """Where it holds the others, by name: they keep their voltage, and what they hold."""
    found = {memory.name: memory.held_in(graph.node(memory.layer).op) for memory in memories(graph, kinds)}
    return {name: where for name, where in found.items() if where != "block RAM"}


def chosen(name: str, known: Sequence[str], what: str) -> str:
    """`name`, if it is known.

    Raises:
        Problem: it is not; the hint names the closest.
    """
    if name in known:
        return name
    near = difflib.get_close_matches(name, list(known), 1, 0.5)
    hint = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}"
    raise Problem(f"there is no {what} {name!r}", "fault campaign", hint, key="faults")


def memory(op: Mvau) -> Array:
    """The words of an MVAU's weight memory: uint8 bits, (words, PE * SIMD * bits of a weight)."""
    return _weights(op).words(op)


def from_memory(op: Mvau, words: Array) -> Mvau:
    """The MVAU whose weight memory holds `words`."""
    made = _weights(op).holding(op, words)
    assert isinstance(made, Mvau)
    return made


def _weights(op: Mvau) -> Memory:
    made = _memory("", op, TensorType((op.weight.shape[1],), 0, 1), "weights", 0)
    assert made is not None
    return made

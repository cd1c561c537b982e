"""Faults outside memories of constants: activation streams, FIFOs, accumulators and single products.

A stream carries words of PE values (SIMD of sliding windows and paddings), position by position, channel group by
channel group. Flips of its cells are drawn anew for every image (upsets); bit lines, PEs and stuck cells are the
same for all images (defects). A FIFO of depth D holds word w of image i of a stream of n words in its cell
(i * n + w) mod D; its faulty cells are the same for all images. Accumulators are the sums in front of an MVAU's
thresholds, a stream of PE sums; flips of products turn single XNOR results: a popcount s of K products becomes
s - Bin(s, rate) + Bin(K - s, rate), drawn anew for every sum.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from bnnflow import Problem

from ....transforms.ir.graph import Graph, Node
from ....transforms.ir.infer import accumulator
from ....transforms.ir.ops import (
    NO_BOUNDS,
    FMPadding,
    LabelSelect,
    Mvau,
    SlidingWindow,
    StreamingConcat,
    Thresholding,
    Unit,
)
from ....transforms.ir.tensor import Array, TensorType
from ...walk import BATCH, Change, Walk
from .cells import FLIP, Cells
from .draws import stream
from .layout import Memory
from .models import FaultModel
from .rates import Rates

KINDS = ("streams", "fifos", "accumulators", "products")
_KEY = 16


@dataclass(frozen=True, slots=True)
class Stream:
    """One stream of a dataflow graph.

    Attributes:
        layer: the node that makes it.
        kind: one of KINDS.
        index: position of the node; a part of the seed.
        tensor: what it carries, in the graph that `split` gives.
        type: of the tensor.
        pe: values of one word.
        terms: products of one sum (for "products").
    """

    layer: str
    kind: str
    index: int
    tensor: str
    type: TensorType
    pe: int
    terms: int = 0

    @property
    def name(self) -> str:
        """Of rates that are its own: "conv1.fifos"."""
        return f"{self.layer}.{self.kind}"

    @property
    def words(self) -> int:
        """Words an image."""
        return prod(self.type.shape) // self.pe

    def cells(self, depth: int) -> Memory:
        """The stream's bits as a memory of `depth` words, for fault models."""
        bits = self.type.bits
        width, values = self.pe * bits, (depth, self.pe)
        return Memory(self.layer, self.kind, self.index, depth, width, self.pe, width, bits, values, 1, False, 0, 0)

    @property
    def wide(self) -> TensorType:
        """The type of all values that the stream's bits can hold."""
        if self.type.is_bipolar or self.kind == "products":
            return self.type
        bits = self.type.bits
        low = -(1 << (bits - 1)) if self.type.range[0] < 0 else 0
        return TensorType(self.type.shape, low, low + (1 << bits) - 1)


def streams(graph: Graph, kind: str) -> list[Stream]:
    """The streams of one kind of a dataflow graph."""
    found = []
    for index, node in enumerate(graph.nodes):
        made = graph.types[node.name]
        if kind in ("streams", "fifos"):
            if isinstance(node.op, Unit) and not isinstance(node.op, LabelSelect) and not made.is_float:
                found.append(Stream(node.name, kind, index, node.name, made, _pe(node, made)))
            continue
        if not isinstance(node.op, Mvau) or graph.types[node.input].is_float:
            continue
        sums = accumulator(node.op, graph.types[node.input])
        tensor = f"{node.name}__sums" if node.op.has_bounds else node.name
        one_bit = node.op.xnor or (graph.types[node.input].is_bipolar and node.op.stored_bits == 1)
        if kind == "accumulators" or one_bit:
            found.append(Stream(node.name, kind, index, tensor, sums, node.op.pe, node.op.weight.shape[1]))
    return found


def _pe(node: Node, made: TensorType) -> int:
    if isinstance(node.op, FMPadding | SlidingWindow | StreamingConcat):
        return node.op.simd
    return int(getattr(node.op, "pe", made.channels))


def split(graph: Graph, layers: Sequence[str]) -> Graph:
    """The same network with the sums of these MVAUs as tensors `<layer>__sums` in front of their thresholds."""
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.name in layers and isinstance(node.op, Mvau) and node.op.has_bounds:
            sums = f"{node.name}__sums"
            nodes.append(Node(sums, replace(node.op, bounds=NO_BOUNDS, act_val=0), node.inputs))
            nodes.append(Node(node.name, Thresholding(node.op.bounds, node.op.act_val, node.op.pe), (sums,)))
        else:
            nodes.append(node)
    return graph.with_nodes(tuple(nodes))


def check_suffers(kind: str, model: FaultModel) -> None:
    """Refuse a model that streams of this kind cannot suffer.

    Raises:
        Problem: products flip alone; streams have no block RAMs and no logical addresses.
    """
    if kind == "products" and model != FaultModel():
        raise Problem(f"products cannot suffer '{model}'", "fault campaign", "products flip: use 'flip'", key="faults")
    if not model.shape.in_streams:
        raise Problem(
            f"{kind} cannot suffer '{model}'", "fault campaign", "use a memory, or another model", key="faults"
        )


def faulty_walk(
    graph: Graph, places: Sequence[Stream], model: FaultModel, rates: Rates, seed: int, trial: int, fifo_depth: int = 32
) -> Walk:
    """The network with one trial's faults in its streams, ready to run; images count from the first that runs.

    Raises:
        Problem: a model that these streams cannot suffer.
    """
    changes: dict[str, Change] = {}
    for place in places:
        rate = rates.at(place.layer, place.kind)
        check_suffers(place.kind, model)
        if place.kind == "products":
            changes[place.tensor] = _Products(place, rate.up, seed, trial)
        elif place.kind == "fifos":
            drawn = model.draw(place.cells(fifo_depth), rate, stream(seed, trial, _KEY, place.index, 1))
            changes[place.tensor] = _Fifo(place, drawn, fifo_depth)
        elif model.effect.lasting or model.shape.lasting:
            drawn = model.draw(place.cells(place.words), rate, stream(seed, trial, _KEY, place.index, 2))
            changes[place.tensor] = _Defects(place, drawn)
        else:
            changes[place.tensor] = _Upsets(place, model, rates, seed, trial)
    rebuilt = split(graph, [place.layer for place in places if place.tensor.endswith("__sums")])
    wide: Mapping[str, TensorType] = {place.tensor: place.wide for place in places}
    return Walk.of(rebuilt, changes, wide)


@dataclass(frozen=True, slots=True)
class _Upsets:
    place: Stream
    model: FaultModel
    rates: Rates
    seed: int
    trial: int

    def __call__(self, values: Array, first: int) -> Array:
        assert first % BATCH == 0 and len(values) <= BATCH
        memory = self.place.cells(self.place.words * BATCH)
        rate = self.rates.at(self.place.layer, self.place.kind)
        source = stream(self.seed, self.trial, _KEY, self.place.index, 3, first // BATCH)
        return changed(values, self.model.draw(memory, rate, source), self.place.type)


@dataclass(frozen=True, slots=True)
class _Defects:
    place: Stream
    cells: Cells

    def __call__(self, values: Array, first: int) -> Array:
        size = self.place.words * self.place.pe * self.place.type.bits
        index = (self.cells.index + np.arange(len(values))[:, None] * size).reshape(-1)
        return changed(values, Cells(index, np.tile(self.cells.effect, len(values))), self.place.type)


@dataclass(frozen=True, slots=True)
class _Fifo:
    place: Stream
    cells: Cells
    depth: int

    def __call__(self, values: Array, first: int) -> Array:
        width, words = self.place.pe * self.place.type.bits, self.place.words
        number = first * words + np.arange(len(values) * words)
        # Word by word: the faulty cells of the slot that it passes.
        slots, bits = self.cells.index // width, self.cells.index % width
        passing = number % self.depth
        parts = [
            (np.flatnonzero(passing == slot) * width + bit, effect)
            for slot, bit, effect in zip(slots.tolist(), bits.tolist(), self.cells.effect.tolist(), strict=True)
        ]
        if not parts:
            return values
        index = np.concatenate([places for places, _ in parts])
        effect = np.concatenate([np.full(len(places), effect, np.uint8) for places, effect in parts])
        return changed(values, Cells(index, effect), self.place.type)


@dataclass(frozen=True, slots=True)
class _Products:
    place: Stream
    rate: float
    seed: int
    trial: int

    def __call__(self, values: Array, first: int) -> Array:
        rng = stream(self.seed, self.trial, _KEY, self.place.index, 4)(first)
        terms = self.place.terms
        signed = self.place.type.range[0] < 0
        count = (values.astype(np.int64) + terms) // 2 if signed else values.astype(np.int64)
        count = count - rng.binomial(count, self.rate) + rng.binomial(terms - count, self.rate)
        return (2 * count - terms if signed else count).astype(values.dtype)


def changed(values: Array, cells: Cells, kind: TensorType) -> Array:
    """A batch of values with faults in its bits; cell (value number * bits + bit), in the batch's order.

    Cells beyond the batch are left out. The result holds all values of the bits exactly.
    """
    bits = kind.bits
    flat = values.reshape(-1)
    keep = cells.index < flat.size * bits
    index, effect = cells.index[keep], cells.effect[keep]
    made = flat.astype(np.int64 if bits > 31 else np.int32)
    for bit in range(bits):
        mine = index % bits == bit
        where = index[mine] // bits
        raw = (made[where] > 0).astype(made.dtype) if kind.is_bipolar else made[where]
        # Two's complement: the sign bit of a narrower number is bit `bits - 1` of a wider one, too.
        old = (raw >> bit) & 1
        new = np.where(effect[mine] == FLIP, old ^ 1, effect[mine])
        if kind.is_bipolar:
            made[where] = 2 * new - 1
        elif bit == bits - 1 and kind.range[0] < 0:
            made[where] += (old - new) * (1 << bit)
        else:
            made[where] += (new - old) * (1 << bit)
    exact = values.dtype.kind == "f" and (values.dtype == np.float64 or bits <= 24)
    low = -1 if kind.is_bipolar else (-(1 << (bits - 1)) if kind.range[0] < 0 else 0)
    high = 1 if kind.is_bipolar else low + (1 << bits) - 1
    narrow = np.result_type(np.min_scalar_type(low), np.min_scalar_type(high))
    return made.reshape(values.shape).astype(values.dtype if exact else narrow)

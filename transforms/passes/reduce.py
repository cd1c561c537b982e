"""Free reductions: channels that carry no information are left out, and nothing else changes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np

from ..ir.graph import Graph, Node
from ..ir.ops import Add, Affine, Concat, Conv, Dense, Flatten, MaxPool, Pad, Scale, SumPool, Threshold
from ..ir.rows import rows_of
from ..ir.tensor import Array, TensorType
from .rewrite import Rewrite, Rewritten, compose, compose_origins
from .scores import joined_affine


@dataclass(frozen=True, slots=True)
class Reduce:
    """Leave out channels that are constant, that nothing reads, or that repeat another one.

    Needs: the integer level. Removes: rows of a layer whose threshold never changes, whose readers weigh it
    with zeros only, or which equals or negates another row where all readers have weights of several bits, so
    that the two can be added without making them wider. Exact: what a constant channel adds to a sum goes into
    the bounds behind it. Channels stay a multiple of `grain` where they were one, so that folding keeps its
    divisors; a repeated channel that {-1, +1} weights read stays, since 2 is no such weight.
    """

    grain: int = 8
    name: str = "reduce"

    def __call__(self, graph: Graph) -> Rewritten:
        """The rewritten graph; the notes count what was left out."""
        rewrite = Rewrite(graph)
        for tensor, kind in graph.types.items():
            if not kind.is_float:
                rewrite.equate(tensor, tensor)
        same = {node.name: (node.name,) for node in graph.nodes}
        whole = Rewritten(graph, tuple(rewrite.equivalences.values()), origins=same)
        totals: dict[str, int] = {}
        while True:
            plan = _plan(whole.graph, self.grain)
            if not plan:
                break
            for part in plan.values():
                for reason, count in part.reasons.items():
                    totals[reason] = totals.get(reason, 0) + count
            result = _Walk(whole.graph, plan).run()
            origins = compose_origins(whole.origins, result.origins)
            whole = Rewritten(result.graph, compose(whole.equivalences, result.equivalences), origins=origins)
        notes = tuple(f"{count} {reason} left out" for reason, count in totals.items())
        return replace(whole, notes=notes)


@dataclass(slots=True)
class _Part:
    """What to leave out behind one threshold.

    Attributes:
        layer: the layer whose rows go with the threshold's channels.
        kept: channels that stay, ascending.
        values: what each channel that goes is worth to its readers.
        twins: channel that goes to (channel that stays, +1 or -1).
        reasons: how many went why.
    """

    layer: str
    kept: Array
    values: dict[int, int] = field(default_factory=dict)
    twins: dict[int, tuple[int, int]] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def channels(self) -> int:
        """Number of channels before."""
        return len(self.kept) + len(self.values) + len(self.twins)


@dataclass(frozen=True, slots=True)
class _Reader:
    """A layer behind a threshold: its weights by channel of the threshold, and the borders on the way."""

    weight: Array  # (rows, places, channels)
    borders: tuple[int, ...]
    binary: bool


def _plan(graph: Graph, grain: int) -> dict[str, _Part]:
    """What can go, by name of the threshold."""
    plan = {}
    for node in graph.nodes:
        if not isinstance(node.op, Threshold) or graph.sole_reader(node.input) is not node:
            continue
        layer = graph.maker(node.input)
        readers = _layers_behind(graph, node.name, graph.types[node.name].channels)
        if isinstance(layer, Conv | Dense) and readers:
            part = _part(graph, node, layer, readers, grain)
            if part is not None:
                plan[node.name] = part
    # Parts next to each other change each other's weights: take those apart by turns.
    apart: dict[str, _Part] = {}
    touched: set[str] = set()
    for name, part in plan.items():
        behind = set(_names_behind(graph, name))
        if part.layer not in touched and not behind & {other.layer for other in apart.values()}:
            apart[name] = part
            touched |= behind | {part.layer}
    return apart


def _names_behind(graph: Graph, tensor: str) -> Iterator[str]:
    for reader in graph.readers(tensor):
        if isinstance(reader.op, Conv | Dense):
            yield reader.name
        elif isinstance(reader.op, MaxPool | Flatten | Pad):
            yield from _names_behind(graph, reader.name)


def _layers_behind(graph: Graph, tensor: str, channels: int, borders: tuple[int, ...] = ()) -> list[_Reader] | None:
    """Every layer that reads a tensor through pools, padding and flattening; None where something else reads it."""
    found: list[_Reader] = []
    if tensor == graph.output:
        return None
    for reader in graph.readers(tensor):
        match reader.op:
            case Conv(weight) | Dense(weight):
                by_channel = weight.reshape(len(weight), -1, channels)
                binary = rows_of(weight).bipolar
                if not _takes_offset(graph, reader.name):
                    return None
                found.append(_Reader(by_channel, borders, binary))
            case MaxPool() | Flatten() | Pad():
                value = (int(reader.op.value),) if isinstance(reader.op, Pad) else ()
                more = _layers_behind(graph, reader.name, channels, borders + value)
                if more is None:
                    return None
                found += more
            case _:
                return None
    return found


def _takes_offset(graph: Graph, tensor: str) -> bool:
    """Whether a constant a channel can be taken off a tensor of sums: thresholds or scores stand behind it."""
    return tensor != graph.output and all(
        isinstance(reader.op, Threshold | Affine)
        or (isinstance(reader.op, MaxPool | Flatten) and _takes_offset(graph, reader.name))
        for reader in graph.readers(tensor)
    )


def _part(graph: Graph, node: Node, layer: Conv | Dense, readers: list[_Reader], grain: int) -> _Part | None:
    op, channels = node.op, len(layer.weight)
    assert isinstance(op, Threshold)
    low, high = _row_ranges(layer.weight, graph.types[_layer_input(graph, node)])
    bounds = np.broadcast_to(op.bounds, (channels, op.bounds.shape[1]))
    always = (bounds <= low[:, None]).sum(axis=1)
    constant = always + (bounds > high[:, None]).sum(axis=1) == bounds.shape[1]
    values = op.out_bias + op.out_scale * always
    going: dict[int, str] = {}
    part = _Part(node.input, np.zeros(0, np.int64))
    weighed = np.zeros(channels, bool)
    for reader in readers:
        weighed |= True if reader.binary else np.any(reader.weight, axis=(0, 1))
    for channel in range(channels):
        if not weighed[channel]:
            going[channel], part.values[channel] = "channels that nothing reads", 0
        elif constant[channel] and all(border == values[channel] for reader in readers for border in reader.borders):
            going[channel], part.values[channel] = "constant channels", int(values[channel])
    if not any(reader.binary for reader in readers):
        _find_twins(graph.types[node.name], layer, bounds, readers, going, part)
    wanted = channels - len(going)
    step = next(size for size in (grain, grain // 2, grain // 4, 1) if size and channels % size == 0)
    staying = min(channels, max(1, -(-wanted // step)) * step)
    for channel in list(going)[: staying - wanted]:
        del going[channel]
        part.values.pop(channel, None)
        part.twins.pop(channel, None)
    if not going:
        return None
    part.kept = np.array([channel for channel in range(channels) if channel not in going])
    for reason in going.values():
        part.reasons[reason] = part.reasons.get(reason, 0) + 1
    return part


def _layer_input(graph: Graph, threshold: Node) -> str:
    """The tensor that the layer in front of a threshold reads."""
    return graph.node(threshold.input).input


def _row_ranges(weight: Array, x: TensorType) -> tuple[Array, Array]:
    """Least and greatest sum of each row."""
    low, high = x.range
    rows = rows_of(weight)
    return rows.positive * low + rows.negative * high, rows.positive * high + rows.negative * low


def _find_twins(
    made: TensorType, layer: Conv | Dense, bounds: Array, readers: list[_Reader], going: dict[int, str], part: _Part
) -> None:
    """Channels that equal or, with one bound, negate an earlier one, where readers' weights can be added."""
    rows = layer.weight.reshape(len(layer.weight), -1)
    seen: dict[bytes, int] = {}
    for channel, row in enumerate(rows):
        if channel in going:
            continue
        twin, sign = seen.get(row.tobytes() + bounds[channel].tobytes()), 1
        if twin is None and made.is_bipolar and not any(border for reader in readers for border in reader.borders):
            # -(y >= b) is (-y >= 1 - b) with values -1 and +1.
            twin, sign = seen.get((-row).tobytes() + (1 - bounds[channel]).tobytes()), -1
        if twin is None:
            seen[row.tobytes() + bounds[channel].tobytes()] = channel
        elif all(_can_add(reader.weight, twin, channel, sign) for reader in readers):
            going[channel], part.twins[channel] = "repeated channels", (twin, sign)


def _can_add(weight: Array, stays: int, goes: int, sign: int) -> bool:
    total = weight[:, :, stays].astype(np.int64) + sign * weight[:, :, goes].astype(np.int64)
    return bool(weight.min() <= total.min() and total.max() <= weight.max())


@dataclass(slots=True)
class _Walk:
    """The graph without the planned channels; old[..., kept] == new + offset for every tensor."""

    graph: Graph
    plan: dict[str, _Part]
    parts: dict[str, _Part] = field(default_factory=dict)
    offsets: dict[str, Array] = field(default_factory=dict)

    def run(self) -> Rewritten:
        """The new graph."""
        rewrite = Rewrite(self.graph)
        layers = {part.layer: part for part in self.plan.values()}
        kept: dict[str, Array] = {}
        for node in self.graph.nodes:
            rewrite.of(node)
            part = self.parts.get(node.input)
            op, inputs = node.op, node.inputs
            offset = np.zeros(1, np.int64)
            match op:
                case Conv() | Dense():
                    weight = op.weight
                    if part is not None:
                        weight, offset = _without(weight, part)
                    if node.name in layers:
                        rows = layers[node.name].kept
                        kept[node.name] = rows
                        weight, offset = weight[rows], offset if offset.size == 1 else offset[rows]
                    op = replace(op, weight=weight)
                case Threshold(bounds) if node.name in self.plan or node.input in self.offsets:
                    known = self.offsets.get(node.input, offset)
                    if node.name in self.plan:
                        self.parts[node.name] = self.plan[node.name]
                        rows = kept[node.name] = self.plan[node.name].kept
                        bounds = np.broadcast_to(bounds, (self.plan[node.name].channels, bounds.shape[1]))[rows]
                    low, high = rewrite.types[node.input].range
                    op = replace(op, bounds=np.clip(bounds - known[:, None], low, high + 1))
                case Affine() if node.input in self.offsets:
                    known = self.offsets[node.input]
                    if (whole := joined_affine(op, 1, known)) is not None:
                        op = whole
                    else:
                        summed = _unused(f"{node.name}_sums", self.graph)
                        inputs = (rewrite.emit(summed, Affine(np.ones(1), known.astype(np.float64)), *inputs),)
                case MaxPool() | Flatten() | Pad():
                    if part is not None:
                        self.parts[node.name] = part
                        kept[node.name] = _flat(part.kept, self.graph, node) if isinstance(op, Flatten) else part.kept
                    offset = self.offsets.get(node.input, offset)
                    if isinstance(op, Flatten) and offset.size > 1:
                        offset = np.tile(offset, int(np.prod(self.graph.types[node.input].shape[:-1])))
                case Add() | Concat() | Scale() | SumPool():
                    assert not any(tensor in self.offsets or tensor in self.parts for tensor in node.inputs)
                case _:
                    pass
            if offset.any():
                self.offsets[node.name] = offset
            rewrite.emit(node.name, op, *inputs)
            if not self.graph.types[node.name].is_float:
                rewrite.equate(node.name, node.name, 1.0, self.offsets.get(node.name, 0), kept.get(node.name))
        return rewrite.done(self.graph.output)


def _unused(name: str, graph: Graph) -> str:
    while name in graph.types:
        name += "_"
    return name


def _flat(kept: Array, graph: Graph, node: Node) -> Array:
    """Kept channels of a map as places of the flattened map."""
    shape = graph.types[node.input].shape
    places = np.arange(int(np.prod(shape))).reshape(-1, shape[-1])
    made: Array = places[:, kept].reshape(-1)
    return made


def _without(weight: Array, part: _Part) -> tuple[Array, Array]:
    """Weights without the channels that went, and what those add to each row's sum."""
    by_channel = weight.reshape(len(weight), -1, part.channels)
    offset = np.zeros(len(weight), np.int64)
    for channel, value in part.values.items():
        offset += value * by_channel[:, :, channel].sum(axis=1, dtype=np.int64)
    if part.twins:
        by_channel = by_channel.copy()
        for channel, (twin, sign) in part.twins.items():
            by_channel[:, :, twin] += sign * by_channel[:, :, channel]
    left = np.ascontiguousarray(by_channel[:, :, part.kept])
    return left.reshape(*weight.shape[:-1], -1), offset if offset.any() else np.zeros(1, np.int64)

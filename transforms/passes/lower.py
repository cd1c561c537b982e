"""Lowering to FINN's dataflow units."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np

from ..ir.graph import Graph, Node
from ..ir.ops import (
    NO_BOUNDS,
    NO_PADS,
    Add,
    AddStreams,
    Affine,
    Best,
    ChannelwiseMul,
    Concat,
    Conv,
    Dense,
    DuplicateStreams,
    Flatten,
    FMPadding,
    GlobalAccPool,
    LabelSelect,
    Layer,
    MaxPool,
    Mvau,
    Pad,
    Pool,
    Scale,
    SlidingWindow,
    StreamingConcat,
    StreamingMaxPool,
    SumPool,
    Threshold,
    Thresholding,
    XnorConv,
    XnorDense,
)
from ..ir.tensor import Array
from .rewrite import Rewrite, Rewritten
from .scores import units_of


@dataclass(frozen=True, slots=True)
class FlattenEarly:
    """Move a flattening in front of the threshold that it follows, so that the threshold can be folded wide.

    Needs: the XNOR level. Removes: thresholds on maps that are read flattened and are not fused
    into a layer. Exact: thresholds act on each value alone.
    """

    name: str = "flatten-early"

    def __call__(self, graph: Graph) -> Rewritten:
        """The rewritten graph; `Problem` names what cannot be rewritten exactly."""
        rewrite = Rewrite(graph)
        now = {graph.input: graph.input}
        waiting: dict[str, Node] = {}
        for node in graph.nodes:
            rewrite.of(node)
            reader = graph.sole_reader(node.name)
            if (
                isinstance(node.op, Threshold)
                and reader is not None
                and isinstance(reader.op, Flatten)
                and not isinstance(graph.maker(node.input), Layer)
            ):
                waiting[node.name] = node
                continue
            if node.input in waiting:
                late = waiting[node.input]
                assert isinstance(late.op, Threshold)
                places = int(np.prod(graph.types[node.input].shape[:-1]))
                bounds = late.op.bounds if len(late.op.bounds) == 1 else np.tile(late.op.bounds, (places, 1))
                flat = rewrite.emit(node.name, node.op, now[late.input])
                rewrite.of(late)
                now[node.name] = rewrite.emit(late.name, Threshold(bounds, late.op.out_bias, late.op.out_scale), flat)
            else:
                now[node.name] = rewrite.emit(node.name, node.op, *(now[name] for name in node.inputs))
            if not graph.types[node.name].is_float:
                rewrite.equate(node.name, now[node.name])
        return rewrite.done(now[graph.output])


@dataclass(frozen=True, slots=True)
class Lower:
    """Turn operations into FINN's units, with the thresholds behind a layer inside its matrix-vector unit.

    Needs: the XNOR level. Removes: all layers, thresholds, pools and joins in favour of FINN's units, all at
    PE = SIMD = 1; a tensor that is read more than once is duplicated. Exact: the same sums of the same
    products; matrix columns are ordered (kernel row, kernel column, channel). Units come in the order in which FINN
    numbers them, by depth. `windowed_pools` makes a sliding
    window and a `Pool` of every max pool, as FINN's development branch and finn-plus do, in place of
    `StreamingMaxPool`.
    """

    windowed_pools: bool = False
    name: str = "lower"

    def __call__(self, graph: Graph) -> Rewritten:
        """The rewritten graph; `Problem` names what cannot be rewritten exactly."""
        walk = _Walk(graph, self.windowed_pools)
        for node in graph.nodes:
            walk.step(node)
        walk.rewrite.nodes = {node.name: node for node in _by_depth(walk.rewrite.nodes.values())}
        return walk.rewrite.done(walk.now[graph.output])


@dataclass(slots=True)
class _Walk:
    graph: Graph
    windowed_pools: bool
    rewrite: Rewrite = field(init=False)
    now: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.rewrite = Rewrite(self.graph)
        self.now = {self.graph.input: self.graph.input}
        self._fork(self.graph.input)

    def step(self, node: Node) -> None:
        """Emit the units of one old node, unless it is inside the unit of the node before."""
        if isinstance(node.op, Threshold) and self._fused(node.input) is node:
            return
        fused = self._fused(node.name)
        self.rewrite.of(*(part for part in (node, fused) if part is not None))
        self.now[node.name] = self._lower(node, None if fused is None else fused.op)
        old = node.name if fused is None else fused.name
        self.now[old] = self.now[node.name]
        if not self.graph.types[old].is_float:
            self.rewrite.equate(old, self.now[old])
        self._fork(old)

    def _fused(self, tensor: str) -> Node | None:
        """The threshold that goes into the unit of the layer that makes `tensor`, if there is one."""
        reader = self.graph.sole_reader(tensor)
        fits = isinstance(self.graph.maker(tensor), Layer) and reader is not None
        return reader if fits and reader is not None and isinstance(reader.op, Threshold) else None

    def _fork(self, old: str) -> None:
        if self.graph.uses(old) > 1 and not self.rewrite.types[self.now[old]].is_float:
            new = self.rewrite.emit(self.rewrite.fresh("duplicate"), DuplicateStreams(), self.now[old])
            self.rewrite.equate(old, new)
            self.now[old] = new

    def _lower(self, node: Node, threshold: object) -> str:
        emit, op, name = self.rewrite.emit, node.op, node.name
        sources = [self.now[tensor] for tensor in node.inputs]
        x = sources[0]
        kind = self.rewrite.types[x]
        match op:
            case Conv() | Dense() | XnorConv() | XnorDense():
                act_val, bounds = 0, NO_BOUNDS
                if isinstance(threshold, Threshold):
                    act_val, bounds = threshold.out_bias, _unit_bounds(threshold, len(op.weight))
                if isinstance(op, Conv | XnorConv) and (op.weight.shape[1:3] != (1, 1) or op.stride != (1, 1)):
                    kernel = (op.weight.shape[1], op.weight.shape[2])
                    x = emit(f"{name}_window", SlidingWindow(kernel, op.stride), x)
                matrix = op.weight.reshape(len(op.weight), -1)
                return emit(name, Mvau(matrix, bounds, isinstance(op, XnorConv | XnorDense), act_val), x)
            case Threshold():
                return emit(name, Thresholding(_unit_bounds(op, kind.channels), op.out_bias), x)
            case MaxPool(kernel, stride, pads):
                if pads != NO_PADS:
                    x = emit(f"{name}_padded", FMPadding(pads, kind.range[0]), x)
                    kind = self.rewrite.types[x]
                divides = kernel == stride and not (kind.shape[0] % kernel[0] or kind.shape[1] % kernel[1])
                if divides and not self.windowed_pools:
                    return emit(name, StreamingMaxPool(kernel), x)
                x = emit(f"{name}_window", SlidingWindow(kernel, stride, depthwise=True), x)
                return emit(name, Pool(kernel), x)
            case SumPool(kernel, stride):
                if kernel == kind.shape[:2]:
                    return emit(name, GlobalAccPool(), x)
                x = emit(f"{name}_window", SlidingWindow(kernel, stride, depthwise=True), x)
                return emit(name, Pool(kernel, True), x)
            case Pad(pads, value):
                return emit(name, FMPadding(pads, int(value)), x)
            case Add():
                return emit(name, AddStreams(), *sources)
            case Concat():
                return emit(name, StreamingConcat(), *sources)
            case Scale(factor):
                return emit(name, ChannelwiseMul(np.broadcast_to(factor, kind.channels).copy()), x)
            case Best(k) if not kind.is_float:
                return emit(name, LabelSelect(k), x)
            case Affine():
                units = units_of(self.graph, node, kind.shape)
                for index, unit in enumerate(units, 1):
                    x = emit(name if index == len(units) else f"{name}_ordered{index}", unit, x)
                return x
            case _:
                return emit(name, op, *sources)


def _by_depth(nodes: Collection[Node]) -> list[Node]:
    """Nodes in the order to which FINN sorts a graph before it numbers units: by how many units come before them."""
    depth: dict[str, int] = {}
    for node in nodes:
        before = max(depth.get(tensor, 0) for tensor in node.inputs)
        depth[node.name] = before + int(not isinstance(node.op, Flatten))
    return sorted(nodes, key=lambda node: depth[node.name])


def _unit_bounds(op: Threshold, channels: int) -> Array:
    """One row of bounds per channel; units count by one, so a stair of height n stands n times."""
    return np.repeat(np.broadcast_to(op.bounds, (channels, op.bounds.shape[1])), op.out_scale, axis=1)

"""From units and popcounts back to sums of products, so that what stands beside them can be compiled with them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from bnnflow import Problem

from ..ir.graph import Graph, Node
from ..ir.ops import (
    Add,
    AddStreams,
    Affine,
    AnyOp,
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
from ..ir.tensor import Array, TensorType, frozen
from .rewrite import Rewrite, Rewritten


@dataclass(frozen=True, slots=True)
class Raise:
    """Write units and popcounts as the layers, thresholds and pools that they compute.

    Needs: nothing. Removes: FINN's units and XNOR layers, whose PE and SIMD go with them. Exact: p equal bits of n are
    the sum y of n products of {-1, +1} with y = 2 p - n; bits that popcounts read become {-1, +1}, halved and moved by
    one half, so that they become popcounts again.
    """

    name: str = "raise"

    def __call__(self, graph: Graph) -> Rewritten:
        """The rewritten graph; `Problem` names what cannot be rewritten exactly."""
        walk = _Walk(graph)
        for node in graph.nodes:
            walk.step(node)
        made = walk.rewrite.done(walk.now[graph.output])
        folded = sum(getattr(n.op, "pe", 1) > 1 or getattr(n.op, "simd", 1) > 1 for n in graph.nodes)
        note = f"the graph holds units beside what is not compiled: {folded} units are refolded"
        return replace(made, notes=(note,) * bool(folded))


@dataclass(slots=True)
class _Walk:
    graph: Graph
    rewrite: Rewrite = field(init=False)
    now: dict[str, str] = field(init=False)
    # Windows that the units behind them take up: tensor of the old graph to the map they run over.
    windows: dict[str, tuple[str, SlidingWindow]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rewrite = Rewrite(self.graph)
        self.now = {self.graph.input: self.graph.input}

    def step(self, node: Node) -> None:
        """Emit the operations that one old node stands for."""
        op, name = node.op, node.name
        self.rewrite.of(node)
        if isinstance(op, SlidingWindow):
            self.windows[name] = self.now[node.input], op
            return
        if isinstance(op, DuplicateStreams):
            if node.input in self.windows:
                self.windows[name] = self.windows[node.input]
            else:
                self.now[name] = self.now[node.input]
            return
        for tensor in node.inputs:
            if tensor in self.windows and not isinstance(op, Mvau | Pool):
                raise Problem(
                    f"a sliding window is read by {type(op).__name__}, beside operations that are not compiled",
                    f"{name!r}",
                    "let an MVAU or a Pool read it, or compile the whole graph to units",
                )
        self.now[name] = self._raised(node)
        if not self.graph.types[name].is_float:
            self.rewrite.equate(name, self.now[name])

    def _raised(self, node: Node) -> str:
        emit, op, name = self.rewrite.emit, node.op, node.name
        if isinstance(op, Mvau):
            return self._mvau(node, op)
        if isinstance(op, Pool):
            x, window = self._window(node)
            kind: AnyOp = SumPool(op.kernel, window.stride) if op.total else MaxPool(op.kernel, window.stride)
            return emit(name, kind, x)
        sources = [self.now[tensor] for tensor in node.inputs]
        x = sources[0]
        match op:
            case XnorConv(weight, stride):
                return self._popcount(name, Conv(_signs(weight), stride), x)
            case XnorDense(weight):
                return self._popcount(name, Dense(_signs(weight)), x)
            case Threshold(bounds, out_bias, out_scale):
                return self._threshold(node, bounds, out_bias, out_scale, x)
            case Thresholding(bounds, low):
                return self._threshold(node, bounds, low, 1, x)
            case FMPadding(pads, value):
                return emit(name, Pad(pads, value), x)
            case StreamingMaxPool(kernel):
                return emit(name, MaxPool(kernel, kernel), x)
            case GlobalAccPool():
                height, width = self.rewrite.types[x].shape[:2]
                return emit(name, SumPool((height, width), (height, width)), x)
            case AddStreams():
                return emit(name, Add(), *sources)
            case StreamingConcat():
                return emit(name, Concat(), *sources)
            case ChannelwiseMul(factor):
                return emit(name, Scale(factor), x)
            case LabelSelect(k):
                return emit(name, Best(k), x)
            case _:
                return emit(name, op, *sources)

    def _window(self, node: Node) -> tuple[str, SlidingWindow]:
        if node.input not in self.windows:
            raise Problem("a pool without a sliding window before it cannot be compiled again", f"{node.name!r}")
        return self.windows[node.input]

    def _mvau(self, node: Node, op: Mvau) -> str:
        weight = _signs(op.weight) if op.xnor else op.weight
        layer: Conv | Dense
        if node.input in self.windows:
            x, window = self.windows[node.input]
            layer = Conv(kernels(weight, self.rewrite.types[x], window), window.stride)
        else:
            x = self.now[node.input]
            layer = Conv(weight[:, None, None]) if len(self.rewrite.types[x].shape) == 3 else Dense(weight)
        name = f"{node.name}_sums" if op.has_bounds else node.name
        sums = self._popcount(name, layer, x) if op.xnor else self.rewrite.emit(name, layer, x)
        return self._threshold(node, op.bounds, op.act_val, 1, sums) if op.has_bounds else sums

    def _popcount(self, name: str, layer: Conv | Dense, x: str) -> str:
        """Equal bits: the sum of bits * (2 weight - 1), and the number of weights 0, which count where a bit is 0."""
        zeros = (layer.weight < 0).reshape(len(layer.weight), -1).sum(axis=1)
        sums = self.rewrite.emit(f"{name}_products", layer, x)
        return self.rewrite.emit(name, Affine(np.ones(1), zeros.astype(np.float64)), sums)

    def _threshold(self, node: Node, bounds: Array, low: int, step: int, x: str) -> str:
        if (low, step, bounds.shape[1]) != (0, 1, 1) or not _become_popcounts(self.graph, node.name):
            return self.rewrite.emit(node.name, Threshold(bounds, low, step), x)
        signs = self.rewrite.emit(f"{node.name}_signs", Threshold(bounds, -1, 2), x)
        return self.rewrite.emit(node.name, Affine(np.full(1, 0.5), np.full(1, 0.5)), signs)


def _become_popcounts(graph: Graph, tensor: str) -> bool:
    """Whether XNOR layers read the bits of a tensor, behind whatever only moves them."""
    for reader in graph.readers(tensor):
        if isinstance(reader.op, XnorConv | XnorDense) or (isinstance(reader.op, Mvau) and reader.op.xnor):
            return True
        moves = (Flatten, Pad, FMPadding, MaxPool, StreamingMaxPool, SlidingWindow, Pool, DuplicateStreams)
        joins = (Concat, StreamingConcat)
        if isinstance(reader.op, moves + joins) and _become_popcounts(graph, reader.name):
            return True
    return False


def _signs(bits: Array) -> Array:
    return frozen((2 * bits.astype(np.int8) - 1).astype(np.int8))


def kernels(rows: Array, x: TensorType, window: SlidingWindow) -> Array:
    """Rows of a matrix that reads a window, as kernels (filters, kernel h, kernel w, channels)."""
    if window.depthwise:
        grouped = rows.reshape(len(rows), x.channels // window.simd, *window.kernel, window.simd)
        rows = np.moveaxis(grouped, 1, 3)
    return frozen(rows.reshape(len(rows), *window.kernel, x.channels).copy())

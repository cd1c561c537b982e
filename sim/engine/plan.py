"""From a graph to the steps that simulate it on packed bits: which operations are done in one go, and how.

A layer reads through sliding windows, flattenings and forks to the map behind them; thresholds, and border
sums between, are done where the layer's sums are still in registers. A tensor is made only where it is asked
for or where a step reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from ...transforms.ir.graph import Graph, Node
from ...transforms.ir.ops import (
    NO_PADS,
    AddBorder,
    ChannelsLast,
    Concat,
    Conv,
    Dense,
    DuplicateStreams,
    Flatten,
    FMPadding,
    MaxPool,
    Mvau,
    Pad,
    Pool,
    SlidingWindow,
    StreamingConcat,
    StreamingMaxPool,
    Threshold,
    Thresholding,
    XnorConv,
    XnorDense,
)
from ...transforms.ir.tensor import Array, TensorType
from . import generic
from .kernels import Kernels
from .packing import Window, pack_bits
from .values import Value, two_valued

_Layer = Conv | Dense | XnorConv | XnorDense | Mvau


@dataclass(frozen=True, slots=True)
class Step:
    """Makes one tensor.

    Attributes:
        makes: its name.
        reads: the tensors that it reads, which earlier steps made.
        covers: the nodes whose operations it does.
        run: the values read to the value made.
        native: all data is made by kernels, or by numpy under their eyes, so that the step can be recorded.
    """

    makes: str
    reads: tuple[str, ...]
    covers: tuple[str, ...]
    run: Callable[..., Value]
    native: bool = False


@dataclass(frozen=True, slots=True)
class StepInput:
    """The map that a layer reads, and its windows there."""

    tensor: str
    window: Window


@dataclass(frozen=True, slots=True)
class Planner:
    """Makes the steps of one graph.

    Attributes:
        graph: what is simulated.
        kernels: the backend; None does every operation on ordinary arrays.
        keep: tensors that must be made.
    """

    graph: Graph
    kernels: Kernels | None
    keep: Collection[str]

    def steps(self) -> tuple[Step, ...]:
        """All steps that the kept tensors need, in the order of the graph."""
        made: dict[str, Step] = {}
        wanted = [name for name in self.keep if name != self.graph.input]
        while wanted:
            name = wanted.pop()
            if name not in made:
                made[name] = self.step(name)
                wanted += [tensor for tensor in made[name].reads if tensor != self.graph.input]
        return tuple(made[node.name] for node in self.graph.nodes if node.name in made)

    def step(self, name: str) -> Step:
        """The step that makes a tensor."""
        node = self.graph.node(name)
        if self.kernels is None:
            return self._plain(node)
        op = node.op
        kernels, kind = self.kernels, self._type(name)
        match op:
            case Conv() | Dense() | XnorConv() | XnorDense():
                return self._layer(node, (name,), kernels) or self._plain(node)
            case Mvau():
                limits = None if not op.has_bounds else Threshold(op.bounds, op.act_val, 1)
                return self._layer(node, (name,), kernels, limits) or self._plain(node)
            case Threshold() | Thresholding():
                limits = op if isinstance(op, Threshold) else Threshold(op.bounds, op.act_val, 1)
                return self._fused(node, limits, kernels) or self._compare(node, limits, kernels)
            case MaxPool() | StreamingMaxPool() | Pool():
                return self._pool(node, kernels) or self._plain(node)
            case ChannelsLast() if len(self._type(node.input).shape) == 3:
                return Step(
                    name,
                    node.inputs,
                    (name,),
                    lambda x: Value(kind, None, kernels.channels_last(x.ints(kernels))),
                    True,
                )
            case DuplicateStreams():
                return Step(name, node.inputs, (name,), lambda x: x, True)
            case Flatten():
                return self._flat(node, kernels)
            case Concat() | StreamingConcat():
                return self._concat(node, kernels) or self._plain(node)
            case Pad() | FMPadding():
                return self._pad(node, op, kernels) or self._plain(node)
            case _:
                return self._plain(node)

    def _type(self, tensor: str) -> TensorType:
        return self.graph.types[tensor]

    def _plain(self, node: Node) -> Step:
        reads = node.inputs if self.kernels is None else tuple(self._through(name) for name in node.inputs)
        kind, op = self._type(node.name), node.op
        run = generic.prepare(op, self._type(node.input), kind)
        return Step(node.name, reads, (node.name,), lambda *x: Value(kind, None, run(*(v.ints() for v in x))))

    def _through(self, tensor: str) -> str:
        """The tensor behind forks."""
        while isinstance(self.graph.maker(tensor), DuplicateStreams):
            tensor = self.graph.node(tensor).input
        return tensor

    def source(self, node: Node, op: _Layer) -> StepInput:
        """The map behind a layer's input."""
        tensor = self._through(node.input)
        kind, maker = self._type(tensor), self.graph.maker(tensor)
        if isinstance(op, Conv | XnorConv):
            kernel = (op.weight.shape[1], op.weight.shape[2])
            return StepInput(tensor, Window(*_map(kind), kernel, op.stride))
        if isinstance(maker, SlidingWindow) and not maker.depthwise and isinstance(op, Mvau):
            tensor = self._through(self.graph.node(tensor).input)
            return StepInput(tensor, Window(*_map(self._type(tensor)), maker.kernel, maker.stride))
        if isinstance(maker, Flatten):
            behind = self._through(self.graph.node(tensor).input)
            height, width, channels = _map(self._type(behind))
            return StepInput(behind, Window(height, width, channels, (height, width), (1, 1)))
        return StepInput(tensor, Window(*_map(kind), (1, 1), (1, 1)))

    def _layer(
        self,
        node: Node,
        covers: tuple[str, ...],
        kernels: Kernels,
        limits: Threshold | None = None,
        border: AddBorder | None = None,
    ) -> Step | None:
        """A layer, with the border sums and thresholds behind it; None where it has no packed form."""
        op = node.op
        assert isinstance(op, Conv | Dense | XnorConv | XnorDense | Mvau)
        source, made = self.source(node, op), self._type(covers[-1])
        x, window = self._type(source.tensor), source.window
        weight = op.weight.reshape(len(op.weight), *window.kernel, window.channels)
        if limits is not None and not _counted(limits):
            return None
        single = limits is not None and limits.bounds.shape[1] == 1
        classes, values = _classes(border, window, len(weight))
        sums = _sums(op, x, weight)
        if sums is not None:
            factor, shift = sums
            if limits is not None and single:
                # factor * equal + shift + border reaches a bound where equal reaches this:
                bounds = -((shift + values - limits.bounds[:, 0]) // factor)
                run = kernels.xnor_bits(window, weight, bounds, classes)
                return Step(covers[-1], (source.tensor,), covers, lambda v: Value(made, run(v.bits(kernels))), True)
            if border is not None:
                return None
            count = kernels.xnor_sums(window, weight, factor, shift)
            finish = _finish(limits, made, kernels)
            return Step(covers[-1], (source.tensor,), covers, lambda v: finish(count(v.bits(kernels))), True)
        if border is not None or not _small(op, x, weight):
            return None
        low = min(x.range[0], 0) if x.range[1] <= 255 + min(x.range[0], 0) else x.range[0]
        if limits is not None and single:
            bounds = np.broadcast_to(limits.bounds[:, 0], len(weight))
            dot = kernels.dot_bits(window, weight, low, bounds)
            return Step(covers[-1], (source.tensor,), covers, lambda v: Value(made, dot(v.ints(kernels))), True)
        total, finish = kernels.dot_sums(window, weight, low), _finish(limits, made, kernels)
        return Step(covers[-1], (source.tensor,), covers, lambda v: finish(total(v.ints(kernels))), True)

    def _fused(self, node: Node, limits: Threshold, kernels: Kernels) -> Step | None:
        """Thresholds behind a layer whose sums nothing else reads."""
        tensor, covers = node.input, [node.name]
        border: AddBorder | None = None
        if not self._hidden(tensor):
            return None
        maker = self.graph.maker(tensor)
        if isinstance(maker, AddBorder):
            border = maker
            covers.insert(0, tensor)
            tensor = self.graph.node(tensor).input
            maker = self.graph.maker(tensor)
            if not self._hidden(tensor):
                return None
        if not isinstance(maker, _Layer) or (isinstance(maker, Mvau) and maker.has_bounds):
            return None
        return self._layer(self.graph.node(tensor), (tensor, *covers), kernels, limits, border)

    def _hidden(self, tensor: str) -> bool:
        """True where only one operation reads a tensor, and nobody asked for it."""
        return tensor not in self.keep and self.graph.uses(tensor) == 1

    def _compare(self, node: Node, limits: Threshold, kernels: Kernels) -> Step:
        x, made = self._type(node.input), self._type(node.name)
        if x.is_float or max(map(abs, x.range)) >= 2**31 - 1 or not _counted(limits):
            return self._plain(node)
        reads, finish = (self._through(node.input),), _finish(limits, made, kernels, x.channels)
        return Step(node.name, reads, (node.name,), lambda v: finish(v.ints(kernels)), True)

    def _pool(self, node: Node, kernels: Kernels) -> Step | None:
        """Maximum of two values: the union of bits. Padding is added as zeros."""
        op, tensor, covers = node.op, self._through(node.input), (node.name,)
        pads = NO_PADS
        match op:
            case MaxPool(kernel, stride, pads):
                if pads[0] >= kernel[0] or pads[1] >= kernel[1] or pads[2] >= kernel[0] or pads[3] >= kernel[1]:
                    return None
            case StreamingMaxPool(kernel):
                stride = kernel
            case Pool(kernel, False, pe):
                maker = self.graph.maker(tensor)
                if (
                    not isinstance(maker, SlidingWindow)
                    or not maker.depthwise
                    or (maker.simd, maker.kernel) != (pe, kernel)
                ):
                    return None
                stride, tensor = maker.stride, self._through(self.graph.node(tensor).input)
            case _:
                return None
        x, made = self._type(tensor), self._type(node.name)
        if not two_valued(x) or len(x.shape) != 3:
            return None
        height, width, channels = x.shape
        window = Window(height + pads[0] + pads[2], width + pads[1] + pads[3], channels, kernel, stride)
        run = kernels.pool(window)
        if pads == NO_PADS:
            return Step(node.name, (tensor,), covers, lambda v: Value(made, run(v.bits(kernels))), True)
        grow = kernels.border(x.shape[:2], pads, _pixel(x, False))
        return Step(node.name, (tensor,), covers, lambda v: Value(made, run(grow(v.bits(kernels)))), True)

    def _pad(self, node: Node, op: Pad | FMPadding, kernels: Kernels) -> Step | None:
        tensor = self._through(node.input)
        x, made = self._type(tensor), self._type(node.name)
        if two_valued(x) and two_valued(made) and x.range == made.range:
            grow = kernels.border(_map(x)[:2], op.pads, _pixel(x, op.value == made.range[1]))
            run = lambda v: Value(made, grow(v.bits(kernels)))  # noqa: E731
        elif not made.is_float and made.range[0] >= 0 and made.range[1] <= 255:
            inside = kernels.border(_map(x)[:2], op.pads, np.full(x.channels, op.value, np.uint8))
            run = lambda v: Value(made, None, inside(v.ints(kernels)))  # noqa: E731
        else:
            return None
        return Step(node.name, (tensor,), (node.name,), run, True)

    def _flat(self, node: Node, kernels: Kernels) -> Step:
        made, tensor = self._type(node.name), self._through(node.input)

        def run(v: Value) -> Value:
            plain = v.ints(kernels)
            return Value(made, None, kernels.by_numpy(plain.reshape(len(plain), -1), plain))

        return Step(node.name, (tensor,), (node.name,), run, True)

    def _concat(self, node: Node, kernels: Kernels) -> Step | None:
        reads = tuple(self._through(name) for name in node.inputs)
        parts, made = [self._type(name) for name in reads], self._type(node.name)
        if not two_valued(made) or any(part.range != made.range or part.channels % 64 for part in parts[:-1]):
            return None
        if not all(two_valued(part) and part.range == made.range for part in parts):
            return None
        places = made.shape[:-1]

        def run(*values: Value) -> Value:
            words = [v.bits(kernels) for v in values]
            return Value(made, np.concatenate([w.reshape(len(w), *places, -1) for w in words], axis=-1))

        return Step(node.name, reads, (node.name,), run)


def _map(kind: TensorType) -> tuple[int, int, int]:
    """Height, width and channels; a vector is a map of one pixel."""
    height, width = kind.shape[:2] if len(kind.shape) == 3 else (1, kind.shape[0] if len(kind.shape) == 2 else 1)
    return height, width, kind.channels


def _classes(border: AddBorder | None, window: Window, filters: int) -> tuple[Array, Array]:
    """Class of each pixel, (rows, columns), and what is added there, (classes, filters)."""
    if border is None:
        return np.zeros((window.rows, window.columns), np.int64), np.zeros((1, 1), np.int64)
    across = border.values.shape[1]
    return border.rows[:, None] * across + border.columns, border.values.reshape(-1, filters)


def _sums(op: _Layer, x: TensorType, weight: Array) -> tuple[int, Array] | None:
    """factor and shift (filters,) that make a layer's sums of its numbers of equal bits; None for other weights."""
    if not two_valued(x):
        return None
    if isinstance(op, XnorConv | XnorDense) or (isinstance(op, Mvau) and op.xnor):
        return (1, np.zeros(len(weight), np.int64)) if x.is_binary else None
    flat = weight.reshape(len(weight), -1)
    if flat.dtype != np.int8 or not np.all((flat == 1) | (flat == -1)):
        return None
    # x = low + step * bit, and the sum of weight * bit is equal bits less the number of negative weights.
    low, high = x.range
    negative = np.count_nonzero(flat < 0, axis=1).astype(np.int64)
    factor = high - low
    shift = low * (flat.shape[1] - 2 * negative) - factor * negative
    most = (max(abs(low), abs(high)) + factor) * flat.shape[1]
    return (factor, shift) if most < 2**30 else None


def _small(op: _Layer, x: TensorType, weight: Array) -> bool:
    """True where inputs span at most 256 values, weights are bytes, and sums stay in 32 bits."""
    if x.is_float or (isinstance(op, XnorConv | XnorDense | Mvau) and getattr(op, "xnor", True)):
        return False
    low, high = x.range
    if high - low > 255 or weight.dtype.kind not in "i" or max(abs(low), abs(high)) > 2**15:
        return False
    flat = weight.reshape(len(weight), -1)
    if flat.min(initial=0) < -128 or flat.max(initial=0) > 127:
        return False
    return int(np.abs(flat.astype(np.int32)).sum(axis=1).max(initial=0)) * (255 + abs(low)) < 2**30


def _counted(limits: Threshold) -> bool:
    """True where kernels count the bounds that a value reaches, in a byte."""
    return 1 <= limits.bounds.shape[1] <= 255


def _finish(
    limits: Threshold | None, made: TensorType, kernels: Kernels, channels: int = 0
) -> Callable[[Array], Value]:
    """What is done with sums: nothing, one bound (bits), or several (small integers)."""
    if limits is None:
        return lambda sums: Value(made, None, kernels.by_numpy(_shaped(sums, made), sums))
    channels = channels or made.channels
    if limits.bounds.shape[1] == 1:
        compare = kernels.compare(limits.bounds[:, 0], channels)
        return lambda sums: Value(made, compare(sums))
    count, low, step = kernels.levels(limits.bounds, channels), limits.out_bias, limits.out_scale
    kind = np.dtype(generic.holding(made))

    def levels(sums: Array) -> Value:
        reached = _shaped(count(sums), made)
        if (low, step) != (0, 1):
            reached = kernels.apply(lambda x: x.astype(kind) * kind.type(step) + kind.type(low), reached)
        return Value(made, None, reached)

    return levels


def _shaped(x: Array, kind: TensorType) -> Array:
    return x if x.shape[1:] == kind.shape else x.reshape(len(x), *kind.shape)


def _pixel(x: TensorType, one: bool) -> Array:
    """The words of one pixel of zeros or of ones."""
    return pack_bits(np.full(x.channels, one))

"""From {-1, +1} to bits, and from sums of products to popcounts."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import gcd

import numpy as np

from bnnflow import Problem

from ..ir.graph import Graph, Node
from ..ir.ops import (
    Add,
    AddBorder,
    Affine,
    AnyOp,
    Best,
    Concat,
    Conv,
    Dense,
    Flatten,
    Pad,
    Scale,
    Sides,
    SumPool,
    Threshold,
    XnorConv,
    XnorDense,
)
from ..ir.rows import rows_of
from ..ir.tensor import Array, TensorType, frozen
from .rewrite import Rewrite, Rewritten
from .scores import joined_affine

_MOST_LEVELS = 255


@dataclass(frozen=True, slots=True)
class XnorPopcount:
    """Store {-1, +1} as bits and take the sums of n products y as popcounts p with y = 2 p - n.

    Needs: the integer level. Removes: {-1, +1} activations, and `Conv`, `Dense` with {-1, +1} weights on them;
    layers on other integers or with other weights stay. Exact: y >= T and p >= ceil((T + n) / 2) are the same
    on integers. Where a convolution's zero padding adds nothing to a sum of {-1, +1}, bits are padded with
    0, which stands for -1, and the sum of the weights that fell on the border is added back: it depends on the
    place only through the class of its row and column (3 x 3 classes for a 3x3 kernel padded by 1).
    Source: Rastegari et al., XNOR-Net, arXiv:1603.05279; thresholds as in FINN, arXiv:1612.07119.
    """

    name: str = "xnor-popcount"

    def __call__(self, graph: Graph) -> Rewritten:
        """The rewritten graph; `Problem` names what cannot be rewritten exactly."""
        walk = _Walk(graph)
        for node in graph.nodes:
            walk.step(node)
        return walk.done()


@dataclass(frozen=True, slots=True)
class _Coded:
    """An old integer tensor as factor * tensor + offset; offset int64, (channels,) or (1,).

    zeros: places of the old tensor, by side, that hold 0 where `tensor` holds bit 0.
    """

    tensor: str
    factor: int = 1
    offset: Array = field(default_factory=lambda: np.zeros(1, np.int64))
    zeros: Sides | None = None


@dataclass(slots=True)
class _Walk:
    graph: Graph
    rewrite: Rewrite = field(init=False)
    codes: dict[str, _Coded] = field(init=False)

    def __post_init__(self) -> None:
        self.rewrite = Rewrite(self.graph)
        self.codes = {self.graph.input: _Coded(self.graph.input)}

    def step(self, node: Node) -> None:
        """Emit the new form of one old node."""
        self.rewrite.of(node)
        inputs = [self.codes[name] for name in node.inputs]
        x, op, name = inputs[0], node.op, node.name
        kind = self.rewrite.types[x.tensor]
        match op:
            case Threshold():
                made = self._threshold(node, op, x)
            case Pad(pads, value) if x.factor != 1 or x.offset.any():
                made = self._pad(node, pads, int(value), x)
            case Conv() | Dense() if kind.is_binary and x.factor == 2 and rows_of(op.weight).bipolar:
                made = self._xnor(node, op, x)
            case Conv() | Dense():
                made = _Coded(self.rewrite.emit(name, op, x.tensor), x.factor, _through(op.weight, x.offset))
            case SumPool(kernel, _):
                made = _Coded(self.rewrite.emit(name, op, x.tensor), x.factor, x.offset * kernel[0] * kernel[1])
            case Flatten():
                places = int(np.prod(kind.shape[:-1]))
                offset = x.offset if x.offset.size == 1 else np.tile(x.offset, places)
                made = _Coded(self.rewrite.emit(name, op, x.tensor), x.factor, offset)
            case Add():
                a, b = self._alike(node, inputs)
                made = _Coded(self.rewrite.emit(name, op, a.tensor, b.tensor), a.factor, a.offset + b.offset)
            case Concat():
                parts = self._alike(node, inputs)
                kinds = [self.rewrite.types[part.tensor] for part in parts]
                pairs = zip(parts, kinds, strict=True)
                offset = np.concatenate([np.broadcast_to(p.offset, k.channels) for p, k in pairs])
                offset = offset[:1] if np.all(offset == offset[0]) else offset
                made = _Coded(self.rewrite.emit(name, op, *(p.tensor for p in parts)), parts[0].factor, offset)
            case Scale(factor):
                made = _Coded(self.rewrite.emit(name, op, x.tensor), x.factor, x.offset * factor)
            case AddBorder(values, rows, columns):
                if np.any(values % x.factor):
                    tensor = self.rewrite.emit(f"{name}_scaled", Scale(np.array([x.factor], np.int64)), x.tensor)
                    x = _Coded(tensor, 1, x.offset)
                border = AddBorder(values // x.factor, rows, columns)
                made = _Coded(self.rewrite.emit(name, border, x.tensor), x.factor, x.offset)
            case Affine() if (whole := joined_affine(op, x.factor, x.offset)) is not None:
                made = _Coded(self.rewrite.emit(name, whole, x.tensor))
            case Affine():
                made = _Coded(self.rewrite.emit(name, op, self._restored(x, f"{name}_sums")))
            case Best():
                source = x.tensor if x.offset.size == 1 else self._restored(x, f"{name}_scores")
                made = _Coded(self.rewrite.emit(name, op, source))
            case _:
                made = _Coded(self.rewrite.emit(name, op, x.tensor), x.factor, x.offset)
        self.codes[name] = made
        if not self.graph.types[name].is_float and made.zeros is None:
            self.rewrite.equate(name, made.tensor, float(made.factor), made.offset)

    def done(self) -> Rewritten:
        """The new graph; class scores keep their values at every level."""
        x = self.codes[self.graph.output]
        return self.rewrite.done(self._restored(x, "scores"))

    def _restored(self, x: _Coded, name: str) -> str:
        if x.factor == 1 and not x.offset.any():
            return x.tensor
        name = name if name not in self.rewrite.types else self.rewrite.fresh(name)
        return self.rewrite.emit(name, Affine(np.array([float(x.factor)]), x.offset.astype(np.float64)), x.tensor)

    def _threshold(self, node: Node, op: Threshold, x: _Coded) -> _Coded:
        bounds = -((x.offset[:, None] - op.bounds) // x.factor)
        if self.graph.types[node.name].is_bipolar:
            made = self.rewrite.emit(node.name, Threshold(self._clipped(bounds, x), 0, 1), x.tensor)
            return _Coded(made, 2, np.array([-1]))
        return _Coded(
            self.rewrite.emit(node.name, Threshold(self._clipped(bounds, x), op.out_bias, op.out_scale), x.tensor)
        )

    def _clipped(self, bounds: Array, x: _Coded) -> Array:
        low, high = self.rewrite.types[x.tensor].range
        return np.clip(bounds, low, high + 1)

    def _xnor(self, node: Node, op: Conv | Dense, x: _Coded) -> _Coded:
        bits = frozen((op.weight > 0).view(np.uint8))
        fan_in = bits[0].size
        if x.zeros is None or isinstance(op, Dense):
            new: AnyOp = XnorConv(bits, op.stride) if isinstance(op, Conv) else XnorDense(bits)
            return _Coded(self.rewrite.emit(node.name, new, x.tensor), 2, np.array([-fan_in]))
        counts = self.rewrite.emit(node.name, XnorConv(bits, op.stride), x.tensor)
        kind = self.rewrite.types[counts]
        border = _border(op, self.rewrite.types[x.tensor], x.zeros, kind)
        if np.all(border.values == border.values[:1, :1]):
            # The same border everywhere, as where the kernel covers the map: thresholds absorb it.
            return _Coded(counts, 2, border.values[0, 0] - fan_in)
        factor = 2
        if np.any(border.values % 2):
            counts = self.rewrite.emit(f"{node.name}_doubled", Scale(np.array([2], np.int64)), counts)
            factor = 1
        halved = AddBorder(border.values // factor, border.rows, border.columns)
        return _Coded(self.rewrite.emit(f"{node.name}_border", halved, counts), factor, np.array([-fan_in]))

    def _pad(self, node: Node, pads: Sides, value: int, x: _Coded) -> _Coded:
        kind = self.rewrite.types[x.tensor]
        if kind.is_binary and value in (-1, 1):
            return _Coded(self.rewrite.emit(node.name, Pad(pads, (value + 1) // 2), x.tensor), x.factor, x.offset)
        readers = self.graph.readers(node.name)
        if (
            kind.is_binary
            and value == 0
            and all(isinstance(r.op, Conv) and rows_of(r.op.weight).bipolar for r in readers)
        ):
            made = self.rewrite.emit(node.name, Pad(pads, 0), x.tensor)
            return _Coded(made, x.factor, x.offset, pads)
        tensor, offset = x.tensor, x.offset
        if x.factor != 1:
            # Twice the bit, so that the value between two bits is an integer too.
            tensor = self.rewrite.emit(f"{node.name}_doubled", Scale(np.array([x.factor], np.int64)), tensor)
        if offset.size != 1:
            # One border for all channels, such as those of bits beside those of integers.
            level = _shifted(offset - offset[0], self.rewrite.types[tensor])
            tensor, offset = self.rewrite.emit(f"{node.name}_levelled", level, tensor), offset[:1]
        return _Coded(self.rewrite.emit(node.name, Pad(pads, value - int(offset[0])), tensor), 1, offset)

    def _alike(self, node: Node, inputs: list[_Coded]) -> list[_Coded]:
        """Joined tensors brought to one factor."""
        factor = gcd(*(x.factor for x in inputs))
        made = []
        for index, x in enumerate(inputs):
            tensor = x.tensor
            if x.factor != factor:
                name = f"{node.name}_scaled{index}"
                tensor = self.rewrite.emit(name, Scale(np.array([x.factor // factor], np.int64)), tensor)
            made.append(_Coded(tensor, factor, x.offset))
        return made


def _shifted(shifts: Array, x: TensorType) -> Threshold:
    """Thresholds that add a constant a channel: x + shifts reaches a level where x reaches level - shift."""
    low, high = x.range
    levels = np.arange(low + int(shifts.min()) + 1, high + int(shifts.max()) + 1)
    if levels.size > _MOST_LEVELS:
        raise Problem("sums with different offsets a channel are padded", hint="quantize before padding")
    return Threshold(np.clip(levels - shifts[:, None], low, high + 1), int(levels[0]) - 1, 1)


def _through(weight: Array, offset: Array) -> Array:
    """What a constant offset of the inputs adds to each row's sum."""
    if not offset.any():
        return np.zeros(1, np.int64)
    if offset.size == 1:
        rows = rows_of(weight)
        made: Array = (rows.positive + rows.negative) * offset[0]
    else:
        sums = weight.reshape(len(weight), -1, weight.shape[-1]).sum(axis=1, dtype=np.int64)
        made = (sums * offset).sum(axis=1)
    return made[:1] if np.all(made == made[0]) else made


def _border(op: Conv, x: TensorType, zeros: Sides, made: TensorType) -> AddBorder:
    """Sums of the weights that fall on padded places, by class of output row and column.

    Args:
        op: the convolution, {-1, +1} weights.
        x: type of the padded map.
        zeros: how many rows and columns of it are padding: top, left, bottom, right.
        made: type of the map of sums.
    """
    kernel = op.weight.shape[1:3]
    inside = []
    for axis in (0, 1):
        places = np.arange(made.shape[axis])[:, None] * op.stride[axis] + np.arange(kernel[axis])
        inside.append((places >= zeros[axis]) & (places < x.shape[axis] - zeros[axis + 2]))
    (row_kinds, rows), (column_kinds, columns) = (np.unique(mask, axis=0, return_inverse=True) for mask in inside)
    taps = op.weight.sum(axis=3, dtype=np.int64)
    whole = taps.sum(axis=(1, 2))
    seen = np.einsum("ri,kj,oij->rko", row_kinds.astype(np.int64), column_kinds.astype(np.int64), taps)
    return AddBorder(whole - seen, rows.reshape(-1), columns.reshape(-1))

"""Streamlining: scales, biases, batch norms and quantizers become integer thresholds, exactly.

Every tensor is followed as `scale * integer + shift` a channel, in rational arithmetic, so that
placing a threshold never rounds. Idea: Umuroglu and Jahre, Streamlined Deployment for Quantized
Neural Networks, arXiv:1709.04060; done here by analysis instead of swaps of operations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor

import numpy as np

from bnnflow import Problem

from .graph import (
    Affine,
    Array,
    ChannelsLast,
    Conv,
    Dense,
    Flatten,
    Graph,
    MaxPool,
    Node,
    Quantize,
    Sign,
    TensorType,
    Threshold,
)
from .passes import Doubt, Rewrite, Rewritten

Numbers = tuple[Fraction, ...]

_NOT_BINARY = "train it with binary activations (QuantIdentity with SignedBinaryActPerTensorConst)"
# Half a unit in the last place of float32, relative; a batch norm rounds up to this many times.
_FLOAT32_HALF_ULP = 2.0**-24
_BATCH_NORM_ROUNDINGS = 8


@dataclass(frozen=True, slots=True)
class AssumeImage:
    """Give a float input the type of an 8-bit image: pixel / divisor.

    Needs: nothing. Removes: a float graph input. Exact for inputs that are whole numbers over `divisor`.
    """

    divisor: float = 255.0
    bits: int = 8
    name: str = "assume-image"

    def __call__(self, graph: Graph) -> Rewritten:
        """The rewritten graph; `Problem` names what cannot be rewritten exactly."""
        if not graph.input_type.is_float:
            return Rewritten(graph, ())
        kind = TensorType(graph.input_type.shape, 0, 2**self.bits - 1)
        pixel = Affine(np.ones(1), np.zeros(1), np.array([self.divisor]))
        scaled = Node("pixel_scale", pixel, graph.input)
        nodes = (
            scaled,
            *(replace(n, input="pixel_scale") if n.input == graph.input else n for n in graph.nodes),
        )
        note = f"the float input is taken as {self.bits}-bit pixels over {self.divisor:g}"
        return Rewritten(replace(graph, input_type=kind, nodes=nodes), (), (note,))


@dataclass(frozen=True, slots=True)
class _Scaled:
    """A tensor of the old graph as scale * tensor + shift; one entry a channel, or one for all.

    For telling where float32 may round: terms, number of products in the layer behind it; rounded,
    whether float32 rounds those (not where they are whole numbers times powers of two); fresh, whether
    nothing stands between the layer and here.
    """

    tensor: str
    scale: Numbers
    shift: Numbers
    terms: int = 0
    rounded: bool = False
    fresh: bool = False

    def channels(self, count: int) -> tuple[Numbers, Numbers]:
        return _spread(self.scale, count), _spread(self.shift, count)


@dataclass(frozen=True, slots=True)
class Streamline:
    """Make a float network an integer one.

    Needs: an integer input and weights of {-1, +1}. Removes: `Quantize`, `Sign` and every `Affine`
    but the last, which gives class scores. Exact: in the network's parameters as stored, with
    gain / sqrt(variance + epsilon) taken in float64; sign(0) = +1. Negative gains move into the next
    layer's weights or, before a max pool, into the layer's own; gains of 0 make constant channels.
    """

    name: str = "streamline"

    def __call__(self, graph: Graph) -> Rewritten:
        """The rewritten graph; `Problem` names what cannot be rewritten exactly."""
        rewrite = Rewrite(graph)
        x = _Scaled(graph.input, (Fraction(1),), (Fraction(0),))
        counts: dict[str, int] = {}
        for node in rewrite.walk():
            try:
                x = _step(rewrite, node, x, counts)
            except Problem as problem:
                raise Problem(problem.what, problem.where or f"{node.name!r}", problem.hint) from problem
            _match(rewrite, node.name, x)
        if x.scale != (Fraction(1),) or x.shift != (Fraction(0),):
            scores = Affine(_floats(x.scale), _floats(x.shift))
            x = replace(x, tensor=rewrite.emit("scores", scores, x.tensor))
        return rewrite.done(x.tensor)


def _step(rewrite: Rewrite, node: Node, x: _Scaled, counts: dict[str, int]) -> _Scaled:
    def fresh(kind: str) -> str:
        counts[kind] = counts.get(kind, -1) + 1
        return f"{kind}{counts[kind]}"

    match node.op:
        case ChannelsLast():
            return replace(x, tensor=rewrite.emit("channels_last", node.op, x.tensor))
        case Flatten():
            places = int(np.prod(rewrite.types[x.tensor].shape[:-1]))
            made = rewrite.emit(fresh("flatten"), node.op, x.tensor)
            scale, shift = (value if len(value) == 1 else value * places for value in (x.scale, x.shift))
            return replace(x, tensor=made, scale=scale, shift=shift)
        case Affine(scale, shift, divisor):
            gain, bias = _quotients(scale, divisor), _fractions(shift)
            # A weight scale stands right behind the sums; float programs multiply it into the weights.
            inexact = x.fresh and not all(map(_is_power_of_two, gain))
            x = replace(x, rounded=x.rounded or inexact, fresh=False)
            size = max(len(gain), len(bias), len(x.scale), len(x.shift))
            gains, biases, (scales, shifts) = _spread(gain, size), _spread(bias, size), x.channels(size)
            return replace(
                x,
                scale=_shrink(tuple(g * s for g, s in zip(gains, scales, strict=True))),
                shift=_shrink(tuple(g * h + b for g, h, b in zip(gains, shifts, biases, strict=True))),
            )
        case Sign():
            return _sign(rewrite, fresh("sign"), node.name, x)
        case Quantize():
            return _quantize(rewrite, fresh, node.op, x)
        case Conv() | Dense():
            return _layer(rewrite, fresh("conv" if isinstance(node.op, Conv) else "dense"), node.op, x)
        case MaxPool():
            x = _make_positive(rewrite, x)
            return replace(x, tensor=rewrite.emit(fresh("pool"), node.op, x.tensor))
        case _:
            raise Problem(f"operation {type(node.op).__name__} cannot be streamlined")


def _sign(rewrite: Rewrite, name: str, old: str, x: _Scaled) -> _Scaled:
    kind = rewrite.types[x.tensor]
    if kind.is_float:
        raise Problem("the range of a tensor is unknown at a sign", hint="the input must be an integer image")
    bounds, flips, doubtful, widths = [], [], [], []
    for channel, (scale, shift) in enumerate(zip(*x.channels(kind.channels), strict=True)):
        bound, flip = threshold(scale, shift, kind)
        bounds.append([bound])
        flips.append(flip)
        if scale and (error := _in_doubt(-shift / scale, kind, x)):
            doubtful.append(channel)
            widths.append(float(abs(scale)) * error)
    if doubtful:
        rewrite.doubts.append(Doubt(rewrite.graph.node(old).input, tuple(doubtful), tuple(widths)))
        rewrite.notes.append(
            f"{old}: float32 arithmetic may round to the other side of zero on {len(doubtful)} channels "
            f"({', '.join(map(str, doubtful[:8]))}{', ...' if len(doubtful) > 8 else ''})"
        )
    made = rewrite.emit(name, Threshold(np.array(bounds, np.int64), -1, 2), x.tensor)
    polarity = tuple(Fraction(-1 if flip else 1) for flip in flips)
    return _Scaled(made, _shrink(polarity), (Fraction(0),))


def threshold(scale: Fraction, shift: Fraction, kind: TensorType) -> tuple[int, bool]:
    """Bound and polarity with (scale * t + shift >= 0) == (t >= bound) ^ flip for all t of type `kind`.

    The bound lies in [low, high + 1]; a scale of 0 gives a constant channel.
    """
    low, high = kind.range
    if scale == 0:
        return (low if shift >= 0 else high + 1), False
    edge = -shift / scale
    bound = ceil(edge) if scale > 0 else floor(edge) + 1
    return min(max(bound, low), high + 1), scale < 0


def _in_doubt(edge: Fraction, kind: TensorType, x: _Scaled) -> float:
    """How far float32 may err, in steps of the integer, if that puts a reachable one on the other side; else 0."""
    low, high = kind.range
    nearest = low + kind.step * round((edge - low) / kind.step)
    if not low <= nearest <= high:
        return 0.0
    roundings = _BATCH_NORM_ROUNDINGS + (x.terms if x.rounded else 0)
    error = roundings * _FLOAT32_HALF_ULP * max(1, abs(low), abs(high))
    return error if abs(edge - nearest) < error and (x.rounded or edge != nearest) else 0.0


def _is_power_of_two(value: Fraction) -> bool:
    numerator, denominator = abs(value.numerator), value.denominator
    return numerator & (numerator - 1) == 0 and denominator & (denominator - 1) == 0


def _quantize(rewrite: Rewrite, fresh, op: Quantize, x: _Scaled) -> _Scaled:  # type: ignore[no-untyped-def]
    kind = rewrite.types[x.tensor]
    if any(isinstance(node.op, Conv | Dense) for node in rewrite.nodes):
        raise Problem(f"a hidden layer has {op.bits}-bit activations, it is not binary", hint=_NOT_BINARY)
    if kind.is_float or kind.range[1] - kind.range[0] > 2**16 or len(x.scale) > 1 or len(x.shift) > 1:
        raise Problem("the input's quantizer needs an integer image and one scale for all channels")
    if x.scale[0] <= 0:
        raise Problem("the input is scaled by a factor that is not positive")
    (low, high), scale = op.limits, Fraction(op.scale)
    first, last = kind.range
    levels = [min(max(round((x.scale[0] * pixel + x.shift[0]) / scale), low), high) for pixel in range(first, last + 1)]
    if all(b - a == 1 for a, b in pairwise(levels)):
        return replace(x, scale=(scale,), shift=(scale * (levels[0] - first),))
    bounds = [
        first + next(i for i, level in enumerate(levels) if level >= wanted)
        for wanted in range(levels[0] + 1, levels[-1] + 1)
    ]
    made = rewrite.emit(fresh("quantize"), Threshold(np.array([bounds], np.int64), 0, 1), x.tensor)
    return _Scaled(made, (scale,), (scale * levels[0],))


def _layer(rewrite: Rewrite, name: str, op: Conv | Dense, x: _Scaled) -> _Scaled:
    kind = rewrite.types[x.tensor]
    if not kind.is_bipolar and any(isinstance(node.op, Conv | Dense) for node in rewrite.nodes):
        raise Problem(f"a hidden layer reads values of {kind.bits} bits, it is not binary", hint=_NOT_BINARY)
    scales, shifts = x.channels(kind.channels)
    sizes = {abs(scale) for scale in scales}
    if len(sizes) != 1 or 0 in sizes:
        raise Problem(
            "the inputs of a layer have different scales",
            hint="use one activation scale a tensor, and no batch norm between a sign and the next layer",
        )
    polarity = np.array([1 if scale > 0 else -1 for scale in scales], np.int8)
    if isinstance(op, Dense) and polarity.size != op.weight.shape[1]:
        polarity = np.broadcast_to(polarity, op.weight.shape[1:])
    weight = op.weight * polarity
    made = rewrite.emit(name, replace(op, weight=weight), x.tensor)
    rows = op.weight.reshape(len(op.weight), -1, len(shifts)).sum(axis=1, dtype=np.int64)
    shift = [sum((int(n) * h for n, h in zip(row, shifts, strict=True)), Fraction(0)) for row in rows]
    if len(set(shifts)) == 1:
        shift = [int(row.sum()) * shifts[0] for row in rows]
    size = sizes.pop()
    rounded = not _is_power_of_two(size)
    return _Scaled(made, (size,), _shrink(tuple(shift)), op.weight[0].size, rounded, fresh=True)


def _make_positive(rewrite: Rewrite, x: _Scaled) -> _Scaled:
    """Negate the channels whose scale is negative where they are made, so that a maximum stays one."""
    kind = rewrite.types[x.tensor]
    scales, _ = x.channels(kind.channels)
    negative = np.array([scale < 0 for scale in scales])
    if not negative.any():
        return x
    made = {node.name: node for node in rewrite.nodes}
    layer = node = made.get(x.tensor)
    if node is not None and isinstance(node.op, Threshold):
        layer = made.get(node.input)
    if node is None or layer is None or not isinstance(layer.op, Conv | Dense):
        raise Problem(
            "a max pool reads values that are negated in front of it",
            hint="use one pool a layer, and no negative factor between the image and a pool",
        )
    rows = negative.reshape((-1,) + (1,) * (layer.op.weight.ndim - 1))
    weight = np.where(rows, -layer.op.weight, layer.op.weight).astype(np.int8)
    rewrite.negate(layer.name, negative, replace(layer.op, weight=weight))
    if isinstance(node.op, Threshold):
        # not (t >= bound) is -t >= 1 - bound on integers.
        bounds = np.where(negative[:, None], 1 - node.op.bounds, node.op.bounds)
        rewrite.negate(node.name, negative, replace(node.op, bounds=bounds))
    return replace(x, scale=_shrink(tuple(abs(scale) for scale in scales)))


def _match(rewrite: Rewrite, old: str, x: _Scaled) -> None:
    """Record old == scale * new + shift where floats hold both numbers exactly."""
    if all(Fraction(float(value)) == value for value in (*x.scale, *x.shift)):
        if x.tensor in rewrite.matches and rewrite.graph.types[old].is_float:
            return
        rewrite.match(old, x.tensor, _floats(x.scale), _floats(x.shift))


def _fractions(values: Array) -> Numbers:
    return tuple(Fraction(float(value)) for value in values.reshape(-1))


def _quotients(values: Array, divisors: Array) -> Numbers:
    above, below = _fractions(values), _fractions(divisors)
    size = max(len(above), len(below))
    return tuple(a / b for a, b in zip(_spread(above, size), _spread(below, size), strict=True))


def _floats(values: Sequence[Fraction]) -> Array:
    return np.array([float(value) for value in values])


def _spread(values: Numbers, count: int) -> Numbers:
    return values * count if len(values) == 1 else values


def _shrink(values: Numbers) -> Numbers:
    return values[:1] if len(set(values)) == 1 else values

"""Operators on values at one place: sums, products, normalization, and what does nothing."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import numpy as np
import onnx

from bnnflow import Problem

from ..ir.ops import Add, AddBorder, Affine, Bias, Scale
from ..ir.tensor import Array
from .call import Call, operator
from .constants import Constant, Levels
from .core import Reader
from .layers import quantized
from .live import End, Live, Steps, Turned, divisor_of, on_channels, per_channel


@operator("Add", joins=True, takes=(Turned,))
def add(reader: Reader, call: Call, x: Live) -> Live:
    """Sum of two computed tensors of one shape, or of one and a constant, one for all or one per channel."""
    _count(call, 2)
    return _sum(reader, call, [name for name in call.inputs if name])


@operator("Sum", joins=True, takes=(Turned,))
def sum_of_many(reader: Reader, call: Call, x: Live) -> Live:
    """Sum of computed tensors of one shape and of constants."""
    return _sum(reader, call, [name for name in call.inputs if name])


def _sum(reader: Reader, call: Call, names: list[str]) -> Live:
    made: Live | None = None
    for name in names:
        if name in reader.live:
            made = reader.live[name] if made is None else _pair(reader, call, made, reader.live[name])
    assert made is not None
    for name in names:
        if name not in reader.live:
            made = _shifted(reader, call, made, reader.constants[name])
    return made


def _shifted(reader: Reader, call: Call, x: Live, value: Constant) -> Live:
    if isinstance(value, Levels):
        return reader.on(x, "bias", quantized(value, x, per_channel), call)
    if _is_border(reader, x, value):
        return reader.on(x, "border", border_of(value[0]), call)
    return reader.affine(call, x, Affine(np.ones(1), per_channel(value, x)))


def _is_border(reader: Reader, x: Live, value: Array) -> bool:
    """True for whole numbers that differ between the places of a channels-last map of integers."""
    if x.first or len(x.shape) != 3 or value.shape != (1, *x.shape) or reader.kind(x).is_float:
        return False
    whole = np.all(value == np.rint(value)) and np.all(np.abs(value) < 2**31)
    return bool(whole and np.any(value != value[:, :1, :1]))


def border_of(values: Array, pe: int = 1) -> AddBorder:
    """(h, w, c) or (c,) whole numbers as classes of rows and columns that are equal, in order of first appearance."""
    whole = np.ascontiguousarray(values, np.int64).reshape((1, 1, -1) if values.ndim == 1 else values.shape)
    rows, first_rows = _classes(whole)
    columns, first_columns = _classes(np.ascontiguousarray(whole.swapaxes(0, 1)))
    return AddBorder(whole[np.ix_(first_rows, first_columns)], rows, columns, pe)


def _classes(values: Array) -> tuple[Array, list[int]]:
    known: dict[bytes, int] = {}
    first, found = [], []
    for index, part in enumerate(values):
        key = part.tobytes()
        if key not in known:
            known[key] = len(known)
            first.append(index)
        found.append(known[key])
    return np.array(found, np.int64), first


def aligned(reader: Reader, lives: list[Live]) -> list[Live]:
    """Computed tensors that are laid out alike, for an operator that joins them.

    Raises:
        Problem: one has its channels or its flattened values in another place.
    """
    x = lives[0]
    if any(len(other.shape) != len(x.shape) for other in lives):
        shapes = " and ".join(str([1, *other.shape]) for other in lives)
        raise Problem(
            f"joining computed tensors of shapes {shapes} is not supported", hint="give all the same number of axes"
        )
    if any((other.first, other.pending) != (x.first, x.pending) and other.is_map for other in lives):
        raise Problem("tensors with channels first and last cannot be joined", hint="transpose one of them")
    if len({len(reader.kind(other).shape) for other in lives}) > 1:
        lives = [reader.as_vector(other) for other in lives]
    return lives


def _pair(reader: Reader, call: Call, x: Live, other: Live) -> Live:
    if x.shape != other.shape:
        raise Problem(
            f"adding computed tensors of shapes {[1, *x.shape]} and {[1, *other.shape]} is not supported",
            hint="broadcasting works for constants only; make the shapes equal",
        )
    x, other = aligned(reader, [x, other])
    if x.order != other.order:
        raise Problem("tensors that were flattened in different orders cannot be added", hint="add before Flatten")
    return replace(x, tensor=reader.add("add", Add(), x.tensor, other.tensor, call=call))


@operator("Sub", joins=True, takes=(Turned,))
def sub(reader: Reader, call: Call, x: Live) -> Live:
    """Subtract a constant or a computed tensor of the same shape, or subtract from a constant."""
    _count(call, 2)
    left, right = call.inputs
    if left in reader.live and right in reader.live:
        negative = reader.on(reader.live[right], "affine", Affine(-np.ones(1), np.zeros(1)))
        return _pair(reader, call, reader.live[left], negative)
    if left in reader.live:
        value = reader.constants[right]
        if isinstance(value, Levels):
            bias = quantized(value, x, per_channel)
            return reader.on(x, "bias", Bias(-bias.integers, bias.scale), call)
        return reader.affine(call, x, Affine(np.ones(1), -per_channel(value, x)))
    return reader.affine(call, x, Affine(-np.ones(1), per_channel(reader.constants.array(left), x)))


@operator("Mul", joins=True, takes=(Turned,))
def mul(reader: Reader, call: Call, x: Live) -> Live:
    """Multiply by a constant, one for all or one per channel."""
    _count(call, 2)
    value = _factor(reader, call, x)
    if not reader.kind(x).is_float and np.all(value == np.rint(value)) and np.all(np.abs(value) < 2**31):
        return reader.affine(call, x, Scale(value.astype(np.int64)))
    return reader.affine(call, x, Affine(value, np.zeros(1)))


@operator("Div", takes=(Turned,))
def div(reader: Reader, call: Call, x: Live) -> Live:
    """Divide by a constant other than 0."""
    value = divisor_of(reader.constant(call, 1, "what is below the line"), x)
    if np.any(value == 0):
        raise Problem("division needs a constant other than 0 below the line")
    return reader.affine(call, x, Affine(np.ones(1), np.zeros(1), value))


@operator("Neg", takes=(Turned,))
def neg(reader: Reader, call: Call, x: Live) -> Live:
    """Change the sign."""
    return reader.affine(call, x, Affine(-np.ones(1), np.zeros(1)))


def sub_of(reader: Reader, x: Live, name: str) -> Live:
    """A computed tensor without a constant, or without another computed tensor."""
    if name in reader.live:
        negative = reader.on(reader.live[name], "affine", Affine(-np.ones(1), np.zeros(1)))
        x, negative = aligned(reader, [x, negative])
        if x.shape != negative.shape or x.order != negative.order:
            raise Problem("tensors of different shapes are compared", hint="make the shapes equal")
        return replace(x, tensor=reader.add("add", Add(), x.tensor, negative.tensor))
    value = per_channel(reader.constants.array(name), x)
    return x if not value.any() else reader.on(x, "affine", Affine(np.ones(1), -value))


def _factor(reader: Reader, call: Call, x: Live) -> Array:
    fixed = [name for name in call.inputs if name not in reader.live]
    if len(fixed) != 1:
        raise Problem(f"{call.kind} of two computed tensors is not supported", hint="one of them must be constant")
    return per_channel(reader.constants.array(fixed[0]), x)


def _count(call: Call, count: int) -> None:
    if len(call.inputs) != count or not all(call.inputs):
        raise Problem(f"{call.kind} needs {count} inputs, not {len(call.inputs)}")


@operator("BatchNormalization")
def batch_normalization(reader: Reader, call: Call, x: Live) -> Live:
    """Batch normalization with constant statistics."""
    gain, bias, mean, variance = (
        np.asarray(reader.constant(call, i, "a batch norm's statistics"), np.float64) for i in range(1, 5)
    )
    if call.integer("training_mode", 0) or not call.integer("spatial", 1):
        raise Problem("a batch norm in training mode is not supported", hint="export the network in eval mode")
    if x.is_map and not x.first:
        raise Problem("batch norm on a channels-last map is not supported", hint="put it before the transposition")
    if not all(value.shape == (x.channels,) for value in (gain, bias, mean, variance)):
        raise Problem(f"batch norm for {gain.size} channels on {x.channels}")
    spread = variance + call.number("epsilon", 1e-5)
    if not np.all(np.isfinite(spread)) or np.any(spread <= 0):
        raise Problem("a batch norm's variance is not positive", hint="train again or repair the file")
    # Two steps and a divisor of its own: a threshold at an integer mean stays exactly there.
    centred = reader.affine(call, x, Affine(np.ones(1), on_channels(-mean, x)))
    deviation = np.broadcast_to(on_channels(np.sqrt(spread), x), x.channels).copy()
    scaled = Affine(on_channels(gain, x), on_channels(bias, x), deviation)
    return reader.affine(call, centred, scaled)


# -- what does nothing -----------------------------------------------------------------------------


@operator("Identity", takes=(End, Steps, Turned))
def identity(reader: Reader, call: Call, x: Live) -> Live:
    """Removed."""
    return x


@operator("Dropout", takes=(Turned,))
def dropout(reader: Reader, call: Call, x: Live) -> Live:
    """Removed: it does nothing outside training."""
    if call.has(2) and np.any(reader.constant(call, 2, "training_mode")):
        raise Problem("dropout in training mode is not supported", hint="export the network in eval mode")
    return x


@operator("Cast", takes=(End, Turned))
def cast(reader: Reader, call: Call, x: Live) -> Live:
    """Removed, to float32 or float64; of class indices, to any type."""
    wanted = call.integer("to")
    if isinstance(x.pending, End) or wanted in (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE):
        return x
    known = onnx.TensorProto.DataType.Name(wanted) if wanted in onnx.TensorProto.DataType.values() else str(wanted)
    raise Problem(f"a cast to {known} is not supported", hint="keep floats, or quantize with Quant")


@operator("Softmax", "LogSoftmax")
def softmax(reader: Reader, call: Call, x: Live) -> Live:
    """Left out at the end of a network, over the classes: it does not change their order."""
    if x.is_map or call.integer("axis", 1) not in (1, -1):
        raise Problem(f"{call.kind} is supported over the classes, at the end of a network")
    name = call.name or next(chain(call.outputs, [call.kind]))
    reader.notes.append(
        f"{call.kind.lower()} {name!r} at the end is left out: it does not change the order of the classes"
    )
    return replace(x, pending=End(call.kind))

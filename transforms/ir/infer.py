"""Which tensor an operation makes: shapes, and the exact integer range of the values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import gcd
from typing import assert_never

import numpy as np

from bnnflow import Problem

from .choices import check_choices
from .ops import (
    Add,
    AddBorder,
    AddStreams,
    Affine,
    AnyOp,
    Best,
    Bias,
    ChannelsLast,
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
    PiecewiseLinear,
    Pool,
    Quantize,
    Scale,
    Sides,
    Sign,
    SlidingWindow,
    Stairs,
    StreamingConcat,
    StreamingMaxPool,
    SumPool,
    Threshold,
    Thresholding,
    XnorConv,
    XnorDense,
)
from .rows import rows_of
from .tensor import Array, TensorType, bipolar


def window_count(size: int, kernel: int, stride: int) -> int:
    """Positions of a window of `kernel` values, moved by `stride`, in `size` values; 0 where it does not fit."""
    if kernel < 1 or stride < 1:
        raise Problem(f"a window of {kernel} moved by {stride} is impossible")
    return 0 if size < kernel else (size - kernel) // stride + 1


def result_type(op: AnyOp, inputs: Sequence[TensorType], name: str = "") -> TensorType:
    """Type of what `op` makes of tensors of the types `inputs`.

    Raises:
        Problem: the shapes do not fit; `name` says where.
    """
    x = inputs[0]
    joins = isinstance(op, Add | AddStreams | Concat | StreamingConcat)
    wanted = len(inputs) == 2 if isinstance(op, Add | AddStreams) else len(inputs) >= 2 if joins else len(inputs) == 1
    _need(wanted, f"{len(inputs)} inputs of {type(op).__name__}, the first", name, x)
    check_choices(op, x.channels, name)
    match op:
        case ChannelsLast():
            _need(len(x.shape) in (2, 3), "a map is needed, not", name, x)
            return replace(x, shape=(*((1,) if len(x.shape) == 2 else ()), *x.shape[1:], x.shape[0]))
        case Flatten():
            return replace(x, shape=(int(np.prod(x.shape)),))
        case Affine(scale, shift, divisor):
            for size in {scale.size, shift.size, divisor.size} - {1}:
                _need(size == x.channels, f"{size} factors for {x.channels} channels", name, x)
            return TensorType(x.shape)
        case Bias(integers, scale):
            for size in {integers.size, scale.size} - {1}:
                _need(size == x.channels, f"{size} biases for {x.channels} channels", name, x)
            return TensorType(x.shape)
        case Quantize(scale):
            _need(scale.size in (1, x.channels), f"{scale.size} scales for {x.channels} channels", name, x)
            return _levels(x, op.low, op.high, scale)
        case PiecewiseLinear(knots, slopes, intercepts, closed):
            count = len(closed)
            for table, pieces in ((knots, count), (slopes, count + 1), (intercepts, count + 1)):
                fits = table.ndim == 2 and table.shape[1] == pieces and table.shape[0] in (1, x.channels)
                _need(fits, f"{table.shape} pieces of an activation on", name, x)
            return TensorType(x.shape)
        case Stairs(bounds):
            _need(bounds.shape[0] in (1, x.channels), f"{bounds.shape[0]} rows of thresholds on", name, x)
            if not (float(op.out_bias).is_integer() and float(op.out_scale).is_integer()):
                return TensorType(x.shape)
            high = int(op.out_bias + op.out_scale * bounds.shape[1])
            return TensorType(x.shape, int(op.out_bias), high, int(op.out_scale))
        case Sign(zero):
            return bipolar(x.shape) if zero else TensorType(x.shape, -1, 1)
        case Pad(pads, value) | FMPadding(pads, value):
            return _padded(x, pads, value, name)
        case Conv(weight, stride) | XnorConv(weight, stride):
            _need(len(x.shape) == 3 and x.channels == weight.shape[3], f"kernel {weight.shape} on", name, x)
            shape = (*_windows(x, weight.shape[1:3], stride, name), weight.shape[0])
            return _sums(op, x, shape)
        case Dense(weight) | XnorDense(weight):
            _need(x.shape == weight.shape[1:], f"weights {weight.shape} on", name, x)
            return _sums(op, x, weight.shape[:1])
        case MaxPool(kernel, stride, pads):
            larger = replace(x, shape=_grown(x, pads, name))
            return replace(x, shape=(*_windows(larger, kernel, stride, name), x.channels))
        case SumPool(kernel, stride):
            return _times(replace(x, shape=(*_windows(x, kernel, stride, name), x.channels)), kernel[0] * kernel[1])
        case Add() | AddStreams():
            _need(x.shape == inputs[1].shape, f"{inputs[1]} and", name, x)
            if x.is_float or inputs[1].is_float:
                return TensorType(x.shape)
            (low, high), (least, greatest) = x.range, inputs[1].range
            return TensorType(x.shape, low + least, high + greatest, gcd(x.step, inputs[1].step))
        case Concat() | StreamingConcat():
            return _concatenated(inputs, name, op.simd if isinstance(op, StreamingConcat) else 1)
        case Scale(factor) | ChannelwiseMul(factor):
            _need(factor.size in (1, x.channels), f"{factor.size} factors for {x.channels} channels", name, x)
            if x.is_float:
                return x
            ends = np.outer(factor, x.range)
            # Channels step alike only where they also start on the same steps.
            starts = ends[:, 0] - ends[0, 0]
            step = gcd(x.step * int(np.gcd.reduce(factor)), int(np.gcd.reduce(starts)))
            return TensorType(x.shape, int(ends.min()), int(ends.max()), max(1, step))
        case Threshold(bounds, out_bias, out_scale):
            _need(bounds.shape[0] in (1, x.channels), f"{bounds.shape[0]} rows of thresholds on", name, x)
            return TensorType(x.shape, out_bias, out_bias + out_scale * bounds.shape[1], out_scale)
        case Best(k) | LabelSelect(k):
            _need(len(x.shape) == 1 and 1 <= k <= x.channels, f"the best {k} of", name, x)
            return TensorType((k,), 0, x.channels - 1)
        case AddBorder(values, rows, columns):
            shape = (rows.size, columns.size, values.shape[2])
            _need(x.shape == shape or (1, 1, *x.shape) == shape, "a border on", name, x)
            if x.is_float:
                return x
            low, high = x.range
            least, greatest = min(0, int(values.min())), max(0, int(values.max()))
            return TensorType(x.shape, low + least, high + greatest)
        case Thresholding(bounds, low, pe):
            _need(bounds.shape[0] == x.channels, f"{bounds.shape[0]} rows of thresholds on", name, x)
            _divides("PE", pe, x.channels, name, x)
            return TensorType(x.shape, low, low + bounds.shape[1])
        case SlidingWindow(kernel, stride, simd):
            _divides("SIMD", simd, x.channels, name, x)
            return replace(x, shape=(*_windows(x, kernel, stride, name), kernel[0] * kernel[1] * x.channels))
        case Mvau(weight, bounds, _, low, pe, simd):
            _need(x.channels == weight.shape[1], f"weights {weight.shape} on", name, x)
            _divides("PE", pe, weight.shape[0], name, x)
            _divides("SIMD", simd, weight.shape[1], name, x)
            shape = (*x.shape[:-1], weight.shape[0])
            return TensorType(shape, low, low + bounds.shape[1]) if op.has_bounds else _sums(op, x, shape)
        case StreamingMaxPool(kernel):
            fits = len(x.shape) == 3 and not (x.shape[0] % kernel[0] or x.shape[1] % kernel[1])
            _need(fits, "pool on", name, x)
            return replace(x, shape=(x.shape[0] // kernel[0], x.shape[1] // kernel[1], x.channels))
        case Pool(kernel, total, pe):
            area = kernel[0] * kernel[1]
            _need(x.channels % area == 0, f"windows of {area} values in", name, x)
            made = replace(x, shape=(*x.shape[:-1], x.channels // area))
            _divides("PE", pe, made.channels, name, x)
            return _times(made, area) if total else made
        case GlobalAccPool():
            _need(len(x.shape) == 3, "a map is needed, not", name, x)
            return _times(replace(x, shape=(1, 1, x.channels)), x.shape[0] * x.shape[1])
        case DuplicateStreams():
            return x
        case _:
            assert_never(op)


def _levels(x: TensorType, low: int, high: int, scale: Array) -> TensorType:
    """Type of a quantizer's results: integers where the scale is 1."""
    return TensorType(x.shape, low, high) if scale.size == 1 and scale[0] == 1 else TensorType(x.shape)


def accumulator(op: Mvau, x: TensorType) -> TensorType:
    """Type of the sums inside an MVAU, before its thresholds: popcount in [0, MW], or the exact range.

    Of a unit whose weights are rewritten in use it is the range of any weights of their type.
    """
    return _sums(op, x, (*x.shape[:-1], op.weight.shape[0]))


def _sums(op: Conv | Dense | XnorConv | XnorDense | Mvau, x: TensorType, shape: tuple[int, ...]) -> TensorType:
    if isinstance(op, XnorConv | XnorDense) or (isinstance(op, Mvau) and op.xnor):
        return TensorType(shape, 0, int(np.prod(op.weight.shape[1:])))
    if x.is_float:
        return TensorType(shape)
    low, high = x.range
    if isinstance(op, Mvau) and op.runtime_writeable_weights:
        # Any weights of their type may come, as FINN counts, too.
        columns, binary = op.weight.shape[1], not np.any(np.abs(op.weight) != 1)
        half = 1 << max(2, op.stored_bits) - 1
        ends = [weight * value for weight in ((-1, 1) if binary else (-half, half - 1)) for value in (low, high)]
        return TensorType(shape, columns * min(ends), columns * max(ends), 2 if x.is_bipolar and binary else 1)
    rows = rows_of(op.weight)
    least = int((rows.positive * low + rows.negative * high).min())
    greatest = int((rows.positive * high + rows.negative * low).max())
    # Sums of -1 and +1 have the parity of the magnitudes' sum; rows of unequal parity leave no common step.
    return TensorType(shape, least, greatest, 2 if x.is_bipolar and rows.alike else 1)


def _padded(x: TensorType, pads: Sides, value: float, name: str) -> TensorType:
    shape = _grown(x, pads, name)
    if x.is_float:
        return TensorType(shape)
    _need(float(value).is_integer(), f"a border of {value:g} on", name, x)
    low, high = x.range
    step = gcd(x.step, int(value) - low) if x.step > 1 else 1
    return TensorType(shape, min(low, int(value)), max(high, int(value)), step)


def _grown(x: TensorType, pads: Sides, name: str) -> tuple[int, ...]:
    _need(len(x.shape) == 3 and min(pads) >= 0, f"padding {pads} on", name, x)
    return (x.shape[0] + pads[0] + pads[2], x.shape[1] + pads[1] + pads[3], x.shape[2])


def _times(x: TensorType, count: int) -> TensorType:
    """Type of sums of `count` values."""
    if x.is_float:
        return x
    low, high = x.range
    return replace(x, low=low * count, high=high * count)


def _concatenated(inputs: Sequence[TensorType], name: str, simd: int) -> TensorType:
    x = inputs[0]
    for each in inputs:
        _divides("SIMD", simd, each.channels, name, each)
    for other in inputs[1:]:
        _need(other.shape[:-1] == x.shape[:-1], f"{other} beside", name, x)
    shape = (*x.shape[:-1], sum(item.channels for item in inputs))
    if any(item.is_float for item in inputs):
        return TensorType(shape)
    low = min(item.range[0] for item in inputs)
    high = max(item.range[1] for item in inputs)
    step = gcd(*(item.step for item in inputs), *(item.range[0] - low for item in inputs))
    return TensorType(shape, low, high, step)


def _windows(x: TensorType, kernel: tuple[int, ...], stride: tuple[int, int], name: str) -> tuple[int, int]:
    _need(len(x.shape) == 3, "a map of three axes is needed", name, x)
    height = window_count(x.shape[0], kernel[0], stride[0])
    width = window_count(x.shape[1], kernel[1], stride[1])
    _need(height > 0 and width > 0, f"a window of {kernel[0]}x{kernel[1]} does not fit", name, x)
    return height, width


def _divides(what: str, part: int, whole: int, name: str, x: TensorType) -> None:
    _need(part >= 1 and whole % part == 0, f"{what} {part} does not divide {whole} on", name, x)


def _need(condition: bool, what: str, name: str, x: TensorType) -> None:
    if not condition:
        raise Problem(f"shapes do not fit: {what} {x}", f"operation {name!r}" if name else "")

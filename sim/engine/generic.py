"""Every operation on ordinary arrays: what no packed form is made for, and the whole of the blas backend.

Sums of products are computed by float32 matrix products, which are exact while no partial sum reaches
2^24 (float64 and 2^53 beyond that); the bound is checked for each layer from its range. Integers are held
in the narrowest type that fits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

import numpy as np

from ...transforms.ir.ops import (
    NO_PADS,
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
    Pair,
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
from ...transforms.ir.tensor import Array, TensorType
from ...transforms.passes.floats import rounded
from ..reference import padded, windows

Kernel = Callable[..., Array]


def prepare(op: AnyOp, x: TensorType, made: TensorType) -> Kernel:
    """What `op` makes of batches of type `x`, as a function; `made` is the type of its result."""
    match op:
        case ChannelsLast():
            return lambda v: np.ascontiguousarray(np.moveaxis(v if v.ndim == 4 else v[:, :, None], 1, -1))
        case Flatten():
            return lambda v: v.reshape(len(v), -1)
        case Affine(scale, shift, divisor):
            return _affine(scale, shift, divisor)
        case Bias(integers, scale):
            return lambda v: v.astype(np.float64) + integers * scale
        case PiecewiseLinear():
            return _pieces(op)
        case Quantize(scale, low, high, rounding):
            return lambda v: np.clip(rounded(v / scale, rounding), low, high) * scale
        case Sign(zero):
            if zero:
                return lambda v: np.where(v >= 0 if zero > 0 else v > 0, np.int8(1), np.int8(-1))
            return lambda v: np.sign(v).astype(np.int8)
        case Stairs(bounds, out_bias, out_scale):
            return lambda v: out_bias + out_scale * (v[..., None] >= bounds).sum(axis=-1)
        case Pad(pads, value) | FMPadding(pads, value):
            return lambda v: _grown(wide(v, made), pads, value)
        case Dense(weight):
            return _product(weight, x)
        case Conv(weight, stride):
            product = _product(weight.reshape(len(weight), -1), x)
            return lambda v: product(_rows(v, weight.shape[1:3], stride))
        case XnorDense(weight):
            return _xnor(weight)
        case XnorConv(weight, stride):
            xnor = _xnor(weight.reshape(len(weight), -1))
            return lambda v: xnor(_rows(v, weight.shape[1:3], stride))
        case MaxPool(kernel, stride, pads):
            return lambda v: _pool(_bordered(v, pads), kernel, stride)
        case StreamingMaxPool(kernel):
            return lambda v: _pool(v, kernel, kernel)
        case SumPool(kernel, stride):
            return lambda v: _pool(wide(v, made), kernel, stride, np.add)
        case GlobalAccPool():
            return lambda v: wide(v, made).sum(axis=(1, 2), keepdims=True)
        case Add() | AddStreams():
            return lambda v, w: wide(v, made) + wide(w, made)
        case Concat() | StreamingConcat():
            return lambda *parts: np.concatenate([wide(part, made) for part in parts], axis=-1)
        case Scale(factor) | ChannelwiseMul(factor):
            return lambda v: wide(v, made) * factor.astype(holding(made))
        case Threshold(bounds, out_bias, out_scale):
            return _compare(bounds, out_bias, out_scale)
        case Thresholding(bounds, low, _):
            return _compare(bounds, low, 1)
        case Best(k) | LabelSelect(k):
            return lambda v: np.argsort(-v.astype(np.float64), axis=-1, kind="stable")[..., :k]
        case AddBorder(values, rows, columns, _):
            border = values[rows[:, None], columns[None, :]].reshape(made.shape).astype(holding(made))
            return lambda v: wide(v, made) + border
        case SlidingWindow(kernel, stride, simd, depthwise):
            if depthwise:
                return lambda v: _grouped(windows(v, kernel, stride), simd)
            return lambda v: _rows(v, kernel, stride)
        case Pool(kernel, total, pe):
            return lambda v: _pool_groups(wide(v, made), kernel[0] * kernel[1], total, pe)
        case Mvau(weight, bounds, xnor, low):
            product = _xnor(weight) if xnor else _product(weight, x)
            compare = _compare(bounds, low, 1)
            return (lambda v: compare(product(v))) if op.has_bounds else product
        case DuplicateStreams():
            return lambda v: v
        case _:
            assert_never(op)


def _pieces(op: PiecewiseLinear) -> Kernel:
    """Of each value the piece in which it lies, by the knots below it, and what that makes of it."""
    channels = max(len(op.slopes), len(op.intercepts))
    slopes, intercepts = (np.broadcast_to(table, (channels, table.shape[1])) for table in (op.slopes, op.intercepts))
    rows = np.arange(channels) if channels > 1 else 0

    def run(v: Array) -> Array:
        wide = v.astype(np.float64)
        piece = np.zeros(v.shape, np.intp)
        for knot, closed in zip(op.knots.T, op.closed, strict=True):
            piece += np.where(closed, wide >= knot, wide > knot)
        made: Array = slopes[rows, piece] * wide + intercepts[rows, piece]
        return made

    return run


def _affine(scale: Array, shift: Array, divisor: Array) -> Kernel:
    divides = bool(np.any(divisor != 1))

    def run(v: Array) -> Array:
        made: Array = np.multiply(v, scale, dtype=np.float64)
        if divides:
            made /= divisor
        made += shift
        return made

    return run


def holding(kind: TensorType) -> type[np.number]:
    """A dtype that holds every value of a type exactly."""
    if kind.is_float:
        return np.float64
    low, high = kind.range
    for dtype in (np.int8, np.int16, np.int32):
        if np.iinfo(dtype).min <= low and high <= np.iinfo(dtype).max:
            return dtype
    return np.int64


def wide(v: Array, kind: TensorType) -> Array:
    """The batch in a dtype in which sums of type `kind` do not overflow."""
    return v.astype(holding(kind), copy=False)


def _grown(v: Array, pads: Sides, value: float) -> Array:
    """A batch of maps with rows and columns of `value` around each."""
    top, left, bottom, right = pads
    count, height, width, channels = v.shape
    made = np.empty((count, height + top + bottom, width + left + right, channels), v.dtype)
    made[:, :top] = made[:, top + height :] = value
    made[:, top : top + height, :left] = made[:, top : top + height, left + width :] = value
    made[:, top : top + height, left : left + width] = v
    return made


def _bordered(v: Array, pads: Sides) -> Array:
    """A map with a border that wins no maximum."""
    if pads == NO_PADS:
        return v
    return padded(v, pads, -np.inf if v.dtype.kind == "f" else np.iinfo(v.dtype).min)


def _grouped(seen: Array, simd: int) -> Array:
    """Windows (batch, rows, columns, kernel h, kernel w, c) in groups of simd channels, one axis."""
    groups = seen.reshape(*seen.shape[:3], seen.shape[3] * seen.shape[4], -1, simd)
    return np.ascontiguousarray(np.moveaxis(groups, 3, 4)).reshape(*seen.shape[:3], -1)


def _pool_groups(v: Array, area: int, total: bool, pe: int) -> Array:
    groups = v.reshape(*v.shape[:-1], -1, area, pe)
    made: Array = groups.sum(axis=-2) if total else groups.max(axis=-2)
    return made.reshape(*v.shape[:-1], -1)


def _product(weight: Array, x: TensorType) -> Kernel:
    """Exact sums of products over the last axis; float64 for float inputs."""
    kind: type[np.floating] = np.float64
    if not x.is_float:
        low, high = x.range
        # Every partial sum lies within the sum of magnitudes.
        most = int(np.abs(weight.astype(np.int32)).sum(axis=1, dtype=np.int64).max())
        kind = np.float32 if max(abs(low), abs(high)) * most < 2**24 else np.float64
    matrix = np.ascontiguousarray(weight.T.astype(kind))
    return lambda v: _matmul(v, matrix)


def _xnor(weight: Array) -> Kernel:
    """Equal bits of x and each row: x . (2 w - 1) + number of zeros in w."""
    kind = np.float32 if weight.shape[1] < 2**24 else np.float64
    matrix = np.ascontiguousarray((2.0 * weight.T - 1.0).astype(kind))
    zeros = (weight.shape[1] - weight.sum(axis=1, dtype=np.int64)).astype(kind)

    def count(v: Array) -> Array:
        sums = _matmul(v, matrix)
        sums += zeros
        return sums

    return count


def _matmul(v: Array, matrix: Array) -> Array:
    flat = v.reshape(-1, v.shape[-1]).astype(matrix.dtype)
    return (flat @ matrix).reshape(*v.shape[:-1], matrix.shape[1])


def _rows(v: Array, kernel: tuple[int, ...], stride: tuple[int, int]) -> Array:
    seen = windows(v, kernel, stride)
    return np.ascontiguousarray(seen).reshape(*seen.shape[:3], -1)


def _pool(v: Array, kernel: Pair, stride: Pair, join: np.ufunc = np.maximum) -> Array:
    height = (v.shape[1] - kernel[0]) // stride[0] + 1
    width = (v.shape[2] - kernel[1]) // stride[1] + 1
    made: Array | None = None
    for i in range(kernel[0]):
        for j in range(kernel[1]):
            part = v[:, i : i + stride[0] * height : stride[0], j : j + stride[1] * width : stride[1]]
            made = part.copy() if made is None else join(made, part, out=made)
    assert made is not None
    return made


def _compare(bounds: Array, low: int, step: int) -> Kernel:
    # Bounds and sums are integers below 2^53, which float64 holds; float32 sums stay below 2^24.
    exact = np.float32 if bounds.size and np.abs(bounds).max() < 2**24 else np.float64
    table = bounds.astype(exact)
    least = np.result_type(np.min_scalar_type(low), np.min_scalar_type(low + step * bounds.shape[-1]))
    if bounds.shape[1:] == (1,):
        above, below = least.type(low + step), least.type(low)
        row = table[:, 0]
        if (low, step) == (0, 1):
            return lambda v: (v >= row).view(np.uint8)
        return lambda v: np.where(v >= row, above, below)

    def count(v: Array) -> Array:
        total = np.full(v.shape, low, least)
        for level in range(table.shape[1]):
            total += (v >= table[:, level]) * least.type(step)
        return total

    return count

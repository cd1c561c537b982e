"""Layers with weights: convolutions and matrix products."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from bnnflow import Problem

from ..ir.ops import Affine, Bias, Conv, Dense, Pad, Sides, SumPool, XnorConv, XnorDense
from ..ir.tensor import Array, frozen, integer_range
from . import constants
from .call import Call, operator
from .core import Reader
from .live import Live, PendingWindow, graph_order, on_channels, per_channel
from .weights import integer_weights


@operator("Conv")
def conv(reader: Reader, call: Call, x: Live) -> Live:
    """1-d and 2-d convolution with constant quantized weights; any stride and padding, one group, no dilation."""
    if not x.is_map or not x.first:
        raise Problem("a convolution needs a map with channels first")
    rank = len(x.shape) - 1
    if call.integer("group", 1) != 1:
        raise Problem("groups of a convolution are not supported", hint="use groups=1")
    if any(size != 1 for size in call.integers("dilations", rank, (1,) * rank)):
        raise Problem("dilation is not supported", hint="use dilation=1")
    weight, scale = integer_weights(
        reader.parameter(call, 1, "a convolution's weights"), (0, *range(2, rank + 2), 1), _is_whole(reader, call)
    )
    if weight.shape[-1] != x.channels:
        raise Problem(f"weights for {weight.shape[-1]} channels on {x.channels}")
    weight = weight if rank == 2 else weight[:, None]
    kernel = (int(weight.shape[1]), int(weight.shape[2]))
    if call.integers("kernel_shape", rank, kernel[-rank:]) != kernel[-rank:]:
        raise Problem("attribute kernel_shape is not the shape of the weights")
    stride, pads = strides(call, x), sides(call, x, kernel)
    if len(reader.kind(x).shape) == 1 and kernel == (1, 1) and not any(pads):
        made = replace(x, tensor=reader.add("dense", Dense(weight[:, 0, 0]), x.tensor, call=call))
        made = replace(made, shape=x.with_places((1, 1), len(weight)))
    else:
        if any(pads):
            x = reader.on_map(x, "pad", Pad(pads, 0.0))
        made = reader.on_map(x, "conv", Conv(frozen(weight), stride), call)
    return finish(reader, call, made, scale, _bias(reader, call, 2, made))


def strides(call: Call, x: Live) -> tuple[int, int]:
    """Strides of a window over a map, 1 where they are left out."""
    rank = len(x.shape) - 1
    found = call.integers("strides", rank, (1,) * rank)
    if min(found) < 1:
        raise Problem(f"strides {list(found)} are impossible")
    return (1, found[0]) if rank == 1 else (found[0], found[1])


def sides(call: Call, x: Live, kernel: tuple[int, int]) -> Sides:
    """Padding of a window over a map: `pads`, or what `auto_pad` makes of the sizes."""
    rank = len(x.shape) - 1
    how = call.text("auto_pad", "NOTSET")
    if how == "VALID":
        return (0, 0, 0, 0)
    if how in ("SAME_UPPER", "SAME_LOWER"):
        ends = []
        for size, window, step in zip(x.places, kernel, strides(call, x), strict=True):
            total = max(0, (math.ceil(size / step) - 1) * step + window - size)
            ends.append((total // 2, total - total // 2) if how == "SAME_UPPER" else (total - total // 2, total // 2))
        return (ends[0][0], ends[1][0], ends[0][1], ends[1][1])
    if how != "NOTSET":
        raise Problem(f"auto_pad {how} is not supported")
    return as_sides(call.integers("pads", 2 * rank, (0,) * 2 * rank), x)


def as_sides(pads: tuple[int, ...], x: Live) -> Sides:
    """ONNX pads, all begins before all ends, as top, left, bottom, right."""
    if min(pads) < 0:
        raise Problem("negative padding (cutting) is not supported", hint="use padding of 0 or more")
    found = (0, pads[0], 0, pads[1]) if len(pads) == 2 else (pads[0], pads[1], pads[2], pads[3])
    height, width = x.places
    constants.bounded((height + found[0] + found[2], width + found[1] + found[3], x.channels), constants.MOST_VALUES)
    return found


@operator("MatMul", takes=(PendingWindow,))
def matmul(reader: Reader, call: Call, x: Live) -> Live:
    """Matrix product with constant quantized weights on the right."""
    weight, scale = integer_weights(
        reader.parameter(call, 1, "a matrix product's weights"), (1, 0), _is_whole(reader, call)
    )
    made = _product(reader, call, x, weight)
    return finish(reader, call, made, scale, np.zeros(1))


@operator("Gemm")
def gemm(reader: Reader, call: Call, x: Live) -> Live:
    """Matrix product with constant quantized weights and an optional bias; alpha and beta are powers of two."""
    factors = (call.number("alpha", 1.0), call.number("beta", 1.0))
    if any(abs(math.frexp(factor)[0]) != 0.5 for factor in factors) or not all(map(math.isfinite, factors)):
        raise Problem(f"Gemm with alpha {factors[0]:g} and beta {factors[1]:g} is not supported", hint="use 1")
    if call.integer("transA", 0):
        raise Problem("Gemm with transA is not supported")
    axes = (0, 1) if call.integer("transB", 0) else (1, 0)
    weight, scale = integer_weights(
        reader.parameter(call, 1, "a matrix product's weights"), axes, _is_whole(reader, call)
    )
    if x.is_map:
        raise _unflattened(x)
    made = _product(reader, call, x, weight)
    return finish(reader, call, made, scale * factors[0], _bias(reader, call, 2, made, factors[1]))


def _product(reader: Reader, call: Call, x: Live, weight: Array) -> Live:
    if isinstance(x.pending, PendingWindow):
        kernel, stride = x.pending.kernel, x.pending.stride
        if np.array_equal(weight, np.tile(np.eye(len(weight), dtype=weight.dtype), kernel[0] * kernel[1])):
            return reader.on_map(x, "pool", SumPool(kernel, stride), call)
        return reader.on_map(x, "conv", Conv(_unrolled(weight, x, x.pending), stride), call)
    is_point = x.is_map and not x.first and x.is_point and len(reader.kind(x).shape) == 1
    if x.is_map and not is_point:
        if x.first or len(reader.kind(x).shape) != 3:
            raise _unflattened(x)
        return reader.on_map(x, "conv", Conv(weight[:, None, None]), call)
    if weight.shape[1] != x.channels:
        raise Problem(f"weights for {weight.shape[1]} inputs on {x.channels}")
    op = Dense(frozen(graph_order(weight, x.order)))
    shape = x.with_places((1, 1), len(weight)) if is_point else (len(weight),)
    return Live(reader.add("dense", op, x.tensor, call=call), shape)


def _unrolled(rows: Array, x: Live, window: PendingWindow) -> Array:
    """A matrix behind a sliding window as kernels."""
    if rows.shape[1] != window.kernel[0] * window.kernel[1] * x.channels:
        raise Problem(f"weights for {rows.shape[1]} inputs on windows of {list(window.kernel)} x {x.channels}")
    return rows.reshape(len(rows), *window.kernel, x.channels)


def _unflattened(x: Live) -> Problem:
    return Problem(f"a matrix product needs a flattened input, not {list(x.shape)}", hint="put Flatten before it")


def _is_whole(reader: Reader, call: Call) -> bool:
    """Weights that FINN's data type says are integers bear no scale."""
    name = call.inputs[1] if call.has(1) else ""
    return integer_range(reader.datatypes.get(name, "")) is not None


def _bias(reader: Reader, call: Call, index: int, made: Live, factor: float = 1.0) -> Array | Bias:
    """A layer's bias times a power of two: floats, or integers with their scale where it is quantized."""
    if not call.has(index):
        return np.zeros(1)
    value = reader.parameter(call, index, "a bias")
    spread = on_channels if call.kind == "Conv" and len(value.shape) == 1 else per_channel
    if isinstance(value, constants.Levels):
        return quantized(value, made, spread, factor)
    return spread(value, made) * factor


def quantized(value: constants.Levels, x: Live, spread: Callable[[Array, Live], Array], factor: float = 1.0) -> Bias:
    """A quantized constant a channel."""
    scale = np.broadcast_to(value.full_scale(), value.shape)
    integers = spread(value.integers.astype(np.float64), x).astype(np.int64)
    return Bias(integers, spread(scale, x) * factor)


def finish(reader: Reader, call: Call, made: Live, scale: Array, shift: Array | Bias) -> Live:
    """Weight scale and bias of a layer, where they do anything."""
    if isinstance(shift, Bias):
        if np.any(scale != 1):
            made = reader.on(made, "affine", Affine(scale, np.zeros(1)))
        return reader.on(made, "bias", shift, call) if shift.integers.any() else made
    if np.all(scale == 1) and not shift.any():
        return made
    return reader.affine(call, made, Affine(scale, shift))


# -- behind streamlining ---------------------------------------------------------------------------


@operator("Im2Col")
def im2col(reader: Reader, call: Call, x: Live) -> Live:
    """qonnx sliding window before a matrix product, channels last, any padding, not depthwise, no dilation."""
    if x.first or len(x.shape) != 3 or call.integer("depthwise", 0):
        raise Problem("Im2Col is supported channels last and not depthwise")
    if any(size != 1 for size in call.integers("dilations", 2, (1, 1))):
        raise Problem("dilation is not supported")
    pads = as_sides(call.integers("pad_amount", 4, (0, 0, 0, 0)), x)
    if any(pads):
        x = reader.on_map(x, "pad", Pad(pads, float(call.integer("pad_value", 0))))
    kernel, stride = call.integers("kernel_size", 2), call.integers("stride", 2)
    return replace(x, pending=PendingWindow((kernel[0], kernel[1]), (stride[0], stride[1])))


@operator("XnorPopcountMatMul", takes=(PendingWindow,))
def xnor_popcount(reader: Reader, call: Call, x: Live) -> Live:
    """Number of equal bits of a row and each column of constant bits."""
    weight = reader.constant(call, 1, "weights")
    if weight.ndim != 2 or not np.all((weight == 0) | (weight == 1)) or not reader.kind(x).is_binary:
        raise Problem("an XNOR product needs bits (0, 1) on both sides")
    bits = np.ascontiguousarray(weight.T.astype(np.uint8))
    if isinstance(x.pending, PendingWindow):
        return reader.on_map(x, "conv", XnorConv(_unrolled(bits, x, x.pending), x.pending.stride), call)
    if x.is_map:
        return reader.on_map(x, "conv", XnorConv(bits[:, None, None]), call)
    return Live(reader.add("dense", XnorDense(graph_order(bits, x.order)), x.tensor, call=call), (len(bits),))

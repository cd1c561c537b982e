"""The reference interpreter: every operation in 64-bit integers, written to be obviously right.

Slow; the engine is held against it. Floats exist only before streamlining and in class scores.
"""

from __future__ import annotations

from typing import assert_never

import numpy as np

from ..transforms.ir.graph import Graph
from ..transforms.ir.ops import (
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
from ..transforms.ir.tensor import Array
from ..transforms.passes.floats import on_floats


def run(graph: Graph, images: Array) -> dict[str, Array]:
    """Every tensor of the graph for `images`, (batch, *input shape); int64 or float64."""
    kind = np.float64 if graph.input_type.is_float else np.int64
    tensors: dict[str, Array] = {graph.input: np.asarray(images).astype(kind)}
    for node in graph.nodes:
        tensors[node.name] = apply(node.op, *(tensors[name] for name in node.inputs))
    return tensors


def apply(op: AnyOp, x: Array, *others: Array) -> Array:
    """What `op` makes of batches; the first axis is the batch."""
    match op:
        case ChannelsLast():
            return np.moveaxis(x if x.ndim == 4 else x[:, :, None], 1, -1)
        case Flatten():
            return x.reshape(len(x), -1)
        case Affine() | PiecewiseLinear() | Quantize() | Sign() | Stairs():
            return on_floats(op, x)
        case Bias(integers, scale):
            return x.astype(np.float64) + integers * scale
        case Pad(pads, value) | FMPadding(pads, value):
            return padded(x, pads, value)
        case Dense(weight):
            return np.einsum("ni,oi->no", x, weight.astype(x.dtype))
        case Conv(weight, stride):
            return np.einsum("nyxijc,oijc->nyxo", windows(x, weight.shape[1:3], stride), weight.astype(x.dtype))
        case XnorDense(weight):
            return (x[:, None, :] == weight).sum(axis=-1)
        case XnorConv(weight, stride):
            seen = windows(x, weight.shape[1:3], stride)
            return np.stack([(seen == kernel).sum(axis=(3, 4, 5)) for kernel in weight], axis=-1)
        case MaxPool(kernel, stride, pads):
            least = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
            return windows(padded(x, pads, least), kernel, stride).max(axis=(3, 4))
        case StreamingMaxPool(kernel):
            return windows(x, kernel, kernel).max(axis=(3, 4))
        case SumPool(kernel, stride):
            return windows(x, kernel, stride).sum(axis=(3, 4))
        case GlobalAccPool():
            return x.sum(axis=(1, 2), keepdims=True)
        case Add() | AddStreams():
            return x + others[0]
        case Concat() | StreamingConcat():
            return np.concatenate([x, *others], axis=-1)
        case Scale(factor) | ChannelwiseMul(factor):
            return x * factor
        case Threshold(bounds, out_bias, out_scale):
            return out_bias + out_scale * (x[..., None] >= bounds).sum(axis=-1)
        case Thresholding(bounds, low, _):
            return low + (x[..., None] >= bounds).sum(axis=-1)
        case Best(k) | LabelSelect(k):
            return np.argsort(-x, axis=-1, kind="stable")[..., :k]
        case AddBorder(values, rows, columns, _):
            return x + values[rows[:, None], columns[None, :]].reshape(x.shape[1:])
        case SlidingWindow(kernel, stride, simd, depthwise):
            seen = windows(x, kernel, stride)
            if depthwise:
                groups = seen.reshape(*seen.shape[:3], kernel[0] * kernel[1], -1, simd)
                seen = np.moveaxis(groups, 3, 4)
            return seen.reshape(*seen.shape[:3], -1)
        case Pool(kernel, total, pe):
            groups = x.reshape(*x.shape[:-1], -1, kernel[0] * kernel[1], pe)
            made = groups.sum(axis=-2) if total else groups.max(axis=-2)
            return made.reshape(*x.shape[:-1], -1)
        case Mvau(weight, bounds, xnor, low, _, _):
            products = [x == row if xnor else x * row.astype(np.int64) for row in weight]
            sums = np.stack([product.sum(axis=-1) for product in products], axis=-1)
            return low + (sums[..., None] >= bounds).sum(axis=-1) if op.has_bounds else sums
        case DuplicateStreams():
            return x
        case _:
            assert_never(op)


def windows(x: Array, kernel: tuple[int, ...], stride: tuple[int, int]) -> Array:
    """(batch, h, w, c) to (batch, rows, columns, kernel h, kernel w, c); a view."""
    seen = np.lib.stride_tricks.sliding_window_view(x, (kernel[0], kernel[1]), axis=(1, 2))
    return np.moveaxis(seen[:, :: stride[0], :: stride[1]], 3, -1)


def padded(x: Array, pads: Sides, value: float) -> Array:
    """A batch of maps with rows and columns of `value` around each."""
    top, left, bottom, right = pads
    return np.pad(x, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=value)

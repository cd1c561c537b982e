"""The reference interpreter: every operation in 64-bit integers, written to be obviously right.

Slow; the engine is held against it. Floats exist only before streamlining and in class scores.
"""

from __future__ import annotations

from typing import assert_never

import numpy as np

from ..transforms.graph import (
    Affine,
    AnyOp,
    Array,
    ChannelsLast,
    Conv,
    Dense,
    Flatten,
    Graph,
    MaxPool,
    Mvau,
    Quantize,
    Sign,
    SlidingWindow,
    StreamingMaxPool,
    Threshold,
    Thresholding,
    XnorConv,
    XnorDense,
)


def run(graph: Graph, images: Array) -> dict[str, Array]:
    """Every tensor of the graph for `images`, (batch, *input shape); int64 or float64."""
    kind = np.float64 if graph.input_type.is_float else np.int64
    tensors: dict[str, Array] = {graph.input: np.asarray(images).astype(kind)}
    for node in graph.nodes:
        tensors[node.name] = apply(node.op, tensors[node.input])
    return tensors


def apply(op: AnyOp, x: Array) -> Array:
    """What `op` makes of a batch x; the first axis is the batch."""
    match op:
        case ChannelsLast():
            return np.moveaxis(x, 1, -1)
        case Flatten():
            return x.reshape(len(x), -1)
        case Affine(scale, shift, divisor):
            return x.astype(np.float64) * scale / divisor + shift
        case Quantize(scale):
            low, high = op.limits
            return np.clip(np.round(x.astype(np.float64) / scale), low, high) * scale
        case Sign():
            return np.where(x >= 0, 1, -1)
        case Dense(weight):
            return np.einsum("ni,oi->no", x, weight.astype(x.dtype))
        case Conv(weight, stride):
            return np.einsum("nyxijc,oijc->nyxo", windows(x, weight.shape[1:3], stride), weight.astype(x.dtype))
        case XnorDense(weight):
            return (x[:, None, :] == weight).sum(axis=-1)
        case XnorConv(weight, stride):
            seen = windows(x, weight.shape[1:3], stride)
            return np.stack([(seen == kernel).sum(axis=(3, 4, 5)) for kernel in weight], axis=-1)
        case MaxPool(kernel, stride):
            return windows(x, kernel, stride).max(axis=(3, 4))
        case StreamingMaxPool(kernel):
            return windows(x, kernel, kernel).max(axis=(3, 4))
        case Threshold(bounds, low, step):
            return low + step * (x[..., None] >= bounds).sum(axis=-1)
        case Thresholding(bounds, _):
            return (x[..., None] >= bounds).sum(axis=-1)
        case SlidingWindow(kernel, stride, _):
            seen = windows(x, kernel, stride)
            return seen.reshape(*seen.shape[:3], -1)
        case Mvau(weight, bounds, xnor):
            rows = [(x == row).sum(axis=-1) if xnor else (x * (2 * row.astype(np.int64) - 1)).sum(-1) for row in weight]
            sums = np.stack(rows, axis=-1)
            return (sums[..., None] >= bounds).sum(axis=-1) if op.has_bounds else sums
        case _:
            assert_never(op)


def windows(x: Array, kernel: tuple[int, ...], stride: tuple[int, int]) -> Array:
    """(batch, h, w, c) to (batch, rows, columns, kernel h, kernel w, c); a view."""
    seen = np.lib.stride_tricks.sliding_window_view(x, (kernel[0], kernel[1]), axis=(1, 2))
    return np.moveaxis(seen[:, :: stride[0], :: stride[1]], 3, -1)

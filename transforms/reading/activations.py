"""Activations: piecewise linear functions of one tensor, and those that no thresholds can stand for.

Each reader makes a `PiecewiseLinear`; what becomes of it behind is the same for all.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from bnnflow import Problem

from ..ir.activations import leaky, limits, shrink, thresholded
from ..ir.ops import Affine
from ..ir.tensor import Array
from .call import Call, operator
from .core import Reader
from .live import Live, Steps, Turned, per_channel


@operator("Relu", takes=(Turned,))
def relu(reader: Reader, call: Call, x: Live) -> Live:
    """max(x, 0)."""
    return reader.on(x, "relu", limits(0), call)


@operator("LeakyRelu", takes=(Turned,))
def leaky_relu(reader: Reader, call: Call, x: Live) -> Live:
    """x where x >= 0, else alpha * x; alpha is 0 or more."""
    return reader.on(x, "leaky_relu", leaky(call.number("alpha", 0.01)), call)


@operator("PRelu", takes=(Turned,))
def prelu(reader: Reader, call: Call, x: Live) -> Live:
    """x where x >= 0, else slope * x; slopes of 0 or more, one for all or one per channel."""
    return reader.on(x, "prelu", leaky(per_channel(reader.constant(call, 1, "the slope of PRelu"), x)), call)


@operator("ThresholdedRelu", takes=(Turned,))
def thresholded_relu(reader: Reader, call: Call, x: Live) -> Live:
    """x where x > alpha, else 0; alpha is 0 or more."""
    return reader.on(x, "thresholded_relu", thresholded(call.number("alpha", 1.0)), call)


@operator("Shrink", takes=(Turned,))
def shrinking(reader: Reader, call: Call, x: Live) -> Live:
    """Soft and hard shrink: 0 within lambd of 0, bias nearer to 0 outside; bias is at most lambd."""
    return reader.on(x, "shrink", shrink(call.number("lambd", 0.5), call.number("bias", 0.0)), call)


@operator("HardSigmoid", takes=(Turned,))
def hard_sigmoid(reader: Reader, call: Call, x: Live) -> Live:
    """alpha * x + beta, kept within 0 and 1."""
    line = Affine(np.array([call.number("alpha", 0.2)]), np.array([call.number("beta", 0.5)]))
    return reader.on(reader.on(x, "affine", line), "hard_sigmoid", limits(0, 1), call)


@operator("Clip", takes=(Steps, Turned))
def clip(reader: Reader, call: Call, x: Live) -> Live:
    """Limits of constant numbers, one for all channels (hard tanh, ReLU6)."""
    ends = []
    for index, key, default in ((1, "min", -math.inf), (2, "max", math.inf)):
        stated = call.settings.get(key)
        if call.has(index):
            stated = _single(reader.constant(call, index, "a limit"))
        ends.append(np.array([default if stated is None else float(stated)]))
    return _limited(reader, call, x, *ends)


@operator("Min", "Max", joins=True, takes=(Turned,))
def min_or_max(reader: Reader, call: Call, x: Live) -> Live:
    """The lesser, or the greater, of a computed tensor and constant numbers, one for all or one per channel."""
    fixed = [name for name in call.inputs if name not in reader.live]
    if len(fixed) != len(call.inputs) - 1:
        raise Problem(f"{call.kind} of two computed tensors is not supported", hint="one of them must be constant")
    least = call.kind == "Min"
    end = np.array([math.inf if least else -math.inf])
    for name in fixed:
        value = reader.constants.array(name)
        numbers = value.reshape(1).astype(np.float64) if value.size == 1 else per_channel(value, x)
        end = np.minimum(end, numbers) if least else np.maximum(end, numbers)
    ends = (np.array([-math.inf]), end) if least else (end, np.array([math.inf]))
    return _limited(reader, call, x, *ends)


def _single(value: Array) -> float:
    if value.size != 1 or value.ndim > 1:
        raise Problem("limits of Clip are single numbers", hint="use Max and Min for limits that differ by channel")
    return float(value.reshape(-1)[0])


def _limited(reader: Reader, call: Call, x: Live, low: Array, high: Array) -> Live:
    if isinstance(x.pending, Steps):
        least, greatest, steps = float(low[0]), float(high[0]), x.pending
        narrower = replace(steps, low=max(steps.low, math.ceil(max(least, -(2**15)))))
        narrower = replace(narrower, high=min(steps.high, math.floor(min(greatest, 2**15))))
        if narrower.low >= narrower.high:
            raise Problem(f"limits from {least:g} to {greatest:g} leave a quantizer no choice")
        return replace(x, pending=narrower)
    if np.all(low == -math.inf) and np.all(high == math.inf):
        return x
    step = reader.grid(x)
    if step is not None:
        low, high = _on_grid(low, step), _on_grid(high, step)
        if low.size == high.size == 1:
            narrowed = reader.narrowed(call, x, float(low[0]), float(high[0]))
            if narrowed is not None:
                return narrowed
    return reader.on(x, "clip", limits(low, high), call)


def _on_grid(ends: Array, step: float) -> Array:
    """Limits behind a quantizer: those that are one of its values rounded to float32 are that value."""
    values = np.where(np.isfinite(ends), np.rint(ends / step), 0) * step
    return np.where(values.astype(np.float32) == ends.astype(np.float32), values, ends)

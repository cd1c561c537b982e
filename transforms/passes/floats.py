"""What the operations on floats make, value by value: for the host's side of a network, and for the simulator."""

from __future__ import annotations

import numpy as np

from ..ir.ops import Affine, PiecewiseLinear, Quantize, Sign, Stairs
from ..ir.tensor import Array


def on_floats(op: Affine | PiecewiseLinear | Quantize | Sign | Stairs, x: Array) -> Array:
    """What `op` makes of an array whose last axis holds the channels; float64, whole numbers behind a sign."""
    match op:
        case Affine(scale, shift, divisor):
            return np.asarray(x.astype(np.float64) * scale / divisor + shift)
        case PiecewiseLinear(knots, slopes, intercepts, closed):
            wide = x.astype(np.float64)
            made = wide * slopes[:, 0] + intercepts[:, 0]
            for i, belongs in enumerate(closed):
                above = wide >= knots[:, i] if belongs else wide > knots[:, i]
                made = np.where(above, wide * slopes[:, i + 1] + intercepts[:, i + 1], made)
            return made
        case Quantize(scale, low, high, rounding):
            return np.asarray(np.clip(rounded(x.astype(np.float64) / scale, rounding), low, high) * scale)
        case Sign(zero):
            return np.where(x > 0, 1, np.where(x < 0, -1, zero))
        case Stairs(bounds, out_bias, out_scale):
            return np.asarray(out_bias + out_scale * (x[..., None] >= bounds).sum(axis=-1))


def rounded(x: Array, rounding: str) -> Array:
    """Floats to whole numbers: ROUND (half to even), HALF_ODD (half to odd), FLOOR, CEIL, ROUND_TO_ZERO."""
    match rounding:
        case "ROUND":
            return np.round(x)
        case "HALF_ODD":
            return np.round(x - 1) + 1
        case "FLOOR":
            return np.floor(x)
        case "CEIL":
            return np.ceil(x)
        case "ROUND_TO_ZERO":
            return np.trunc(x)
    raise AssertionError(f"rounding {rounding!r}")

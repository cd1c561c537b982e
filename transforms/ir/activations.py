"""The usual piecewise linear activations as operations, and which of them an operation is."""

from __future__ import annotations

import numpy as np

from bnnflow import Problem

from .ops import PiecewiseLinear
from .tensor import Array


def limits(low: Array | float = -np.inf, high: Array | float = np.inf) -> PiecewiseLinear:
    """min(max(x, low), high): ReLU is limits(0), hard tanh limits(-1, 1); one limit, or (channels,).

    Raises:
        Problem: a lower limit above the upper one, or none at all.
    """
    ends = np.broadcast_arrays(np.atleast_1d(np.asarray(low, np.float64)), np.atleast_1d(np.asarray(high, np.float64)))
    least, greatest = (np.array(end) + 0.0 for end in ends)
    if np.any(least > greatest) or np.any(least == np.inf) or np.any(greatest == -np.inf):
        bad = int(np.argmax((least > greatest) | (least == np.inf) | (greatest == -np.inf)))
        raise Problem(f"limits from {least[bad]:g} to {greatest[bad]:g} are empty")
    knots = [end for end in (least, greatest) if np.all(np.isfinite(end))]
    if not knots or any(np.any(np.isfinite(end)) != np.all(np.isfinite(end)) for end in (least, greatest)):
        raise Problem("a limit is infinite on some channels or all", hint="leave it out, or give a number")
    zeros, ones = np.zeros(len(least)), np.ones(len(least))
    below, above = np.all(np.isfinite(least)), np.all(np.isfinite(greatest))
    slopes = [*([zeros] if below else []), ones, *([zeros] if above else [])]
    intercepts = [*([least] if below else []), zeros, *([greatest] if above else [])]
    return PiecewiseLinear(np.stack(knots, 1), np.stack(slopes, 1), np.stack(intercepts, 1), (False,) * len(knots))


def leaky(slope: Array | float) -> PiecewiseLinear:
    """x where x >= 0, else slope * x: leaky ReLU with one slope, PReLU with (channels,)."""
    slopes = np.atleast_1d(np.asarray(slope, np.float64))
    pieces = np.stack([slopes, np.ones(len(slopes))], 1)
    return PiecewiseLinear(np.zeros((1, 1)), pieces, np.zeros((1, 2)), (False,))


def thresholded(alpha: float) -> PiecewiseLinear:
    """x where x > alpha, else 0."""
    return PiecewiseLinear(np.array([[alpha]]), np.array([[0.0, 1.0]]), np.zeros((1, 2)), (False,))


def shrink(lambd: float, bias: float) -> PiecewiseLinear:
    """x + bias where x < -lambd, x - bias where x > lambd, else 0: soft shrink with lambd = bias, hard with bias 0.

    Raises:
        Problem: lambd is negative.
    """
    if lambd < 0:
        raise Problem(f"shrinking with lambd {lambd:g} is not supported", hint="lambd is 0 or more")
    knots, intercepts = np.array([[-lambd, lambd]]) + 0.0, np.array([[bias, 0.0, -bias]]) + 0.0
    return PiecewiseLinear(knots, np.array([[1.0, 0.0, 1.0]]), intercepts, (True, False))


def limits_of(op: PiecewiseLinear) -> tuple[Array | None, Array | None] | None:
    """Lower and upper limit, each (channels,) or (1,) and None for none; None where the operation is no `limits`."""
    found: tuple[Array | None, Array | None]
    match op.slopes.tolist():
        case [[0.0, 1.0], *_]:
            found = op.knots[:, 0], None
        case [[1.0, 0.0], *_]:
            found = None, op.knots[:, 0]
        case [[0.0, 1.0, 0.0], *_]:
            found = op.knots[:, 0], op.knots[:, 1]
        case _:
            return None
    low, high = found
    made = limits(-np.inf if low is None else low, np.inf if high is None else high)
    return found if made == op else None


def slopes_of(op: PiecewiseLinear) -> Array | None:
    """The slope below 0, (channels,) or (1,), of a `leaky`; None of any other."""
    return op.slopes[:, 0] if op.slopes.shape[1] == 2 and leaky(op.slopes[:, 0]) == op else None


def threshold_of(op: PiecewiseLinear) -> float | None:
    """alpha of a `thresholded`; None of any other."""
    if op.knots.size != 1:
        return None
    alpha = float(op.knots[0, 0])
    return alpha if thresholded(alpha) == op else None


def shrink_of(op: PiecewiseLinear) -> tuple[float, float] | None:
    """lambd and bias of a `shrink`; None of any other."""
    if op.knots.shape != (1, 2) or op.knots[0, 1] < 0:
        return None
    lambd, bias = float(op.knots[0, 1]), float(op.intercepts[0, 0])
    return (lambd, bias) if shrink(lambd, bias) == op else None

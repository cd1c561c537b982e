"""Quantizers as integer thresholds, without rounding."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import lcm

import numpy as np

from bnnflow import Problem

from ..ir.ops import Quantize, Sign, Stairs, Threshold
from ..ir.tensor import Array, TensorType
from .scaled import ONE, ZERO, Numbers, Scaled, fractions, is_power_of_two, spread

# Half a unit in the last place of float32, relative; a batch norm rounds up to this many times.
_FLOAT32_HALF_ULP = 2.0**-24
_BATCH_NORM_ROUNDINGS = 8
_FAR = 2**200
_BEYOND = 1e30
_MOST_LEVELS = 2**12


@dataclass(frozen=True, slots=True)
class Quantizer:
    """A staircase: base + unit * (low + step * number of edges that a value reaches).

    Attributes:
        halves: edge i is at halves[i] * unit / 2; ascending.
        inclusive: whether a value at the edge reaches it.
        unit: one a channel, or one for all.
        low, step: result below all edges, and height of a stair, in units.
        places: edges that are no such halves, a tuple a channel or one for all; None for none.
        base: what is no whole multiple of the unit in the result below all edges.
    """

    halves: tuple[int, ...]
    inclusive: tuple[bool, ...]
    unit: Numbers
    low: int
    step: int
    places: tuple[Numbers, ...] | None = None
    base: Fraction = Fraction(0)

    def edge(self, channel: int, index: int, unit: Fraction) -> Fraction:
        """Where stair `index` of a channel begins."""
        if self.places is None:
            return self.halves[index] * unit / 2
        return self.places[channel if len(self.places) > 1 else 0][index]

    @staticmethod
    def of(op: Quantize | Sign | Stairs | Threshold, least: Fraction, greatest: Fraction) -> Quantizer:
        """The staircase of an operation, as far as values from `least` to `greatest` reach."""
        if isinstance(op, Stairs | Threshold):
            return _stairs(op)
        if isinstance(op, Sign):
            # sign(0) = 0 makes two edges, at 0 and just above it.
            closed = {1: (True,), -1: (False,), 0: (True, False)}[op.zero]
            return Quantizer((0,) * len(closed), closed, ONE, -1, 2 if op.zero else 1)
        finest = min(fractions(op.scale))
        low = min(max(op.low, least // finest - 1), op.high - 1)
        high = max(min(op.high, -(-greatest // finest) + 1), low + 1)
        if high - low > _MOST_LEVELS:
            raise Problem(f"a quantizer gives {high - low:,} levels", hint="quantize to 8 bits or fewer")
        levels = range(low + 1, high + 1)
        halves, inclusive = zip(*(_edge(level, op.rounding) for level in levels), strict=True)
        return Quantizer(halves, inclusive, fractions(op.scale), low, 1)


def _stairs(op: Stairs | Threshold) -> Quantizer:
    step, low = Fraction(op.step), Fraction(op.low)
    # Nothing in a network is as large as a float32 may be; an infinite bound stands beyond.
    table = np.clip(op.bounds.astype(np.float64), -_BEYOND, _BEYOND)
    places = tuple(fractions(row) for row in table)
    levels = op.bounds.shape[1]
    if levels == 1 and 2 * low == -step:
        unit, first, height, base = step / 2, -1, 2, Fraction(0)
    else:
        unit, first, height, base = step, int(low // step), 1, low % step
    return Quantizer((0,) * levels, (True,) * levels, (unit,), first, height, places, base)


def _edge(level: int, rounding: str) -> tuple[int, bool]:
    """Where rounding first gives `level`, in half steps, and whether that place itself does."""
    match rounding:
        case "ROUND":
            return 2 * level - 1, level % 2 == 0
        case "HALF_ODD":
            return 2 * level - 1, level % 2 == 1
        case "FLOOR":
            return 2 * level, True
        case "CEIL":
            return 2 * level - 2, False
        case "ROUND_TO_ZERO":
            return (2 * level, True) if level > 0 else (2 * level - 2, False)
    raise Problem(f"rounding mode {rounding} is not supported", hint="use ROUND, FLOOR, CEIL or ROUND_TO_ZERO")


def threshold(
    scale: Fraction, shift: Fraction, kind: TensorType, edge: Fraction = Fraction(0), inclusive: bool = True
) -> tuple[int, bool]:
    """Bound and polarity with (scale * t + shift >= edge) == (t >= bound) ^ flip for all t of type `kind`.

    Where not `inclusive`, > takes the place of >=. The bound lies in [low, high + 1]; a scale of 0 gives a
    constant channel.
    """
    low, high = kind.range
    if scale == 0:
        return (low if shift > edge or (inclusive and shift == edge) else high + 1), False
    place = (edge - shift) / scale
    # Rising, a closed edge is reached from ceil(place) on; falling, an open one is left there.
    bound = -(-place.numerator // place.denominator) if inclusive == (scale > 0) else place // 1 + 1
    return min(max(int(bound), low), high + 1), scale < 0


@dataclass(frozen=True, slots=True)
class Bounds:
    """A quantizer's bounds on the integers of a tensor.

    Attributes:
        table: int64, (channels, edges), within [low, high + 1], ascending.
        flips: bool, (channels,): the channel falls as the integer rises (only with one edge).
        channels, edges, widths: where float32 may err; see `passes.Doubt`.
    """

    table: Array
    flips: Array
    channels: tuple[int, ...]
    edges: tuple[float, ...]
    widths: tuple[float, ...]


def bounds_of(quantizer: Quantizer, x: Scaled, kind: TensorType, inexact: bool) -> Bounds:
    """Integer bounds of a quantizer that reads `x`, whose integers are of type `kind`.

    Args:
        quantizer: with one edge, or `x` has no negative scale.
        x: exact form of what is read.
        kind: type of `x.tensor`.
        inexact: float32 rounds on the way, so that even exact ties may go either way there.
    """
    count = max(map(len, (x.scale, x.shift, x.low or ONE, x.high or ONE, quantizer.unit, quantizer.places or ONE)))
    low, high = kind.range
    table = np.empty((count, len(quantizer.halves)), np.int64)
    flips = np.zeros(count, bool)
    doubtful: list[tuple[int, float, float]] = []
    columns = (spread(v, count) for v in (x.scale, x.shift, x.low or ZERO, x.high or ZERO, quantizer.unit))
    roundings = (_BATCH_NORM_ROUNDINGS + (x.terms if x.rounded else 0)) * _FLOAT32_HALF_ULP
    inexact = inexact or x.rounded or x.blurred
    for channel, (scale, shift, least, greatest, unit) in enumerate(zip(*columns, strict=True)):
        if scale == 0:
            constant = shift if x.low is None else max(shift, least)
            constant = constant if x.high is None else min(constant, greatest)
            width = _BATCH_NORM_ROUNDINGS * _FLOAT32_HALF_ULP * max(1.0, abs(float(constant)))
            for i, closed in enumerate(quantizer.inclusive):
                edge = quantizer.edge(channel, i, unit)
                table[channel, i] = low if _reaches(constant, edge, closed) else high + 1
                if abs(constant - edge) < width and (inexact or constant != edge):
                    doubtful.append((channel, float(edge), width))
            continue
        falls = scale < 0
        assert not falls or len(quantizer.halves) == 1, "falling channels have one edge"
        slope, start = (unit / (2 * scale) if quantizer.halves != (0,) else Fraction(0)), -shift / scale
        # How far a float32 program may be off, in steps of the integer: a share of the greatest value on the way.
        error = roundings * max(1, abs(low), abs(high), float(min(abs(start), _FAR)))
        below = lcm(slope.denominator, start.denominator)
        slope_whole, start_whole = int(slope * below), int(start * below)
        for i, (half, closed) in enumerate(zip(quantizer.halves, quantizer.inclusive, strict=True)):
            if x.low is not None or x.high is not None:
                edge = quantizer.edge(channel, i, unit)
                always = x.low is not None and _reaches(least, edge, closed)
                if always or (x.high is not None and not _reaches(greatest, edge, closed)):
                    table[channel, i] = low if always else high + 1
                    continue
            place = slope_whole * half + start_whole
            if quantizer.places is not None:
                exact = (quantizer.edge(channel, i, unit) - shift) / scale
                place, below = exact.numerator, exact.denominator
            bound = -(-place // below) if closed != falls else place // below + 1
            table[channel, i] = min(max(bound, low), high + 1)
            flips[channel] = falls
            nearest = low + kind.step * round((place / below - low) / kind.step) if abs(place) < 2**60 * below else low
            away = abs(place - min(max(nearest, low), high) * below)
            if away < error * below and (inexact or away):
                doubtful.append((channel, float(quantizer.edge(channel, i, unit)), float(abs(scale)) * error))
    channels, edges, widths = zip(*doubtful, strict=True) if doubtful else ((), (), ())
    return Bounds(table, flips, channels, edges, widths)


def _reaches(value: Fraction, edge: Fraction, closed: bool) -> bool:
    return value > edge or (closed and value == edge)


def float32_rounds(op: Quantize | Sign | Stairs | Threshold, x: Scaled) -> bool:
    """Whether float32 rounds between the integers of `x` and the quantizer, so that ties are not safe there.

    A sign's edge is at 0: a product is 0 in float32 exactly where it is 0.
    """
    if isinstance(op, Sign):
        return False
    if isinstance(op, Stairs | Threshold):
        return not all(map(is_power_of_two, (s for s in x.scale if s)))
    return not all(map(is_power_of_two, (*fractions(op.scale), *(s for s in x.scale if s))))


def unchanged(quantizer: Quantizer, table: Array, kind: TensorType) -> tuple[Numbers, Numbers] | None:
    """Scale and shift of a quantizer that maps neighbouring integers to neighbouring levels; None otherwise.

    Then no threshold is needed: the result is scale * integer + shift on every value of type `kind`.
    """
    low, high = kind.range
    values = np.arange(low, high + 1, kind.step) if high - low <= 2**10 * kind.step else np.zeros(0)
    if not 1 < len(values) <= table.shape[1] + 1:
        return None
    first = np.empty(len(table), np.int64)
    for channel, row in enumerate(table):
        reached = np.searchsorted(row, values, side="right")
        if np.any(np.diff(reached) != 1):
            return None
        first[channel] = quantizer.low + quantizer.step * reached[0]
    units = spread(quantizer.unit, len(table))
    slope = Fraction(quantizer.step, kind.step)
    scale = tuple(unit * slope for unit in quantizer.unit)
    shift = tuple(quantizer.base + unit * (int(level) - slope * low) for unit, level in zip(units, first, strict=True))
    return scale, shift


def trimmed(table: Array, kind: TensorType, low: int) -> tuple[Array, int]:
    """Bounds without those that every channel always or never reaches, at least one left; and the new low."""
    least, greatest = kind.range
    always = int(np.all(table <= least, axis=0).sum())
    never = int(np.all(table > greatest, axis=0).sum())
    first = min(always, table.shape[1] - 1)
    last = max(table.shape[1] - never, first + 1)
    return table[:, first:last], low + first


def doubt_text(name: str, channels: tuple[int, ...]) -> str:
    """The remark on channels where float32 may err."""
    distinct = list(dict.fromkeys(channels))
    listed = ", ".join(map(str, distinct[:8])) + (", ..." if len(distinct) > 8 else "")
    return f"{name}: float32 arithmetic may round to the other side of an edge on {len(distinct)} channels ({listed})"

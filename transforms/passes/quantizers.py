"""Quantizers as integer thresholds, without rounding."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import lcm

import numpy as np

from bnnflow import Problem

from ..ir.ops import Quantize, Sign, Stairs, Threshold
from ..ir.tensor import Array, TensorType
from .curves import STRAIGHT, MonotoneCurve
from .rationals import ONE, Numbers, fractions, is_power_of_two, is_short, spread
from .scaled import Scaled

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
        unit: one per channel, or one for all.
        low, step: result below all edges, and height of a stair, in units.
        places: edges that are no such halves, a tuple a channel or one for all; None for none.
        base: what is no whole multiple of the unit in the result below all edges.
        blur: how far float32 moves an edge that it adds something to before it rounds, in units.
    """

    halves: tuple[int, ...]
    inclusive: tuple[bool, ...]
    unit: Numbers
    low: int
    step: int
    places: tuple[Numbers, ...] | None = None
    base: Fraction = Fraction(0)
    blur: float = 0.0

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
        # Below 0 the finest step is what is furthest from 0, above it the coarsest; each end may lie on either side.
        steps = min(fractions(op.scale)), max(fractions(op.scale))
        low = min(max(op.low, min(least // step for step in steps) - 1), op.high - 1)
        high = max(min(op.high, max(-(-greatest // step) for step in steps) + 1), low + 1)
        if high - low > _MOST_LEVELS:
            raise Problem(f"a quantizer gives {high - low:,} levels", hint="quantize to 8 bits or fewer")
        levels = range(low + 1, high + 1)
        halves, inclusive = zip(*(_edge(level, op.rounding) for level in levels), strict=True)
        most = abs(op.zero_point) + max(abs(low), abs(high)) if op.zero_point else 0
        return Quantizer(halves, inclusive, fractions(op.scale), low, 1, blur=_FLOAT32_HALF_ULP * most)


def _stairs(op: Stairs | Threshold) -> Quantizer:
    step, low = Fraction(op.out_scale), Fraction(op.out_bias)
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
class ThresholdBounds:
    """A quantizer's bounds on the integers of a tensor.

    Attributes:
        table: int64, (channels, edges), within [low, high + 1], ascending.
        flips: bool, (channels,): the channel falls as the integer rises (only with one edge).
        channels, edges, widths: of float ties; see `rewrite.FloatTies`.
    """

    table: Array
    flips: Array
    channels: tuple[int, ...]
    edges: tuple[float, ...]
    widths: tuple[float, ...]


def bounds_of(quantizer: Quantizer, x: Scaled, kind: TensorType, inexact: bool) -> ThresholdBounds:
    """Integer bounds of a quantizer that reads `x`, whose integers are of type `kind`.

    Args:
        quantizer: with one edge, or `x` has no negative scale.
        x: exact form of what is read.
        kind: type of `x.tensor`.
        inexact: float32 rounds on the way, so that even exact ties may go either way there.
    """
    columns = x.columns
    count = max(len(columns), len(quantizer.unit), len(quantizer.places or ONE))
    table = np.empty((count, len(quantizer.halves)), np.int64)
    flips = np.zeros(count, bool)
    tied: list[tuple[int, float, float]] = []
    roundings = (_BATCH_NORM_ROUNDINGS + (x.terms if x.rounded else 0)) * _FLOAT32_HALF_ULP
    inexact = inexact or x.rounded or x.blurred
    columns = columns * count if len(columns) == 1 else columns
    for channel, ((scale, shift, curve), unit) in enumerate(zip(columns, spread(quantizer.unit, count), strict=True)):
        edges = _Edges(quantizer, channel, unit, kind, inexact, roundings)
        if scale == 0:
            table[channel], ties = edges.of_constant(curve(shift))
        else:
            flips[channel] = scale < 0
            assert scale > 0 or len(quantizer.halves) == 1, "falling channels have one edge"
            if curve == STRAIGHT:
                table[channel], ties = edges.of_line(scale, shift)
            else:
                table[channel], ties = edges.of_curve(scale, shift, curve, x.loose)
        ties += edges.blurred(table[channel].tolist(), scale, shift, curve)
        tied += [(channel, *tie) for tie in ties]
    channels, places, widths = zip(*tied, strict=True) if tied else ((), (), ())
    return ThresholdBounds(table, flips, channels, places, widths)


_Found = tuple[list[int], list[tuple[float, float]]]


@dataclass(frozen=True, slots=True)
class _Edges:
    """The edges of a quantizer on one channel; what finds them gives the bounds, and edges and widths of float ties.

    Attributes:
        quantizer, channel, unit: whose edges.
        kind: type of the integers.
        inexact: ties are not safe in float32.
        roundings: how far float32 may be off, as a share of the greatest value on the way.
    """

    quantizer: Quantizer
    channel: int
    unit: Fraction
    kind: TensorType
    inexact: bool
    roundings: float

    def of_constant(self, constant: Fraction) -> _Found:
        """On a channel of one value."""
        low, high = self.kind.range
        width = _width(constant)
        bounds, ties = [], []
        for i, closed in enumerate(self.quantizer.inclusive):
            edge = self.quantizer.edge(self.channel, i, self.unit)
            bounds.append(low if _reaches(constant, edge, closed) else high + 1)
            if abs(constant - edge) < width and (self.inexact or constant != edge):
                ties.append((float(edge), width))
        return bounds, ties

    def of_line(self, scale: Fraction, shift: Fraction, edges: slice = slice(None)) -> _Found:
        """On scale * integer + shift; of some of the edges."""
        slope, start = (self.unit / (2 * scale) if self.quantizer.halves != (0,) else Fraction(0)), -shift / scale
        below = lcm(slope.denominator, start.denominator)
        slope_whole, start_whole = int(slope * below), int(start * below)
        error = self._error(start)
        bounds, ties = [], []
        listed = list(enumerate(zip(self.quantizer.halves, self.quantizer.inclusive, strict=True)))
        for i, (half, closed) in listed[edges]:
            place = slope_whole * half + start_whole
            if self.quantizer.places is not None:
                exact = (self.quantizer.edge(self.channel, i, self.unit) - shift) / scale
                place, below = exact.numerator, exact.denominator
            bounds.append(self._bound(place, below, closed != (scale < 0)))
            if self._is_near(place, below, error):
                ties.append((self._float(i), float(abs(scale)) * error))
        return bounds, ties

    def of_curve(self, scale: Fraction, shift: Fraction, curve: MonotoneCurve, loose: bool) -> _Found:
        """On curve(scale * integer + shift).

        Where an edge lies in a jump, the float tie is whether it is reached, and is named where the function stands.
        """
        low, high = self.kind.range
        # A falling channel is turned around behind its bound.
        never, always = (high + 1, low) if scale > 0 else (low, high + 1)
        flats = self._beside_flats(curve, loose)
        within = [] if flats else self._inside(curve)
        bounds: list[int] = []
        ties: list[tuple[float, float]] = []
        first = 0
        for i, closed in enumerate(self.quantizer.inclusive):
            if i < len(bounds):
                continue
            for piece, edges in within:
                if edges.start == i:
                    slope = curve.slopes[piece]
                    more = self.of_line(slope * scale, slope * shift + curve.intercepts[piece], edges)
                    first, bounds, ties = piece, bounds + more[0], ties + more[1]
            if i < len(bounds):
                continue
            edge = self.quantizer.edge(self.channel, i, self.unit)
            ties += [(float(edge), width) for width in flats.get(i, ())]
            found = curve.reached(edge, closed, first)
            if found is None:
                bounds.append(never)
                continue
            first, knot, reached = found
            if knot is None:
                bounds.append(always)
                continue
            place = (knot - shift) / scale
            bounds.append(self._bound(place.numerator, place.denominator, reached != (scale < 0)))
            slope = curve.slopes[first]
            if slope and slope * knot + curve.intercepts[first] == edge:
                gain = slope * scale
                error = self._error((slope * shift + curve.intercepts[first]) / -gain)
                if self._is_near(place.numerator, place.denominator, error):
                    ties.append((float(edge), float(abs(gain)) * error))
        return bounds, ties

    def blurred(
        self, bounds: Sequence[int], scale: Fraction, shift: Fraction, curve: MonotoneCurve
    ) -> list[tuple[float, float]]:
        """Float ties by what a program adds before it rounds: edges too near to the values beside their bounds."""
        unit, slope, offset = float(self.unit), float(scale), float(shift)
        width = self.quantizer.blur * unit
        ties: list[tuple[float, float]] = []
        (low, high), step = self.kind.range, self.kind.step
        for i, bound in enumerate(bounds if width else ()):
            first = low - (low - bound) // step * step
            # A value at the edge is safe, so that the next one counts, too.
            beside = [each for each in range(first - 2 * step, first + 2 * step, step) if low <= each <= high]
            if curve == STRAIGHT:
                # Rationals take their time: only for what float64 cannot tell from near.
                about, loose = self.quantizer.halves[i] * unit / 2, 2 * width + 1e-12 * abs(offset)
                beside = [each for each in beside if abs(slope * each + offset - about) < loose + 1e-12 * abs(about)]
            edge = self.quantizer.edge(self.channel, i, self.unit) if beside else Fraction(0)
            away = [abs(curve(scale * each + shift) - edge) for each in beside]
            if any(each < width and (self.inexact or each > 0) for each in away):
                ties.append((float(edge), width))
        return ties

    def _beside_flats(self, curve: MonotoneCurve, loose: bool) -> dict[int, list[float]]:
        """Edges too near to a value on which a curve stays, and how far float32 may move each.

        On an edge a value is safe where float32 rounds neither it (not `loose`, or short) nor the quantizer's division.
        """
        found: dict[int, list[float]] = {}
        for slope, value in zip(curve.slopes, curve.intercepts, strict=True):
            if slope:
                continue
            rounded, width = self.inexact or (loose and not is_short(value)), _width(value)
            edges = range(len(self.quantizer.inclusive))
            if self.quantizer.places is None:
                least, most = (2 * (value + away) / self.unit for away in (-Fraction(width), Fraction(width)))
                halves = self.quantizer.halves
                edges = edges[bisect_left(halves, least) : bisect_right(halves, most)]
            for i in edges:
                away = abs(value - self.quantizer.edge(self.channel, i, self.unit))
                if away < width and (rounded or away):
                    found.setdefault(i, []).append(width)
        return found

    def _inside(self, curve: MonotoneCurve) -> list[tuple[int, slice]]:
        """Pieces of a curve, and the edges that lie between their ends, where no knot has a say."""
        quantizer, found = self.quantizer, []
        if quantizer.places is None and len(quantizer.halves) > 1:
            for piece, (slope, intercept) in enumerate(zip(curve.slopes, curve.intercepts, strict=True)):
                ends = (slope * knot + intercept for knot in (*curve.knots[max(piece - 1, 0) : piece + 1],))
                levels = [2 * end / self.unit for end in ends]
                first = bisect_right(quantizer.halves, levels[0]) if piece else 0
                last = len(quantizer.halves)
                if piece < len(curve.knots):
                    last = bisect_left(quantizer.halves, levels[-1])
                if slope and first < last:
                    found.append((piece, slice(first, last)))
        return found

    def _error(self, start: Fraction) -> float:
        """How far a float32 program may be off, in steps of the integer, whose value is 0 at `start`."""
        low, high = self.kind.range
        return self.roundings * max(1, abs(low), abs(high), float(min(abs(start), Fraction(_FAR))))

    def _bound(self, place: int, below: int, from_place: bool) -> int:
        """The first integer at or above place / below, or above it alone, in [low, high + 1]."""
        low, high = self.kind.range
        bound = -(-place // below) if from_place else place // below + 1
        return min(max(bound, low), high + 1)

    def _is_near(self, place: int, below: int, error: float) -> bool:
        """Whether an integer lies so near to place / below that float32 may err."""
        (low, high), step = self.kind.range, self.kind.step
        nearest = low + step * round((place / below - low) / step) if abs(place) < 2**60 * below else low
        away = abs(place - min(max(nearest, low), high) * below)
        return away < error * below and (self.inexact or away > 0)

    def _float(self, index: int) -> float:
        return float(self.quantizer.edge(self.channel, index, self.unit))


def _width(value: Fraction) -> float:
    return _BATCH_NORM_ROUNDINGS * _FLOAT32_HALF_ULP * max(1.0, abs(float(value)))


def _reaches(value: Fraction, edge: Fraction, closed: bool) -> bool:
    return value > edge or (closed and value == edge)


def float32_rounds(op: Quantize | Sign | Stairs | Threshold, x: Scaled) -> bool:
    """Whether float32 rounds between the integers of `x` and the quantizer, so that ties are not safe there.

    A sign's edge is at 0: a product is 0 in float32 exactly where it is 0.
    """
    if isinstance(op, Sign):
        return False
    if isinstance(op, Stairs | Threshold):
        return not all(map(is_power_of_two, (gain for gain in x.gains if gain)))
    return not all(map(is_power_of_two, (*fractions(op.scale), *(gain for gain in x.gains if gain))))


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


def float_ties_text(name: str, channels: tuple[int, ...]) -> str:
    """The remark on channels with float ties."""
    distinct = list(dict.fromkeys(channels))
    listed = ", ".join(map(str, distinct[:8])) + (", ..." if len(distinct) > 8 else "")
    on = f"{len(distinct)} channel{'' if len(distinct) == 1 else 's'} ({listed})"
    return f"{name}: float ties on {on}: float32 arithmetic may round to the other side of a threshold"

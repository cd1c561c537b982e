"""Monotone piecewise linear functions in rational arithmetic: what stands between a tensor and its quantizer."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from itertools import groupby
from operator import itemgetter

from ..ir.ops import PiecewiseLinear
from .rationals import ONE, ZERO, Numbers, fractions


@dataclass(frozen=True, slots=True)
class MonotoneCurve:
    """slope * x + intercept of the piece in which x lies.

    Attributes:
        knots: ascending; where two pieces meet.
        slopes, intercepts: one more than knots.
        closed: for each knot, whether it belongs to the piece above it.
    """

    knots: Numbers
    slopes: Numbers
    intercepts: Numbers
    closed: tuple[bool, ...]

    def __call__(self, x: Fraction) -> Fraction:
        """The value at x."""
        piece = self.piece(x)
        return self.slopes[piece] * x + self.intercepts[piece]

    def piece(self, x: Fraction) -> int:
        """In which piece x lies."""
        return sum(x > knot or (closed and x == knot) for knot, closed in zip(self.knots, self.closed, strict=True))

    @property
    def jumps(self) -> Numbers:
        """By how much the value rises at each knot, beyond what slopes do."""
        pieces = list(zip(self.slopes, self.intercepts, strict=True))
        pairs = zip(self.knots, pieces, pieces[1:], strict=False)
        return tuple((above - below) * knot + high - low for knot, (below, low), (above, high) in pairs)

    @property
    def rises(self) -> bool:
        """Whether no value lies below that of a lesser x."""
        return all(step >= 0 for step in (*self.slopes, *self.jumps))

    @property
    def falls(self) -> bool:
        """Whether no value lies above that of a lesser x."""
        return all(step <= 0 for step in (*self.slopes, *self.jumps))

    def times(self, gain: Fraction, bias: Fraction) -> MonotoneCurve:
        """gain * value + bias."""
        intercepts = tuple(gain * value + bias for value in self.intercepts)
        return MonotoneCurve(self.knots, tuple(gain * slope for slope in self.slopes), intercepts, self.closed)

    def mirrored(self) -> MonotoneCurve:
        """The value at -x."""
        return MonotoneCurve(
            tuple(-knot for knot in self.knots[::-1]),
            tuple(-slope for slope in self.slopes[::-1]),
            self.intercepts[::-1],
            tuple(not closed for closed in self.closed[::-1]),
        )

    def within(self, low: Fraction, high: Fraction) -> MonotoneCurve:
        """The pieces that values from low to high reach."""
        first, last = self.piece(low), self.piece(high)
        # Of a piece that is reached at a knot alone, the slope says nothing.
        while first < last and self.knots[first] == low and not self.jumps[first]:
            first += 1
        while first < last and self.knots[last - 1] == high and not self.jumps[last - 1]:
            last -= 1
        ends, pieces = slice(first, last), slice(first, last + 1)
        return MonotoneCurve(self.knots[ends], self.slopes[pieces], self.intercepts[pieces], self.closed[ends])

    def reached(self, edge: Fraction, inclusive: bool, first: int = 0) -> tuple[int, Fraction | None, bool] | None:
        """From which x on a rising curve gives at least `edge`, or more than it where not `inclusive`.

        Args:
            edge: a value.
            inclusive: whether `edge` itself is enough.
            first: a piece below which it is known not to be reached.

        Returns:
            The piece, where in it (None: everywhere), and whether this x itself is among those; None: nowhere.
        """
        for piece in range(first, len(self.slopes)):
            slope, intercept = self.slopes[piece], self.intercepts[piece]
            start, begins = (self.knots[piece - 1], self.closed[piece - 1]) if piece else (None, False)
            if not slope:
                if intercept > edge or (inclusive and intercept == edge):
                    return piece, start, begins
                continue
            place = (edge - intercept) / slope
            if start is not None and place <= start:
                return piece, start, begins and (inclusive or place < start)
            if piece == len(self.knots) or place < self.knots[piece]:
                return piece, place, inclusive
            if place == self.knots[piece] and inclusive and not self.closed[piece]:
                return piece, place, True
        return None

    def place_of(self, value: Fraction) -> Fraction | None:
        """Where a rising curve has a value, on a piece that is not flat; None where it has not."""
        for slope, intercept in zip(self.slopes, self.intercepts, strict=True):
            if slope and self(place := (value - intercept) / slope) == value:
                return place
        return None

    def after(self, inner: MonotoneCurve) -> MonotoneCurve:
        """This rising curve of the values of another."""
        if inner == STRAIGHT:
            return self
        outer = 0
        marks: list[tuple[tuple[Fraction, bool], bool]] = []
        for index, (knot, closed) in enumerate(zip(self.knots, self.closed, strict=True)):
            found = inner.reached(knot, closed)
            if found is None:
                break
            if found[1] is None:
                outer = index + 1
            else:
                # What begins at a place comes before what begins just above it.
                marks.append(((found[1], not found[2]), True))
        marks += [((knot, not closed), False) for knot, closed in zip(inner.knots, inner.closed, strict=True)]
        piece = 0
        pieces = [self._composed(outer, inner, piece)]
        knots, ends = [], []
        for (knot, opens), group in groupby(sorted(marks), itemgetter(0)):
            for _, is_outer in group:
                outer, piece = outer + is_outer, piece + (not is_outer)
            made = self._composed(outer, inner, piece)
            if made != pieces[-1]:
                pieces.append(made)
                knots.append(knot)
                ends.append(not opens)
        slopes, intercepts = zip(*pieces, strict=True)
        return MonotoneCurve(tuple(knots), slopes, intercepts, tuple(ends))

    def _composed(self, outer: int, inner: MonotoneCurve, piece: int) -> tuple[Fraction, Fraction]:
        gain = self.slopes[outer]
        return gain * inner.slopes[piece], gain * inner.intercepts[piece] + self.intercepts[outer]


STRAIGHT = MonotoneCurve((), ONE, ZERO, ())


def curves_of(op: PiecewiseLinear) -> tuple[MonotoneCurve, ...]:
    """The curve of each channel, or one for all."""
    tables = (op.knots, op.slopes, op.intercepts)
    count = max(map(len, tables))
    rows = [[fractions(row) for row in table] * (1 if len(table) == count else count) for table in tables]
    return tuple(MonotoneCurve(*row, closed=op.closed) for row in zip(rows[0], rows[1], rows[2], strict=True))

"""An activation without a quantizer behind it, as the staircase that it is on integers."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from ..ir.tensor import TensorType
from .curves import MonotoneCurve
from .rationals import common_step


@dataclass(frozen=True, slots=True)
class ActivationLevels:
    """The values of an activation on a channel's integers: first + unit * (0 to count)."""

    first: Fraction
    unit: Fraction
    count: int

    @staticmethod
    def of(scale: Fraction, shift: Fraction, curve: MonotoneCurve, kind: TensorType) -> ActivationLevels:
        """Those of curve(scale * x + shift), rising, for integers of a type."""
        low, high = kind.range
        first, last = (curve(scale * end + shift) for end in (low, high))
        if not scale:
            return ActivationLevels(first, Fraction(kind.step), 0)
        starts = [low, *(_on_grid(*pair, scale, shift, kind) for pair in zip(curve.knots, curve.closed, strict=True))]
        steps = []
        for slope, start, end in zip(curve.slopes, starts, [*starts[1:], high + kind.step], strict=True):
            if start < end:
                steps.append(curve(scale * start + shift) - first)
            if start + kind.step < end:
                steps.append(slope * scale * kind.step)
        unit = common_step(steps)
        return ActivationLevels(first, unit or scale * kind.step, int((last - first) / unit) if unit else 0)

    def bounds(self, scale: Fraction, shift: Fraction, curve: MonotoneCurve, kind: TensorType) -> list[int]:
        """The integers from which each value is reached."""
        made = []
        for level in range(1, self.count + 1):
            found = curve.reached(self.first + level * self.unit, True)
            assert found is not None and found[1] is not None, "between the first and the last value"
            made.append(_on_grid(found[1], found[2], scale, shift, kind))
        return made


def _on_grid(place: Fraction, closed: bool, scale: Fraction, shift: Fraction, kind: TensorType) -> int:
    """The first integer of a type for which scale * x + shift is above `place`, or at it where that is `closed`."""
    low, high = kind.range
    steps = ((place - shift) / scale - low) / kind.step
    count = -(-steps.numerator // steps.denominator) if closed else steps.numerator // steps.denominator + 1
    return min(max(low + kind.step * count, low), high + kind.step)

"""Tensors as scaled integers: scale * integer + shift a channel, in rational arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import gcd, lcm

import numpy as np

from bnnflow import Problem

from ..ir.tensor import Array

Numbers = tuple[Fraction, ...]

ZERO, ONE = (Fraction(0),), (Fraction(1),)


@dataclass(frozen=True, slots=True)
class Scaled:
    """A tensor of an old graph as clip(scale * tensor + shift, low, high); one entry a channel, or one for all.

    Attributes:
        tensor: of the new graph; integers.
        scale, shift: exact.
        low, high: a ReLU or hard tanh that has yet to be taken up by a quantizer; None for none.
        layer: the new graph's layer that makes `tensor` and that no one else reads; its rows may be negated.
        terms: number of products in the layer behind it.
        rounded: whether float32 rounds those (not where they are whole numbers times powers of two).
        fresh: whether nothing stands between the layer and here.
        blurred: whether float32 rounds a sum that stands on rounded values, so that exact ties may be missed.
    """

    tensor: str
    scale: Numbers = ONE
    shift: Numbers = ZERO
    low: Numbers | None = None
    high: Numbers | None = None
    layer: str = ""
    terms: int = 0
    rounded: bool = False
    fresh: bool = False
    blurred: bool = False

    @property
    def is_exact(self) -> bool:
        """Whether float32 holds all values exactly."""
        return all(map(is_power_of_two, self.scale)) and all(map(is_short, self.shift))

    def affine(self, gain: Numbers, bias: Numbers) -> Scaled:
        """This tensor times `gain` plus `bias`."""
        low, high = (None if end is None else plus(times(end, gain), bias) for end in (self.low, self.high))
        if (low or high) and any(g < 0 for g in gain):
            size = max(len(gain), len(low or ONE), len(high or ONE))
            gains = spread(gain, size)
            low, high = (None if end is None else spread(end, size) for end in (low, high))
            ends = list(zip(low or (None,) * size, high or (None,) * size, gains, strict=True))
            if low is None or (high is None and any(g > 0 for g in gains)):
                raise Problem(
                    "a ReLU is followed by factors of different signs",
                    hint="quantize right behind the ReLU",
                )
            low, high = _ends(ends)
        shift = plus(times(self.shift, gain), bias)
        return replace(self, scale=times(self.scale, gain), shift=shift, low=low, high=high)

    def clipped(self, low: float, high: float) -> Scaled:
        """This tensor kept within [low, high]; either may be infinite."""
        ends = []
        for old, new, choose in ((self.low, low, max), (self.high, high, min)):
            if not np.isfinite(new):
                ends.append(old)
            else:
                ends.append(tuple(choose(value, Fraction(new)) for value in old) if old else (Fraction(new),))
        least, greatest = ends
        if least is not None and greatest is not None:
            # Clip takes the lower end first: with low above high, all become high.
            size = max(len(least), len(greatest))
            least = tuple(min(a, b) for a, b in zip(spread(least, size), spread(greatest, size), strict=True))
        return replace(self, low=least, high=greatest)

    def ends(self, low: int, high: int) -> tuple[Fraction, Fraction]:
        """Least and greatest value, for integers in [low, high]."""
        size = max(len(self.scale), len(self.shift))
        pairs = list(zip(spread(self.scale, size), spread(self.shift, size), strict=True))
        values = [scale * end + shift for scale, shift in pairs for end in (low, high)]
        return min(values), max(values)

    def tiled(self, places: int) -> Scaled:
        """The form of this map when it is flattened, channels fastest."""
        values = {name: getattr(self, name) for name in ("scale", "shift", "low", "high")}
        longer = {name: v if v is None or len(v) == 1 else v * places for name, v in values.items()}
        return replace(self, **longer)


def _ends(items: list[tuple[Fraction | None, Fraction | None, Fraction]]) -> tuple[Numbers | None, Numbers | None]:
    """Ends of clipped channels after multiplication by gains: they change places where a gain is negative."""
    lows = [low if gain >= 0 else high for low, high, gain in items]
    highs = [high if gain >= 0 else low for low, high, gain in items]
    made = []
    for ends in (lows, highs):
        found = [end for end in ends if end is not None]
        if found and len(found) != len(ends):
            raise Problem("a ReLU is followed by factors of different signs", hint="quantize right behind the ReLU")
        made.append(tuple(found) if found else None)
    return made[0], made[1]


def fractions(values: Array) -> Numbers:
    """Floats as the rationals that they are."""
    return tuple(Fraction(float(value)) for value in values.reshape(-1))


def quotients(values: Array, divisors: Array) -> Numbers:
    """values / divisors without rounding."""
    above, below = fractions(values), fractions(divisors)
    size = max(len(above), len(below))
    return tuple(a / b for a, b in zip(spread(above, size), spread(below, size), strict=True))


def floats(values: Sequence[Fraction]) -> Array:
    """The nearest floats."""
    return np.array([float(value) for value in values])


def spread(values: Numbers, count: int) -> Numbers:
    """One value a channel."""
    return values * count if len(values) == 1 else values


def shrink(values: Numbers) -> Numbers:
    """One value for all channels where they are equal."""
    return values[:1] if all(value == values[0] for value in values) else values


def times(left: Numbers, right: Numbers) -> Numbers:
    """Products, channel by channel; those with one value for all channels first."""
    if len(left) == 1 and len(right) > 1:
        left, right = right, left
    if len(right) > 1:
        return shrink(tuple(a * b for a, b in zip(left, right, strict=True)))
    (factor,) = right
    if factor == 1:
        return left
    return ZERO if factor == 0 else tuple(a * factor for a in left)


def plus(left: Numbers, right: Numbers) -> Numbers:
    """Sums, channel by channel."""
    if len(left) == 1 and len(right) > 1:
        left, right = right, left
    if len(right) > 1:
        return shrink(tuple(a + b for a, b in zip(left, right, strict=True)))
    (term,) = right
    return left if term == 0 else tuple(a + term for a in left)


def common_step(values: Sequence[Fraction]) -> Fraction:
    """The greatest rational of which all values are whole multiples; 0 where all are 0."""
    below = lcm(*(value.denominator for value in values))
    return Fraction(gcd(*(int(value * below) for value in values)), below)


def is_power_of_two(value: Fraction) -> bool:
    """True for plus or minus a power of two, whole or broken."""
    numerator, denominator = abs(value.numerator), value.denominator
    return numerator > 0 and numerator & (numerator - 1) == 0 and denominator & (denominator - 1) == 0


def is_short(value: Fraction) -> bool:
    """True where float32 holds the value exactly with bits to spare: a small whole number over a power of two."""
    return abs(value.numerator) < 2**16 and value.denominator & (value.denominator - 1) == 0

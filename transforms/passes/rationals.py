"""Rationals, one per channel or one for all channels."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import gcd, lcm

import numpy as np

from ..ir.tensor import Array

Numbers = tuple[Fraction, ...]

ZERO, ONE = (Fraction(0),), (Fraction(1),)


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
    """One value per channel."""
    return values * count if len(values) == 1 else values


def collapsed(values: Numbers) -> Numbers:
    """One value for all channels where they are equal."""
    return values[:1] if all(value == values[0] for value in values) else values


def times(left: Numbers, right: Numbers) -> Numbers:
    """Products, channel by channel; those with one value for all channels first."""
    if len(left) == 1 and len(right) > 1:
        left, right = right, left
    if len(right) > 1:
        return collapsed(tuple(a * b for a, b in zip(left, right, strict=True)))
    (factor,) = right
    if factor == 1:
        return left
    return ZERO if factor == 0 else tuple(a * factor for a in left)


def plus(left: Numbers, right: Numbers) -> Numbers:
    """Sums, channel by channel."""
    if len(left) == 1 and len(right) > 1:
        left, right = right, left
    if len(right) > 1:
        return collapsed(tuple(a + b for a, b in zip(left, right, strict=True)))
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

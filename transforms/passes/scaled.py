"""Tensors as scaled integers: scale * integer + shift per channel, in rational arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TypeVar

from bnnflow import Problem

from .curves import STRAIGHT, MonotoneCurve
from .rationals import ONE, ZERO, Numbers, collapsed, is_power_of_two, is_short, plus, spread, times

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Scaled:
    """A tensor of an old graph as curve(scale * tensor + shift); one entry a channel, or one for all.

    Attributes:
        tensor: of the new graph; integers.
        scale, shift: exact.
        curves: rising; an activation that has yet to be absorbed by a quantizer, with what follows it. Empty for none.
        layer: the new graph's layer that makes `tensor` and that no one else reads; its rows may be negated.
        terms: number of products in the layer behind it.
        rounded: whether float32 rounds those (not where they are whole numbers times powers of two).
        fresh: whether nothing stands between the layer and here.
        blurred: whether float32 rounds a sum that stands on rounded values, so that exact ties may be missed.
        loose: whether float32 rounds what follows the flat pieces of the curves.
    """

    tensor: str
    scale: Numbers = ONE
    shift: Numbers = ZERO
    curves: tuple[MonotoneCurve, ...] = ()
    layer: str = ""
    terms: int = 0
    rounded: bool = False
    fresh: bool = False
    blurred: bool = False
    loose: bool = False

    @property
    def columns(self) -> list[tuple[Fraction, Fraction, MonotoneCurve]]:
        """Scale, shift and curve of each channel, or those of all."""
        size = max(len(self.scale), len(self.shift), len(self.curves))
        curves = self.curves or (STRAIGHT,)
        return list(zip(spread(self.scale, size), spread(self.shift, size), _every(curves, size), strict=True))

    @property
    def gains(self) -> Numbers:
        """By what an integer is multiplied: the scales, on each piece of a curve that is not flat."""
        if not self.curves:
            return self.scale
        return tuple({slope * scale for scale, _, curve in self.columns for slope in curve.slopes if slope})

    @property
    def is_exact(self) -> bool:
        """Whether float32 holds all values exactly."""
        if not self.curves:
            return all(map(is_power_of_two, self.scale)) and all(map(is_short, self.shift))
        shifts = {
            slope * shift + intercept
            for _, shift, curve in self.columns
            for slope, intercept in zip(curve.slopes, curve.intercepts, strict=True)
            if slope
        }
        return all(map(is_power_of_two, self.gains)) and all(map(is_short, shifts))

    def affine(self, gain: Numbers, bias: Numbers) -> Scaled:
        """This tensor times `gain` plus `bias`."""
        if not self.curves:
            return replace(self, scale=times(self.scale, gain), shift=plus(times(self.shift, gain), bias))
        size = max(len(gain), len(bias), *((len(self.columns),) if len(gain) > 1 or len(bias) > 1 else (1,)))
        flats = (v for c in self.curves for s, v in zip(c.slopes, c.intercepts, strict=True) if not s)
        loose = any(bias) and not all(map(is_short, (*gain, *bias, *flats)))
        made = replace(self, loose=self.loose or loose)
        if size == 1 and gain[0] > 0:
            return replace(made, curves=tuple(curve.times(gain[0], bias[0]) for curve in self.curves))
        size = max(size, len(self.columns))
        columns = zip(_every(self.columns, size), spread(gain, size), spread(bias, size), strict=True)
        return made._of([_multiplied(*column, factor, term) for column, factor, term in columns])

    def bent(self, curves: Sequence[MonotoneCurve], low: int, high: int) -> Scaled:
        """A function of this tensor, whose integers are in [low, high].

        Raises:
            Problem: the function is not monotone there.
        """
        size = max(len(curves), len(self.columns))
        made, channels = [], []
        for channel, (new, column) in enumerate(zip(_every(curves, size), _every(self.columns, size), strict=True)):
            if not (new.rises or new.falls):
                new = new.within(*_ends(column, low, high))
            if not (new.rises or new.falls):
                channels.append(channel)
            made.append(_bent(column, new))
        if channels:
            raise _not_monotone(channels, size)
        return self._of(made)

    def _of(self, columns: Sequence[tuple[Fraction, Fraction, MonotoneCurve]]) -> Scaled:
        scale, shift, curves = zip(*columns, strict=True)
        if all(curve == STRAIGHT for curve in curves):
            curves = ()
        elif all(curve == curves[0] for curve in curves):
            curves = curves[:1]
        return replace(self, scale=collapsed(scale), shift=collapsed(shift), curves=curves)

    def ends(self, low: int, high: int) -> tuple[Fraction, Fraction]:
        """Least and greatest value, for integers in [low, high]."""
        values = [value for column in self.columns for value in _ends(column, low, high)]
        return min(values), max(values)

    def tiled(self, places: int) -> Scaled:
        """The form of this map when it is flattened, channels fastest."""

        def longer(values: tuple[Item, ...]) -> tuple[Item, ...]:
            return values if len(values) < 2 else values * places

        return replace(self, scale=longer(self.scale), shift=longer(self.shift), curves=longer(self.curves))


def _every(values: Sequence[Item], count: int) -> Sequence[Item]:
    return values if len(values) == count else list(values) * count


def _ends(column: tuple[Fraction, Fraction, MonotoneCurve], low: int, high: int) -> tuple[Fraction, Fraction]:
    """Least and greatest value of a channel."""
    scale, shift, curve = column
    one, other = (curve(scale * end + shift) for end in (low, high))
    return min(one, other), max(one, other)


def _multiplied(
    scale: Fraction, shift: Fraction, curve: MonotoneCurve, gain: Fraction, bias: Fraction
) -> tuple[Fraction, Fraction, MonotoneCurve]:
    """gain * curve(scale * x + shift) + bias, with a rising curve."""
    if not gain:
        return Fraction(0), bias, STRAIGHT
    if gain < 0:
        return -scale, -shift, curve.mirrored().times(gain, bias)
    return scale, shift, curve.times(gain, bias)


def _bent(
    column: tuple[Fraction, Fraction, MonotoneCurve], new: MonotoneCurve
) -> tuple[Fraction, Fraction, MonotoneCurve]:
    """A monotone function of curve(scale * x + shift), with a rising curve."""
    scale, shift, curve = column
    if new.rises:
        return scale, shift, new.after(curve)
    return -scale, -shift, new.mirrored().after(curve.mirrored().times(Fraction(-1), Fraction(0)))


def _not_monotone(channels: Sequence[int], size: int) -> Problem:
    listed = ", ".join(map(str, channels[:8])) + (", ..." if len(channels) > 8 else "")
    where = f" on channels {listed}" if size > 1 else ""
    return Problem(
        f"this activation both rises and falls{where}, so that no thresholds stand for it and the quantizer behind it",
        hint="keep the slopes of LeakyReLU and PReLU at 0 or above (clamp them in training), or quantize first",
    )

"""Intervals of numbers, and values as text: what fields of the recipe and options of commands have in common."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from bnnflow import Problem

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Bounds:
    """An interval of numbers; None: no bound. `least` and `most` belong to it, `above` and `below` do not."""

    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None

    def holds(self, value: float) -> bool:
        """Whether a number lies within."""
        return (
            (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        """For example "1 to 100", "1 or more", "above 0 to 1"; empty without bounds."""
        low = number(self.least) if self.least is not None else self.above is not None and f"above {number(self.above)}"
        high = number(self.most) if self.most is not None else self.below is not None and f"below {number(self.below)}"
        if low and high:
            return f"{low} to {high}"
        if low:
            return low if self.least is None else f"{low} or more"
        return (high if self.most is None else f"at most {high}") if high else ""


def number(value: float) -> str:
    """A number as people read it: 10,000,000, 0.25, 1e-09."""
    return f"{value:,.0f}" if abs(value) < 1e15 and value == int(value) else f"{value:g}"


def shown(value: Any) -> str:
    """A value as an option or a recipe writes it."""
    match value:
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}" if value != int(value) or abs(value) >= 1e7 else str(int(value))
        case dict():
            return ",".join(f"{key}={shown(one)}" for key, one in value.items())
        case tuple() | list():
            return ",".join(shown(one) for one in value)
        case _:
            return str(value)


def checked(name: str, value: T, choices: Sequence[str], bounds: Bounds, whole: bool | None = None) -> T:
    """A value, or every entry of a list, as it is.

    Args:
        name: of the key or option.
        value: None and "" are always allowed.
        choices: words that are allowed; empty: any.
        bounds: of numbers.
        whole: whether numbers are whole ones; None: as the value's type says.

    Raises:
        Problem: it is none of the choices, or out of range; in the recipe's words.
    """
    for one in value if isinstance(value, (list, tuple)) else [value]:
        if one is None or one == "":
            continue
        if choices and one not in choices:
            near = difflib.get_close_matches(str(one).lower(), choices, 1, 0.7)
            hint = f"did you mean '{near[0]}'?" if near else f"allowed: {', '.join(choices)}"
            raise Problem(f"{name}: '{one}' is not allowed", key=name, hint=hint)
        if not choices and isinstance(one, (int, float)) and not bounds.holds(one):
            kind = "whole number" if (isinstance(one, int) if whole is None else whole) else "number"
            raise Problem(f"{name}: {number(one)} is out of range", key=name, hint=f"allowed: a {kind}, {bounds}")
    return value

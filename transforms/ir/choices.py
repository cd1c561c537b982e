"""What FINN lets its users choose of a unit beside PE and SIMD: memories, multipliers, windows.

Each choice is a field of the unit's operation. No choice changes a result; they change what a unit costs and, of
sliding windows, how many values per word holds. Attribute names and values are those of FINN 0.10, its development
branch and finn-plus 1.6 (`get_nodeattr_types`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from bnnflow import Problem

from .ops import AnyOp, Mvau, Op, SlidingWindow, Thresholding

FLAG = (0, 1)
COUNT = ()


@dataclass(frozen=True, slots=True)
class Choice:
    """One choice.

    Attributes:
        field: of the operation.
        attribute: FINN's name of it.
        values: what it may be; empty for any whole number from 0 on.
        form: the form of a unit that has it, "hls" or "rtl"; empty for both.
        older: names that values had in older versions of FINN.
    """

    field: str
    attribute: str
    values: tuple[str | int, ...]
    form: str = ""
    older: Mapping[str, str] | None = None

    def allows(self, value: object) -> bool:
        """Whether a value is one of the choice's; True and False are no numbers."""
        if not self.values:
            return type(value) is int and value >= 0
        return type(value) in (int, str) and value in self.values

    def current(self, value: object) -> object:
        """A value by its name of today."""
        return (self.older or {}).get(value, value) if isinstance(value, str) else value

    @property
    def told(self) -> str:
        """The values, for people."""
        return f"one of {', '.join(map(str, self.values))}" if self.values else "a whole number from 0 on"


_STYLES = ("auto", "block", "distributed", "ultra")
_MODES = ("internal_decoupled", "internal_embedded", "external")
_OLDER_MODES = {"decoupled": "internal_decoupled", "const": "internal_embedded"}

CHOICES: dict[type[Op], tuple[Choice, ...]] = {
    Mvau: (
        Choice("mem_mode", "mem_mode", _MODES, older=_OLDER_MODES),
        Choice("ram_style", "ram_style", _STYLES),
        Choice("ram_style_thresholds", "ram_style_thresholds", _STYLES[:3]),
        Choice("res_type", "resType", ("auto", "lut", "dsp")),
        Choice("runtime_writeable_weights", "runtime_writeable_weights", FLAG),
    ),
    SlidingWindow: (
        Choice("parallel_window", "parallel_window", FLAG),
        Choice("ram_style", "ram_style", _STYLES),
    ),
    Thresholding: (
        Choice("mem_mode", "mem_mode", _MODES[:2], "hls", _OLDER_MODES),
        Choice("ram_style", "ram_style", ("distributed", "block"), "hls"),
        Choice("depth_trigger_bram", "depth_trigger_bram", COUNT, "rtl"),
        Choice("depth_trigger_uram", "depth_trigger_uram", COUNT, "rtl"),
        Choice("uniform_thres", "uniform_thres", FLAG, "rtl"),
        Choice("runtime_writeable_weights", "runtime_writeable_weights", FLAG),
    ),
}


def choices_of(op: AnyOp) -> tuple[Choice, ...]:
    """The choices that a unit has in the form that it has."""
    form = getattr(op, "form", "")
    return tuple(choice for choice in CHOICES.get(type(op), ()) if choice.form in ("", form))


def stated(op: AnyOp) -> dict[str, str | int]:
    """FINN's attributes of all choices of a unit."""
    return {choice.attribute: getattr(op, choice.field) for choice in choices_of(op)}


def with_choices(op: AnyOp, settings: Mapping[str, Any]) -> AnyOp:
    """A unit with the choices that a FINN node's attributes state; those left out keep what they are.

    Raises:
        Problem: a value that the attribute cannot have.
    """
    changes: dict[str, Any] = {}
    for choice in choices_of(op):
        if choice.attribute in settings:
            value = choice.current(settings[choice.attribute])
            if not choice.allows(value):
                raise Problem(f"attribute {choice.attribute} is {value!r}", hint=f"it must be {choice.told}")
            changes[choice.field] = value
    return replace(op, **changes) if changes else op


def like(op: AnyOp, other: AnyOp) -> AnyOp:
    """A unit with the choices of another one of its kind, its form included."""
    names = {choice.field for choice in CHOICES.get(type(op), ())} | {"form"}
    changes: dict[str, Any] = {item.name: getattr(other, item.name) for item in fields(op) if item.name in names}
    return replace(op, **changes) if changes else op


def check_choices(op: AnyOp, channels: int, name: str) -> None:
    """Refuse a unit whose choices no FINN unit has; `channels` are those of its input."""
    where = f"operation {name!r}" if name else ""
    if isinstance(op, Thresholding) and op.form not in ("rtl", "hls"):
        raise Problem(f"Thresholding has no form {op.form!r}", where, "it is rtl or hls")
    for choice in choices_of(op):
        value = getattr(op, choice.field)
        if not choice.allows(value):
            raise Problem(f"{choice.attribute} is {value!r}", where, f"it must be {choice.told}")
    if isinstance(op, SlidingWindow) and op.parallel_window and not op.depthwise and op.simd != channels:
        raise Problem(
            f"a parallel window takes whole pixels, SIMD is {op.simd} of {channels}",
            where,
            f"give SIMD {channels}, or parallel_window 0",
        )

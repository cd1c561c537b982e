"""FPGA parts and what they hold.

Source: AMD's product tables DS180 and DS190 (7 series, Zynq-7000), DS891 (Zynq UltraScale+) and the
Kria K26 data sheet; a block RAM of 36 kbit counts as two of 18 kbit.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from bnnflow import Problem


@dataclass(frozen=True, slots=True)
class Part:
    """Resources of an FPGA: 6-input look-up tables, block RAMs of 18 kbit, UltraRAMs and DSP slices."""

    name: str
    lut: int
    bram18: int
    uram: int = 0
    dsp: int = 0


_PARTS = {
    part.name: part
    for part in (
        Part("xc7a35t", 20_800, 100, 0, 90),
        Part("xc7a100t", 63_400, 270, 0, 240),
        Part("xc7z010", 17_600, 120, 0, 80),
        Part("xc7z020", 53_200, 280, 0, 220),
        Part("xc7z045", 218_600, 1_090, 0, 900),
        Part("xczu3eg", 70_560, 432, 0, 360),
        Part("xczu7ev", 230_400, 624, 96, 1_728),
        Part("xczu9eg", 274_080, 1_824, 0, 2_520),
        Part("xck26", 117_120, 288, 64, 1_248),
    )
}


def names() -> tuple[str, ...]:
    """The known parts, by the beginnings of their names."""
    return tuple(_PARTS)


def part(name: str) -> Part:
    """The part of a full name such as xc7z020clg400-1, or of its beginning.

    Raises:
        Problem: the part is not known; lists those that are.
    """
    for known in _PARTS.values():
        if name.lower().startswith(known.name):
            return known
    near = get_close_matches(name.lower()[:8], list(_PARTS), 1, 0.6)
    hint = f"did you mean {near[0]}? " if near else ""
    raise Problem(f"unknown part {name!r}", "part", f"{hint}known are: {', '.join(_PARTS)}")

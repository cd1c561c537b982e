"""FPGA parts and what they hold: a row a part, and nothing else is to be done for one.

A block RAM of 36 kbit counts as two of 18 kbit.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from bnnflow import Problem


@dataclass(frozen=True, slots=True)
class Part:
    """Resources of an FPGA: 6-input look-up tables, block RAMs of 18 kbit, UltraRAMs and DSP slices.

    `name` is the beginning of full part numbers, `about` the family and AMD's data sheet that the figures are from.
    """

    name: str
    lut: int
    bram18: int
    uram: int = 0
    dsp: int = 0
    about: str = ""

    @property
    def memory_bits(self) -> int:
        """Bits that all its memories hold at most: block RAMs, UltraRAMs, and look-up tables of 64 bits."""
        return 18_432 * self.bram18 + 294_912 * self.uram + 64 * self.lut


_PARTS = {
    part.name: part
    for part in (
        Part("xc7a35t", 20_800, 100, 0, 90, "Artix-7, DS180"),
        Part("xc7a100t", 63_400, 270, 0, 240, "Artix-7, DS180"),
        Part("xc7z010", 17_600, 120, 0, 80, "Zynq-7000, DS190"),
        Part("xc7z020", 53_200, 280, 0, 220, "Zynq-7000, DS190"),
        Part("xc7z045", 218_600, 1_090, 0, 900, "Zynq-7000, DS190"),
        Part("xczu3eg", 70_560, 432, 0, 360, "Zynq UltraScale+, DS891"),
        Part("xczu7ev", 230_400, 624, 96, 1_728, "Zynq UltraScale+, DS891"),
        Part("xczu9eg", 274_080, 1_824, 0, 2_520, "Zynq UltraScale+, DS891"),
        Part("xck26", 117_120, 288, 64, 1_248, "Kria K26, its data sheet"),
    )
}


def part_names() -> tuple[str, ...]:
    """The known parts, by the beginnings of their names."""
    return tuple(_PARTS)


def lines() -> list[tuple[str, str]]:
    """Name and description of each part."""
    return [
        (one.name, f"{one.lut:,} LUT, {one.bram18:,} BRAM18, {one.uram} UltraRAM, {one.dsp:,} DSP slices ({one.about})")
        for one in _PARTS.values()
    ]


def part(name: str) -> Part:
    """The part of a full name such as xc7z020clg400-1, or of its beginning.

    Raises:
        Problem: the part is not known; lists those that are.
    """
    known = max((known for known in _PARTS if name.lower().startswith(known)), key=len, default="")
    if known:
        return _PARTS[known]
    near = get_close_matches(name.lower()[:8], list(_PARTS), 1, 0.6)
    hint = f"did you mean {near[0]}? " if near else ""
    raise Problem(f"unknown part {name!r}", "part", f"{hint}known are: {', '.join(_PARTS)}")

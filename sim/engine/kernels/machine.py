"""What the text of the kernels depends on."""

from __future__ import annotations

from dataclasses import dataclass

WIDE, NARROW = 64, 16
"""Output channels in a block of weights; NARROW for layers of at most 16, whose sums leave the unit."""

LOOKED_UP_PIXELS = {1: 1.0, 2: 1.02, 3: 1.06}
"""Columns at a time of kernels that look up, and how fast each is a column, as measured on Zen 4."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the text depends on.

    Attributes:
        lanes: 64-bit lanes of a vector: 8, 4 or 2.
        dot: multiply-add of small integers: "vpdpbusd" (four bytes), "pmaddwd" (two 16-bit numbers) or "mul".
    """

    lanes: int
    dot: str

    @property
    def looks_up(self) -> bool:
        """Whether bytes are looked up in tables faster than bits are counted: AVX2's vpshufb, which has no vpopcnt."""
        return self.lanes == 4 and self.dot == "pmaddwd"

    @property
    def taps(self) -> int:
        """Products in one lane of a multiply-add; a group of taps fills 4 bytes."""
        return 4 if self.dot == "vpdpbusd" else 2

"""Which approximate sums a network is trained with, as plain data."""

from __future__ import annotations

from dataclasses import dataclass

from bnnflow import Problem


@dataclass(frozen=True, slots=True)
class Approximation:
    """How sums of XNOR products are approximated in training: by one of two ways, or not at all.

    Args:
        lta: n, products of a segment that is compared with a threshold of its own; the majority of a layer's segments
            is the bit. 0: no local thresholds.
        balanced: of lta: thresholds of neighbouring segments differ by one, so that votes are even where a sum is at
            its threshold; False: all have the nearest one, as published.
        capmin: levels, around half of a segment's products, that each segment's popcount is read with. 0: exact.
        array: products of a segment, for capmin.

    Raises:
        Problem: a number is out of range, or both are given.
    """

    lta: int = 0
    capmin: int = 0
    array: int = 32
    balanced: bool = False

    def __post_init__(self) -> None:
        if self.lta and self.capmin:
            raise Problem("local thresholds read no levels", key="capmin", hint="give lta or capmin")
        if self.lta < 0:
            raise Problem(f"segments of {self.lta} products", key="lta", hint="1 or more; 0 for none")
        if self.array < 1:
            raise Problem(f"segments of {self.array} products", key="array", hint="1 or more")
        if not 0 <= self.capmin <= self.array + 1:
            what = f"{self.capmin} levels of segments of {self.array} products"
            raise Problem(what, key="capmin", hint=f"1 to {self.array + 1}; 0 for none")

    def __bool__(self) -> bool:
        return self.lta > 0 or self.capmin > 0

    @property
    def levels(self) -> tuple[int, int]:
        """Lowest and highest popcount that capmin tells apart."""
        low = (self.array + 1 - self.capmin) // 2
        return low, low + self.capmin - 1


EXACT = Approximation()

"""Open placing and routing: the clock that a unit of hardware, or all of it, runs at on a part, by nextpnr."""

from __future__ import annotations

from ..parts import Part

# Families that nextpnr places, by what its program is called.
PROGRAMS = {"ecp5": "nextpnr-ecp5", "ice40": "nextpnr-ice40"}


def is_placed(part: Part) -> bool:
    """Whether nextpnr knows a part, and has a program for its family."""
    return bool(part.nextpnr) and part.family in PROGRAMS

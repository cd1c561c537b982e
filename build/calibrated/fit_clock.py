"""The fit of paths: times of their kinds, so that units have the clocks that were found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import least_squares

from .clock import LOGIC, Clock, Timed, slowest
from .pieces import (
    CORRECTED,
    CORRECTED_BLOCK,
    MULTIPLIED,
    RANKED,
    READ_AHEAD,
    READ_AT_ONCE,
    SUMMED,
    TERNARY,
    VOTED,
)
from .subject import Subject
from .subjects import held_out, subjects
from .table import Table

# Units that are placed: every other one of those that are synthesized, but for large ones, which take minutes each.
EVERY, MOST_LUT, PLACED_HELD_OUT = 2, 2500, 44
# Where the fit begins, and is drawn to where units say little: a kind's least time in ns, and more with its size.
_BEGIN = {
    READ_AHEAD: (6.3, 0.25),
    READ_AT_ONCE: (8.0, 0.25),
    MULTIPLIED: (6.8, 0.0),
    SUMMED: (5.0, 0.2),
    RANKED: (2.0, 2.5),
    TERNARY: (6.0, 0.6),
    CORRECTED: (8.0, 0.5),
    CORRECTED_BLOCK: (13.0, 0.5),
    VOTED: (6.0, 0.5),
}
_DRAWN = 0.05
# A unit: name, sizes of its paths, and the clock that was found in MHz.
Placed = tuple[str, Mapping[str, float], float]


def placed_subjects(table: Table) -> tuple[list[Subject], list[Subject]]:
    """Units that are placed for a fit, and those that judge it, by the LUTs that synthesis found."""
    small = {each.name for each in (*table.fitted, *table.held_out) if each.lut < MOST_LUT}
    fitting = [each for place, each in enumerate(subjects()) if place % EVERY == 0 and each.name in small]
    return fitting, [each for each in held_out() if each.name in small][:PLACED_HELD_OUT]


def clock_of(
    part: str, grade: str, tools: Sequence[str], fitting: Sequence[Placed], held_out: Sequence[Placed]
) -> Clock:
    """A table that is fitted to some units and judged by others; periods count by their relative errors."""
    kinds = sorted({kind for _, sizes, _ in fitting for kind in sizes})
    begin = np.array([_BEGIN.get(kind, LOGIC) for kind in kinds])

    def table(values: np.ndarray) -> dict[str, list[float]]:
        return dict(zip(kinds, values.reshape(-1, 2).tolist(), strict=True))

    def errors(values: np.ndarray) -> np.ndarray:
        paths = table(values)
        made = [np.log(slowest(paths, sizes)[0] * mhz / 1000) for _, sizes, mhz in fitting]
        return np.concatenate([made, _DRAWN * (values - begin.reshape(-1))])

    found = least_squares(errors, begin.reshape(-1), bounds=(0, np.inf)).x
    paths = table(found.round(4))

    def judged(units: Sequence[Placed]) -> list[Timed]:
        return [Timed(name, mhz, round(1000 / slowest(paths, sizes)[0], 1)) for name, sizes, mhz in units]

    others = judged(held_out)
    off = [abs(each.error) for each in others]
    return Clock(
        part=part,
        grade=grade,
        tools=tools,
        paths=paths,
        mean_error=round(float(np.mean(off)), 4) if off else 0.0,
        worst_error=round(max(off, default=0.0), 4),
        fitted=judged(fitting),
        held_out=others,
    )

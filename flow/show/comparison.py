"""The texts of a comparison of pruned with unpruned hardware, for tables and pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..results.comparison import (
    AccuracyCandidate,
    Change,
    Compared,
    EqualAccuracy,
    HardwareComparison,
    NotCompared,
    UnitPair,
    UnitTaken,
)

CHANGES = ("", "level", "unpruned", "pruned", "change", "error", "change within it", "")
LAYERS = ("layer", "unpruned", "cycles", "LUT", "synth.", "pruned", "cycles", "LUT", "synth.", "change", "")
CANDIDATES = ("run", "network", "accuracy, %", "loss", "± images", "LUT", "BRAM18", "cycles", "share of part", "")
_NAMES = {
    "cycles": "cycles",
    "lut": "LUT",
    "lut_ram": "LUT RAM",
    "ff": "FF",
    "bram18": "BRAM18",
    "dsp": "DSP",
}
SMALLER = "< error"
_SPACE, _MINUS = "\N{NO-BREAK SPACE}", "\N{MINUS SIGN}"


@dataclass(frozen=True, slots=True)
class Side:
    """One way in which two networks are compared, as texts.

    Attributes:
        title: what is equal.
        said: what that means, and what was reached; why they are not compared, where they are not.
        changes: a row a figure and level, in columns of `CHANGES`.
        layers: a row a unit, in columns of `LAYERS`.
    """

    title: str
    said: str
    changes: list[list[str]]
    layers: list[list[str]]


def sides(found: HardwareComparison) -> list[Side]:
    """The comparison at equal rate and at equal resources."""
    pairs = (("Equal rate", found.rate), ("Equal resources", found.resources))
    return [_side(title, one, found.errors) for title, one in pairs]


def caption(found: HardwareComparison) -> str:
    """Who counted, how FIFOs are counted, and what the stated errors are."""
    said = f"{found.part}, {found.clock_mhz:g} MHz; LUT include those that are memories; FIFOs: {found.fifos}. "
    if not found.errors:
        return said + f"Counted by {found.cost_model}, which states no error: how far changes hold is not known."
    worst = "" if found.worst_lut_error is None else f" (LUT of a single one up to {found.worst_lut_error:.0%})"
    return said + (
        f"Stated error: mean of {found.units_held_out} units of {found.family} that the fit of {found.cost_model} "
        f"never saw{worst}; beside each change what it may be where both figures are off by it, and {SMALLER!r} where "
        "that leaves open whether they differ at all"
    )


def _side(title: str, one: Compared | NotCompared, errors: Mapping[str, float]) -> Side:
    if isinstance(one, NotCompared):
        return Side(title, f"not compared: {one.reason}", [], [])
    reached = (
        f"reached are {_cycles(one.base.cycles, one.base.interval_cycles)} unpruned, "
        f"{_cycles(one.pruned.cycles, one.pruned.interval_cycles)} pruned"
    )
    same = one.base.cycles == one.pruned.cycles
    differ = "" if same or one.cycles_asked is None else ": not the same rate, for widths have only these divisors"
    found = "; foldings of branches are searched, so better ones may exist" if one.searched else ""
    said = f"Equal {one.equal}; {reached}{differ}{found}."
    return Side(title, said, [_row(each, errors) for each in one.changes], [_layer(pair) for pair in one.layers])


def _cycles(cycles: int, interval: int | None) -> str:
    if interval is None:
        return f"{cycles:,} cycles (of the slowest unit, not simulated)"
    return f"{interval:,} cycles (simulated)"


def _row(one: Change, errors: Mapping[str, float]) -> list[str]:
    error = {"exact": "exact", "synthesized": "counted"}.get(one.level)
    if error is None:
        error = f"{errors[one.figure]:.1%}" if one.figure in errors else "not stated"
    figures = [f"{one.base:,}", f"{one.pruned:,}", signed(one.change)]
    return [_NAMES[one.figure], one.level, *figures, error, _range(one), SMALLER if one.within_error else ""]


def _range(one: Change) -> str:
    if one.low is None or one.high is None or one.low == one.high:
        return ""
    return f"{signed(one.low)[:-2]} to {signed(one.high)}"


def signed(share: float | None) -> str:
    """A relative change in percent with its sign; a dash where it has no meaning."""
    if share is None:
        return "–"
    value = round(100 * share, 1)
    text = f"{value:+,.1f}" if value else f"±{0:.1f}"
    return text.replace("-", _MINUS) + f"{_SPACE}%"


def _layer(pair: UnitPair) -> list[str]:
    change = "" if pair.lut is None else signed(pair.lut.change)
    mark = SMALLER if pair.lut is not None and pair.lut.within_error else ""
    return [pair.name, *_unit(pair.base), *_unit(pair.pruned), change, mark]


def _unit(unit: UnitTaken | None) -> list[str]:
    if unit is None:
        return ["–", "", "", ""]
    cells = "" if unit.synthesized_lut is None else f"{unit.synthesized_lut:,}"
    return [f"{unit.pe} x {unit.simd}" if unit.pe else "", f"{unit.cycles:,}", f"{unit.lut:,}", cells]


def accuracy_rows(found: EqualAccuracy) -> list[list[str]]:
    """The unpruned network and every candidate, in columns of `CANDIDATES`."""
    rows = [_candidate(found.unpruned, "held against")]
    for place, one in enumerate(found.candidates):
        mark = "smallest" if place == found.smallest else "" if one.within else "loses more"
        rows.append(_candidate(one, mark))
    return rows


def accuracy_said(found: EqualAccuracy) -> str:
    """What the tolerance is, whose images judge, and which network is the smallest."""
    said = (
        f"Equal accuracy: a loss of at most {100 * found.tolerance:g} points on {found.judged_on}; costs {found.costs}"
    )
    if found.smallest is None:
        return f"{said}. No pruned network is as accurate."
    best = found.candidates[found.smallest]
    share = best.share / found.unpruned.share - 1 if found.unpruned.share else None
    more = f"; {signed(share)} of the part's share" if share is not None else ""
    return f"{said}. The smallest is {best.network} of {best.run}{more}"


def _candidate(one: AccuracyCandidate, mark: str) -> list[str]:
    half = "" if one.half_width is None else f"{100 * one.half_width:.2f}"
    figures = [f"{100 * one.accuracy:.2f}", f"{100 * one.loss:.2f}".replace("-", _MINUS), half]
    costs = [f"{one.lut:,}", f"{one.bram18:,}", f"{one.cycles:,}", f"{one.share:.1%}"]
    return [one.run, {"base": "unpruned"}.get(one.network, one.network), *figures, *costs, mark]

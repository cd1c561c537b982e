"""Rates of a campaign: one for all memories, others for some, and tables over temperature or voltage."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bnnflow import Problem

from .cells import CellRate
from .models import FaultModel
from .tables import read_text, table_rows

CONDITIONS = ("temperature", "voltage", "condition")
_UPSETS, _SIZE = ("fit", "share", "hours"), "bits"
_NAMES = (*CONDITIONS, "memory", "rate", "p01", "p10", *_UPSETS, _SIZE)
_COLUMNS = (
    "columns are: temperature, voltage or condition; memory (a layer, layer.weights or layer.thresholds; empty: all "
    "others); rate, or p01 and p10, or fit, share and hours"
)
_HOURS, _MBIT = 1e9, 1e6


@dataclass(frozen=True, slots=True)
class Rates:
    """What every memory suffers at one step of a campaign.

    Attributes:
        rest: of all memories that `by` does not name; None where a table says nothing of them.
        by: of a layer ("conv1") or of one memory ("conv1.weights"), which counts before its layer.
        directed: rates of errors from 0 to 1 and from 1 to 0 were given apart, so that only asymmetric models can
            suffer them.
    """

    rest: CellRate | None
    by: Mapping[str, CellRate] = field(default_factory=dict)
    directed: bool = False

    @staticmethod
    def of(value: float) -> Rates:
        """One rate for all memories."""
        return Rates(CellRate.of(value))

    def at(self, layer: str, kind: str) -> CellRate:
        """The rate of one memory or stream.

        Raises:
            Problem: the table names others alone.
        """
        found = self.by.get(f"{layer}.{kind}", self.by.get(layer, self.rest))
        if found is None:
            label = next((rate.label for rate in self.by.values()), "the table")
            hint = f"add a row for {layer}.{kind}, or one with an empty memory for all others"
            raise Problem(f"{label} has no rate for {layer}.{kind}", "rate table", hint)
        return found

    @property
    def value(self) -> float:
        """One number for axes: the greater rate of both directions; of memories that have none by name, or, where
        these have no faults, the greatest of all."""
        found = [max(rate.up, rate.down) for rate in self._every()]
        return found[0] if self.rest is not None and found[0] > 0 else max(found)

    @property
    def none(self) -> bool:
        """Nothing can be hit: all rates are 0."""
        return all(rate.up == rate.down == 0 for rate in self._every())

    @property
    def all(self) -> bool:
        """Every unit is hit: all rates are 1."""
        return all(rate.up == rate.down == 1 for rate in self._every())

    @property
    def one_way(self) -> bool:
        """Some memory suffers different rates in both directions."""
        return any(rate.up != rate.down for rate in self._every())

    def check(self, model: FaultModel) -> None:
        """Refuse a model that speaks of other errors than the rates.

        Raises:
            Problem: rates of each direction and a model without, or one rate and an asymmetric model.
        """
        one_way = model.effect.directed
        if self.directed and not one_way:
            what = f"the rates are of errors from 0 to 1 and from 1 to 0 (p01, p10), but '{model}' has no directions"
            raise Problem(
                what,
                "fault campaign",
                "leave the model out, use an asymmetric one, or give a table of rate",
                key="faults",
            )
        if one_way and not self.directed and not self.one_way:
            what = f"'{model}' takes a rate for each direction, but the rates have one for both"
            raise Problem(
                what,
                "fault campaign",
                "give a table with p01 and p10; one rate for both directions is flip",
                key="faults",
            )

    def _every(self) -> list[CellRate]:
        return [*([self.rest] if self.rest is not None else []), *self.by.values()]

    @property
    def label(self) -> str:
        """Of the condition, such as a temperature; empty: it has none."""
        return next((rate.label for rate in self._every() if rate.label), "")

    def __str__(self) -> str:
        rest = [] if self.rest is None else [self.rest.figures]
        label = self.label
        figures = ", ".join([*rest, *(f"{name} {rate.figures}" for name, rate in self.by.items())])
        return f"{label}: {figures}" if label else figures

    def facts(self) -> dict[str, Any]:
        """What is injected, as plain values: p01 and p10 of the memories that are not named, and of those that are."""
        both = {name: {"p01": rate.up, "p10": rate.down} for name, rate in self.by.items()}
        rest = {"p01": None, "p10": None} if self.rest is None else {"p01": self.rest.up, "p10": self.rest.down}
        return {**rest, "memories": both}

    def key(self) -> str:
        """A text that is the same for the same rates alone: exact numbers, no label."""
        named = [*([("", self.rest)] if self.rest is not None else []), *sorted(self.by.items())]
        return ";".join(f"{name}={rate.up!r}/{rate.down!r}" for name, rate in named)


def upset_rate(fit: float, share: float, hours: float, bits: float = 1.0) -> float:
    """Chance that a unit has a functional upset between two loads of its memory: 1 - exp(-fit bits share hours).

    Upsets are taken to come independently and evenly in time (Poisson).

    Args:
        fit: upsets of 10^6 bits in 10^9 hours (FIT/Mbit, Mbit of 10^6), 0 or more.
        share: of upsets that change what the design does, 0 to 1.
        hours: between two loads or scrubs, 0 or more.
        bits: of the unit that is hit, above 0: 1 for a cell, its configuration bits for a PE.

    Raises:
        Problem: a number out of its range.

    >>> f"{upset_rate(100, 1.0, 1000):.6g}"
    '1e-10'
    """
    bad = {
        "fit": not 0 <= fit < math.inf,
        "share": not 0 <= share <= 1,
        "hours": not 0 <= hours < math.inf,
        "bits": not 0 < bits < math.inf,
    }
    for name, wrong in bad.items():
        if wrong:
            value = {"fit": fit, "share": share, "hours": hours, "bits": bits}[name]
            hint = "fit and hours are 0 or more, share is 0 to 1, bits are above 0"
            raise Problem(f"upsets with {name} {value:g}", "upset rate", hint)
    return -math.expm1(-fit / _HOURS / _MBIT * bits * share * hours)


def read_rates(path: Path) -> list[Rates]:
    """Rate tables from a CSV file with a header, one `Rates` a condition, in the file's order.

    Columns: one of `temperature` (degrees Celsius), `voltage` (volts) or `condition` (any text); `rate`, or `p01`
    and `p10` for errors from 0 to 1 and from 1 to 0, or `fit`, `share`, `hours` and optionally `bits` for upsets
    (`upset_rate`); optionally `memory`. Lines that start with # are skipped.

    Raises:
        Problem: the file cannot be read, columns are missing, unknown, given twice or beside those that they
            contradict, or a value is no rate; with its line.
    """
    try:
        rows = table_rows(read_text(path), path)
    except (OSError, UnicodeDecodeError) as error:
        raise Problem("the rate table cannot be read", str(path), "give a CSV file") from error
    if len(rows) < 2:
        raise Problem("the rate table holds no rates", str(path), _COLUMNS)
    place, header = rows[0]
    condition = _header(header, place)
    directed = "p01" in header
    made: dict[float | str, dict[str, CellRate]] = {}
    labels: dict[float | str, str] = {}
    for where, row in rows[1:]:
        cells = dict(zip(header, row, strict=True))
        # 0.6 and 0.60 are one voltage.
        at = _condition(condition, cells[condition], where)
        label = labels.setdefault(at, f"{condition} {cells[condition]}")
        up, down = _upsets(cells, where) if "fit" in header else _rates(cells, directed, where)
        if not (0 <= up <= 1 and 0 <= down <= 1):
            raise Problem(f"fault rates of {up:g} and {down:g}", where, "give numbers from 0 to 1")
        found = made.setdefault(at, {})
        if cells.get("memory", "") in found:
            raise Problem(f"{label} has two rates for the same memory", where)
        found[cells.get("memory", "")] = CellRate(up, down, label)
    return [
        Rates(found.get(""), {name: rate for name, rate in found.items() if name}, directed) for found in made.values()
    ]


def _rates(cells: Mapping[str, str], directed: bool, where: str) -> tuple[float, float]:
    names = ("p01", "p10") if directed else ("rate", "rate")
    try:
        up, down = (float(cells[name]) for name in names)
    except ValueError:
        said = " or ".join(repr(cells[name]) for name in dict.fromkeys(names))
        raise Problem(f"{said} is not a number", where, _COLUMNS) from None
    return up, down


def _upsets(cells: Mapping[str, str], where: str) -> tuple[float, float]:
    """The rate of a row of upsets, for both directions."""
    names = [name for name in (*_UPSETS, _SIZE) if name in cells]
    try:
        figures = {name: float(cells[name]) for name in names}
    except ValueError:
        said = ", ".join(f"{name} {cells[name]!r}" for name in names)
        raise Problem(f"{said}: not all of these are numbers", where, _COLUMNS) from None
    try:
        rate = upset_rate(**figures)
    except Problem as problem:
        raise Problem(problem.what, where, problem.hint) from None
    return rate, rate


def _header(header: list[str], where: str) -> str:
    """The column of conditions; refuses what cannot be a table's columns."""
    condition = [name for name in CONDITIONS if name in header]
    both, apart, upsets = "rate" in header, {"p01", "p10"} & set(header), {*_UPSETS, _SIZE} & set(header)
    twice = [name for name in dict.fromkeys(header) if header.count(name) > 1]
    if twice:
        raise Problem(f"the rate table has the column {twice[0]!r} twice", where, "keep one of them")
    if both and apart:
        what = f"the rate table has the columns rate and {' and '.join(sorted(apart))}"
        raise Problem(what, where, "give rate for both directions, or p01 and p10")
    if upsets and (both or apart):
        what = f"the rate table has {', '.join(sorted(upsets))} beside {', '.join(sorted(apart) or ['rate'])}"
        raise Problem(what, where, "fit, share and hours give a rate of their own")
    missing = [name for name in _UPSETS if upsets and name not in header]
    if missing:
        what = f"the rate table has {', '.join(sorted(upsets))}, but no {' and no '.join(missing)}"
        hint = "give fit (upsets of 10^6 bits in 10^9 hours), share (0 to 1, of upsets that matter) and hours"
        raise Problem(what, where, hint)
    if set(header) - set(_NAMES) or len(condition) != 1 or not (both or len(apart) == 2 or upsets):
        raise Problem(f"the rate table has the columns {', '.join(header)}", where, _COLUMNS)
    return condition[0]


def _condition(column: str, text: str, where: str) -> float | str:
    """A temperature, a voltage or the name of a condition."""
    try:
        found = text if column == "condition" else float(text)
    except ValueError:
        raise Problem(f"{text!r} is no {column}", where, "give a number, or name the column condition") from None
    if not text or found != found:
        raise Problem(f"the {column} is missing", where, "give one in every row")
    return found

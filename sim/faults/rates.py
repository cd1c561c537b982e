"""Rates of a campaign: one for all memories, others for some, and tables over temperature or voltage."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bnnflow import Problem

from .models import Rate

CONDITIONS = ("temperature", "voltage", "condition")
_COLUMNS = (
    "columns are: temperature, voltage or condition; memory (a layer, layer.weights or layer.thresholds; empty: all "
    "others); rate, or p01 and p10"
)


@dataclass(frozen=True, slots=True)
class Rates:
    """What every memory suffers at one step of a campaign.

    Attributes:
        rest: of all memories that `by` does not name.
        by: of a layer ("conv1") or of one memory ("conv1.weights"), which counts before its layer.
    """

    rest: Rate
    by: Mapping[str, Rate] = field(default_factory=dict)

    @staticmethod
    def of(value: float) -> Rates:
        """One rate for all memories."""
        return Rates(Rate.of(value))

    def at(self, layer: str, kind: str) -> Rate:
        """The rate of one memory or stream."""
        return self.by.get(f"{layer}.{kind}", self.by.get(layer, self.rest))

    @property
    def value(self) -> float:
        """One number for axes: the greater of both directions, of all memories that are not named."""
        return max(self.rest.up, self.rest.down)

    def __str__(self) -> str:
        if self.rest.label or not self.by:
            return str(self.rest)
        return f"{self.rest} ({', '.join(f'{name} {rate}' for name, rate in self.by.items())})"

    def key(self) -> str:
        """A text that is the same for the same rates alone: exact numbers, no label."""
        named = [("", self.rest), *sorted(self.by.items())]
        return ";".join(f"{name}={rate.up!r}/{rate.down!r}" for name, rate in named)


def read_rates(path: Path) -> list[Rates]:
    """Rate tables from a CSV file with a header, one `Rates` a condition, in the file's order.

    Columns: one of `temperature` (degrees Celsius), `voltage` (volts) or `condition` (any text); `rate`, or `p01`
    and `p10` for errors from 0 to 1 and from 1 to 0; optionally `memory`. Lines that start with # are skipped.

    Raises:
        Problem: the file cannot be read, columns are missing or unknown, or a value is no rate; with its line.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            lines = [(number, line) for number, line in enumerate(file, 1) if line.strip() and line[0] != "#"]
    except (OSError, UnicodeDecodeError) as error:
        raise Problem("the rate table cannot be read", str(path), "give a CSV file") from error
    rows = list(csv.reader(line for _, line in lines))
    if len(rows) < 2:
        raise Problem("the rate table holds no rates", str(path), _COLUMNS)
    header = [name.strip() for name in rows[0]]
    unknown = set(header) - {*CONDITIONS, "memory", "rate", "p01", "p10"}
    condition = [name for name in CONDITIONS if name in header]
    if unknown or len(condition) != 1 or not ({"rate"} <= set(header) or {"p01", "p10"} <= set(header)):
        raise Problem(f"the rate table has the columns {', '.join(header)}", f"{path}:{lines[0][0]}", _COLUMNS)
    made: dict[str, dict[str, Rate]] = {}
    for (number, _), row in zip(lines[1:], rows[1:], strict=True):
        where = f"{path}:{number}"
        if len(row) != len(header):
            raise Problem(f"{len(row)} values for {len(header)} columns", where)
        cells = {name: value.strip() for name, value in zip(header, row, strict=True)}
        label = f"{condition[0]} {cells[condition[0]]}"
        names = ("rate", "rate") if "rate" in cells else ("p01", "p10")
        try:
            up, down = (float(cells[name]) for name in names)
        except ValueError:
            raise Problem(f"{cells[names[0]]!r} or {cells[names[1]]!r} is not a number", where, _COLUMNS) from None
        if not (0 <= up <= 1 and 0 <= down <= 1):
            raise Problem(f"fault rates of {up:g} and {down:g}", where, "give numbers from 0 to 1")
        found = made.setdefault(label, {})
        if cells.get("memory", "") in found:
            raise Problem(f"{label} has two rates for the same memory", where)
        found[cells.get("memory", "")] = Rate(up, down, label)
    return [
        Rates(found.get("", Rate(0.0, 0.0, label)), {name: rate for name, rate in found.items() if name})
        for label, found in made.items()
    ]

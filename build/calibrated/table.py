"""What terms of logic cost on an FPGA's family: the table that calibration writes, and what follows from it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from bnnflow import Problem

from .clock import Clock, Timed
from .memory import KINDS

FORMAT = "bnnflow calibration 2"


@dataclass(frozen=True, slots=True)
class Estimated:
    """A unit that was synthesized, and what the table says of it.

    Attributes:
        name: with its sizes.
        lut: of logic, as synthesized.
        estimated: by the table.
        exact: of registers, LUT RAMs, block RAMs and multipliers: those that are not as counted, by name: what was
            counted and what was synthesized.
    """

    name: str
    lut: int
    estimated: int
    exact: Mapping[str, Sequence[int]]

    @property
    def error(self) -> float:
        """Of the LUTs, relative to what was synthesized."""
        return self.estimated / self.lut - 1 if self.lut else 0.0


@dataclass(frozen=True, slots=True)
class Table:
    """A calibration.

    Attributes:
        family: name of the FPGA family.
        tool: what synthesized, with its version.
        terms: LUTs of logic for one of each term of `counts`.
        mean_error, worst_error: of the LUTs of units that the fit did not see, relative.
        fitted, held_out: units that it was fitted to, and others.
        clock: what paths take on a part of the family; None: its units were not placed.
    """

    family: str
    tool: str
    terms: Mapping[str, float]
    mean_error: float
    worst_error: float
    fitted: Sequence[Estimated] = ()
    held_out: Sequence[Estimated] = ()
    clock: Clock | None = None

    def lut(self, terms: Mapping[str, float]) -> int:
        """LUTs of logic; terms that the calibration did not see cost nothing."""
        return round(sum(self.terms.get(name, 0.0) * amount for name, amount in terms.items()))

    def counted_error(self, kind: str) -> float | None:
        """Mean error of what is counted, relative to what was synthesized, of units that the fit did not see.

        Args:
            kind: "ff", "lut_ram", "block_ram" or "dsp".

        Returns:
            0 where all were as counted; None where the table holds no such units.
        """
        pairs = [each.exact.get(kind, (1, 1)) for each in self.held_out]
        return sum(abs(made - found) / max(1, found) for made, found in pairs) / len(pairs) if pairs else None

    def text(self) -> str:
        """As a file: a line a term and a unit."""
        held = asdict(self)
        clock = held.pop("clock")
        rows = {key: held.pop(key) for key in ("terms", "fitted", "held_out")}
        lines = [f"  {json.dumps('format')}: {json.dumps(FORMAT)},"]
        lines += [f"  {json.dumps(key)}: {json.dumps(value)}," for key, value in held.items()]
        lines.append('  "terms": {')
        lines.append(",\n".join(f"    {json.dumps(key)}: {value:.4f}" for key, value in rows["terms"].items()))
        for key in ("fitted", "held_out"):
            closing = "}" if key == "fitted" else "]"
            lines.append(f'  {closing},\n  "{key}": [')
            lines.append(",\n".join(f"    {json.dumps(row)}" for row in rows[key]))
        lines.append("  ]" if clock is None else f'  ],\n  "clock": {_clock_text(clock)}')
        return "{\n" + "\n".join(line for line in lines if line) + "\n}\n"


def _clock_text(held: dict[str, Any]) -> str:
    """As JSON within a table: a line a kind of path and a unit."""
    rows = {key: held.pop(key) for key in ("paths", "fitted", "held_out")}
    lines = [f"    {json.dumps(key)}: {json.dumps(value)}," for key, value in held.items()]
    paths = ",\n".join(f"      {json.dumps(kind)}: {json.dumps(value)}" for kind, value in rows["paths"].items())
    lines.append(f'    "paths": {{\n{paths}\n    }},')
    for key in ("fitted", "held_out"):
        units = ",\n".join(f"      {json.dumps(row)}" for row in rows[key])
        lines.append(f'    "{key}": [\n{units}\n    ]' + ("," if key == "fitted" else ""))
    return "{\n" + "\n".join(lines) + "\n  }"


def read_table(text: str, where: str) -> Table:
    """A calibration from a file's text.

    Raises:
        Problem: it is none.
    """
    try:
        held: dict[str, Any] = json.loads(text)
        if (written := held.pop("format")) != FORMAT or held["family"] not in KINDS:
            if re.fullmatch(r"bnnflow calibration \d+", str(written)):
                what = "this calibration is of another version's hardware"
                raise Problem(what, where, "`flow calibrate -o FILE` makes it anew")
            raise ValueError
        fitted, others = ([Estimated(**row) for row in held.pop(key)] for key in ("fitted", "held_out"))
        terms = {str(key): float(value) for key, value in held.pop("terms").items()}
        return Table(terms=terms, fitted=fitted, held_out=others, clock=_clock(held.pop("clock", None)), **held)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise Problem("this is no calibration", where, "`flow calibrate -o FILE` writes one") from None


def _clock(held: dict[str, Any] | None) -> Clock | None:
    if held is None:
        return None
    fitted, others = ([Timed(**row) for row in held.pop(key)] for key in ("fitted", "held_out"))
    paths = {str(kind): (float(least), float(more)) for kind, (least, more) in held.pop("paths").items()}
    return Clock(paths=paths, fitted=fitted, held_out=others, **held)


def calibrated() -> list[str]:
    """Families that come with a calibration."""
    folder = files(__package__) / "tables"
    return sorted(place.name.removesuffix(".json") for place in folder.iterdir() if place.name.endswith(".json"))


@cache
def table(family: str) -> Table:
    """The calibration of a family that comes with the package.

    Raises:
        Problem: there is none.
    """
    place = files(__package__) / "tables" / f"{family}.json"
    if not place.is_file():
        what = f"our hardware is not calibrated for {f'the family {family!r}' if family else 'this part'}"
        hint = f"calibrated are {', '.join(calibrated())}; `flow calibrate` makes a table for --calibration"
        raise Problem(what, "cost model", hint)
    return read_table(place.read_text("utf-8"), str(place))

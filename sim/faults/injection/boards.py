"""Block RAMs of a board below nominal voltage, as they were measured: faulty cells of each memory at each voltage.

`kc705b` comes with the package; `read_board` reads anyone's measurement. A board says how many cells of a memory are
faulty, not which: places are drawn (`undervolting`). Faults are of cells that held 1 and read 0.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from bnnflow import Problem

from ....transforms.ir.tensor import Array
from .tables import read_text, table_rows

# More volts than any core has: what is above was written in millivolts.
_MOST_VOLTS = 3.0
_MOST_CELLS = 1 << 30
_COLUMNS = ("memory", "voltage", "count", "bits")
_KEYS = ("board", "source", "note", "bits_per_memory", "faultless", "counts")
_FORM = (
    "give JSON (board, bits_per_memory, counts: a list by voltage, one number a memory) or CSV (columns memory, "
    "voltage, count, bits); docs/undervolting.md has an example"
)


@dataclass(frozen=True)
class Board:
    """Faulty cells of a board's memories.

    Attributes:
        name: of the board, for people.
        bits: cells of a memory that were looked at.
        voltages: volts, falling.
        counts: by voltage, of every memory: cells among `bits` that read 0 where 1 was written.
    """

    name: str
    bits: int
    voltages: tuple[float, ...]
    counts: tuple[tuple[int, ...], ...]

    @property
    def memories(self) -> int:
        """How many were measured."""
        return len(self.counts[0])

    @cached_property
    def table(self) -> Array:
        """The counts, (voltages, memories) int64."""
        return np.array(self.counts, np.int64)

    def place(self, voltage: float) -> int:
        """Which of `voltages` this is.

        Raises:
            Problem: it was not measured; nothing is guessed between two that were.
        """
        if voltage not in self.voltages:
            hint = f"measured are {', '.join(f'{one:g}' for one in self.voltages)}"
            raise Problem(f"{self.name} was not measured at {voltage:g} V", "voltages", hint, key="faults")
        return self.voltages.index(voltage)

    def rate(self, voltage: float) -> float:
        """Faulty share of all cells at a voltage, 0 to 1: what every cell suffers where its memory is drawn."""
        return sum(self.counts[self.place(voltage)]) / (self.bits * self.memories)

    @cached_property
    def digest(self) -> str:
        """sha256 of the counts: the same for the same measurement, whatever its name."""
        said = [self.bits, list(self.voltages), [list(row) for row in self.counts]]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()


@cache
def kc705b() -> Board:
    """KC705-B (Kintex-7): 890 memories at 0.59 to 0.53 V.

    Source: B. Salami, O. Unsal, A. Cristal, Comprehensive Evaluation of Supply Voltage Underscaling in FPGA on-Chip
    Memories, MICRO 2018; what the table is derived from stands in the file.
    """
    place = files(__package__) / "kc705b.json"
    return _of_json(place.read_text("utf-8"), str(place))


def read_board(path: Path) -> Board:
    """A board from a file: JSON, or CSV with a row a memory and voltage.

    JSON: `board` (a name), `bits_per_memory`, `counts` (by voltage in volts: faulty cells of every memory, in the same
    order at all voltages); `faultless` more memories have none anywhere; `source` and `note` are for people. CSV:
    columns `memory` (any name), `voltage`, `count`, `bits` (of a memory, the same in all rows); lines that start with #
    are skipped.

    Raises:
        Problem: the file cannot be read or is none of both; a memory without a count at a voltage, or with two; what is
            no number of cells or volts; more faults than cells; fewer faults in all at a lower voltage.
    """
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        raise Problem("the table of undervolted memories cannot be read", str(path), _FORM) from error
    if path.suffix.lower() == ".csv":
        return _of_csv(text, path)
    if path.suffix.lower() != ".json":
        raise Problem("a table of undervolted memories ends in .json or .csv", str(path), _FORM)
    return _of_json(text, str(path))


def _of_json(text: str, where: str) -> Board:
    try:
        held = json.loads(text, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        why = "it is nested without end" if isinstance(error, RecursionError) else error
        raise Problem(f"this is no table of undervolted memories: {why}", where, _FORM) from None
    if not isinstance(held, dict) or set(held) - set(_KEYS) or {"board", "bits_per_memory", "counts"} - set(held):
        said = f"has the keys {', '.join(held)}" if isinstance(held, dict) else "is no JSON object"
        raise Problem(f"the table of undervolted memories {said}", where, _FORM)
    name, counts, spare = held["board"], held["counts"], held.get("faultless", 0)
    if not isinstance(name, str) or not name.strip() or not isinstance(counts, dict) or not counts:
        raise Problem("the board has no name, or its counts are no lists by voltage", where, _FORM)
    by_voltage: dict[float, list[int]] = {}
    for volts, row in counts.items():
        place = f"{where}, {volts} V"
        if not isinstance(row, list):
            raise Problem(f"{row!r} is no list of counts", place, _FORM)
        if _volts(volts, place) in by_voltage:
            raise Problem(f"{float(volts):g} V stands there twice", place, "give each voltage once")
        by_voltage[float(volts)] = [_count(one, "faulty cells", place) for one in row]
    for rows in pairwise(by_voltage.items()):
        (one, first), (other, second) = rows
        if len(first) != len(second):
            what = f"{len(first)} memories at {one:g} V, but {len(second)} at {other:g} V"
            raise Problem(what, where, "give every memory's count at every voltage, 0 where it has no fault")
    rest = [0] * _count(spare, "memories without faults", where)
    return _checked(name, held["bits_per_memory"], {volts: [*row, *rest] for volts, row in by_voltage.items()}, where)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of these keys; a key that stands there twice would hide the first."""
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError(f"a key stands there twice: {', '.join(name for name, _ in pairs)}")
    return made


def _of_csv(text: str, path: Path) -> Board:
    rows = table_rows(text, path)
    if len(rows) < 2 or sorted(rows[0][1]) != sorted(_COLUMNS):
        raise Problem("this is no table of undervolted memories", str(path), _FORM)
    header = rows[0][1]
    found: dict[float, dict[str, int]] = {}
    sizes: dict[int, str] = {}
    for where, row in rows[1:]:
        cells = dict(zip(header, row, strict=True))
        volts = _volts(cells["voltage"], where)
        at = found.setdefault(volts, {})
        if not cells["memory"] or cells["memory"] in at:
            what = f"memory {cells['memory']!r} has two counts at {volts:g} V" if cells["memory"] else "no memory named"
            raise Problem(what, where, "give one row a memory and voltage")
        at[cells["memory"]] = _count(_whole(cells["count"]), "faulty cells", where)
        sizes.setdefault(_count(_whole(cells["bits"]), "cells of a memory", where), where)
    if len(sizes) > 1:
        what = f"memories of {' and of '.join(f'{size:,}' for size in sizes)} bits"
        raise Problem(what, list(sizes.values())[1], "give a file of each, with memories of one size")
    names = list(dict.fromkeys(name for at in found.values() for name in at))
    for volts, at in found.items():
        missing = [name for name in names if name not in at]
        if missing:
            more = f" and {len(missing) - 1:,} more" if missing[1:] else ""
            what = f"no count at {volts:g} V of memory {missing[0]}{more}"
            raise Problem(what, str(path), "give every memory's count at every voltage, 0 where it has no fault")
    by_voltage = {volts: [at[name] for name in names] for volts, at in found.items()}
    return _checked(path.stem, next(iter(sizes)), by_voltage, str(path))


def _whole(text: str) -> object:
    try:
        return int(text)
    except ValueError:
        return text


def _volts(text: str, where: str) -> float:
    try:
        volts = float(text)
    except ValueError:
        raise Problem(f"{text!r} is no voltage", where, "give volts, such as 0.54") from None
    if not 0 < volts < _MOST_VOLTS:
        hint = f"in volts that is {volts / 1000:g}" if 100 <= volts < 1000 * _MOST_VOLTS else "give volts, such as 0.54"
        raise Problem(f"{text} is no voltage in volts of a core", where, hint)
    return volts


def _count(value: object, what: str, where: str) -> int:
    if type(value) is not int or value < 0:
        raise Problem(f"{value!r} is no number of {what}", where, "give a whole number from 0 on")
    return value


def _checked(name: str, bits: object, by_voltage: Mapping[float, Sequence[int]], where: str) -> Board:
    """The board, once its figures can be of one."""
    cells = _count(bits, "cells of a memory", where)
    if cells > _MOST_CELLS:
        raise Problem(f"memories of {cells:.3g} cells", where, "give the cells of one memory that were looked at")
    falling = sorted(by_voltage, reverse=True)
    if not cells or not by_voltage[falling[0]]:
        raise Problem("no memories, or memories without cells", where, _FORM)
    for volts in falling:
        worst = max(by_voltage[volts])
        if worst > cells:
            what = f"{worst:,} faulty cells at {volts:g} V in a memory of {cells:,}"
            raise Problem(what, where, "give counts of cells, and the cells of a memory that were looked at")
    for high, low in pairwise(falling):
        before, behind = sum(by_voltage[high]), sum(by_voltage[low])
        if behind < before:
            what = f"{before:,} faulty cells at {high:g} V, but {behind:,} at the lower {low:g} V"
            raise Problem(what, where, "faults become more as the voltage falls: look at the order of the voltages")
    return Board(name.strip(), cells, tuple(falling), tuple(tuple(by_voltage[volts]) for volts in falling))

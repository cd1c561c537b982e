"""A module in, its clock out: one run of yosys and nextpnr, kept by content."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

from bnnflow import CHECK_FAILED, TOOL_MISSING, Problem

from ..parts import Part
from ..synth.families import FAMILIES, Family
from ..synth.yosys import Sources, Yosys, keep, mapped_in
from .harness import INSTANCE, Harnessed

_NETLIST, _REPORT, _LOG = "netlist.json", "report.json", "nextpnr.log"


@dataclass(frozen=True, slots=True)
class Nextpnr:
    """A nextpnr of one family.

    Attributes:
        command: before its options.
        version: as it says it; results of another one are not taken.
        cache: folder of results.
    """

    command: tuple[str, ...]
    version: str
    cache: Path


@dataclass(frozen=True, slots=True)
class Target:
    """What a module is placed on.

    Attributes:
        part: of which `nextpnr` is not empty.
        grade: speed grade, of the part's; empty where it has none.
        clock_mhz: that is asked for.
        seed: of the placer's random numbers, 1 or more.
    """

    part: Part
    grade: str
    clock_mhz: float
    seed: int

    @property
    def options(self) -> tuple[str, ...]:
        """Of nextpnr."""
        grade = ("--speed", self.grade) if self.grade else ()
        return (*self.part.nextpnr, *grade, "--freq", f"{self.clock_mhz:g}", "--seed", str(self.seed))


@dataclass(frozen=True, slots=True)
class CriticalPath:
    """The slowest path from a register to a register.

    Attributes:
        start, end: instances of the module's top that hold its registers; empty: a register of the top or of the
            harness.
        logic_ns: in cells, with set-up.
        routing_ns: between them.
        cells: look-up tables, carries and multiplexers on it.
    """

    start: str
    end: str
    logic_ns: float
    routing_ns: float
    cells: int


@dataclass(frozen=True, slots=True)
class Routed:
    """A module, placed and routed.

    Attributes:
        fmax_mhz: the fastest that its clock may be.
        used, available: cells by the type that nextpnr calls them, the harness among them.
        path: that the clock waits for.
        seconds: that nextpnr took when it was done, and yosys where it had to map the module first.
        kept: whether it was done before.
    """

    fmax_mhz: float
    used: Mapping[str, int]
    available: Mapping[str, int]
    path: CriticalPath
    seconds: float
    kept: bool = False


class Netlists:
    """Modules as they were mapped, each once, until they are let go of or this is left: seeds share them.

    Args:
        yosys: the program.
        seconds: that it may take; None: as long as it takes.
    """

    def __init__(self, yosys: Yosys, seconds: float | None = None) -> None:
        self._yosys = yosys
        self._seconds = seconds
        self._folder = tempfile.TemporaryDirectory()
        self._locks: defaultdict[str, Lock] = defaultdict(Lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._folder.cleanup()

    def into(self, folder: Path, sources: Sources, family: Family) -> None:
        """Lay a module's netlist into a folder of the same file system; who asks first waits for yosys.

        Raises:
            Problem: as for `mapped_in`.
        """
        digest = sources.digest
        place = self._place(digest)
        with self._locks[digest]:
            if not place.is_file():
                with tempfile.TemporaryDirectory(dir=self._folder.name) as name:
                    mapped_in(Path(name), sources, family, self._yosys, self._seconds, _NETLIST)
                    (Path(name) / _NETLIST).replace(place)
            os.link(place, folder / _NETLIST)

    def forget(self, digest: str) -> None:
        """Let go of a module's netlist."""
        self._place(digest).unlink(missing_ok=True)

    def _place(self, digest: str) -> Path:
        return Path(self._folder.name) / f"{digest}.json"


def routed(
    module: Harnessed,
    target: Target,
    tools: tuple[Yosys, Nextpnr],
    seconds: float | None = None,
    netlists: Netlists | None = None,
) -> Routed:
    """Synthesize a module in its harness, place and route it; what was done before is taken from the cache.

    Args:
        module: of the generator.
        target: part, grade, clock and seed.
        tools: the programs.
        seconds: that each of them may take; None: as long as it takes.
        netlists: of the same family, for several seeds of a module; None: it is mapped for this run alone.

    Raises:
        Problem: a program fails (with its last lines), or, status 1, the module does not fit the part, or it takes too
            long.
    """
    yosys, nextpnr = tools
    if netlists is None:
        with Netlists(yosys, seconds) as own:
            return routed(module, target, tools, seconds, own)
    family = FAMILIES[target.part.family]
    script = family.command + family.library
    parts = [yosys.version, nextpnr.version, script, *target.options, module.sources.digest]
    file = nextpnr.cache / f"{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:40]}.json"
    if (known := _known(file)) is not None:
        return known
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        netlists.into(folder, module.sources, family)
        said = _report_of(folder, target, nextpnr, seconds)
    took = round(time.perf_counter() - began, 2)
    found = _read(said, took)
    keep(file, asdict(found))
    return found


def _known(file: Path) -> Routed | None:
    """What the cache has; nothing where its file is not whole."""
    try:
        held = json.loads(file.read_text("utf-8"))
        return Routed(**held | {"path": CriticalPath(**held["path"]), "kept": True})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _report_of(folder: Path, target: Target, nextpnr: Nextpnr, seconds: float | None) -> dict[str, Any]:
    # The yowasp programs see their working folder alone, so names are relative.
    names = ("--json", _NETLIST, "--report", _REPORT, "-q", "-l", _LOG, "--timing-allow-fail")
    loose = ("--lpf-allow-unconstrained",) if target.part.family == "ecp5" else ("--pcf-allow-unconstrained",)
    command = [*nextpnr.command, *target.options, *names, *loose]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        what = f"placing and routing took more than {seconds:g} s"
        raise Problem(what, "nextpnr", "give it more time, or place units apart", CHECK_FAILED) from None
    except OSError as error:
        raise Problem(f"nextpnr cannot be started: {error}", "nextpnr", "run `flow doctor`", TOOL_MISSING) from error
    if done.returncode:
        _refuse(done, folder / _LOG, target)
    try:
        found: dict[str, Any] = json.loads((folder / _REPORT).read_text("utf-8"))
    except (OSError, ValueError):
        what = "nextpnr ended without an error, and without a whole report"
        raise Problem(what, "nextpnr", "is there room left on the disk?", TOOL_MISSING) from None
    return found


def _refuse(done: subprocess.CompletedProcess[str], log: Path, target: Target) -> None:
    """Say why nextpnr failed.

    Raises:
        Problem: always.
    """
    lines = (done.stdout + done.stderr).strip().splitlines()
    errors = [line for line in lines if line.startswith("ERROR")]
    told = log.read_text("utf-8", errors="replace") if log.is_file() else ""
    full = re.findall(r"^Info:\s+(\w+):\s+(\d+)/\s*(\d+)\s+(\d+)%", told, re.MULTILINE)
    beyond = [f"{int(used):,} {kind} of {int(there):,}" for kind, used, there, _ in full if int(used) > int(there)]
    if beyond or any("no more BELs" in line or "Unable to find" in line for line in errors):
        need = f": it needs {', '.join(beyond)}" if beyond else ""
        hint = "a larger part (`flow parts`), a lower rate, or more pruning"
        raise Problem(f"it does not fit {target.part.name}{need}", "nextpnr", hint, CHECK_FAILED)
    tail = "\n".join((errors or lines)[-8:])
    hint = "a status below 0 is a signal: -9 mostly means that memory ran out; else please report it"
    raise Problem(f"nextpnr failed with status {done.returncode}: {tail}", "nextpnr", hint, TOOL_MISSING)


def _read(said: Mapping[str, Any], seconds: float) -> Routed:
    """What nextpnr's report says.

    Raises:
        Problem: it has no clock.
    """
    if not said["fmax"]:
        raise Problem("no path of it has a clock", "nextpnr", "this is a bug: please report it")
    name, clock = min(said["fmax"].items(), key=lambda one: one[1]["achieved"])
    inside = f"posedge {name}"
    path = next(one for one in said["critical_paths"] if one["from"] == one["to"] == inside)
    used = {kind: each["used"] for kind, each in said["utilization"].items() if each["used"]}
    return Routed(
        fmax_mhz=round(clock["achieved"], 3),
        used=used,
        available={kind: said["utilization"][kind]["available"] for kind in used},
        path=_path(path["path"]),
        seconds=seconds,
    )


def _path(hops: Sequence[Mapping[str, Any]]) -> CriticalPath:
    routing = sum(hop["delay"] for hop in hops if hop["type"] == "routing")
    return CriticalPath(
        start=_instance(hops[0]["from"]["cell"]),
        end=_instance(hops[-1]["to"]["cell"]),
        logic_ns=round(sum(hop["delay"] for hop in hops) - routing, 3),
        routing_ns=round(routing, 3),
        cells=sum(hop["type"] == "logic" for hop in hops),
    )


def _instance(cell: str) -> str:
    """The instance of the module's top that a cell lies in: "conv0" of "dut.u_conv0.u_out.head_LUT4_B"."""
    names = cell.split(".")
    return names[1].removeprefix("u_") if len(names) > 2 and names[0] == INSTANCE else ""

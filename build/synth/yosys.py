"""Sources in, counted cells out: one run of yosys, kept by content."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from bnnflow import CHECK_FAILED, TOOL_MISSING, Problem

from .families import Family
from .logic_cells import logic_cells

_NETLIST = "netlist.json"
_FLATTENED = ("setattr -mod -unset keep_hierarchy =*", "flatten", "clean")
# Strings, which stay, or what makes no cells: comments, checks of parameters, what only simulation reads, and space.
_NO_CELLS = re.compile(
    r'("(?:[^"\\\n]|\\.)*")'
    r"|(?://[^\n]*|`(?:ifndef __ICARUS__|ifdef BNNFLOW_(?:ASSERT|STATISTICS|UNKNOWN))\b.*?`endif\b|\s+)+",
    re.DOTALL,
)


@lru_cache(maxsize=256)
def _of_cells(text: str) -> str:
    """What cells come from; units share most of their modules."""
    return _NO_CELLS.sub(r"\1 ", text)


@dataclass(frozen=True, slots=True)
class Yosys:
    """A yosys that runs a script.

    Attributes:
        command: before the script, which is one more argument.
        version: as it says it; results of another one are not taken.
        cache: folder of results.
    """

    command: tuple[str, ...]
    version: str
    cache: Path


@dataclass(frozen=True, slots=True)
class Sources:
    """A module with all that it needs.

    Attributes:
        top: its name.
        files: text by path: SystemVerilog, and memories that it reads.
        called: what people call it, where that is another name; nothing depends on it.
    """

    top: str
    files: Mapping[str, str]
    called: str = field(default="", compare=False)

    @property
    def name(self) -> str:
        """For people."""
        return self.called or self.top

    @property
    def digest(self) -> str:
        """sha256 of all that cells come from: not of comments, spaces, checks of parameters and of simulation."""
        total = hashlib.sha256(self.top.encode())
        for path, text in sorted(self.files.items()):
            made = _of_cells(text) if path.endswith(".sv") else text
            total.update(f"\0{path}\0{made}".encode())
        return total.hexdigest()


@dataclass(frozen=True, slots=True)
class Netlist:
    """What synthesis made.

    Attributes:
        cells: number by the type of cell.
        seconds: that it took, when it was done.
        kept: whether it was done before.
    """

    cells: Mapping[str, int]
    seconds: float
    kept: bool


def synthesized(sources: Sources, family: Family, yosys: Yosys, seconds: float | None = None) -> Netlist:
    """Map a module to a family's cells; what was mapped before is taken from the cache.

    Args:
        sources: the module.
        family: that it is mapped to.
        yosys: the program.
        seconds: that it may take; None: as long as it takes.

    Raises:
        Problem: yosys fails (with its last lines), or status 1, takes too long.
    """
    if (known := kept(sources, family, yosys)) is not None:
        return known
    file = _place(sources, family, yosys)
    began = time.perf_counter()
    cells = _mapped(sources, family, yosys, seconds)
    took = round(time.perf_counter() - began, 2)
    keep(file, {"yosys": yosys.version, "family": family.name, "seconds": took, "cells": cells})
    return Netlist(cells, took, False)


def keep(file: Path, found: Mapping[str, object]) -> None:
    """Write a result of the cache as JSON, whole or not at all; its folder need not be there."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=file.parent, delete=False, encoding="utf-8") as new:
        json.dump(found, new)
    Path(new.name).replace(file)


def kept(sources: Sources, family: Family, yosys: Yosys) -> Netlist | None:
    """What the cache has of a module mapped to a family's cells; None where it was not mapped before."""
    return _known(_place(sources, family, yosys))


def _place(sources: Sources, family: Family, yosys: Yosys) -> Path:
    total = hashlib.sha256("\0".join([yosys.version, family.key, sources.digest]).encode())
    return yosys.cache / f"{total.hexdigest()[:40]}.json"


def _known(file: Path) -> Netlist | None:
    """What the cache has; nothing where its file is not whole."""
    try:
        held = json.loads(file.read_text("utf-8"))
        return Netlist({str(cell): int(count) for cell, count in held["cells"].items()}, float(held["seconds"]), True)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _mapped(sources: Sources, family: Family, yosys: Yosys, seconds: float | None) -> dict[str, int]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if not family.packed:
            return mapped_in(folder, sources, family, yosys, seconds)
        cells = mapped_in(folder, sources, family, yosys, seconds, _NETLIST, flat=True)
        netlist = json.loads((folder / _NETLIST).read_text("utf-8"))
        return cells | {family.packed: logic_cells(netlist, sources.top)}


def mapped_in(
    folder: Path,
    sources: Sources,
    family: Family,
    yosys: Yosys,
    seconds: float | None = None,
    netlist: str = "",
    *,
    flat: bool = False,
) -> dict[str, int]:
    """Have yosys map a module, whatever is kept; returns the number of cells by their type.

    Args:
        folder: that sources are written to; it is there.
        sources: the module.
        family: that it is mapped to.
        yosys: the program.
        seconds: that it may take; None: as long as it takes.
        netlist: name of a file in the folder for the netlist, in yosys' JSON; empty: none is written.
        flat: modules that are kept apart are part of the top one there.

    Raises:
        Problem: as for `synthesized`.
    """
    modules = [path for path in sources.files if path.endswith(".sv")]
    # Modules with a file as a parameter have none by default: they are read when they are instantiated.
    script = [f"read_verilog -sv -defer {' '.join(modules)}", *family.script(sources.top)]
    script += ["tee -q -o stat.json stat -json", *(_FLATTENED if flat else ())]
    script += [f"write_json {netlist}"] if netlist else []
    for path, text in sources.files.items():
        if not family.memory_luts:
            # yosys refuses a memory that is asked to be of what the family has not.
            text = text.replace('.STYLE("distributed")', '.STYLE("auto")')
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    _run([*yosys.command, "; ".join(script)], folder, seconds, sources.name)
    said = (folder / "stat.json").read_text("utf-8")
    counts = json.loads(said[said.index("{") :])["design"]["num_cells_by_type"]
    # Instances of modules that are kept apart stand beside the cells in them, and notes of what was flattened.
    cells = {cell: int(n) for cell, n in counts.items() if not cell.startswith(("$paramod", "$scopeinfo", "bnnflow_"))}
    if left := [cell for cell in cells if cell.startswith("$")]:
        what = f"yosys left {', '.join(left)} of {sources.name} that no cell of {family.name} stands for"
        raise Problem(what, "yosys", "this is a bug: please report it")
    return cells


def _run(command: Sequence[str], folder: Path, seconds: float | None, top: str) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        what = f"synthesis of {top} took more than {seconds:g} s"
        raise Problem(what, "yosys", "give it more time; a narrower unit takes less", CHECK_FAILED) from None
    except OSError as error:
        raise Problem(f"yosys cannot be started: {error}", "yosys", "run `flow doctor`", TOOL_MISSING) from error
    if done.returncode:
        tail = "\n".join((done.stdout + done.stderr).strip().splitlines()[-8:])
        what = f"yosys failed on {top} with status {done.returncode}: {tail}"
        hint = "a status below 0 is a signal: -9 mostly means that memory ran out; else please report it"
        raise Problem(what, "yosys", hint, TOOL_MISSING)

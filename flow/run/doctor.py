"""What of this computer and its packages is fit for use. Looks, and prints nothing; one small unit is simulated."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bnnflow import Problem

if TYPE_CHECKING:
    from ...build.cosim.verilator import Tools

# package, lowest version, first version that is too new, whether bnnflow needs it
_PACKAGES = (
    ("torch", "2.4", "", True),
    ("brevitas", "0.12", "", True),
    ("captum", "0.8", "", True),
    ("numpy", "2.0", "", True),
    ("onnx", "1.19", "1.23", True),
    ("onnxoptimizer", "0.3.13", "", True),
    ("onnxruntime", "1.18", "", True),
    ("qonnx", "1.0", "", True),
    ("protobuf", "4.25", "", True),
    ("pydantic", "2.7", "3", True),
    ("pydantic-core", "2.18", "", True),
    ("ruamel.yaml", "0.18", "", True),
    ("scipy", "1.13", "", True),
    ("platformdirs", "4", "", True),
    ("filelock", "4", "", True),
    ("typer", "0.12", "", True),
    ("rich", "13", "", True),
    ("jinja2", "3.1", "", True),
    ("joblib", "1.4", "", True),
    ("llvmlite", "0.45", "", True),
    ("ml-dtypes", "0.5", "", True),
    ("matplotlib", "3.8", "", True),
    ("pillow", "10", "", True),
    ("threadpoolctl", "3", "", True),
    ("finn-base", "0.0.3", "", False),
)
_CPU_FEATURES = ("avx2", "avx512bw", "avx512_vpopcntdq", "neon", "asimd", "sve")
_LITTLE_MEMORY = 2 << 30
_LITTLE_DISK = 1 << 30
_BUILD_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Args:
        name: what was looked at.
        ok: whether it is there and fit.
        detail: version, size or model.
        hint: what to do when it is not ok; may be empty.
        needed: whether bnnflow cannot do its main job without it.
    """

    name: str
    ok: bool
    detail: str
    hint: str = ""
    needed: bool = False


def examine(folder: Path = Path()) -> list[Finding]:
    """Look at Python, packages, processor, memory, disk, GPU and tools.

    Args:
        folder: where runs would be written; its free space is reported.
    """
    found = [_python(), *(_package(*entry) for entry in _PACKAGES), _onnx_pair()]
    return [
        *found,
        _processor(),
        _memory(),
        _disk(folder),
        _gpu(),
        _verilator(),
        _compiler(),
        *_simulation(),
        _yosys(),
        *_nextpnr(),
    ]


def _python() -> Finding:
    ok = sys.version_info >= (3, 11)
    return Finding("python", ok, platform.python_version(), "" if ok else "use Python 3.11 or newer", True)


def release(version: str) -> tuple[int, ...]:
    """The leading numbers of a version: `2.13.0+cpu` gives (2, 13, 0)."""
    match = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in match[0].split(".")) if match else ()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _package(package: str, low: str, high: str, needed: bool) -> Finding:
    version = _version(package)
    wanted = f"{package}>={low}" + (f",<{high}" if high else "")
    hint = f"pip install '{wanted}'"
    if not version:
        return Finding(package, False, "not installed", hint, needed)
    fits = release(version) >= release(low) and (not high or release(version) < release(high))
    return Finding(package, fits, version if fits else f"{version}, needs {wanted}", "" if fits else hint, needed)


def _onnx_pair() -> Finding:
    """onnx 1.23 writes IR version 14, which onnxruntime up to 1.31 refuses to read."""
    onnx, runtime = _version("onnx"), _version("onnxruntime")
    name = "onnx pair"
    if not onnx or not runtime:
        return Finding(name, False, "onnx or onnxruntime is not installed", "pip install 'onnx<1.23' onnxruntime", True)
    if release(onnx) >= (1, 23) and release(runtime) < (1, 32):
        detail = f"onnxruntime {runtime} cannot read what onnx {onnx} writes (IR version 14)"
        return Finding(name, False, detail, "pip install 'onnx<1.23'", True)
    return Finding(name, True, f"onnxruntime {runtime} reads what onnx {onnx} writes", needed=True)


def _processor() -> Finding:
    model, features = platform.machine(), []
    try:
        info = Path("/proc/cpuinfo").read_text(errors="replace")
    except OSError:
        info = ""
    for line in info.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            model = value.strip()
        elif key.strip() in ("flags", "Features"):
            features = [feature for feature in _CPU_FEATURES if feature in value.split()]
            break
    detail = f"{model}, {_cores()} cores" + (f", {' '.join(features)}" if features else "")
    return Finding("processor", True, detail)


def _cores() -> int:
    # Fewer than the machine has, where a container or taskset limits them.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory() -> Finding:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError, AttributeError):
        return Finding("memory", True, "size not known")
    ok = size >= _LITTLE_MEMORY
    return Finding("memory", ok, f"{size / 2**30:.1f} GiB", "" if ok else "2 GiB or more are needed for training")


def _disk(folder: Path) -> Finding:
    try:
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return Finding("disk", False, error.strerror or "cannot be read", "give another folder")
    ok = free >= _LITTLE_DISK
    return Finding("disk", ok, f"{free / 2**30:.1f} GiB free", "" if ok else "make room: a run takes up to 1 GiB")


def _gpu() -> Finding:
    line = _first_line(["nvidia-smi", "--query-gpu=name,memory.total", "--format=csv,noheader"])
    return Finding("gpu", bool(line), line or "none found", "" if line else "not needed; training uses the processor")


def _verilator() -> Finding:
    from .tools import INSTALL_VERILATOR, verilator_place

    place = verilator_place()
    if place is None:
        return Finding("verilator", False, "not installed", f"only for flow cosim: {INSTALL_VERILATOR}")
    line = _first_line([str(place[0]), "--version"])
    hint = "" if line else "flow cosim cannot run it; install it again"
    return Finding("verilator", bool(line), line or f"{place[0]} does not start", hint)


def _compiler() -> Finding:
    from .tools import compiler_place

    place = compiler_place()
    if place is None:
        return Finding("c++ compiler", False, "not installed", "only for flow cosim: apt install g++")
    line = _first_line([str(place), "--version"])
    return Finding("c++ compiler", bool(line), line or f"{place} does not start", "" if line else "install it again")


def _simulation() -> list[Finding]:
    """Whether both together build and run a unit, and right; nothing where one of them is missing."""
    from .tools import compiler_place, simulation_tools, verilator_place

    if verilator_place() is None or compiler_place() is None:
        return []
    name, began = "simulation", time.perf_counter()
    try:
        wrong = _simulated_wrong(simulation_tools())
    except ImportError as error:
        return [Finding(name, False, f"not tried: {error}", "mend the packages first")]
    except Problem as problem:
        return [Finding(name, False, problem.what, "it needs make, perl and a C++ compiler of C++17")]
    if wrong:
        return [Finding(name, False, f"a unit that was built gives {wrong} of 32 wrong values", "install it again")]
    return [Finding(name, True, f"builds and runs a unit ({time.perf_counter() - began:.1f} s)")]


def _simulated_wrong(tools: Tools) -> int:
    """Values of a unit, built and run, that the simulator does not give."""
    import numpy as np

    from ...build.cosim.verilator import build
    from ...build.rtl.design import design
    from ...sim.reference import run
    from ...transforms.ir.graph import Graph, Node
    from ...transforms.ir.ops import Mvau
    from ...transforms.ir.tensor import TensorType

    weight, bounds = np.array([[0, 1, 1, 0], [1, 1, 0, 1]], np.uint8), np.array([[2], [3]])
    unit = Node("layer", Mvau(weight, bounds, True, 0, 1, 2), ("x",))
    graph = Graph("doctor", "x", TensorType((4,), 0, 1), (unit,), "layer")
    images, made = np.arange(16)[:, None] >> np.arange(4) & 1, design(graph, 2, {}, 100.0)
    with tempfile.TemporaryDirectory() as folder:
        made.write(Path(folder))
        found = build(made, Path(folder), tools, _BUILD_SECONDS).run(images, seconds=_BUILD_SECONDS).outputs
    return int((found != run(graph, images)["layer"].reshape(found.shape)).sum())


def _yosys() -> Finding:
    from .tools import INSTALL_YOSYS, yosys_command

    found = yosys_command()
    return Finding(
        "yosys", found is not None, found[1] if found else "not installed", f"only for flow synth: {INSTALL_YOSYS}"
    )


def _nextpnr() -> list[Finding]:
    from ...build.route import PROGRAMS
    from .tools import INSTALL_NEXTPNR, nextpnr_command

    found = {program: nextpnr_command(program) for program in PROGRAMS.values()}
    return [
        Finding(program, one is not None, one[1] if one else "not installed", f"only for flow route: {INSTALL_NEXTPNR}")
        for program, one in found.items()
    ]


def _first_line(command: list[str]) -> str:
    """The first line that a program prints; empty when it is missing, fails or takes over 10 s."""
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip().partition("\n")[0]

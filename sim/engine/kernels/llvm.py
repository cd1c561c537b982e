"""Compiling the kernels by LLVM, once a processor: machine code is kept in a folder that is said from above.

llvmlite is imported when it is first needed.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import platform
import sys
import zlib
from functools import cache
from pathlib import Path
from typing import Any

from bnnflow import TOOL_MISSING, Problem

from ..kept import kept_in
from .image import Image
from .machine import Machine
from .native import NativeKernels
from .source import names, text

TARGETS = ("host", "avx512", "avx2", "x86-64")
"""What kernels can be compiled for: this processor as it is, or as if it had no more than the one named."""

_SOURCES = (
    *("source.py", "source_xnor.py", "source_dot.py", "source_maps.py", "source_steps.py"),
    *("machine.py", "assembly.py", "image.py", "llvm.py"),
)
_FORCED = {"avx512": "znver4", "avx2": "haswell", "x86-64": "x86-64"}


def available() -> bool:
    """Whether this kind of processor is one that kernels are written for, and llvmlite is there to compile them."""
    if platform.machine().lower() not in ("x86_64", "amd64", "aarch64", "arm64") or sys.byteorder != "little":
        return False
    try:
        return importlib.util.find_spec("llvmlite") is not None
    except ValueError:  # imports of it are blocked
        return False


@cache
def native(target: str = "host", folder: Path | None = None) -> NativeKernels:
    """The kernels for a target, from the folder or compiled.

    Args:
        target: one of `TARGETS`.
        folder: of the kept machine code; None for `kept.kept_in()`. A folder that cannot be written and
            files that are damaged do no harm.

    Raises:
        Problem: llvmlite is not installed, the target is unknown, or this processor cannot run it.
    """
    if target not in TARGETS:
        raise Problem(f"unknown target {target!r}", "argument target", f"one of {', '.join(TARGETS)}")
    key = _key(target)
    folder = kept_in() if folder is None else folder
    path = None if folder is None else folder / f"kernels-{zlib.crc32(key):08x}-{target}.bin"
    return (None if path is None else _kept(path, key)) or _made(target, path, key)


def _kept(path: Path, key: bytes) -> NativeKernels | None:
    """Kernels from a file; None where there is none, or it is damaged."""
    content = read_checked(path, key)
    if content is None:
        return None
    image, notes = Image.from_bytes(content)
    loaded = image.load()
    if loaded is None:
        return None
    return NativeKernels.at(Machine(int(notes["lanes"]), notes["dot"]), *loaded)


def _made(target: str, path: Path | None, key: bytes) -> NativeKernels:
    """Kernels compiled now, and kept where their code can be laid out as an image."""
    llvm = _llvmlite()
    cpu, features = _processor(llvm, target)
    machine, triple = machine_of(llvm, cpu, features), llvm.get_process_triple()

    def builder(model: str) -> Any:
        # An engine takes its target machine over, so each needs one of its own.
        return llvm.Target.from_triple(triple).create_target_machine(
            cpu=cpu, features=features, opt=3, reloc="pic", codemodel=model
        )

    module = llvm.parse_assembly(f'target triple = "{triple}"\n{text(machine)}')
    module.verify()
    image = Image.of_object(bytes(builder("small").emit_object(module)))
    loaded = None if image is None else image.load()
    if image is not None and loaded is not None:
        if path is not None:
            write_checked(path, key, image.to_bytes({"lanes": str(machine.lanes), "dot": machine.dot}))
        return NativeKernels.at(machine, *loaded)
    engine = llvm.create_mcjit_compiler(module, builder("jitdefault"))
    engine.finalize_object()
    return NativeKernels.at(machine, {name: engine.get_function_address(name) for name in names(machine)}, engine)


def _key(target: str) -> bytes:
    """What kept machine code depends on: target, processor, LLVM, and how kernels are written."""
    parts = [target, platform.system(), platform.machine(), *_cpu_lines()]
    try:
        found = importlib.util.find_spec("llvmlite")
    except ValueError:  # imports of it are blocked
        found = None
    if found is not None and found.origin is not None:
        parts.append(_content(Path(found.origin).parent / "_version.py"))
    parts += [_content(Path(__file__).parent / name) for name in _SOURCES]
    return zlib.compress("\0".join(parts).encode(), 1)


def _cpu_lines() -> list[str]:
    """Name and features of the first processor, as Linux tells them; elsewhere its name."""
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            lines = list(itertools.takewhile(str.strip, file))
    except OSError:
        return [platform.processor()]
    wanted = ("vendor_id", "cpu family", "model", "stepping", "flags", "Features", "CPU ")
    return [line for line in lines if line.startswith(wanted)]


def _content(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def assembly(triple: str, cpu: str, features: str = "") -> str:
    """Assembler text of the kernels for any processor that LLVM knows, for tests."""
    llvm = _llvmlite()
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    machine = machine_of(llvm, cpu, features, triple)
    module = llvm.parse_assembly(f'target triple = "{triple}"\n{text(machine)}')
    module.verify()
    target_machine = llvm.Target.from_triple(triple).create_target_machine(cpu=cpu, features=features, opt=3)
    return str(target_machine.emit_assembly(module))


def machine_of(llvm: Any, cpu: str, features: str, triple: str = "") -> Machine:
    """Width of vectors and form of products for a processor."""
    triple = triple or llvm.get_process_triple()
    if not triple.startswith(("x86_64", "amd64", "i686")):
        return Machine(2, "mul")
    flags = set(features.split(","))
    if cpu == "znver4" or {"+avx512f", "+avx512bw", "+avx512vl", "+avx512vnni"} <= flags:
        return Machine(8, "vpdpbusd")
    if {"+avx512f", "+avx512bw"} <= flags:
        return Machine(8, "pmaddwd")
    if cpu == "haswell" or "+avx2" in flags:
        return Machine(4, "pmaddwd")
    return Machine(2, "pmaddwd")


def _llvmlite() -> Any:
    try:
        import llvmlite.binding as llvm
    except ImportError as error:
        raise Problem(
            "llvmlite is not installed, which the llvm backend needs",
            "backend='llvm'",
            "pip install 'llvmlite>=0.45', or take the backend auto or numpy",
            TOOL_MISSING,
        ) from error
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm


def _processor(llvm: Any, target: str) -> tuple[str, str]:
    """Name and features of the processor to compile for."""
    cpu, found = llvm.get_host_cpu_name(), llvm.get_host_cpu_features()
    if target == "host":
        return cpu, ",".join(f"{'+' if on else '-'}{name}" for name, on in sorted(found.items()))
    needs = {"avx512": ("avx512f", "avx512vpopcntdq", "avx512vnni"), "avx2": ("avx2",), "x86-64": ("sse2",)}[target]
    if not all(found.get(name, False) for name in needs):
        raise Problem(f"this processor ({cpu}) cannot run the target {target!r}", "argument target", "take host")
    return _FORCED[target], ""


def read_checked(path: Path, key: bytes) -> bytes | None:
    """The content that `write_checked` kept under the same key; None where there is none or it is damaged."""
    try:
        held = path.read_bytes()
    except OSError:
        return None
    key = len(key).to_bytes(4, "little") + key
    start = 4 + len(key)
    whole = held[4:start] == key and zlib.crc32(held[4:]) == int.from_bytes(held[:4], "little")
    return held[start:] if whole else None


def write_checked(path: Path, key: bytes, content: bytes) -> None:
    """Keep a key and content behind their CRC-32; written aside and moved into place, not at all where refused."""
    import tempfile  # takes milliseconds, which a start with kept code need not spend

    key = len(key).to_bytes(4, "little") + key
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".kernels-")
        with os.fdopen(handle, "wb") as file:
            file.write(zlib.crc32(key + content).to_bytes(4, "little") + key + content)
        os.replace(temporary, path)
    except OSError:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)

"""CUDA C++ compiled for the GPU at hand by NVRTC, which comes with torch, and started by the driver; no toolkit needed.

Both libraries are called by ctypes, after "NVRTC" and "CUDA Driver API" in NVIDIA's CUDA documentation.
"""

from __future__ import annotations

import ctypes
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

import torch

from .cuda_source import SOURCE, THREADS, LayerArguments

_TEXT = ctypes.c_char_p
_SUPPORTED = 75  # the least architecture that NVRTC 13 compiles for, and of which the source was compiled


class Launcher(Protocol):
    """What starts kernels of `cuda_source.SOURCE` on some device."""

    @property
    def capability(self) -> tuple[int, int]:
        """Compute capability, (major, minor)."""
        ...

    def launch(self, kernel: str, grid: tuple[int, int], layer: LayerArguments) -> None:
        """Queue a kernel on torch's stream; the memory that the layer names is torch's."""
        ...


@dataclass(frozen=True, slots=True)
class Driver:
    """Compiled kernels on torch's current GPU.

    Attributes:
        capability: of the GPU.
        functions: handles by name.
        library: the driver.
    """

    capability: tuple[int, int]
    functions: Mapping[str, ctypes.c_void_p]
    library: ctypes.CDLL

    @staticmethod
    def found(source: str = SOURCE, names: Sequence[str] | None = None, **macros: int) -> Driver | None:
        """The kernels, compiled; None where torch's CUDA is not NVIDIA's, or NVRTC or the driver cannot be loaded.

        Args:
            source: CUDA C++.
            names: of the kernels, `extern "C"`; None for those of `cuda_source`.
            macros: tile sizes; see the source.

        Raises:
            RuntimeError: the source does not compile, or the driver does not take it.
        """
        capability = torch.cuda.get_device_capability()
        compiler, library = _nvrtc(), _cuda()
        if compiler is None or library is None or 10 * capability[0] + capability[1] < _SUPPORTED:
            return None
        torch.cuda.current_stream().synchronize()  # makes the device's context, which modules are loaded into
        code = compiled(compiler, source, capability, macros)
        module, functions = ctypes.c_void_p(), {}
        _done(library.cuModuleLoadData(ctypes.byref(module), code), "cuModuleLoadData")
        for name in KERNELS if names is None else names:
            functions[name] = ctypes.c_void_p()
            _done(library.cuModuleGetFunction(ctypes.byref(functions[name]), module, name.encode()), name)
        return Driver(capability, functions, library)

    def launch(self, kernel: str, grid: tuple[int, int], layer: ctypes.Structure, threads: int = THREADS) -> None:
        """See `Launcher`."""
        arguments = (ctypes.c_void_p * 1)(ctypes.addressof(layer))
        stream = ctypes.c_void_p(torch.cuda.current_stream().cuda_stream)
        started = self.library.cuLaunchKernel(
            self.functions[kernel], *grid, 1, threads, 1, 1, 0, stream, arguments, None
        )
        _done(started, kernel)


KERNELS = ("popc_bits", "popc_sums", "dot_bits", "dot_sums", "tensor_bits", "tensor_sums", "pool_bits")


def compiled(compiler: ctypes.CDLL, source: str, capability: tuple[int, int], macros: Mapping[str, int]) -> bytes:
    """Machine code for a GPU, or PTX of the newest architecture that NVRTC knows where the GPU is newer.

    Raises:
        RuntimeError: with the compiler's log.
    """
    count = ctypes.c_int()
    _done(compiler.nvrtcGetNumSupportedArchs(ctypes.byref(count)), "nvrtcGetNumSupportedArchs")
    known = (ctypes.c_int * count.value)()
    _done(compiler.nvrtcGetSupportedArchs(known), "nvrtcGetSupportedArchs")
    wanted = 10 * capability[0] + capability[1]
    best = max(arch for arch in known if arch <= wanted)
    kind = "sm" if best == wanted else "compute"
    options = [f"--gpu-architecture={kind}_{best}", "--std=c++17", *(f"-D{k}={v}" for k, v in macros.items())]
    program = ctypes.c_void_p()
    made = compiler.nvrtcCreateProgram(ctypes.byref(program), source.encode(), b"bnnflow.cu", 0, None, None)
    _done(made, "nvrtcCreateProgram")
    try:
        array = (_TEXT * len(options))(*(option.encode() for option in options))
        if compiler.nvrtcCompileProgram(program, len(options), array):
            log = _output(compiler, program, "ProgramLog").decode(errors="replace")
            raise RuntimeError(f"NVRTC does not compile the kernels for {kind}_{best}: {log}")
        return _output(compiler, program, "CUBIN" if kind == "sm" else "PTX")
    finally:
        compiler.nvrtcDestroyProgram(ctypes.byref(program))


def _output(compiler: ctypes.CDLL, program: ctypes.c_void_p, what: str) -> bytes:
    size = ctypes.c_size_t()
    _done(compiler[f"nvrtcGet{what}Size"](program, ctypes.byref(size)), what)
    made = ctypes.create_string_buffer(max(1, size.value))
    _done(compiler[f"nvrtcGet{what}"](program, made), what)
    return made.raw


def _done(status: int, what: str) -> None:
    if status:
        raise RuntimeError(f"{what}: status {status}")


@cache
def _nvrtc() -> ctypes.CDLL | None:
    major = (torch.version.cuda or "").partition(".")[0]
    if not major:
        return None
    name = f"nvrtc64_{major}0_0.dll" if sys.platform == "win32" else f"libnvrtc.so.{major}"
    nvidia = importlib.util.find_spec("nvidia")
    folders = [Path(torch.__file__).parent / "lib"]
    for base in (nvidia.submodule_search_locations or ()) if nvidia else ():
        folders += sorted(Path(base).glob("*/lib"))
    for folder in folders:
        if (folder / name).exists():
            # NVRTC asks for this one by its name alone, and finds it where it is loaded already.
            _loaded(*(str(path) for path in sorted(folder.glob("libnvrtc-builtins.so.*"))))
    return _loaded(*(str(folder / name) for folder in folders if (folder / name).exists()), name)


@cache
def _cuda() -> ctypes.CDLL | None:
    return _loaded("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")


def _loaded(*names: str) -> ctypes.CDLL | None:
    for name in names:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None

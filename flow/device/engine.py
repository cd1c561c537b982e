"""The packed simulator on a device of torch; the same integers as the processor's kernels.

The steps are those that `sim/engine/plan.py` makes for every backend: here by kernels of `cuda_kernels` on GPUs of
NVIDIA's, else by those of `torch_kernels`. Operations without a packed form run in numpy between them. It stands in
flow/ because sim/ imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import torch

from bnnflow import TOOL_MISSING, Problem

from ...sim.engine.plan import Planner, Step
from ...sim.engine.simulator import Simulator, least_cycles
from ...transforms.ir.graph import Graph
from .cuda_driver import Driver
from .cuda_kernels import CudaKernels
from .torch_kernels import TorchKernels

DEVICES = ("cpu-torch", "cuda")

# Words in one round of torch's operations: they stay in a processor's cache, or fill a GPU.
_ROUND = {"cpu": 2**16, "cuda": 2**25}
# Clock cycles of a processor's work in one block of images, and the least and most images in it.
_WORK, _LEAST, _MOST = 8e6, 16, 16_384


def torch_simulator(graph: Graph, device: str = "cuda") -> Simulator:
    """The simulator of a graph on a device.

    Args:
        graph: of any level; those of the XNOR and dataflow levels run on packed bits.
        device: one of `DEVICES`.

    Raises:
        Problem: an unknown device, or one that torch does not find (status 3).
    """
    check_device(device)
    kernels = _cuda() if device == "cuda" else TorchKernels(torch.device("cpu"), _ROUND["cpu"])
    steps = Planner(graph, kernels, (graph.output,)).steps()
    block = _fitting(graph, steps) if device == "cuda" else max(_LEAST, int(_WORK / max(1.0, least_cycles(graph))))
    return Simulator(graph, device, 1, kernels, steps, min(block, _MOST))


def check_device(device: str) -> None:
    """Refuse what is no device, or not here.

    Raises:
        Problem: an unknown device, or one that torch does not find (status 3).
    """
    if device not in DEVICES:
        raise Problem(f"unknown device {device!r}", "--device", f"one of cpu, {', '.join(DEVICES)}")
    if device == "cuda" and not torch.cuda.is_available():
        hint = "use cpu-torch, or a computer with a GPU and torch built for it"
        raise Problem("torch finds no GPU here", "--device cuda", hint, TOOL_MISSING)


@cache
def _driver(index: int) -> Driver | None:
    """The kernels, compiled once a process for torch's current GPU, which has this index."""
    return Driver.found()


def _cuda() -> TorchKernels:
    """The fastest kernels for torch's current GPU."""
    index = torch.cuda.current_device()
    device, driver = torch.device("cuda", index), _driver(index)
    if driver is None:
        return TorchKernels(device, _ROUND["cuda"])
    return CudaKernels.of(device, _ROUND["cuda"], driver)


def _fitting(graph: Graph, steps: Sequence[Step]) -> int:
    """Images whose maps take at most half of the GPU's free memory, and whose places kernels can count in 32 bits.

    Several forms of the largest map are there at once, words of 8 bytes among them; of the others one byte a value.
    """
    sizes = [math.prod(graph.types[name].shape) for name in (graph.input, *(step.makes for step in steps))]
    free, _ = torch.cuda.mem_get_info()
    return max(_LEAST, int(min(free / 2 / (32 * max(sizes) + sum(sizes)), 2**30 / max(sizes))))

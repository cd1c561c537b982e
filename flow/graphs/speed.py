"""Reference performance of a network: other programs, our simulator and the accelerator's estimate in one table."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from bnnflow import Problem

from ...sim.engine.simulator import Simulator, classes_of
from ...sim.inputs import float_inputs
from ...sim.speed import affordable_images, latency, throughput
from ...transforms.ir.graph import Graph
from ...transforms.ir.tensor import Array
from ..results.speed import LeftOut, SpeedRow
from .oracles import onnxruntime_program, openvino_program

if TYPE_CHECKING:
    from ...models.files.saved import Trained

BATCH = 128
GPU_BATCH = 1024
OPENVINO_BATCH = 32

# Seconds of one pass over the images; a row takes a few, to judge, to warm up and to time.
PASS = 2.0

Scores = Callable[[Array], Array]


@dataclass(frozen=True, slots=True)
class Accelerator:
    """What is known of an accelerator.

    Attributes:
        part: its name.
        clock_mhz: in MHz.
        asked: images per second that it is folded for.
        fps: images per second.
        latency_us: of one image, in microseconds.
    """

    part: str
    clock_mhz: float
    asked: float
    fps: float
    latency_us: float


@dataclass(frozen=True, slots=True)
class Contender:
    """A program that is timed.

    Attributes:
        engine, batch: as of `SpeedRow`.
        scores: (images, ...) to (images, classes).
        exact: scores that it must equal to count as exact; None where only classes are compared.
    """

    engine: str
    batch: int
    scores: Scores
    exact: Scores | None = None


def network_rows(
    qonnx: Path | None,
    graph: Graph,
    images: Array,
    threads: int,
    network: Trained | None = None,
    accelerator: Accelerator | None = None,
    why_not: str = "it was not folded for a rate",
) -> tuple[list[SpeedRow], list[LeftOut]]:
    """Images a second and latency of one network in every program that is at hand, all on `threads` threads.

    A program gets as many of the images as take it about `PASS` seconds; so does the simulator that judges classes.

    Args:
        qonnx: QONNX file for onnxruntime and OpenVINO; None leaves them out.
        graph: for our simulator, compiled as far as it goes.
        images: (images, C, H, W) as the graph's input wants them.
        threads: processor threads.
        network: the Brevitas network for torch, on the GPU too where there is one; None leaves it out.
        accelerator: None leaves it out.
        why_not: why it is left out.

    Returns:
        one row a program, and what is left out.
    """
    rows: list[SpeedRow] = []
    missing: list[LeftOut] = []
    judge = Simulator.of(graph, threads=threads)
    wanted = judge.classes(images[: affordable_images(judge.scores, images, PASS)])
    with threadpool_limits(threads, "blas"):
        for make in (_torch(network, threads), _ours(graph, threads), _files(qonnx, graph, threads)):
            for found in make:
                if isinstance(found, Contender):
                    rows.append(_timed(found, graph, images, wanted))
                else:
                    missing.append(found)
    if accelerator is None:
        missing.append(LeftOut("accelerator", why_not))
    else:
        folded = f"folded for {accelerator.asked:,.0f} images/s"
        name = f"accelerator, {accelerator.part} at {accelerator.clock_mhz:g} MHz, {folded}"
        rows.append(SpeedRow(name, accelerator.fps, accelerator.latency_us / 1e3, None, "estimated"))
    return rows, missing


def _timed(found: Contender, graph: Graph, images: Array, wanted: Array) -> SpeedRow:
    count = affordable_images(found.scores, images, PASS)
    if count > found.batch and count < len(images):
        count -= count % found.batch
    compared = min(count, len(wanted))
    if found.exact is not None:
        compared = min(compared, affordable_images(found.exact, images[:compared], PASS))
    scores = found.scores(images[:compared])
    other = int(np.count_nonzero(classes_of(graph, scores) != wanted[:compared]))
    inexact = f"{other} of {compared} images in another class" if other else ""
    if not inexact and found.exact is not None:
        differ = int(np.count_nonzero((scores != found.exact(images[:compared])).any(axis=1)))
        inexact = f"scores of {differ} of {compared} images differ, no class" if differ else ""
    speed, delay = throughput(found.scores, images[:count], seconds=2 * PASS), latency(found.scores, images[:1])
    batch = min(found.batch, count)
    return SpeedRow(found.engine, speed, delay, batch, "measured", count, len(images), compared, other, inexact)


Found = Iterator[Contender | LeftOut]


def _torch(network: Trained | None, threads: int) -> Found:
    """The network that was trained, as it was trained."""
    if network is None:
        yield LeftOut("torch (Brevitas)", "there are no weights.pt of this network")
        return
    import torch

    from ...models.training.evaluate import predict

    def on(device: str, batch: int, short: bool) -> Scores:
        def scores(images: Array) -> Array:
            with torch.autocast(device, torch.bfloat16, enabled=short):
                return predict(network, images, batch)

        return scores

    torch.set_num_threads(threads)
    float32 = on("cpu", BATCH, False)
    yield Contender("torch (Brevitas) float32", BATCH, float32)
    yield Contender("torch (Brevitas) bf16", BATCH, on("cpu", BATCH, True), float32)
    if not torch.cuda.is_available():
        yield LeftOut("torch (Brevitas) on a GPU", "torch finds no GPU")
        return
    name = torch.cuda.get_device_name()
    network.to("cuda")
    float32 = on("cuda", GPU_BATCH, False)
    yield Contender(f"torch (Brevitas) float32, {name}", GPU_BATCH, float32)
    yield Contender(f"torch (Brevitas) bf16, {name}", GPU_BATCH, on("cuda", GPU_BATCH, True), float32)
    network.to("cpu")


def _ours(graph: Graph, threads: int) -> Found:
    simulator = Simulator.of(graph, threads=threads)
    yield Contender("bnnflow simulator", simulator.block, simulator.scores)
    import torch

    if not torch.cuda.is_available():
        yield LeftOut("bnnflow simulator on a GPU", "torch finds no GPU")
        return
    from ..device.engine import torch_simulator

    on_gpu = torch_simulator(graph, "cuda")
    yield Contender(f"bnnflow simulator, {torch.cuda.get_device_name()}", on_gpu.block, on_gpu.scores, simulator.scores)


def _files(qonnx: Path | None, graph: Graph, threads: int) -> Found:
    """Programs that read the QONNX file in its standard form."""
    if qonnx is None:
        reason = "the file is no QONNX file of a whole network"
        yield from (LeftOut(engine, reason) for engine in ("onnxruntime float32", "OpenVINO float32"))
        return

    def batched(run: Scores, batch: int) -> Scores:
        def scores(images: Array) -> Array:
            values = float_inputs(graph, images)
            return np.concatenate([run(values[start : start + batch]) for start in range(0, len(values), batch)])

        return scores

    openvino = importlib.util.find_spec("openvino") is not None
    for engine, make, batch in (
        ("onnxruntime float32", onnxruntime_program, BATCH),
        ("OpenVINO float32", openvino_program if openvino else None, OPENVINO_BATCH),
    ):
        if make is None:
            yield LeftOut(engine, "openvino is not installed")
            continue
        try:
            program = make(qonnx, threads)
        except Problem as problem:
            yield LeftOut(engine, problem.what)
            continue
        yield Contender(engine, batch, batched(program, batch))


def processor() -> str:
    """Name of this computer's processor."""
    import platform

    try:
        with Path("/proc/cpuinfo").open() as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def device_name(kind: str) -> str:
    """Name of the device that torch computes on: "cuda" for the GPU, else the processor."""
    if kind != "cuda":
        return processor()
    import torch

    return str(torch.cuda.get_device_name())

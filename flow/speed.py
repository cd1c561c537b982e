"""Reference performance of a network on this computer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from ..sim.engine import Simulator
from ..sim.speed import throughput
from ..transforms.graph import Graph
from .oracles import onnxruntime_session

if TYPE_CHECKING:
    from ..models.saved import Trained

BATCH = 128


def network_rows(
    qonnx: Path | None,
    graph: Graph,
    images: np.ndarray,
    threads: int,
    network: Trained | None = None,
    over: float = 1.0,
) -> list[dict[str, Any]]:
    """Images a second of one network in every program that is at hand, all on `threads` threads.

    Args:
        qonnx: QONNX file for onnxruntime (float32, batches of 128); None leaves it out.
        graph: for our simulator, compiled as far as it goes.
        images: (images, C, H, W) as the graph's input wants them.
        threads: processor threads.
        network: the Brevitas network for torch (batches of 128), on the GPU too where there is one; None
            leaves it out.
        over: what onnxruntime's pixels are divided by.

    Returns:
        one dict a program: engine, images_per_second (median of 5 runs).
    """
    rows: list[dict[str, Any]] = []

    def add(engine: str, run: Any) -> None:
        rows.append({"engine": engine, "images_per_second": throughput(run, images)})

    simulator = Simulator.of(graph, threads=threads)
    with threadpool_limits(threads, "blas"):
        add("bnnflow simulator", simulator.scores)
    if qonnx is not None:
        session = onnxruntime_session(qonnx, threads)
        name = session.get_inputs()[0].name
        parts = _parts((images / np.float64(over)).astype(np.float32))
        add("onnxruntime float32", lambda _: [session.run(None, {name: part}) for part in parts])
    if network is not None:
        import torch

        from ..models.train import predict

        torch.set_num_threads(threads)
        add("torch (Brevitas)", lambda x: predict(network, x, BATCH))
        if torch.cuda.is_available():
            on_gpu = network.to("cuda")
            moved = torch.from_numpy(images).to("cuda", torch.float32)

            def forward(_: np.ndarray) -> None:
                with torch.no_grad():
                    for start in range(0, len(moved), 1024):
                        on_gpu(moved[start : start + 1024])
                torch.cuda.synchronize()

            add(f"torch (Brevitas) on {torch.cuda.get_device_name()}", forward)
            network.to("cpu")
    return rows


def _parts(images: np.ndarray) -> list[np.ndarray]:
    return [images[start : start + BATCH] for start in range(0, len(images), BATCH)]


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

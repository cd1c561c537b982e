"""Speed of the simulator against the processor's limit and against other programs, as ratios within one run.

    make bench

Every figure is images or products per second of processor time on one thread (wall time for two threads),
median of rounds in which all contenders take turns. The limit of a network is the time that its products
take at the measured rate of exclusive or, population count and add in registers, and 64 products of bytes
a cycle.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import numpy as np
from graphs import NETWORKS, network
from peers import peers

from bnnflow import Problem
from bnnflow.flow.graphs.speed import processor
from bnnflow.sim.engine.kernels.native import NativeKernels
from bnnflow.sim.engine.packing import Window
from bnnflow.sim.engine.simulator import Simulator, least_cycles
from bnnflow.transforms.ir.ops import Mvau

ROUNDS = 7
BATCHES = 64
IMAGES = {"CNV": 960, "VGG-small": 128, "LFC": 16_384, "TFC": 200_000}
# (height, width, channels), kernel, filters, images in a block
LAYERS = {
    "CNV conv1": ((30, 30, 64), 3, 64, 32),
    "CNV conv2": ((14, 14, 64), 3, 128, 32),
    "CNV conv3": ((12, 12, 128), 3, 128, 32),
    "CNV conv4": ((5, 5, 128), 3, 256, 32),
    "VGG-small conv1": ((34, 34, 128), 3, 128, 16),
    "VGG-small conv3": ((18, 18, 256), 3, 256, 16),
    "VGG-small conv5": ((10, 10, 512), 3, 512, 16),
    "LFC dense1": ((1, 1, 1024), 1, 1024, 512),
}


def seconds(run: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    """Time that one call takes."""
    start = clock()
    run()
    return clock() - start


def rate(kernels: NativeKernels) -> float:
    """Binary products per second in registers alone."""
    rounds, words = 2_000_000, np.arange(64, dtype=np.int64)
    products = rounds * 8 * 64 * kernels.machine.lanes
    return products / seconds(lambda: kernels.call("peak", rounds, words, np.empty(64, np.int64)))


def layers(kernels: NativeKernels) -> None:
    """Share of the limit that single binary layers reach."""
    print(f"\n{'binary layer':<20}{'fan-in':>8}{'G products/s':>14}{'of the limit':>14}")
    rng = np.random.default_rng(0)
    for name, ((height, width, channels), kernel, filters, count) in LAYERS.items():
        window = Window(height, width, channels, (kernel, kernel), (1, 1))
        weight = rng.integers(0, 2, (filters, kernel, kernel, channels)).astype(np.uint8)
        bounds = np.full((1, filters), window.fan_in // 2)
        run = kernels.xnor_bits(window, weight, bounds, np.zeros((window.rows, window.columns), np.int64))
        bits = rng.integers(0, 2**63, (count, height, width, window.words)).astype(np.uint64)
        products = count * window.rows * window.columns * filters * window.fan_in
        calls = max(1, int(2e10 / products))
        recording = kernels.record(lambda: run(bits))  # noqa: B023
        assert recording is not None
        limit, reached = [], []
        for _ in range(ROUNDS):
            limit.append(rate(kernels))
            reached.append(products * calls / seconds(lambda: [recording.replay() for _ in range(calls)]))  # noqa: B023
        print(f"{name:<20}{window.fan_in:>8}{median(reached) / 1e9:>14,.0f}{median(reached) / median(limit):>14.3f}")


def networks(kernels: NativeKernels) -> None:
    """Whole networks against their limits, other programs, lesser instructions and two threads."""
    for name in NETWORKS:
        graph, count = network(name), IMAGES[name]
        images = np.random.default_rng(0).integers(0, 256, (count, *graph.input_type.shape)).astype(np.uint8)
        few = max(BATCHES, count // 20)
        ours = {"bnnflow": (Simulator.of(graph), images)}
        for target in ("avx2", "x86-64"):
            try:
                ours[f"bnnflow, {target} kernels"] = (Simulator.of(graph, "llvm", target=target), images[: count // 4])
            except Problem:
                continue
        ours["bnnflow, numpy"] = (Simulator.of(graph, "numpy"), images[:few])
        ours["bnnflow, blas"] = (Simulator.of(graph, "blas"), images[:few])
        runs: dict[str, tuple[Callable[[], object], int]] = {
            label: ((lambda s=s, x=x: s.scores(x)), len(x)) for label, (s, x) in ours.items()
        }
        for label, (peer, batch) in peers(name).items():
            runs[label] = ((lambda p=peer, x=images[:batch]: p(x)), batch)
        speeds: dict[str, list[float]] = {label: [] for label in runs}
        limits = []
        for run, _ in runs.values():
            run()
        for _ in range(ROUNDS):
            limits.append(rate(kernels) / (1024 / 3) / least_cycles(graph))
            for label, (run, size) in runs.items():
                speeds[label].append(size / seconds(run))
        first = median(speeds["bnnflow"])
        print(f"\n{name:<36}{'images/s':>12}{'of the limit':>14}{'bnnflow is':>14}")
        for label, found in speeds.items():
            share = f"{median(found) / median(limits):.3f}"
            print(f"{label:<36}{median(found):>12,.0f}{share:>14}{first / median(found):>11,.1f} x")
        two = Simulator.of(graph, threads=2)
        gains, extra = [], []
        for _ in range(ROUNDS):
            one = seconds(lambda: ours["bnnflow"][0].scores(images), time.perf_counter)  # noqa: B023
            gains.append(one / seconds(lambda: two.scores(images), time.perf_counter))  # noqa: B023
            alone = seconds(lambda: ours["bnnflow"][0].scores(images))  # noqa: B023
            extra.append(seconds(lambda: two.scores(images)) / alone)  # noqa: B023
        print(
            f"two threads over one: {median(gains):.2f} in wall time, best {max(gains):.2f} (more where the machine "
            f"is idle); {median(extra):.2f} of the processor time"
        )


_START = """
import sys, time
import numpy
import bnnflow.sim.engine.simulator
from pathlib import Path
start = time.process_time()
from bnnflow.sim.engine.kernels.llvm import native
native("host", Path(sys.argv[1]))
print(time.process_time() - start)
"""


def campaign(name: str = "CNV", count: int = 1000) -> None:
    """Time of one trial of a fault campaign: all images from a layer on, with new weights in that layer."""
    graph = network(name)
    images = np.random.default_rng(0).integers(0, 256, (count, *graph.input_type.shape)).astype(np.uint8)
    simulator = Simulator.of(graph)
    whole = median(seconds(lambda: simulator.scores(images)) for _ in range(ROUNDS))
    print(f"\n{name}, {count} images: whole network {1e3 * whole:.1f} ms; from a layer on, with other weights there:")
    total = []
    for node in graph.nodes:
        if not isinstance(node.op, Mvau):
            continue
        prefix = simulator.prefix(images, node.name)
        other = replace(node.op, weight=node.op.weight[::-1])
        trial = median(seconds(lambda: simulator.finish(prefix, {node.name: other})) for _ in range(ROUNDS))  # noqa: B023
        ready = median(seconds(lambda: simulator.with_ops({node.name: other})) for _ in range(ROUNDS))  # noqa: B023
        total.append(trial)
        memory = prefix.nbytes / count / 1024
        print(
            f"  {node.name:<6}{1e3 * trial:>8.2f} ms, of which {1e3 * ready:.2f} to prepare; {memory:.1f} KiB an image"
        )
    print(f"  mean {1e3 * sum(total) / len(total):.1f} ms")


def start_up() -> None:
    """Processor time until the kernels are there, in fresh processes: compiled, and kept from before."""
    cold: list[float] = []
    kept: list[float] = []
    with tempfile.TemporaryDirectory() as folder:  # compiles our own files, where that was not done yet
        subprocess.run([sys.executable, "-c", _START, folder], check=True, capture_output=True)
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as folder:
            for found in (cold, kept):
                command = [sys.executable, "-c", _START, folder]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                found.append(float(done.stdout))
    print(f"\nkernels ready: compiled {1e3 * median(cold):.0f} ms (import of llvmlite included), ", end="")
    print(f"kept {1e3 * median(kept):.1f} ms")


def main() -> None:
    """Print all tables."""
    kernels = Simulator.of(network("TFC"), "llvm").kernels
    assert isinstance(kernels, NativeKernels)
    print(f"{processor()}, {kernels.machine.lanes * 64}-bit vectors, products of bytes by {kernels.machine.dot}")
    print(f"limit: {median(rate(kernels) for _ in range(ROUNDS)) / 1e9:,.0f} G binary products/s")
    layers(kernels)
    networks(kernels)
    campaign()
    start_up()


if __name__ == "__main__":
    main()

"""CPU milliseconds of a fault trial on CNV: the plain torch way beside ours, in one run on one thread.

    python benchmarks/faults.py [--images 1000] [--rounds 3] [--target avx2]

The plain way draws a mask over the weights of a layer and runs the whole network in float32. Ours draws the cells that
are hit and runs the layers from the hit one on. The network has random weights and batch norms: speed does not
depend on them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bnnflow.flow.graphs.speed import processor
from bnnflow.models.networks.network import Network, NetworkSpec
from bnnflow.sim.engine.kernels import llvm
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.sim.faults import Point, Rates, Subject, memories
from bnnflow.sim.faults.analysis.criticality import criticality
from bnnflow.transforms.ir.graph import Graph

RATE = 1e-3
CNV = NetworkSpec("cnn", (3, 32, 32), 10, (512, 512), (64, 64, 128, 128, 256, 256), (3,) * 6, (1, 2, 1, 2, 1, 1))


def main() -> None:
    """Print one table a question."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--target", default="", help="kernels as for a lesser processor, such as avx2")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.target:
        made = llvm.native
        # What is prepared for this processor is prepared for the lesser one.
        llvm.native = lambda name="host", folder=None: made(given.target, folder)  # type: ignore[assignment]
    print(f"{processor()}, 1 thread, {given.images} images a trial, median of {given.rounds} trials, rate {RATE:g}")
    network = Network(CNV, 0).eval()
    images = np.random.default_rng(0).integers(0, 256, (given.images, 3, 32, 32)).astype(np.uint8)
    graph = compiled(network)
    subject = Subject(graph, images, np.zeros(len(images), np.int64))
    assert len(subject.classes) == len(images)
    naive = Naive(network, images)
    names = [name for name, _ in network.weight_layers()]
    layers = [memory.layer for memory in memories(graph)]
    rates, rows = Rates.of(RATE), []
    print(f"\n{'faults in':<18}{'torch, ms':>12}{'from prefix':>12}{'ours, ms':>12}{'ratios':>9}")
    for index, layer in enumerate(layers):
        plain = median(lambda index=index: naive.trial({names[index]}), 1)
        kept = naive.prefix(index) if index else list(naive.images.split(128))
        cached = median(lambda index=index, kept=kept: naive.resumed(index, kept), given.rounds)
        point = Point("weights", (layer,), "flip", rates)
        subject.trial(point, 0)
        ours = median(lambda point=point: subject.trial(point, 1), given.rounds)
        rows.append((plain, cached, ours))
        print(line(layer, plain, cached, ours))
    print(line("one layer (mean)", *(float(np.mean(column)) for column in zip(*rows, strict=True))))
    everything = Point("weights", (), "flip", rates)
    plain = median(lambda: naive.trial(set(names)), given.rounds)
    ours = median(lambda: subject.trial(everything, 1), given.rounds)
    print(line("all layers", plain, plain, ours))
    small(given.images, 9)
    print(f"\n{'single bits of':<18}{'torch, ms':>12}{'ours, ms':>12}{'ratio':>9}")
    each = np.array([single(subject, layer, 3 * given.rounds) for layer in layers])
    bits = np.array([memory.size for memory in memories(graph)])
    means = {"mean of layers": each.mean(), "mean of all bits": (each * bits).sum() / bits.sum()}
    for what, ours in {**dict(zip(layers, each.tolist(), strict=True)), **means}.items():
        print(f"{what:<18}{1e3 * plain:>12.0f}{1e3 * ours:>12.3f}{plain / ours:>8.0f}x")


def line(what: str, plain: float, cached: float, ours: float) -> str:
    """Milliseconds, and how many times ours is as fast as either."""
    times = f"{1e3 * plain:>12.0f}{1e3 * cached:>12.1f}{1e3 * ours:>12.1f}"
    return f"{what:<18}{times}{plain / ours:>8.1f}x{cached / ours:>8.1f}x"


def small(count: int, rounds: int) -> None:
    """TFC, all weights: a trial beside six lines of numpy."""
    sizes = (784, 64, 64, 64, 10)
    network = Network(NetworkSpec("mlp", (1, 28, 28), 10, sizes[1:-1], input="binary"), 0).eval()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, 1, 28, 28)).astype(np.uint8)
    subject = Subject(compiled(network), images, np.zeros(count, np.int64))
    point = Point("weights", (), "flip", Rates.of(RATE))
    subject.trial(point, 0)
    weights = [module.weight.detach().sign().numpy().T for _, module in network.weight_layers()]
    bits = np.where(images.reshape(count, -1) > 127, 1.0, -1.0).astype(np.float32)

    def lines() -> np.ndarray:
        x = bits
        for index, weight in enumerate(weights):
            x = x @ np.where(rng.random(weight.shape) < RATE, -weight, weight)
            if index < len(weights) - 1:
                x = np.where(x >= 0, np.float32(1), np.float32(-1))
        return x.argmax(axis=1)

    trials = iter(range(1, 10**6))
    pairs = [(median(lines, 20), median(lambda: subject.trial(point, next(trials)), 20)) for _ in range(rounds)]
    plain, ours = np.median(pairs, axis=0)
    print(f"\n{'TFC, all weights':<18}{'numpy, ms':>12}{'ours, ms':>12}{'ratio':>9}")
    print(f"{'':<18}{1e3 * plain:>12.2f}{1e3 * ours:>12.2f}{plain / ours:>8.1f}x")


def single(subject: Subject, layer: str, rounds: int) -> float:
    """Seconds a flip of one weight bit of a layer.

    One bit a trial, in a random order; in the convolutions behind the second pool all bits of a row at once.
    """
    if layer not in ("conv4", "conv5"):
        point = Point("weights", (layer,), "single", Rates.of(0.0))
        subject.trial(point, 0)
        trials = iter(range(1, rounds + 1))
        return median(lambda: subject.trial(point, next(trials)), rounds)
    bits = next(memory.values[1] for memory in memories(subject.graph) if memory.layer == layer)
    started = time.process_time()
    criticality(subject.graph, subject.images, subject.labels, layer, rows=[0])
    return (time.process_time() - started) / bits


def compiled(network: Network) -> Graph:
    """The network in dataflow units."""
    import tempfile
    from pathlib import Path

    from bnnflow.models.files.export import export_qonnx
    from bnnflow.transforms.passes.compile import stages
    from bnnflow.transforms.reading.read import read

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        export_qonnx(network, path)
        graph = stages(read(path))[-1].graph
    assert Simulator.of(graph) is not None
    return graph


class Naive:
    """CNV in float32 with a mask drawn over the weights of some layers; pools before norms."""

    def __init__(self, network: Network, images: np.ndarray) -> None:
        self.images = torch.from_numpy(images).float().contiguous(memory_format=torch.channels_last)
        self.layers = [(name, module.weight.detach().sign()) for name, module in network.weight_layers()]
        self.pools = CNV.pools

    @torch.inference_mode()
    def trial(self, hit: set[str]) -> Tensor:
        """Classes of all images with one new mask."""
        weights = [self._masked(w) if name in hit else w for name, w in self.layers]
        found = [self._forward(part, weights) for part in self.images.split(128)]
        return torch.cat(found)

    @torch.inference_mode()
    def prefix(self, index: int) -> list[Tensor]:
        """What a layer reads, batch by batch, without faults."""
        weights = [weight for _, weight in self.layers]
        return [self._forward(part, weights, until=index) for part in self.images.split(128)]

    @torch.inference_mode()
    def resumed(self, index: int, prefix: list[Tensor]) -> Tensor:
        """Classes of all images with a new mask over one layer, from what it reads."""
        weights = [self._masked(w) if i == index else w for i, (_, w) in enumerate(self.layers)]
        return torch.cat([self._forward(part, weights, index) for part in prefix])

    @staticmethod
    def _masked(weight: Tensor) -> Tensor:
        return torch.where(torch.rand_like(weight) < RATE, -weight, weight)

    def _forward(self, x: Tensor, weights: list[Tensor], first: int = 0, until: int | None = None) -> Tensor:
        if first == 0:
            x = x - 128.0
        for index, weight in enumerate(weights):
            if index < first:
                continue
            if index == until:
                return x
            if weight.ndim == 4:
                x = functional.conv2d(x, weight)
                if self.pools[index] == 2:
                    x = functional.max_pool2d(x, 2)
            else:
                x = functional.linear(x.flatten(1), weight)
            if index < len(weights) - 1:
                x = torch.where(x >= 0, 1.0, -1.0)
        return x.argmax(dim=1)


def median(work: Callable[[], object], rounds: int) -> float:
    """Median of CPU seconds."""
    times = []
    for _ in range(rounds):
        started = time.process_time()
        work()
        times.append(time.process_time() - started)
    return float(np.median(times))


if __name__ == "__main__":
    main()

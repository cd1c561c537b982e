"""Approximate sums of XNOR products: accuracy by levels and by segments, before and after training with them.

    python benchmarks/approximation.py MNIST [--epochs 3] [--images 2000] [--only TABLE]

MNIST is the folder of that data set; Fashion-MNIST is where `flow data` finds it. Prints the tables of
docs/results/approximation.md. One thread. TABLE is one of levels, segments, errors and training.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bnnflow.flow.graphs.speed import processor
from bnnflow.flow.pruning.structure import graph_of
from bnnflow.models.data.load import Dataset, load_dataset
from bnnflow.models.files.pack import unpack_network
from bnnflow.models.files.packed_file import read_packed
from bnnflow.models.files.trained_names import trained_files
from bnnflow.models.networks.network import Network, NetworkSpec
from bnnflow.models.training.approximation import approximated
from bnnflow.models.training.approximation_spec import EXACT, Approximation
from bnnflow.models.training.batchnorm import reestimate
from bnnflow.models.training.train import train
from bnnflow.models.training.train_spec import TrainSpec
from bnnflow.sim.approximation import (
    CapMin,
    LocalThresholds,
    SumModel,
    XnorErrors,
    histograms,
    judge,
    mapped,
    refitted,
)
from bnnflow.sim.inputs import image_inputs
from bnnflow.transforms.ir.graph import Graph
from bnnflow.transforms.passes.compile import stages

NETWORKS = (("sfc-mnist", "mnist"), ("lfc-mnist", "mnist"), ("fashcnn-fashion-mnist", "fashion-mnist"))
LEVELS = (33, 16, 12, 8, 5, 3, 2)
GATES = (4, 8, 16, 32, 64, 128, 256)
TABLES = ("levels", "segments", "errors", "training")
CALIBRATION = 500
# After myay's FashCNN, smaller: 32-64-64 with pools behind the first two, a row of 256.
SMALL = NetworkSpec(
    "cnn", (1, 28, 28), 10, hidden=(256,), channels=(32, 64, 64), kernels=(3, 3, 3), pools=(2, 2, 1), padding=0
)


@dataclass(slots=True)
class Bench:
    """A compiled network, images to judge by and training images."""

    graph: Graph
    images: np.ndarray
    labels: np.ndarray
    learned: np.ndarray

    @staticmethod
    def of(network: Network, data: Dataset, images: int) -> Bench:
        """Compiled with all channels."""
        graph = stages(graph_of(network.eval()), keep_shape=True)[-1].graph
        given = image_inputs(graph, data.test_images[:images])
        return Bench(graph, given, data.test_labels[:images], image_inputs(graph, data.train_images[:CALIBRATION]))

    def accuracy(self, layers: Mapping[str, SumModel], refit: bool = False, seed: int = 0) -> float:
        """With approximate sums, in percent."""
        graph = refitted(self.graph, layers, self.learned) if refit else self.graph
        return 100 * float(np.mean(judge(graph, layers, self.images, seed).classes == self.labels))

    def named(self, thresholds: bool) -> list[str]:
        """Layers that are approximate."""
        return [layer.name for layer in mapped(self.graph, (), thresholds)]


def row(*cells: object) -> None:
    """A Markdown row."""
    print("| " + " | ".join(f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in cells) + " |")


def levels(benches: Mapping[str, Bench]) -> None:
    """CapMin by kept levels, with the graph's own thresholds and with refitted ones."""
    row("network, layers", "thresholds", *LEVELS)
    row(*["---"] * (len(LEVELS) + 2))
    for name, bench in benches.items():
        layers = mapped(bench.graph, (), thresholds=False)
        counts = histograms(bench.graph, layers, bench.learned)
        for refit in (False, True):
            cells = []
            for kept in LEVELS:
                maps = {layer.name: CapMin.keeping(counts[layer.name], kept) for layer in layers}
                cells.append(bench.accuracy(maps, refit))
            row(f"{name}: {', '.join(counts)}", "refitted" if refit else "as trained", *cells)


def segments(benches: Mapping[str, Bench]) -> None:
    """Local thresholds by products of a segment, without retraining."""
    row("network, layers", "thresholds", *GATES, "exact")
    row(*["---"] * (len(GATES) + 3))
    for name, bench in benches.items():
        names = bench.named(thresholds=True)
        for balanced in (False, True):
            cells = [bench.accuracy(dict.fromkeys(names, LocalThresholds(gates, balanced))) for gates in GATES]
            row(f"{name}: {', '.join(names)}", "balanced" if balanced else "nearest", *cells, bench.accuracy({}))


def errors(benches: Mapping[str, Bench]) -> None:
    """Products that err alike, and only where weight and input are 1."""
    rates = (0.0, 0.01, 0.05, 0.1)
    row("network", "products that err", *rates)
    row(*["---"] * (len(rates) + 2))
    # Sums of convolutions are too many to draw here.
    for name, bench in list(benches.items())[:2]:
        names = bench.named(thresholds=False)
        for what, one in (("all, at the rate", 1.0), ("1 with 1 alone, at four times the rate", 0.0)):
            cells = []
            for rate in rates:
                table = ((rate * one, rate * one), (rate * one, rate if one else 4 * rate))
                cells.append(bench.accuracy(dict.fromkeys(names, XnorErrors(table))))
            row(name, what, *cells)


def training(data: Dataset, epochs: int, images: int) -> None:
    """A small network trained exactly, then further with approximate sums, and as long exactly."""
    network = Network(SMALL, 0)
    train(network, data.train_images, data.train_labels, TrainSpec(6, 256, 1e-3, 0))
    reestimate(network, data.train_images, most=5000)
    start = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    row("sums", "before", "norms re-estimated", f"{epochs} epochs later", "the same network, exact sums", "minutes")
    row(*["---"] * 6)
    hows = (EXACT, Approximation(lta=32), Approximation(lta=32, balanced=True), Approximation(capmin=3))
    for how in hows:
        began = time.process_time()
        network.load_state_dict(start)
        cells = [_judged(network, data, how, images)]
        with approximated(network, how):
            reestimate(network, data.train_images, most=5000)
        cells.append(_judged(network, data, how, images))
        network.load_state_dict(start)
        train(network, data.train_images, data.train_labels, TrainSpec(epochs, 256, 1e-3, 1, approximation=how))
        with approximated(network, how):
            reestimate(network, data.train_images, most=5000)
        cells += [_judged(network, data, how, images), _judged(network, data, EXACT, images)]
        local = f"lta {how.lta}{', balanced' if how.balanced else ''}"
        levels_kept = f"capmin, {how.capmin} levels" if how.capmin else "exact"
        row(local if how.lta else levels_kept, *cells, (time.process_time() - began) / 60)


def _judged(network: Network, data: Dataset, how: Approximation, images: int) -> float:
    """Simulated on the compiled graph."""
    bench = Bench.of(network, data, images)
    if not how:
        return bench.accuracy({})
    model: SumModel = LocalThresholds(how.lta, how.balanced) if how.lta else CapMin.between(*how.levels, how.array)
    return bench.accuracy(dict.fromkeys(bench.named(thresholds=bool(how.lta)), model))


def main() -> None:
    """Read arguments and print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("mnist", type=Path)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--only", choices=TABLES)
    given = parser.parse_args()
    torch.set_num_threads(1)
    wanted = TABLES if given.only is None else (given.only,)
    fashion = load_dataset("fashion-mnist", None)
    data = {"mnist": load_dataset("mnist", given.mnist), "fashion-mnist": fashion}
    benches = {}
    for name, of in NETWORKS:
        network = unpack_network(read_packed(trained_files()[name]))
        assert isinstance(network, Network)
        benches[name] = Bench.of(network, data[of], given.images)
    print(f"{processor()}, one thread")
    for table, make in (("levels", levels), ("segments", segments), ("errors", errors)):
        if table in wanted:
            print(f"\n{table}\n")
            make(benches)
    if "training" in wanted:
        print("\ntraining\n")
        training(fashion, given.epochs, 10_000)


if __name__ == "__main__":
    main()

"""Bit-flip attacks: certificates, attacks and random flips image by image, and networks of several kinds side by side.

    python benchmarks/attack.py bounds [--network tfc-mnist] [--images 1000] [--data FOLDER]
    python benchmarks/attack.py kinds [--seeds 3] [--flips 6000] [--times 4] [--work FOLDER] [--data FOLDER]

`bounds`: of a network that comes with bnnflow, per layer and image of MNIST's test set, flips of the layer's weights
that are certified, that an attack on this image needs, and that random flips need; ends with status 1 where the order
is violated. `kinds`: TFC (64-64-64), four times as wide, four of them as an ensemble (`--times`: another number), and
half as wide by pruning, each trained for five epochs on 20,000 images of MNIST, and attacked to chance level. One
thread. Prints the tables of docs/results/attacks.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import bnnflow as bf
from bnnflow.flow.pruning.structure import graph_of
from bnnflow.flow.pruning.weight_gradients import WeightGradients
from bnnflow.models.data.dataset import Dataset
from bnnflow.models.data.load import load_dataset
from bnnflow.models.files.export import export_qonnx
from bnnflow.models.files.pack import unpack_network
from bnnflow.models.files.packed_file import read_packed
from bnnflow.models.files.trained_names import trained_files
from bnnflow.models.networks.network import Network
from bnnflow.models.networks.spec import NetworkSpec
from bnnflow.models.prune.surgery import remove
from bnnflow.models.relevance.sample import Sample
from bnnflow.models.relevance.scores import score
from bnnflow.models.training.batchnorm import reestimate
from bnnflow.models.training.ensemble import train_ensemble
from bnnflow.models.training.train import train
from bnnflow.models.training.train_spec import TrainSpec
from bnnflow.sim.faults.analysis.bounds import FlipBounds, flip_bounds
from bnnflow.sim.faults.analysis.margins import NEVER
from bnnflow.sim.faults.campaigns.statistics import student_t
from bnnflow.sim.inputs import image_inputs
from bnnflow.transforms.passes.compile import stages

TRAINED, EPOCHS, BATCH = 20_000, 5, 100


def mnist(folder: Path | None) -> Dataset:
    """The data set, from where the system has it or from a folder."""
    return load_dataset("mnist", places=() if folder is None else (folder,))


def quantiles(flips: np.ndarray) -> str:
    """Least, median and greatest of those that there are."""
    there = flips[flips != NEVER]
    if not len(there):
        return "none"
    rest = f", {len(flips) - len(there):,} none" if len(there) < len(flips) else ""
    return f"{there.min():,} / {np.median(there):,.0f} / {there.max():,}{rest}"


def bounds_row(found: FlipBounds) -> str:
    """One layer in the table."""
    tight = f"{np.mean(found.attacked == found.certified + 1):.1%}" if found.exact else ""
    wrong = int((~found.certificate_holds).sum()), int((~found.attack_holds).sum())
    chance = found.random[found.random != NEVER]
    least = f"{chance.min():,}" if len(chance) else "none"
    cells = (
        found.layer,
        "exact" if found.exact else "lower",
        quantiles(found.certified),
        quantiles(found.attacked),
        tight,
        f"{least}; {len(chance):,} of {len(found.random):,} within {found.tried:,}",
        *map(str, wrong),
    )
    return f"| {' | '.join(cells)} |"


def bounds(network: str, count: int, data: Dataset) -> int:
    """Print the bounds of a network's layers, and how many images violate them, which is returned."""
    graph = stages(graph_of(unpack_network(read_packed(trained_files()[network])).eval()))[-1].graph
    seen = image_inputs(graph, data.train_images[:128])
    began = time.process_time()
    found = flip_bounds(graph, image_inputs(graph, data.test_images[:count]), WeightGradients(graph, seen).of)
    print(f"{network}, {count:,} test images of MNIST; {time.process_time() - began:.0f} s of a processor\n")
    columns = ("layer", "bound", "certified", "attack", "attack = certified + 1", "random, fewest of 3 orders")
    print(f"| {' | '.join(columns)} | certificate violated | attack violated |")
    print("|---|---|---|---|---|---|---|---|")
    for one in found:
        print(bounds_row(one))
    return sum(int((~one.certificate_holds).sum() + (~one.attack_holds).sum()) for one in found)


def mlp(width: int) -> NetworkSpec:
    """TFC where the width is 64."""
    return NetworkSpec(arch="mlp", input_shape=(1, 28, 28), classes=10, hidden=(width,) * 3)


def made(kind: str, times: int, seed: int, data: Dataset) -> torch.nn.Module:
    """A trained network."""
    drawn = np.sort(np.random.default_rng([seed, 5]).permutation(len(data.train_images))[:TRAINED])
    images, labels = data.train_images[drawn], data.train_labels[drawn]
    how = TrainSpec(EPOCHS, BATCH, 0.003, seed)
    network: torch.nn.Module
    if kind.startswith("ensemble"):
        network, _ = train_ensemble(mlp(64), times, "bagging", images, labels, how)
    else:
        network = chain = Network(mlp(64 * (times if kind.endswith("wider") else 1)), seed)
        train(chain, images, labels, how)
        if kind == "pruned by half":
            reestimate(chain, images)
            sample = Sample(images[:256], labels[:256], images[256:512])
            scores = score(chain, "deeplift", sample, seed).scores
            keep = {name: np.sort(np.argsort(-each, kind="stable")[: len(each) // 2]) for name, each in scores.items()}
            network = chain = remove(chain, keep)
            reestimate(chain, images)
            train(chain, images, labels, how)
    reestimate(network, images)
    return network.eval()


def mean(values: list[float], show: Callable[[float], str]) -> str:
    """Mean with its 95 % interval over seeds by Student's t."""
    half = student_t(len(values) - 1) * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return f"{show(float(np.mean(values)))} ± {show(half)}"


def kinds(seeds: int, flips: int, times: int, work: Path, data: Dataset) -> None:
    """Train, attack and print a row a kind."""
    work.mkdir(parents=True, exist_ok=True)
    rows, plain = [], list[float]()
    for kind in ("plain", f"{times} x wider", f"ensemble of {times}", "pruned by half"):
        counts, clean, shares, chance, accuracy = list[float](), list[float](), list[float](), list[float](), []
        for seed in range(seeds):
            file = work / f"{kind.replace(' ', '-')}-{seed}.onnx"
            began = time.process_time()
            if not file.exists():
                export_qonnx(made(kind, times, seed, data), file, (1, 28, 28))
            trained = time.process_time() - began
            found = bf.attack(
                file, data.test_images, data.test_labels, flips=flips, seed=seed, save_map=file.with_suffix(".npz")
            )
            took = time.process_time() - began - trained
            assert found.random is not None
            counts.append(found.flips)
            clean.append(100 * found.clean)
            shares.append(1000 * found.flips / found.bits)
            chance.append(float(np.mean([n if n is not None else found.bits // 2 for n in found.random.to_level])))
            accuracy.append(f"{100 * found.accuracy:.1f} ({found.ended})")
            print(
                f"{kind}, seed {seed}: {found.clean:.2%}, {found.flips:,} flips of {found.bits:,} bits to "
                f"{found.accuracy:.2%} ({found.ended}); as many at random {found.random.after_as_many or 0:.2%}, "
                f"chance level at random {found.random.to_level}; {trained:.0f} + {took:.0f} s",
                flush=True,
            )
        plain = plain or counts
        factor = [one / other for one, other in zip(counts, plain, strict=True)]
        cells = (
            kind,
            f"{found.bits:,}",
            mean(clean, "{:.2f}".format),
            mean(counts, "{:,.0f}".format),
            mean(factor, "{:.2f}".format),
            mean(shares, "{:.2f}".format),
            mean(chance, "{:,.0f}".format),
            ", ".join(accuracy),
        )
        rows.append(f"| {' | '.join(cells)} |")
    heads = ("network", "bits", "clean, %", "flips", "times plain's", "flips, per mille of the bits")
    print(f"\n| {' | '.join((*heads, 'random flips', 'accuracy at the end, %'))} |\n|{'---|' * 8}")
    print("\n".join(rows))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("bounds", "kinds"))
    parser.add_argument("--network", default="tfc-mnist")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--flips", type=int, default=6000)
    parser.add_argument("--times", type=int, default=4)
    parser.add_argument("--work", type=Path, default=Path("attacks"))
    parser.add_argument("--data", type=Path, help="folder with MNIST's files, where the system has none")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    data = mnist(asked.data)
    if asked.part == "kinds":
        kinds(asked.seeds, asked.flips, asked.times, asked.work, data)
    elif bounds(asked.network, asked.images, data):
        sys.exit(1)


if __name__ == "__main__":
    main()

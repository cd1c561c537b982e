"""What training against bit errors is worth: networks trained in several ways, under the same faults of their weights.

    python benchmarks/robustness.py [--work FOLDER] [--data FOLDER] [--maps 30] [--seeds 5] [NETWORK ...]

FashCNN-S (32-64-64 convolutions, 256 neurons, 0.86 Mbit of weights) on Fashion-MNIST: trained normally for six epochs,
then for two more normally, with errors everywhere alike, and guided by scores of DeepLIFT and by random ones; with the
losses MHL and MCEL from the start. LFC on MNIST. Every network is exported, compiled and hit by the same maps on all
10,000 test images. Results are kept in FOLDER, from which a later start goes on; the page is printed. One thread.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import stats

import bnnflow as bf
from bnnflow.flow.pruning.memories import hardware_memories
from bnnflow.flow.results.faults import FaultSeries
from bnnflow.models.data.dataset import Dataset
from bnnflow.models.data.load import load_dataset
from bnnflow.models.files.export import export_qonnx
from bnnflow.models.files.saved import load_network, save_network
from bnnflow.models.networks.network import Network
from bnnflow.models.networks.spec import NetworkSpec
from bnnflow.models.networks.zoo import zoo_spec
from bnnflow.models.relevance.guide import with_guide
from bnnflow.models.training.batchnorm import reestimate
from bnnflow.models.training.bit_errors import BitErrors, ErrorRates
from bnnflow.models.training.train import Extras, train
from bnnflow.models.training.train_spec import TrainSpec

RATES = (1e-2, 3e-2, 5e-2)
MAP_SEED = 2026
NORM_IMAGES = 10_000
"""Training images that batch norms are measured on."""


@dataclass(frozen=True)
class Row:
    """One way of training.

    Attributes:
        name: in the page; with the seed, of its files.
        start: row whose network is trained on; "" begins anew.
        epochs: of this row alone.
        errors: weights that are wrong in training.
        loss: name and margin.
        seeds: how many.
    """

    name: str
    start: str
    epochs: int
    errors: BitErrors = field(default_factory=BitErrors)
    loss: tuple[str, float | None] = ("cross-entropy", None)
    seeds: int = 1


@dataclass(frozen=True)
class Study:
    """A network with its data and the ways of training it."""

    name: str
    data: str
    spec: NetworkSpec
    batch: int
    rates: tuple[float, ...]
    rows: tuple[Row, ...]


def uniform(rate: float, **options: Any) -> BitErrors:
    """Wrong weights at one rate."""
    return BitErrors(weights=ErrorRates(rate, rate), **options)


FASHCNN_S = NetworkSpec(
    arch="cnn",
    input_shape=(1, 28, 28),
    classes=10,
    channels=(32, 64, 64),
    kernels=(3, 3, 3),
    pools=(2, 2, 1),
    hidden=(256,),
    padding=0,
)


def studies(seeds: int) -> tuple[Study, ...]:
    """All of them."""
    guided = {"guide_epochs": 1, "assignment": "linear"}
    paired = (
        Row("normal, 6 epochs", "", 6, seeds=seeds),
        Row("+2 normal", "normal, 6 epochs", 2, seeds=seeds),
        Row("+2 uniform 5e-2", "normal, 6 epochs", 2, uniform(5e-2), seeds=seeds),
        Row("+2 guided by deeplift", "normal, 6 epochs", 2, uniform(5e-2, guide="deeplift", **guided), seeds=seeds),
        Row("+2 guided by random", "normal, 6 epochs", 2, uniform(5e-2, guide="random", **guided), seeds=seeds),
    )
    # One network a margin finds which is worth more of them.
    scratch = (
        *(Row(f"MHL {margin:g}, 6 epochs", "", 6, loss=("mhl", margin)) for margin in (32.0, 8.0, 128.0)),
        *(Row(f"MCEL {margin:g}, 6 epochs", "", 6, loss=("mcel", margin)) for margin in (1.0, 8.0)),
        Row("MCEL 4, 6 epochs", "", 6, loss=("mcel", 4.0), seeds=min(seeds, 3)),
        Row("uniform 5e-2, 6 epochs", "", 6, uniform(5e-2), seeds=min(seeds, 3)),
        Row("MCEL 4 and uniform 5e-2, 6 epochs", "", 6, uniform(5e-2), loss=("mcel", 4.0)),
    )
    lfc = (
        Row("normal, 5 epochs", "", 5),
        Row("uniform 4e-2, 5 epochs", "", 5, uniform(4e-2)),
    )
    digits = (Row("normal, 3 epochs", "", 3), Row("uniform 4e-2, 3 epochs", "", 3, uniform(4e-2)))
    small = zoo_spec("lfc", (1, 28, 28), 10)
    return (
        Study("fashcnn-s", "fashion-mnist", FASHCNN_S, 256, RATES, paired),
        Study("lfc", "mnist", small, 256, (1e-2, 4e-2), lfc),
        Study("fashcnn-s digits", "mnist", FASHCNN_S, 256, (1e-2, 4e-2), digits),
        Study("fashcnn-s losses", "fashion-mnist", FASHCNN_S, 256, RATES, scratch),
    )


def images(study: Study, folder: Path | None) -> Dataset:
    """The study's data set, from where the system has it or from `folder`."""
    return load_dataset(study.data, places=() if folder is None else (folder,))


def trained(study: Study, row: Row, seed: int, work: Path, data: Dataset) -> Path:
    """The exported network of one row and seed, made where it is not there."""
    stem = f"{study.name}-{row.name}-{seed}".replace(" ", "-").replace(",", "").replace("+", "plus-")
    weights, file = work / f"{stem}.pt", work / f"{stem}.onnx"
    if file.exists():
        return file
    spec = replace(study.spec, scores="none") if row.loss[0] == "mhl" else study.spec
    network = Network(spec, seed)
    if row.start:
        start = next(one for one in study.rows if one.name == row.start)
        begun = load_network(trained(study, start, seed, work, data).with_suffix(".pt"))
        network.load_state_dict(begun.state_dict())
    loss, margin = row.loss
    plan = TrainSpec(row.epochs, study.batch, 0.001, seed, loss=loss, margin=margin, bit_errors=row.errors)  # type: ignore[arg-type]
    began = time.process_time()
    arrays = (data.train_images, data.train_labels)
    extras = Extras(memories=hardware_memories if row.errors else None)
    extras = with_guide(extras, plan, *arrays)
    history = train(network, *arrays, plan, work / f"{stem}.ckpt", extras=extras)
    chosen = np.random.default_rng([seed, 21]).permutation(len(data.train_images))[:NORM_IMAGES]
    reestimate(network, data.train_images[np.sort(chosen)])
    save_network(network, weights)
    export_qonnx(network, file)
    print(f"{study.name}, {row.name}, seed {seed}: loss {history[-1]['loss']:.3f}", end=" ")
    print(f"{time.process_time() - began:.0f} s of a processor", flush=True)
    return file


def measured(study: Study, row: Row, seed: int, maps: int, work: Path, data: Dataset) -> dict[str, Any]:
    """Clean accuracy, and by rate the accuracies of all maps."""
    file = trained(study, row, seed, work, data)
    kept = file.with_suffix(f".{maps}.json")
    if not kept.exists():
        store = file.with_suffix(".sqlite")
        hit = {"rates": list(study.rates), "maps": maps, "seed": MAP_SEED, "pe_simd": "1,1"}
        shown = (data.test_images, data.test_labels)
        found = bf.faults(file, *shown, count=len(shown[0]), **hit, store=store, jobs=1)  # type: ignore[arg-type]
        (curve,) = found.networks.values()
        (series,) = found.series.values()
        drawn = [one for one in series if isinstance(one, FaultSeries)]
        halves = [one.half_width for one in drawn]
        kept.write_text(json.dumps({"clean": curve.clean, "mean": curve.mean, "half": halves}))
    read: dict[str, Any] = json.loads(kept.read_text())
    each = [f"{100 * mean:.2f} ± {100 * half:.2f}" for mean, half in zip(read["mean"], read["half"], strict=True)]
    print(f"{study.name}, {row.name}, seed {seed}: {100 * read['clean']:.2f} clean;", ", ".join(each), flush=True)
    return read


def interval(values: np.ndarray) -> str:
    """Mean of independent values with its 95 % interval by Student's t, in points."""
    if len(values) < 2:
        return f"{values.mean():+.2f}"
    half = stats.t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return f"{values.mean():+.2f} ± {half:.2f}"


def page(study: Study, found: dict[str, list[dict[str, Any]]]) -> str:
    """The study's tables in Markdown."""
    rates = " | ".join(f"{rate:g}" for rate in study.rates)
    text = [f"| {study.name} on {study.data} | seeds | clean | {rates} |", "|---" * (3 + len(study.rates)) + "|"]
    for name, each in found.items():
        clean = 100 * np.mean([one["clean"] for one in each])
        means = 100 * np.mean([one["mean"] for one in each], axis=0)
        halves = 100 * np.max([one["half"] for one in each], axis=0)
        cells = " | ".join(f"{mean:.2f} (± {half:.2f})" for mean, half in zip(means, halves, strict=True))
        text.append(f"| {name} | {len(each)} | {clean:.2f} | {cells} |")
    pairs = [
        ("+2 uniform 5e-2", "+2 normal"),
        ("+2 guided by deeplift", "+2 uniform 5e-2"),
        ("+2 guided by deeplift", "+2 guided by random"),
    ]
    for first, second in pairs:
        if first in found and second in found:
            count = min(len(found[first]), len(found[second]))
            gaps = [
                np.array([100 * (found[first][s]["mean"][r] - found[second][s]["mean"][r]) for s in range(count)])
                for r in range(len(study.rates))
            ]
            clean = np.array([100 * (found[first][s]["clean"] - found[second][s]["clean"]) for s in range(count)])
            cells = " | ".join(interval(gap) for gap in gaps)
            text.append(f"| {first} against {second} | {count} | {interval(clean)} | {cells} |")
    return "\n".join(text)


def main() -> None:
    """Train, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*")
    parser.add_argument("--work", type=Path, default=Path("robustness"))
    parser.add_argument("--data", type=Path, help="folder with mnist/ and fashion-mnist/, where the system has none")
    parser.add_argument("--maps", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=5)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    asked.work.mkdir(parents=True, exist_ok=True)
    for study in studies(asked.seeds):
        if asked.networks and study.name not in asked.networks:
            continue
        data = images(study, asked.data)
        found: dict[str, list[dict[str, Any]]] = {row.name: [] for row in study.rows}
        for seed in range(asked.seeds):
            for row in study.rows:
                if seed < row.seeds:
                    found[row.name].append(measured(study, row, seed, asked.maps, asked.work, data))
        print(page(study, found), flush=True)


if __name__ == "__main__":
    main()

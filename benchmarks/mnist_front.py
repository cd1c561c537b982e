"""MNIST on a small part: the front of accuracy, cycles an image, LUTs and block RAMs of networks pruned by DeepLIFT.

    python benchmarks/mnist_front.py FOLDER [--part xc7a35t] [--network sfc-mnist ...] [--amount 0.5 ...]

Every network is pruned by each share of its neurons and fine-tuned; for each rate the cheapest design is explored, once
without block RAMs and once with them, and yosys maps it. The encoder of the input, FIFOs and converters are counted;
LUTs are all LUTs, those that are memories among them. Prints the designs that no other beats. FOLDER keeps the runs,
and what is done is not done again; one thread, an hour beside other work.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import bnnflow as bf
from bnnflow.build.pareto import best
from bnnflow.flow.graphs.speed import processor

CLOCK_MHZ, CYCLES = 100, (16, 64, 256, 1024, 4096)
_PRUNED = {
    "criterion": "deeplift",
    "steps": 2,
    "epochs": 15,
    "batch": 256,
    "learning_rate": 0.003,
    "distill": 0.5,
}


@dataclass(frozen=True)
class Design:
    """A network folded for a rate, as yosys maps it.

    Attributes:
        network: its name and the share of neurons that is gone.
        accuracy: of all test images.
        cycles: an image.
        lut: all of them.
        bram18, ff: block RAMs and registers.
        estimated: LUTs by the cost model.
    """

    network: str
    accuracy: float
    cycles: int
    lut: int
    bram18: int
    ff: int
    estimated: int


def pruned(folder: Path, network: str, amount: float, part: str) -> tuple[Path, float]:
    """The graph of a pruned network, and the accuracy of its integers on all test images."""
    recipe = {
        "data": {"name": "mnist"},
        "model": {"trained": network},
        "prune": {**_PRUNED, "amount": amount},
        "faults": {"enabled": False},
        "cosim": {"when": "never"},
        "target": {"part": part, "clock_mhz": CLOCK_MHZ, "fps": CLOCK_MHZ * 1e6 / CYCLES[-1]},
    }
    run = folder / f"{network}-{amount:g}"
    path = folder / f"{run.name}.yaml"
    path.write_text(json.dumps(recipe))  # JSON is YAML
    summary = bf.build(path, run)
    return run / "pruned" / "network.onnx", summary.networks["pruned"].accuracy_hw


def designs(graph: Path, name: str, accuracy: float, part: str) -> list[Design]:
    """The cheapest designs of a network, a rate each, with and without block RAMs."""
    made, digest = [], hashlib.sha256(graph.read_bytes()).hexdigest()[:16]
    kept = graph.parent.parent / f"designs-{part}-{digest}"
    kept.mkdir(exist_ok=True)
    for cycles in CYCLES:
        for rams in (0, None):
            place = kept / f"{cycles}-{'any' if rams is None else rams}.onnx"
            done = place.with_suffix(".json")
            if not done.exists():
                try:
                    chosen = bf.explore(graph, CLOCK_MHZ * 1e6 / cycles, bram18=rams, part=part, output=place).chosen
                except bf.Problem as problem:
                    print(f"{name}, {cycles:,} cycles: {problem}", flush=True)
                    continue
                total = bf.synth(place, part=part, jobs=1).networks[place.stem].total
                row = Design(
                    name,
                    accuracy,
                    chosen.interval_cycles,
                    total.lut + total.lut_ram,
                    total.block_ram,
                    total.ff,
                    chosen.lut,
                )
                done.write_text(json.dumps(asdict(row)))
            made.append(Design(**json.loads(done.read_text())))
    return made


def main() -> None:
    """Print the front."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--part", default="xc7a35t")
    parser.add_argument("--network", nargs="+", default=["sfc-mnist"])
    parser.add_argument("--amount", nargs="+", type=float, default=[0.25, 0.5, 0.75, 0.875])
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    found: list[Design] = []
    for network in given.network:
        for amount in given.amount:
            graph, accuracy = pruned(given.folder, network, amount, given.part)
            found += designs(graph, f"{network}, {amount:.1%} of neurons removed", accuracy, given.part)
    table = np.array([[-each.accuracy, each.cycles, each.lut, each.bram18] for each in found])
    print(f"{processor()}; {given.part}, {CLOCK_MHZ} MHz; {len(found)} designs, of which no other beats:\n")
    print("| network | accuracy | cycles | LUT, all | block RAM of 18 kbit | FF | LUT estimated |\n|" + "---|" * 7)
    for each in sorted((found[place] for place in best(table)), key=lambda one: (one.cycles, one.lut)):
        figures = f"{100 * each.accuracy:.2f} | {each.cycles:,} | {each.lut:,} | {each.bram18} | {each.ff:,}"
        print(f"| {each.network} | {figures} | {each.estimated:,} |")


if __name__ == "__main__":
    main()

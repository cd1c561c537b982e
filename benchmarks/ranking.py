"""How criteria stand to chance on the networks that come with bnnflow: every layer and all, without training.

    python benchmarks/ranking.py FOLDER [NETWORK ...] [--draws 20] [--images 2000]

FOLDER holds the data sets, a subfolder each (mnist, cifar10, fashion-mnist, speech_commands). Prints a Markdown table a
network and leaves RANKING-NETWORK.json in the present folder. One thread; CNV takes most of an hour.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
from ruamel.yaml import YAML

from bnnflow.flow.pruning.chance import against_chance
from bnnflow.flow.pruning.sensitivity import Candidates
from bnnflow.flow.pruning.sets import set_scores
from bnnflow.flow.pruning.structure import graph_and_structure
from bnnflow.flow.results.rankings import ChanceCell
from bnnflow.models.data.load import load_dataset
from bnnflow.models.files.pack import unpack_network
from bnnflow.models.files.packed_file import read_packed
from bnnflow.models.files.trained_names import trained_files
from bnnflow.models.relevance.sample import Sample
from bnnflow.models.relevance.scores import score

CRITERIA = ("reconstruction", "deeplift", "gradient-activation", "norm-gain")
FOLDERS = {"speech-commands": "speech_commands"}
SHARES = (0.25, 0.5, 0.75)


def measured(name: str, folder: Path, draws: int, images: int) -> tuple[list[ChanceCell], float, dict[str, float]]:
    """Cells of a network, its accuracy on the same test images, and seconds that each criterion took."""
    packed = read_packed(trained_files()[name])
    network = unpack_network(packed).eval()
    data = YAML(typ="safe").load(packed.provenance.recipe)["data"]["name"]
    found = load_dataset(data, folder / FOLDERS.get(data, data))
    rng = np.random.default_rng(0)
    test = np.sort(rng.permutation(len(found.test_images))[:images])
    order = rng.permutation(len(found.train_images))
    sample = Sample.draw(found.train_images, found.train_labels, 512, rng)
    graph, structure = graph_and_structure(network)
    judged = (found.test_images[test], found.test_labels[test])
    candidates = Candidates.of(graph, found.train_images[order[:1000]], *judged)
    scores, seconds = {}, {}
    for criterion in CRITERIA:
        made = score(network, criterion, sample, sets=set_scores)
        scores[criterion] = structure.scores(network, made.scores)
        seconds[criterion] = made.seconds
    cells = against_chance(candidates, scores, SHARES, draws, 0, _progress)
    return cells, candidates({}), seconds


def _progress(done: int, total: int) -> None:
    if done % 20 == 0 or done == total:
        print(f"\r{done} of {total}", end="" if done < total else "\n", file=sys.stderr, flush=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("networks", nargs="*", default=list(trained_files()))
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--images", type=int, default=2000)
    asked = parser.parse_args()
    for name in asked.networks:
        began = time.perf_counter()
        cells, whole, seconds = measured(name, asked.folder, asked.draws, asked.images)
        rows = [asdict(cell) for cell in cells]
        Path(f"RANKING-{name}.json").write_text(json.dumps({"accuracy": whole, "cells": rows}, indent=1))
        taken = ", ".join(f"{one} {value:.1f} s" for one, value in seconds.items())
        print(f"\n{name}: {100 * whole:.2f} % whole; {taken}; {time.perf_counter() - began:.0f} s in all\n")
        print("\n".join([*_table(cells, asked.draws), *_summary(cells)]), flush=True)


def _table(cells: list[ChanceCell], draws: int) -> list[str]:
    lines = [f"| group | removed | {draws} random draws | {' | '.join(CRITERIA)} |", "|---" * (3 + len(CRITERIA)) + "|"]
    for cell in cells:
        figures = [f"{100 * cell.accuracy[one]:.1f} ({cell.z(one) or 0:+.1f})" for one in CRITERIA]
        chance = f"{100 * cell.mean:.1f} ± {100 * cell.deviation:.1f}"
        lines.append(f"| {cell.group} | {cell.share:.0%} | {chance} | {' | '.join(figures)} |")
    return lines


def _summary(cells: list[ChanceCell]) -> list[str]:
    lines = []
    for one in CRITERIA:
        z = np.array([cell.z(one) or 0.0 for cell in cells])
        cases = f"below -1 in {(z < -1).sum()}, 2 or more in {(z >= 2).sum()} of {len(z)}"
        lines.append(f"{one}: mean z {z.mean():+.2f}, least {z.min():+.2f}, {cases}")
    return lines


if __name__ == "__main__":
    main()

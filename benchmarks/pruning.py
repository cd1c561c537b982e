"""Does explanation choose better filters than chance? Every criterion with the same base, shares and recovery.

    python benchmarks/pruning.py examples/fashion-mnist.yaml work/pruning-fashion --markdown table.md

For every seed the recipe's network is trained; then every criterion prunes it, and so do several random draws, all with
the same share of each layer, rounds and fine-tuning. What is compared are accuracies on the test set: of each criterion
with the mean of the random draws of the same seed. The interval is Student's, 95 %, over the seeds' differences; a
criterion is said to differ from chance only where it excludes 0. Every cell is kept in the folder, so that an
interrupted study goes on.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean

from bnnflow.flow import cli
from bnnflow.flow.context import FLIPS, WEIGHTS, dataset, set_threads
from bnnflow.flow.pruning import recovery
from bnnflow.flow.recipe import Recipe, load
from bnnflow.models.flips import FlipCounts
from bnnflow.models.networks import Network
from bnnflow.models.prune import PruneSpec, prune
from bnnflow.models.saved import load_network
from bnnflow.models.train import predict
from bnnflow.models.zoo import figures
from bnnflow.sim.faults.statistics import half_width

CRITERIA = (
    *("deeplift", "integrated-gradients", "gradient-activation", "taylor-weight", "taylor-activation", "lrp"),
    *("flips", "latent", "entropy", "norm-gain", "borda(deeplift, taylor-activation, latent)"),
)
RANDOM = "random"


@dataclass(frozen=True, slots=True)
class Cell:
    """One pruned network.

    Args:
        seed: of the base network.
        criterion, draw: what chose the filters, and which random draw.
        accuracy: on the test set, 0 to 1.
        before_recovery: accuracy on held-out training images before the fine-tuning of each round.
        binary_macs, whole_binary_macs: of an image, pruned and unpruned.
        seconds: that it took.
    """

    seed: int
    criterion: str
    draw: int
    accuracy: float
    before_recovery: list[float]
    binary_macs: int
    whole_binary_macs: int
    seconds: float


def base(arguments: argparse.Namespace, seed: int) -> tuple[Recipe, Path]:
    """The recipe and the run folder of the network trained with a seed; trained where it is not there yet."""
    folder = arguments.folder / f"base-{seed}"
    changes = [f"seed={seed}", f"train.flip_window={arguments.window}", *arguments.set]
    words = ["build", str(arguments.recipe), "--run", str(folder), "--to", "train"]
    if arguments.data_dir:
        words += ["--data-dir", str(arguments.data_dir)]
    status = cli.run([*words, *(word for change in changes for word in ("-s", change))])
    if status:
        raise SystemExit(status)
    return load(folder / "model.yaml"), folder


def cell(arguments: argparse.Namespace, recipe: Recipe, folder: Path, criterion: str, draw: int) -> Cell:
    """Prune one base network by one criterion; what was found before is read again."""
    name = "".join(c if c.isalnum() else "-" for c in f"{criterion}-{draw}-{arguments.amount}-{arguments.epochs}")
    file = arguments.folder / "cells" / f"{recipe.seed}-{name}-{arguments.steps}.json"
    if file.is_file():
        return Cell(**json.loads(file.read_text()))
    began = time.perf_counter()
    images = dataset(recipe)
    network = load_network(folder / "base" / WEIGHTS)
    assert isinstance(network, Network)
    heal = replace(recovery(recipe), epochs=arguments.epochs)
    # the draw is part of the seed: random filters differ, and so does nothing else but the order of fine-tuning
    spec = PruneSpec(
        arguments.amount,
        arguments.steps,
        recipe.prune.unit,
        recipe.prune.images,
        heal,
        recipe.seed + 1000 * draw,
        criterion,
    )
    counts = FlipCounts.load(folder / "base" / FLIPS)
    result = prune(network, images.train_images, images.train_labels, spec, flips=counts)
    right = predict(result.network, images.test_images).argmax(1) == images.test_labels
    made = Cell(
        recipe.seed,
        criterion,
        draw,
        float(right.mean()),
        [step["accuracy_before"] for step in result.steps],
        figures(result.network.spec).binary_macs,
        figures(network.spec).binary_macs,
        time.perf_counter() - began,
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asdict(made)))
    return made


def table(bases: dict[int, float], cells: list[Cell]) -> str:
    """Markdown: for each criterion the accuracy, and its difference to chance in points."""
    chance = {seed: [c.accuracy for c in cells if c.criterion == RANDOM and c.seed == seed] for seed in bases}
    first = cells[0]
    share = 1 - first.binary_macs / first.whole_binary_macs
    lines = [
        f"Unpruned: {100 * mean(bases.values()):.2f} % (seeds {', '.join(map(str, bases))}: "
        f"{', '.join(f'{100 * value:.2f}' for value in bases.values())}); {100 * share:.1f} % fewer binary operations.",
        "",
        "| criterion | accuracy, mean (range) | against unpruned | against chance, 95 % | draws beaten | verdict |",
        "|---|---|---|---|---|---|",
    ]
    rows = []
    for name in dict.fromkeys(c.criterion for c in cells):
        mine = {seed: [c.accuracy for c in cells if c.criterion == name and c.seed == seed] for seed in bases}
        every = [value for values in mine.values() for value in values]
        loss = mean(mean(values) - bases[seed] for seed, values in mine.items())
        text = f"| {name} | {100 * mean(every):.2f} ({100 * min(every):.2f} to {100 * max(every):.2f}) "
        text += f"| {100 * loss:+.2f} "
        if name == RANDOM:
            rows.append((mean(every), text + f"| {len(every)} draws | | |"))
            continue
        gaps = [mean(values) - mean(chance[seed]) for seed, values in mine.items()]
        half = half_width(gaps)
        beaten = sum(mean(values) > draw for seed, values in mine.items() for draw in chance[seed])
        verdict = "better" if mean(gaps) > half else "worse" if mean(gaps) < -half else "no difference shown"
        draws = sum(map(len, chance.values()))
        text += f"| {100 * mean(gaps):+.2f} ± {100 * half:.2f} | {beaten} of {draws} | {verdict} |"
        rows.append((mean(every), text))
    return "\n".join([*lines, *(text for _, text in sorted(rows, reverse=True))]) + "\n"


def main() -> None:
    """Run what is missing of the study, and print its table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("folder", type=Path, help="of the runs and cells")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--draws", type=int, default=5, help="random draws a seed")
    parser.add_argument("--criteria", nargs="+", default=list(CRITERIA))
    parser.add_argument("--amount", type=float, default=0.5, help="share of each layer")
    parser.add_argument("--steps", type=int, default=2, help="rounds of scoring, removing, fine-tuning")
    parser.add_argument("--epochs", type=int, default=1, help="fine-tuning after each round")
    parser.add_argument("--window", type=int, default=3, help="last epochs in which flips are counted")
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("-s", "--set", action="append", default=[], metavar="KEY=VALUE", help="of the recipe")
    parser.add_argument("--markdown", type=Path, help="file for the table")
    arguments = parser.parse_args()
    bases: dict[int, float] = {}
    cells = []
    for seed in range(arguments.seeds):
        recipe, folder = base(arguments, seed)
        set_threads(recipe.train.threads)
        facts = json.loads((folder / "manifest.json").read_text())["stages"]["train"]["facts"]
        bases[seed] = facts["accuracy"]
        jobs = [*((RANDOM, draw) for draw in range(arguments.draws)), *((name, 0) for name in arguments.criteria)]
        for criterion, draw in jobs:
            cells.append(cell(arguments, recipe, folder, criterion, draw))
            print(f"seed {seed} {criterion} {draw}: {100 * cells[-1].accuracy:.2f} %", flush=True)
    text = table(bases, cells)
    print(text)
    if arguments.markdown:
        arguments.markdown.write_text(text)


if __name__ == "__main__":
    main()

"""Is the allocator's choice of widths better than chance? Against random widths of at most its cost, and equal shares.

    python benchmarks/allocation.py RECIPE [KEY=VALUE ...] [--draws 20] [--seeds 3]

RECIPE trains a network, or names a trained one (`model: {trained: NAME}`). Its `prune` section says amount, objective,
criterion and fine-tuning; there is one round. A random choice costs between nine tenths and all of what the
allocator's does, so that it is a rival and not merely smaller. All are fine-tuned alike, with each seed. Prints
accuracies of test images and keeps them in ALLOCATION-NAME.json in the present folder, from which it goes on. One
thread.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from bnnflow.flow.pruning.allocator import SensitivityAllocator, hardware_costs, objective_of
from bnnflow.flow.pruning.prune import recovery
from bnnflow.flow.pruning.sets import set_scores
from bnnflow.flow.pruning.structure import layer_graph, structure_of
from bnnflow.flow.recipe.file import load_recipe
from bnnflow.flow.recipe.methods.filters import Filters
from bnnflow.flow.recipe.objects import dataset, set_threads, train_settings
from bnnflow.flow.recipe.schema import Recipe
from bnnflow.flow.stages.train import fit
from bnnflow.models.networks.network import Network
from bnnflow.models.prune.schedule import prune
from bnnflow.models.prune.spec import Allocation, Allocator, PruneResult, PruneSpec
from bnnflow.models.training.evaluate import accuracy
from bnnflow.models.training.train import held_out

TRIES = 100_000
Widths = dict[str, int]


def prune_spec(recipe: Recipe, seed: int) -> PruneSpec:
    """One round of the recipe's pruning; the seed is fine-tuning's and that of the scored images."""
    settings, method = recipe.prune, recipe.prune.chosen
    assert isinstance(method, Filters)
    plan = replace(recovery(recipe), seed=seed)
    return PruneSpec(settings.amount, 1, settings.unit, settings.images, plan, seed, method.ranking)


def equal_widths(widths: Widths, unit: int, left: Callable[[Widths], float], limit: float) -> Widths:
    """The least share taken of every group, in whole units, that costs no more than `limit`."""
    for percent in range(1, 100):
        kept = {name: max(unit, round(width * (1 - percent / 100) / unit) * unit) for name, width in widths.items()}
        if left(kept) <= limit:
            return kept
    raise SystemExit("no equal shares cost so little")


def drawn_widths(
    widths: Widths, unit: int, left: Callable[[Widths], float], limit: float, seed: int, but: list[Widths]
) -> Widths:
    """Whole units of every group, drawn until they cost nine tenths of `limit` to all of it."""
    rng = np.random.default_rng([seed, 7])
    for _ in range(TRIES):
        kept = {name: int(rng.integers(1, width // unit + 1)) * unit for name, width in widths.items()}
        if kept not in but and 0.9 * limit <= left(kept) <= limit:
            return kept
    raise SystemExit("no random widths cost about as much")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("changes", nargs="*")
    parser.add_argument("--draws", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=3)
    asked = parser.parse_args()
    recipe = load_recipe(asked.recipe, ["prune.allocation=sensitivity", "prune.steps=1", *asked.changes])
    set_threads(1)
    data = dataset(recipe)
    network = fit(recipe, data, None, None)[0].eval()
    assert isinstance(network, Network)
    out = held_out(data.train_labels, train_settings(recipe))
    objective, costs = objective_of(recipe), hardware_costs(recipe, layer_graph(network))
    whole = costs({})

    def left(kept: Mapping[str, int]) -> float:
        return objective.left(costs(kept), whole)

    def pruned(allocate: Allocator, seed: int) -> tuple[PruneResult, float]:
        arrays = (network, data.train_images, data.train_labels, prune_spec(recipe, seed))
        structure = structure_of(network)
        made = prune(
            *arrays, allocate=allocate, held_out=out if len(out) else None, structure=structure, sets=set_scores
        )
        return made, accuracy(made.network, data.test_images, data.test_labels)

    kept_in = Path(f"ALLOCATION-{recipe.name}.json")
    found: dict[str, list[float]] = json.loads(kept_in.read_text()) if kept_in.is_file() else {}
    widths: dict[str, Widths] = {}
    began = time.perf_counter()
    chosen, first = pruned(SensitivityAllocator(recipe, None), recipe.seed)
    widths["allocator"] = chosen.steps[0]["kept"]
    limit = left(widths["allocator"])
    original = structure_of(network).widths
    widths["equal shares"] = equal_widths(original, recipe.prune.unit, left, limit)
    for draw in range(asked.draws):
        others = list(widths.values())
        widths[f"random {draw}"] = drawn_widths(original, recipe.prune.unit, left, limit, draw, others)
    print(f"{recipe.name}: {100 * accuracy(network, data.test_images, data.test_labels):.2f} % whole, {whole}")
    for name, kept in widths.items():
        key = f"{name} {sorted(kept.items())}"
        values = found.setdefault(key, [first] if name == "allocator" else [])
        while len(values) < asked.seeds:
            values.append(pruned(lambda _, kept=kept: Allocation(kept), recipe.seed + len(values))[1])  # type: ignore[misc]
            kept_in.write_text(json.dumps(found, indent=1))
        spread = np.std(values, ddof=1) if len(values) > 1 else 0.0
        mean, taken = 100 * np.mean(values), time.perf_counter() - began
        print(
            f"{name}: {mean:.2f} ± {100 * spread:.2f} % at {left(kept):.3f} of the cost, {kept}; {taken:.0f} s",
            flush=True,
        )


if __name__ == "__main__":
    main()

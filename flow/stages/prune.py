"""The work behind the stage `prune`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..graphs.folding import decides
from ..pruning.prune import given_of, pruned
from ..recipe.objects import set_threads, step_products
from ..recipe.parts import part_content
from ..results.stages import NoResult, PruningResult, RelevanceMaps
from ..run.names import QONNX, WEIGHTS
from .build import Build

RELEVANCE = "base/relevance.png"


def prune_base(build: Build, flips: Path | None) -> PruningResult:
    """Prune the run's trained network by the recipe's method, and write the weights of the smaller one.

    Resumes where it was interrupted.

    Args:
        build: the run.
        flips: file of what training counted; None where it did not.

    Returns:
        What `pruned` says, and where the criterion finds relevance.

    Raises:
        Problem: at its place in the recipe.
    """
    from ...models.files.saved import save_network
    from ...models.training.ensemble import joined

    recipe = build.recipe
    base = joined(build.load("base"))
    set_threads(recipe.train.threads, step_products(base.spec, recipe.train.batch))
    held, progress = build.held_out, build.progress("prune")
    given = given_of(recipe, base, build.dataset, held, flips, progress, build.run.path("work"))
    network, found = pruned(recipe, given, build.dataset, held.called)
    with build.run.temporary(f"pruned/{WEIGHTS}") as path:
        save_network(network, path)
    if found.relevance is None:
        filters = recipe.prune.method == "filters"
        found = replace(found, relevance=_draw_relevance(build) if filters else NoResult())
    return found


def _draw_relevance(build: Build) -> RelevanceMaps | NoResult:
    """Draw where the criterion finds relevance in images; nothing where it looks at none."""
    from ...models.relevance.criteria import Criterion
    from ...models.relevance.sample import Sample
    from ...models.training.ensemble import joined
    from ..show.rank_plots import draw_maps

    criterion = Criterion.parse(build.recipe.prune.ranking)
    base = joined(build.load("base"))
    if not criterion.reduction:
        return NoResult()
    # As many images as there are classes, and as many baselines: enough for a picture.
    images, rng = build.dataset, np.random.default_rng([build.recipe.seed, 41])
    few = Sample.draw(images.train_images, images.train_labels, len(images.classes), rng)
    drawn = draw_maps(base, criterion.method, few)
    if drawn is None:
        return NoResult()
    picture, layers = drawn
    build.run.write(RELEVANCE, picture)
    return RelevanceMaps(method=criterion.method, layers=list(layers))


def step_cost_inputs(build: Build) -> dict[str, Any]:
    """What `step_costs` depends on."""
    recipe = build.recipe
    if not build.prunes or recipe.prune.method != "filters":
        return {}
    kept = [dict(step.kept) for step in build.result(PruningResult).steps]
    chosen = {key: getattr(recipe.prune, key) for key in ("budget", "folding")}
    return {"base": build.file("base", QONNX), "kept": kept, **part_content(chosen), **decides(recipe)}


def step_costs(build: Build) -> dict[str, Any]:
    """Costs of the unpruned network, as `unpruned`, and after each step of removing filters, as `steps`."""
    from ...transforms.reading.read import read
    from ..pruning.allocator import hardware_costs

    if not step_cost_inputs(build):
        return {}
    costs = hardware_costs(build.recipe, read(build.file("base", QONNX)))
    return {"unpruned": costs({}), "steps": [costs(step.kept) for step in build.result(PruningResult).steps]}

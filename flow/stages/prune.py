"""The work behind the stage `prune`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..pruning import methods as finer
from ..pruning.methods import Made, Method, with_images
from ..recipe.objects import set_threads, train_settings
from ..recipe.schema import Recipe
from ..run.names import QONNX, WEIGHTS
from .build import Build, Facts

if TYPE_CHECKING:
    from ...models.prune.spec import PruneResult
    from ...models.training.train_spec import TrainSpec

RELEVANCE = "base/relevance.png"
_AS_TRAINED = ("optimizer", "loss", "margin", "schedule", "augment", "precision")
_ALWAYS_AS_TRAINED = (
    "momentum",
    "weight_decay",
    "bop_rate",
    "bop_threshold",
    "momentum_format",
    "step_epochs",
    "step_factor",
    "temperature",
    "device",
)
_OWN = ("epochs", "batch", "learning_rate", "distill")


def recovery_settings(recipe: Recipe) -> dict[str, Any]:
    """How the recipe fine-tunes after removal, by the keys of `TrainSpec` but the seed."""
    own, train = recipe.prune, recipe.train
    fields = {key: getattr(train, key) for key in _ALWAYS_AS_TRAINED}
    for key in _AS_TRAINED:
        given = getattr(own, key)
        fields[key] = getattr(train, key) if given is None else given
    if fields["optimizer"] != "bop":
        fields["momentum_format"] = ""
    if own.loss is not None and own.loss != train.loss and own.margin is None:
        fields["margin"] = None
    return fields | {key: getattr(own, key) for key in _OWN}


def recovery(recipe: Recipe) -> TrainSpec:
    """How the recipe fine-tunes after removal."""
    from ...models.training.train_spec import TrainSpec

    return TrainSpec(seed=recipe.seed, **recovery_settings(recipe))


def pruned(build: Build, flips: Path | None = None) -> tuple[PruneResult, dict[str, int]]:
    """Prune the run's trained network as its recipe says; goes on where it was interrupted.

    Returns:
        What comes of it, and the channels that are left of each group.

    Args:
        build: the run.
        flips: file of what training counted; None where it did not.

    Raises:
        Problem: at its place in the recipe.
    """
    from ...models.prune.schedule import prune
    from ...models.prune.spec import PruneSpec
    from ...models.training.ensemble import Ensemble
    from ...models.training.flips import FlipCounts
    from ...models.training.train import held_out
    from ..pruning.allocator import SensitivityAllocator
    from ..pruning.structure import structure_of

    recipe, settings = build.recipe, build.recipe.prune
    set_threads(recipe.train.threads)
    spec = PruneSpec(
        settings.amount,
        settings.steps,
        settings.unit,
        settings.images,
        recovery(recipe),
        recipe.seed,
        settings.criterion,
        None if settings.max_loss is None else settings.max_loss / 100,
        settings.min_width,
    )
    base = build.load("base")
    assert not isinstance(base, Ensemble)
    structure = structure_of(base)
    report = build.progress("prune")
    allocator = None
    if settings.allocation == "sensitivity":
        folder = build.run.path("work/sensitivity")
        allocator = SensitivityAllocator(recipe, folder, lambda done, total: report(done, total, {}))
    images = build.dataset
    out = held_out(len(images.train_images), train_settings(recipe))
    result = prune(
        base,
        images.train_images,
        images.train_labels,
        spec,
        build.run.path("work/prune.pt"),
        report,
        allocator,
        allocator.describe() if allocator else "",
        out if len(out) else None,
        FlipCounts.load(flips) if flips is not None else None,
        structure,
    )
    good = [step for step in result.steps if not step["rolled_back"]]
    return result, good[-1]["kept"] if good else structure.widths


def prune_base(build: Build, flips: Path | None) -> Facts:
    """Prune the run's trained network by the recipe's method, and write the weights of the smaller one.

    Returns:
        method, steps, accuracy on held-out and on test images (0 to 1), why it stopped, what is left (`kept`, by group
        or layer, and `unit`, what it counts), and what the method adds.
    """
    from ...models.files.saved import save_network
    from ...models.training.evaluate import accuracy

    method = build.recipe.prune.method
    made, held = _filters(build, flips) if method == "filters" else _finer(build, flips)
    images = build.dataset
    with build.run.temporary(f"pruned/{WEIGHTS}") as path:
        save_network(made.network, path)
    return {
        "method": method,
        "relevance": _draw_relevance(build) if method == "filters" else {},
        **made.facts,
        "steps": made.steps,
        "held_out_accuracy": held,
        "stop": made.stop,
        "kept": made.kept,
        "unit": made.unit,
        "accuracy": accuracy(made.network, images.test_images, images.test_labels),
    }


def _draw_relevance(build: Build) -> Facts:
    """Draw where the criterion finds relevance in images; its method and the layers, {} where it looks at none."""
    from ...models.relevance.criteria import Criterion
    from ...models.relevance.sample import Sample
    from ...models.training.ensemble import Ensemble
    from ..show.rank_plots import draw_maps

    criterion = Criterion.parse(build.recipe.prune.criterion)
    base = build.load("base")
    assert not isinstance(base, Ensemble)
    if not criterion.reduction:
        return {}
    # As many images as there are classes, and as many baselines: enough for a picture.
    images, rng = build.dataset, np.random.default_rng([build.recipe.seed, 41])
    few = Sample.draw(images.train_images, images.train_labels, len(images.classes), rng)
    drawn = draw_maps(base, criterion.method, few)
    if drawn is None:
        return {}
    picture, layers = drawn
    build.run.write(RELEVANCE, picture)
    return {"method": criterion.method, "layers": layers}


def step_cost_inputs(build: Build) -> Facts:
    """What `step_costs` depends on."""
    recipe = build.recipe
    if not build.prunes or recipe.prune.method != "filters":
        return {}
    kept = [step["kept"] for step in build.facts["prune"]["steps"]]
    chosen = {key: getattr(recipe.prune, key) for key in ("budget", "folding")}
    return {"base": build.file("base", QONNX), "target": recipe.target.model_dump(mode="json"), "kept": kept, **chosen}


def step_costs(build: Build) -> Facts:
    """Costs of the unpruned network, as `unpruned`, and after each step of removing filters, as `steps`."""
    from ...transforms.reading.read import read
    from ..pruning.allocator import hardware_costs

    if not step_cost_inputs(build):
        return {}
    costs = hardware_costs(build.recipe, read(build.file("base", QONNX)))
    return {"unpruned": costs({}), "steps": [costs(step["kept"]) for step in build.facts["prune"]["steps"]]}


def _filters(build: Build, flips: Path | None) -> tuple[Made, float]:
    """What `pruned` makes, and accuracy of the unpruned network on the held-out images."""
    (result, kept), settings = pruned(build, flips), build.recipe.prune
    facts = {"criterion": settings.criterion, "allocation": settings.allocation}
    return Made(result.network, kept, "filters and neurons", result.steps, facts, result.stop), result.accuracy


def _finer(build: Build, flips: Path | None) -> tuple[Made, float]:
    """The same by another method; goes on where it was interrupted."""
    from ...models.networks.network import Network
    from ...models.training.evaluate import accuracy

    recipe, settings = build.recipe, build.recipe.prune
    set_threads(recipe.train.threads)
    base = build.load("base")
    assert isinstance(base, Network)
    have = with_images(recipe, base, build.dataset, flips)
    most = (settings.max_loss or 0.0) / 100
    methods: dict[str, Method] = {
        "planes": partial(finer.planes, most=most),
        "blocks": partial(finer.blocks, most=most),
        "synapses": finer.synapses,
        "ecqx": finer.ecqx,
        "masks": finer.masks,
    }
    checkpoint = build.run.path(f"work/{settings.method}.pt")
    how = (getattr(settings, settings.method), recovery(recipe), checkpoint, build.progress("prune"))
    return methods[settings.method](have, *how), accuracy(base, *have.held)

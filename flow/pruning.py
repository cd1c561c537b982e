"""The work behind the stage `prune`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .context import WEIGHTS, Build, Facts, set_threads, train_settings
from .recipe import Recipe

if TYPE_CHECKING:
    from ..models.prune import PruneResult
    from ..models.train_spec import TrainSpec

_AS_TRAINED = ("optimizer", "loss", "margin", "schedule", "augment", "precision")
_ALWAYS_AS_TRAINED = ("momentum", "weight_decay", "bop_rate", "bop_threshold", "momentum_format", "device")


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
    return fields | {"epochs": own.epochs, "batch": own.batch, "learning_rate": own.learning_rate}


def recovery(recipe: Recipe) -> TrainSpec:
    """How the recipe fine-tunes after removal."""
    from ..models.train_spec import TrainSpec

    return TrainSpec(seed=recipe.seed, **recovery_settings(recipe))


def pruned(build: Build, flips: Path | None = None) -> PruneResult:
    """Prune the run's trained network as its recipe says; goes on where it was interrupted.

    Args:
        build: the run.
        flips: file of what training counted; None where it did not.

    Raises:
        Problem: at its place in the recipe.
    """
    from ..models.flips import FlipCounts
    from ..models.networks import Network
    from ..models.prune import PruneSpec, prune
    from ..models.train import held_out
    from .allocator import SensitivityAllocator

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
    assert isinstance(base, Network)
    report = build.progress("prune")
    allocator = None
    if settings.allocation == "sensitivity":
        folder = build.run.path("work/sensitivity")
        allocator = SensitivityAllocator(recipe, folder, lambda done, total: report(done, total, {}))
    images = build.dataset
    out = held_out(len(images.train_images), train_settings(recipe))
    return prune(
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
    )


def prune_base(build: Build, flips: Path | None) -> Facts:
    """Prune the run's trained network as `pruned` does, and write the weights of the smaller one.

    Returns:
        criterion, allocation, steps, accuracy on held-out and on test images (0 to 1), why it stopped, and the widths
        that are left.
    """
    from ..models.prune import groups
    from ..models.saved import save_network
    from ..models.train import accuracy

    result = pruned(build, flips)
    images = build.dataset
    with build.run.temporary(f"pruned/{WEIGHTS}") as path:
        save_network(result.network, path)
    return {
        "criterion": build.recipe.prune.criterion,
        "allocation": build.recipe.prune.allocation,
        "steps": result.steps,
        "held_out_accuracy": result.accuracy,
        "stop": result.stop,
        "kept": {group.name: group.width for group in groups(result.network.spec)},
        "accuracy": accuracy(result.network, images.test_images, images.test_labels),
    }

"""A recipe's pruning done to a trained network: what its method is given, and what is told of it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..recipe.methods.method import MethodInput
from ..recipe.objects import export_properties
from ..recipe.schema import Recipe
from ..results.stages import PruningResult
from ..run.typed_json import from_json
from .allocator import SensitivityAllocator
from .held_out import HeldOut
from .memories import hardware_memories
from .sets import set_scores
from .structure import structure_of, synapse_layers

if TYPE_CHECKING:
    from ...models.data.load import Dataset
    from ...models.networks.network import Network
    from ...models.networks.own import OwnNetwork
    from ...models.prune.blocks import Units
    from ...models.prune.spec import Allocator
    from ...models.training.injection import MemoriesOf
    from ...models.training.train import Progress
    from ...models.training.train_spec import TrainSpec

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

    errors = recipe.fault_training.bit_errors()
    return TrainSpec(seed=recipe.seed, bit_errors=errors, **recovery_settings(recipe))


def memories_of(recipe: Recipe) -> MemoriesOf | None:
    """What the hardware of a network holds, where fine-tuning has bit errors of memories."""
    properties = export_properties(recipe)
    return partial(hardware_memories, properties=properties) if recipe.fault_training.stored else None


def given_of(
    recipe: Recipe,
    network: Network | OwnNetwork,
    data: Dataset,
    held: HeldOut,
    flips: Path | None,
    progress: Progress,
    work: Path | None = None,
) -> MethodInput:
    """What a method works with.

    Args:
        recipe: says seed, fine-tuning and what may be lost.
        network: trained; its eval mode is pruned.
        data: the recipe's images.
        held: those of them that decide; where there are none a tenth does.
        flips: file of what training counted; None where it did not.
        progress: as for `train`.
        work: folder of what is kept, so that the same call resumes from there; None keeps nothing.
    """
    settings = recipe.prune

    def allocator() -> tuple[Allocator, str]:
        folder = work / "sensitivity" if work is not None else None
        made = SensitivityAllocator(recipe, folder, lambda done, total: progress(done, total, {}))
        return made, made.describe()

    def units() -> Units[Any]:
        from .units import units_of

        return units_of(network, export_properties(recipe))

    return MethodInput(
        network.eval(),
        data.train_images,
        data.train_labels,
        held.if_any,
        recipe.seed,
        recovery(recipe),
        None if settings.max_loss is None else settings.max_loss / 100,
        flips,
        work / f"{settings.method}.pt" if work is not None else None,
        progress,
        lambda: structure_of(network),
        partial(set_scores, properties=export_properties(recipe)),
        allocator if settings.allocation == "sensitivity" else None,
        memories_of(recipe),
        lambda: synapse_layers(network),
        units,
    )


def pruned(
    recipe: Recipe, given: MethodInput, data: Dataset, judged_on: str
) -> tuple[Network | OwnNetwork, PruningResult]:
    """Prune by the recipe's method.

    Args:
        recipe: names it.
        given: of `given_of`.
        data: whose test images the accuracy is of.
        judged_on: what the images are called that decide.

    Returns:
        The smaller network and all that is to be said of it.

    Raises:
        Problem: the network does not have what is to be removed.
    """
    from ...models.training.evaluate import accuracy

    held = accuracy(given.network, *given.held)
    method = recipe.prune.chosen
    made = method.prune(given)
    facts = {
        "method": recipe.prune.method,
        **made.facts,
        "steps": [step.to_facts(number) for number, step in enumerate(made.steps, 1)],
        "held_out_accuracy": held,
        "judged_on": judged_on,
        "stop": made.stop,
        "kept": made.kept,
        "unit": method.counts,
        "accuracy": accuracy(made.network, data.test_images, data.test_labels),
    }
    return made.network, from_json(PruningResult, facts)

"""The methods of `prune.method` beside filters, each from a trained network to a smaller one and what is to be said."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..recipe.objects import train_settings
from ..recipe.prune import Blocks, Ecqx, Masks, Planes, Synapses
from ..recipe.schema import Recipe

if TYPE_CHECKING:
    from ...models.data.load import Dataset
    from ...models.networks.network import Network
    from ...models.networks.own import OwnNetwork
    from ...models.prune.blocks import BlockLoss
    from ...models.training.train import Progress
    from ...models.training.train_spec import TrainSpec

Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Given:
    """A trained network, and its images.

    Attributes:
        network: in eval mode.
        images, labels: training images without the held ones.
        held: images and labels to decide by. A network that was trained on them does better on them than on others, so
            that losses look larger, never smaller.
        test: test images and labels, to report on.
        seed: of everything random.
        flips: file of what training counted; None where it did not.
    """

    network: Network
    images: np.ndarray
    labels: np.ndarray
    held: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    seed: int
    flips: Path | None = None


def with_images(recipe: Recipe, network: Network, data: Dataset, flips: Path | None) -> Given:
    """A network and its images; those that its training held out decide, or a tenth."""
    from ...models.prune.spec import apart
    from ...models.training.train import held_out

    images, labels = data.train_images, data.train_labels
    trained = held_out(len(images), train_settings(recipe))
    out, rest = apart(len(images), recipe.seed, trained if len(trained) else None)
    test = (data.test_images, data.test_labels)
    return Given(network, images[rest], labels[rest], (images[out], labels[out]), test, recipe.seed, flips)


@dataclass(frozen=True, slots=True)
class Made:
    """A smaller network, in eval mode.

    Attributes:
        network: as it is.
        kept: what is left, by layer, and `unit`, what it counts.
        steps: each with `step` (from 1), `kept`, `macs` (of one image), `accuracy_before` and `accuracy_after`
            fine-tuning (0 to 1, held images; None where it was not measured), `rolled_back`.
        facts: what else the method says.
        stop: why it ended before its last step.
    """

    network: Network | OwnNetwork
    kept: dict[str, int]
    unit: str
    steps: list[Facts]
    facts: Facts = field(default_factory=dict)
    stop: str = ""


Method = Callable[[Given, Any, "TrainSpec", Path | None, "Progress | None"], Made]


def _step(number: int, macs: int, kept: dict[str, int], before: float | None, after: float) -> Facts:
    accuracies = {"accuracy_before": before, "accuracy_after": after}
    return {"step": number, "kept": kept, "macs": macs, **accuracies, "rolled_back": False}


def _stop(steps: list[Facts], thing: str, most: float) -> str:
    undone = bool(steps and steps[-1]["rolled_back"])
    return f"dropping another {thing} lost more than {100 * most:g} points, and was undone" if undone else ""


def planes(
    have: Given,
    settings: Planes,
    recovery: TrainSpec,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    most: float = 0.0,
) -> Made:
    """Drop the lowest input planes: `settings.drop`, or as many as lose at most `most` (0 to 1).

    Raises:
        Problem: the network has no input planes, or fewer.
    """
    from dataclasses import replace

    from ...models.prune.planes import reduce_planes

    pictures = (have.images, have.labels, have.held)
    made, taken = reduce_planes(
        have.network, *pictures, recovery, settings.drop, most, progress=progress, checkpoint=checkpoint
    )
    steps = [
        _step(number, replace(made.spec, planes=one.planes).macs(), {"planes": one.planes}, one.before, one.after)
        | {"rolled_back": one.planes < made.spec.planes}
        for number, one in enumerate(taken, 1)
    ]
    first = [network.spec.layers()[0].weights for network in (have.network, made)]
    facts = {"first_layer_weights": first}
    return Made(made, {"planes": made.spec.planes}, "input planes", steps, facts, _stop(steps, "plane", most))


def blocks(
    have: Given,
    settings: Blocks,
    recovery: TrainSpec,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
    most: float = 0.0,
    measured: Sequence[BlockLoss] = (),
) -> Made:
    """Drop whole residual units: `settings.drop`, or as many as lose at most `most` (0 to 1).

    `measured` is for `reduce_blocks`.

    Raises:
        Problem: the network has no residual joins, or too few units that can go.
    """
    from ...models.prune.blocks import reduce_blocks
    from ...models.prune.surgery import stages_of_blocks

    pictures = (have.images, have.labels, have.held)
    made, taken = reduce_blocks(have.network, *pictures, recovery, settings.drop, most, progress, checkpoint, measured)
    steps = [
        _step(number, one.macs, {"blocks": one.left}, one.before, one.after)
        | {"dropped": one.dropped, "rolled_back": one.undone}
        for number, one in enumerate(taken, 1)
    ]
    facts = {"dropped": [one.dropped for one in taken if not one.undone]}
    kept = {"blocks": len(stages_of_blocks(made.spec))}
    return Made(made, kept, "residual units", steps, facts, _stop(steps, "unit", most))


def synapses(
    have: Given,
    settings: Synapses,
    recovery: TrainSpec,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> Made:
    """Remove a share of the synapses of all layers, or of those that are named.

    Raises:
        Problem: the weights are not -1 and +1, or there is no such layer.
    """
    from ...models.prune.synapses import SynapseSpec, prune_synapses
    from ...models.prune.synapses import synapses as count
    from ...models.training.flips import FlipCounts

    wanted = dict.fromkeys(settings.layers, settings.share) if settings.layers else settings.share
    spec = SynapseSpec(wanted, settings.steps, settings.criterion, seed=have.seed)
    pictures = (have.images, have.labels, have.held)
    flips = FlipCounts.load(have.flips) if have.flips is not None and settings.criterion.startswith("flips") else None
    made, taken = prune_synapses(have.network, *pictures, spec, recovery, flips, progress, checkpoint)
    macs = made.spec.macs()
    steps = [_step(number, macs, one.kept, one.before, one.after) for number, one in enumerate(taken, 1)]
    found = count(made)
    whole = {name: total for name, (_, total) in found.items()}
    kept = {name: left for name, (left, _) in found.items()}
    return Made(made, kept, "synapses", steps, {"whole": whole, "criterion": settings.criterion})


def ecqx(
    have: Given,
    settings: Ecqx,
    recovery: TrainSpec,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> Made:
    """Assign the weights of all layers to few levels, and say what they code to.

    Raises:
        Problem: such weights do not fit the network's joins.
    """
    from ...models.prune.coding import coded_sizes
    from ...models.prune.ecqx import EcqxSpec
    from ...models.prune.ecqx import ecqx as assigned
    from ...models.training.evaluate import accuracy

    spec = EcqxSpec(settings.bits, settings.strength, settings.extra, settings.relevance, seed=have.seed)
    made = assigned(have.network, have.images, have.labels, spec, recovery, progress=progress, checkpoint=checkpoint)
    before, after = coded_sizes(have.network), coded_sizes(made)
    kept = {name: round(size.weights * (1 - size.zeros)) for name, size in after.items()}
    facts = {
        "bits": settings.bits,
        "relevance": settings.relevance,
        "whole": {name: size.weights for name, size in after.items()},
        "before": {name: asdict(size) for name, size in before.items()},
        "after": {name: asdict(size) for name, size in after.items()},
    }
    steps = [_step(1, made.spec.macs(), kept, None, accuracy(made, *have.held))]
    return Made(made, kept, "weights that are not 0", steps, facts)


def masks(
    have: Given,
    settings: Masks,
    recovery: TrainSpec,
    checkpoint: Path | None = None,
    progress: Progress | None = None,
) -> Made:
    """Choose channels by trained masks, cut the others, and fine-tune; above a growth of 1 with Gumbel noise.

    Raises:
        Problem: the network has joins.
    """
    from dataclasses import replace

    from ...models.prune.masks import MaskSpec, learn_masks
    from ...models.store import beside
    from ...models.training.batchnorm import NORM_IMAGES, reestimate
    from ...models.training.evaluate import accuracy
    from ...models.training.train import train

    spec = MaskSpec(settings.strength, settings.order, settings.grow > 1.0, settings.grow, have.seed)
    how = replace(recovery, epochs=settings.mask_epochs, learning_rate=settings.mask_rate)
    pictures = (have.images, have.labels, have.held)
    chosen = learn_masks(have.network, *pictures, spec, how, progress, checkpoint)
    made = chosen.network
    if recovery.epochs:
        train(made, have.images, have.labels, recovery, beside(checkpoint, "tuned"), progress)
        reestimate(made, have.images, recovery.augment, recovery.seed, most=NORM_IMAGES)
    kept = {name: now for name, (_, now) in chosen.widths.items()}
    step = _step(1, made.spec.macs(), kept, chosen.accuracy, accuracy(made, *have.held))
    if settings.grow == 1.0:
        step["filters"] = {name: indices.tolist() for name, indices in chosen.keep.items()}
    whole = {name: was for name, (was, _) in chosen.widths.items()}
    return Made(made.eval(), kept, "filters and neurons", [step], {"whole": whole})

"""The work behind the commands that prune finer than filters: they read a run, and write a network to a folder."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bnnflow import Problem

from .context import FLIPS, QONNX, WEIGHTS, dataset, set_threads
from .recipe import Recipe, load
from .run_files import explain
from .runs import verify_recorded

if TYPE_CHECKING:
    from ..models.networks import Network
    from ..models.train import Progress
    from ..models.train_spec import TrainSpec

HELD = 0.1
_HELD_DRAW = 31


@dataclass(slots=True)
class Given:
    """A trained network of a run, and its images.

    Attributes:
        recipe: of the run.
        network: in eval mode.
        images, labels: training images without the held ones.
        held: a tenth of the training images, to decide by. A network that was trained on them does better on them
            than on others, so that losses look larger, never smaller.
        test: test images and labels, to report on.
    """

    recipe: Recipe
    network: Network
    images: np.ndarray
    labels: np.ndarray
    held: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]

    def recovery(self, epochs: int, rate: float) -> TrainSpec:
        """Fine-tuning with the recipe's batch, augmentation and device."""
        from ..models.train_spec import TrainSpec

        train = self.recipe.train
        return TrainSpec(
            epochs,
            train.batch,
            rate,
            self.recipe.seed,
            augment=train.augment,
            device=train.device,
            precision=train.precision,
        )


def given(run: Path, which: str) -> Given:
    """What a run folder holds.

    Raises:
        Problem: it is no run folder, holds no such trained network, or one that is no `Network`.
    """
    from ..models.networks import Network
    from ..models.saved import load_network

    recipe_file, weights = run / "model.yaml", run / which / WEIGHTS
    if not recipe_file.is_file():
        raise Problem("this is no run folder", str(run), "give the folder that `flow build` made")
    if not weights.is_file():
        raise Problem(f"the run has no trained network {which!r}", str(run), "`flow build --to train` makes one")
    verify_recorded(weights)
    recipe = load(recipe_file)
    network = load_network(weights, str(recipe.folder))
    if not isinstance(network, Network):
        raise Problem(f"{type(network).__name__} cannot be pruned", str(run), "use a network of `flow models`")
    set_threads(recipe.train.threads)
    data = dataset(recipe)
    order = np.random.default_rng([recipe.seed, _HELD_DRAW]).permutation(len(data.train_images))
    held = max(1, int(len(order) * HELD))
    out, rest = np.sort(order[:held]), np.sort(order[held:])
    images, labels = data.train_images, data.train_labels
    test = (data.test_images, data.test_labels)
    return Given(recipe, network, images[rest], labels[rest], (images[out], labels[out]), test)


def save(network: Network, folder: Path) -> list[str]:
    """Write a network's weights and its QONNX file; returns their names."""
    from ..models.export import export_qonnx
    from ..models.saved import save_network

    try:
        save_network(network, folder / WEIGHTS)
        export_qonnx(network, folder / QONNX)
    except OSError as error:
        raise explain(error, folder) from error
    return [str(folder / WEIGHTS), str(folder / QONNX)]


def planes(
    run: Path,
    which: str,
    drop: int | None,
    most: float | None,
    epochs: int,
    rate: float,
    draws: int,
    output: Path | None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Losses of every input plane and, where `drop` or `most` (0 to 1) is given, the network without the lowest."""
    from ..models.prune.planes import plane_losses, reduce_planes
    from ..models.train import accuracy

    have = given(run, which)
    losses = plane_losses(have.network, *have.held, have.images, draws, have.recipe.seed)
    found: dict[str, Any] = {
        "images": len(have.held[1]),
        "accuracy": accuracy(have.network, *have.held),
        "test_accuracy": accuracy(have.network, *have.test),
        "planes": [asdict(loss) for loss in losses],
    }
    if drop is None and most is None:
        return found
    recovery = have.recovery(epochs, rate)
    small, steps = reduce_planes(
        have.network, have.images, have.labels, have.held, recovery, drop, most or 0.0, progress
    )
    before, after = (network.spec.layers()[0] for network in (have.network, small))
    return found | {
        "steps": [asdict(step) for step in steps],
        "planes_left": small.spec.planes,
        "first_layer_weights": [before.weights, after.weights],
        "macs": [have.network.spec.macs(), small.spec.macs()],
        "reduced_test_accuracy": accuracy(small, *have.test),
        "files": save(small, output) if output is not None else [],
    }


def _outcome(have: Given, small: Network, output: Path | None) -> dict[str, Any]:
    """Test accuracy (0 to 1) before and after, and the files of the smaller network where `output` asks for them."""
    from ..models.train import accuracy

    return {
        "test_accuracy": accuracy(have.network, *have.test),
        "reduced_test_accuracy": accuracy(small, *have.test),
        "files": save(small, output) if output is not None else [],
    }


def synapses(
    run: Path,
    which: str,
    share: float,
    layers: list[str],
    criterion: str,
    steps: int,
    epochs: int,
    rate: float,
    output: Path | None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Remove a share of the synapses of all layers, or of those that are named."""
    from ..models.flips import FlipCounts
    from ..models.prune.synapses import SynapseSpec, prune_synapses
    from ..models.prune.synapses import synapses as count
    from ..models.train import accuracy

    have = given(run, which)
    wanted = dict.fromkeys(layers, share) if layers else share
    spec = SynapseSpec(wanted, steps, criterion, seed=have.recipe.seed)
    recovery = have.recovery(epochs, rate)
    flips = FlipCounts.load(run / "base" / FLIPS) if criterion.startswith("flips") else None
    given_to = (have.network, have.images, have.labels, have.held)
    small, made = prune_synapses(*given_to, spec, recovery, flips, progress)
    return {
        "criterion": criterion,
        "accuracy": accuracy(have.network, *have.held),
        "synapses": sum(whole for _, whole in count(small).values()),
        "steps": [asdict(step) for step in made],
        **_outcome(have, small, output),
    }


def assigned(
    run: Path,
    which: str,
    bits: int,
    strength: float,
    extra: float,
    relevance: str,
    epochs: int,
    rate: float,
    output: Path | None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Assign the weights of all layers to few levels, and say what they code to."""
    from ..models.prune.coding import coded_sizes
    from ..models.prune.ecqx import EcqxSpec, ecqx

    have = given(run, which)
    spec = EcqxSpec(bits, strength, extra, relevance, seed=have.recipe.seed)
    made = ecqx(have.network, have.images, have.labels, spec, have.recovery(epochs, rate), progress=progress)
    before, after = coded_sizes(have.network), coded_sizes(made)
    return {
        "bits": bits,
        "relevance": relevance,
        **_outcome(have, made, output),
        "before": {name: asdict(size) for name, size in before.items()},
        "after": {name: asdict(size) for name, size in after.items()},
    }


def masks(
    run: Path,
    which: str,
    strength: float,
    order: str,
    grow: float,
    mask_epochs: int,
    mask_rate: float,
    epochs: int,
    rate: float,
    output: Path | None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Choose channels by trained masks, cut the others, and fine-tune; above a growth of 1 with Gumbel noise."""
    from ..models.batchnorm import reestimate
    from ..models.prune.masks import MaskSpec, learn_masks
    from ..models.train import accuracy, train

    have = given(run, which)
    spec = MaskSpec(strength, order, grow > 1.0, grow, have.recipe.seed)  # type: ignore[arg-type]
    how = have.recovery(mask_epochs, mask_rate)
    made = learn_masks(have.network, have.images, have.labels, have.held, spec, how, progress)
    small = made.network
    if epochs:
        train(small, have.images, have.labels, have.recovery(epochs, rate), progress=progress)
        reestimate(small, have.images)
    return {
        "widths": {name: list(pair) for name, pair in made.widths.items()},
        "keep": {name: kept.tolist() for name, kept in made.keep.items()},
        "accuracy": accuracy(have.network, *have.held),
        "cut_accuracy": made.accuracy,
        "tuned_accuracy": accuracy(small, *have.held),
        "macs": [have.network.spec.macs(), small.spec.macs()],
        **_outcome(have, small, output),
    }

"""The work of the commands that prune other things than filters: they read a run, and write a network to a folder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnnflow import Problem

from ..pruning import methods as finer
from ..pruning.methods import Given, Made, with_images
from ..recipe.file import load
from ..recipe.objects import dataset, set_threads
from ..recipe.prune import Blocks, Ecqx, Masks, Planes, Synapses
from ..recipe.schema import Recipe
from ..run.files import explain
from ..run.folder import verify_recorded
from ..run.names import FLIPS, QONNX, WEIGHTS

if TYPE_CHECKING:
    from ...models.networks.network import Network
    from ...models.training.train import Progress
    from ...models.training.train_spec import TrainSpec


def opened(run: Path, which: str) -> tuple[Recipe, Given]:
    """What a run folder holds.

    Raises:
        Problem: it is no run folder, holds no such trained network, or one that is no `Network`.
    """
    from ...models.files.saved import load_network
    from ...models.networks.network import Network

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
    return recipe, with_images(recipe, network, dataset(recipe), run / "base" / FLIPS)


def fine_tuning(recipe: Recipe, epochs: int, rate: float) -> TrainSpec:
    """Fine-tuning with the batch, augmentation and device of the recipe's training."""
    from ...models.training.train_spec import TrainSpec

    train = recipe.train
    same = {"augment": train.augment, "device": train.device, "precision": train.precision}
    return TrainSpec(epochs, train.batch, rate, recipe.seed, **same)  # type: ignore[arg-type]


def save(network: Network, folder: Path) -> list[str]:
    """Write a network's weights and its QONNX file; returns their names."""
    from ...models.files.export import export_qonnx
    from ...models.files.saved import save_network

    try:
        save_network(network, folder / WEIGHTS)
        export_qonnx(network, folder / QONNX)
    except OSError as error:
        raise explain(error, folder) from error
    return [str(folder / WEIGHTS), str(folder / QONNX)]


def _done(have: Given, made: Made, output: Path | None) -> dict[str, Any]:
    """What the methods say alike, with test accuracy (0 to 1) before and after, and files where `output` asks."""
    from ...models.networks.network import Network
    from ...models.training.evaluate import accuracy

    assert isinstance(made.network, Network)
    return {
        "accuracy": accuracy(have.network, *have.held),
        "steps": made.steps,
        "kept": made.kept,
        **made.facts,
        "macs": [have.network.spec.macs(), made.network.spec.macs()],
        "test_accuracy": accuracy(have.network, *have.test),
        "reduced_test_accuracy": accuracy(made.network, *have.test),
        "files": save(made.network, output) if output is not None else [],
    }


def planes(
    run: Path,
    which: str,
    drop: int | None,
    most: float | None,
    tuning: tuple[int, float],
    draws: int,
    output: Path | None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Losses of every input plane and, where `drop` or `most` (0 to 1) is given, the network without the lowest."""
    from ...models.prune.planes import plane_losses
    from ...models.training.evaluate import accuracy

    recipe, have = opened(run, which)
    losses = plane_losses(have.network, *have.held, have.images, draws, have.seed)
    found = {"images": len(have.held[1]), "planes": [asdict(loss) for loss in losses]}
    if drop is None and most is None:
        whole = {"accuracy": accuracy(have.network, *have.held), "test_accuracy": accuracy(have.network, *have.test)}
        return found | whole
    settings = Planes(drop=drop)
    made = finer.planes(have, settings, fine_tuning(recipe, *tuning), progress=progress, most=most or 0.0)
    return found | _done(have, made, output)


def blocks(
    run: Path,
    which: str,
    drop: int | None,
    most: float | None,
    tuning: tuple[int, float],
    output: Path | None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Losses of every residual unit and, where `drop` or `most` (0 to 1) is given, the network without some."""
    from ...models.networks.zoo import figures
    from ...models.prune.blocks import block_losses
    from ...models.prune.surgery import most_droppable
    from ...models.training.evaluate import accuracy

    recipe, have = opened(run, which)
    spec = have.network.spec
    can = most_droppable(spec)
    if drop is not None and drop > can:
        raise Problem(f"{drop} residual units, of which {can} can go", "--drop", f"at most {can}" if can else "")
    shown = None if progress is None else lambda done, total: progress(done, total, {})
    losses = block_losses(have.network, *have.held, have.images, recipe.train.augment, have.seed, shown)
    found = {"images": len(have.held[1]), "weights": figures(spec).weights, "blocks": [asdict(loss) for loss in losses]}
    if drop is None and most is None:
        whole = {"accuracy": accuracy(have.network, *have.held), "test_accuracy": accuracy(have.network, *have.test)}
        return found | whole | {"macs": [spec.macs()]}
    settings = Blocks(drop=drop)
    made = finer.blocks(have, settings, fine_tuning(recipe, *tuning), None, progress, most or 0.0, losses)
    return found | _done(have, made, output)


def pruned(
    method: Callable[..., Made],
    run: Path,
    which: str,
    settings: Synapses | Ecqx | Masks,
    tuning: tuple[int, float],
    output: Path | None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """A network of a run pruned by a method of `finer`.

    Args:
        method: one of `finer.synapses`, `ecqx`, `masks`.
        run: folder.
        which: base or pruned.
        settings: of the method.
        tuning: epochs and learning rate.
        output: folder for the smaller network; None writes none.
        progress: as for `train`.
    """
    recipe, have = opened(run, which)
    return _done(have, method(have, settings, fine_tuning(recipe, *tuning), progress=progress), output)

"""The work behind the stages `train` and `export`: on one process or several, and on files of others."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bnnflow import Problem

from ...transforms.ir.contract import CONTRACT_KEY
from ...transforms.passes.compile import stages
from ...transforms.reading.read import files_of, load
from ..graphs.folding import fold_for
from ..pruning.memories import hardware_memories
from ..pruning.structure import graph_of
from ..recipe.objects import (
    export_properties,
    make_network,
    network_spec,
    onnx_graph,
    set_threads,
    step_products,
    train_settings,
)
from ..recipe.schema import Recipe
from ..results.stages import Epoch, TrainResult
from ..run import processes
from ..run.names import FLIPS, WEIGHTS
from ..run.typed_json import from_json
from .build import Build, Progress

if TYPE_CHECKING:
    from ...models.data.load import Dataset
    from ...models.files.saved import Trained
    from ...models.networks.network import Network
    from ...models.networks.own import OwnNetwork
    from ...models.training.flips import FlipCounts
    from ...models.training.injection import Memories, MemoriesOf


def fit(
    recipe: Recipe,
    images: Dataset,
    checkpoint: Path | None,
    progress: Progress | None,
    flips: FlipCounts | None = None,
) -> tuple[Trained, list[dict[str, float]]]:
    """Train the recipe's network; among several processes the first calls the others to take their part.

    `flips` is filled with the sign changes of the weights; not for ensembles.

    Returns:
        The network, and a dict for each epoch as `models.train.train` gives it.
    """
    from ...models.networks.spec import NetworkSpec
    from ...models.relevance.guide import with_guide
    from ...models.training.ensemble import EnsembleNetwork, train_ensemble
    from ...models.training.train import Extras, train

    processes.call("train")
    ensemble, method = recipe.ensemble.members, recipe.ensemble.method
    try:
        spec = network_spec(recipe, images)
        set_threads(recipe.train.threads, step_products(spec, recipe.train.batch))
        if ensemble > 1:
            assert isinstance(spec, NetworkSpec)
            arrays = (images.train_images, images.train_labels)
            return train_ensemble(spec, ensemble, method, *arrays, train_settings(recipe), checkpoint, progress)
        network = make_network(recipe, images)
        if isinstance(network, EnsembleNetwork):
            if train_settings(recipe).epochs:
                raise Problem("a trained ensemble cannot be trained further", key="epochs", hint="leave epochs out")
            return network, []
        arrays = (images.train_images, images.train_labels)
        plan = train_settings(recipe)
        extras = with_guide(Extras(memories=trained_memories(recipe)), plan, *arrays)
        history = train(network, *arrays, plan, checkpoint, progress, flips, extras)
    except Problem as problem:
        if problem.key not in type(recipe.train).model_fields:
            raise
        raise recipe.problem(f"train.{problem.key}", problem.what, problem.hint, problem.status) from problem
    return network, history


def trained_memories(recipe: Recipe) -> MemoriesOf | None:
    """What the recipe's hardware holds of a network, where training has to know it; None elsewhere."""
    settings, properties = recipe.fault_training, export_properties(recipe)
    key = next((key for key in ("map", "p01", "p10", "weights", "thresholds") if getattr(settings, key)), "weights")
    if not getattr(settings, key):
        return None

    def memories(network: Network | OwnNetwork) -> Memories:
        with recipe.at(f"fault_training.{key}"):
            if settings.map is None:
                return hardware_memories(network, properties)
            folded = fold_for(recipe, stages(graph_of(network.eval(), properties))[-1].graph).graph
            return hardware_memories(network, properties, folded, settings.map)

    return memories


def train_base(build: Build) -> TrainResult:
    """Train the run's network, then re-estimate its batch norms; writes its weights and, where asked for, its flips.

    Args:
        build: the run.
    """
    from ...models.files.saved import save_network
    from ...models.networks.ternary import zero_shares
    from ...models.training.approximation import approximated
    from ...models.training.approximation_spec import EXACT
    from ...models.training.batchnorm import reestimate
    from ...models.training.evaluate import accuracy
    from ...models.training.flips import FlipCounts
    from ...models.training.train import device_of
    from ..graphs.speed import device_name

    recipe, images, window = build.recipe, build.dataset, build.recipe.train.flip_window
    flips = FlipCounts(window) if window else None
    network, history = fit(recipe, images, build.run.path("work/train.pt"), build.progress("train"), flips)
    if flips is not None:
        with build.run.temporary(f"base/{FLIPS}") as path:
            flips.save(path)
    device = device_of(recipe.train.device)
    network.to(device)
    # Statistics are those of the sums that the hardware is to make, and so are the accuracies.
    with approximated(network, recipe.approximation.approximation() if history else EXACT):
        before = after = accuracy(network, images.test_images, images.test_labels)
        if history:
            chosen = sample(images.train_images, recipe.train.norm_images, recipe.seed)
            reestimate(network, chosen, recipe.train.augment, recipe.seed)
            after = accuracy(network, images.test_images, images.test_labels)
    with build.run.temporary(f"base/{WEIGHTS}") as path:
        save_network(network.to("cpu"), path)
    return TrainResult(
        history=[from_json(Epoch, epoch) for epoch in history],
        accuracy_before_reestimation=before,
        accuracy=after,
        zeros=zero_shares(network) if getattr(build.spec, "weight_bits", 1) > 1 else None,
        errors=str(recipe.fault_training) if history and recipe.fault_training.used else None,
        sums=str(recipe.approximation) if history and recipe.approximation.used else None,
        device=device_name(device.type),
    )


def follow(recipe: Recipe) -> None:
    """Take part in what the first process calls for, until it is done; writes nothing."""
    from ..recipe.objects import dataset

    while processes.await_call() == "train":
        fit(recipe, dataset(recipe), None, None)


def sample(images: np.ndarray, count: int | None, seed: int) -> np.ndarray:
    """So many images, chosen at random but always the same; all where `count` is None."""
    if count is None or count >= len(images):
        return images
    chosen: np.ndarray = images[np.sort(np.random.default_rng([seed, 21]).permutation(len(images))[:count])]
    return chosen


def state_digest(network: Trained) -> str:
    """sha256 of a network's weights and statistics."""
    total = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        total.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode() + tensor.contiguous().numpy().tobytes())
    return total.hexdigest()


def taken_over(recipe: Recipe, images: Dataset, path: Path) -> bytes:
    """The content of an ONNX file that the recipe names in place of a network, with what the recipe says of its input.

    Weights that lie in files beside it are in the content, so that it is whole without them.

    Raises:
        Problem: at its place in the recipe, as `onnx_graph` says.
    """
    graph = onnx_graph(recipe, images)
    if recipe.model.input is None and files_of(path) == [path]:
        return path.read_bytes()
    model = load(path)
    if recipe.model.input is None:
        return bytes(model.SerializeToString())
    assert graph.contract is not None
    model.metadata_props.add(key=CONTRACT_KEY, value=graph.contract.to_json())
    content: bytes = model.SerializeToString()
    return content

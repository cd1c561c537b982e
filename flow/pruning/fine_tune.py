"""Training of a graph in torch, and the graph that comes of it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

import numpy as np

from bnnflow import CHECK_FAILED, Problem

from ...models.training.batchnorm import reestimate
from ...models.training.train import train
from ...models.training.train_spec import TrainSpec
from ...models.training.update import Extras
from ...sim.engine.simulator import Simulator
from ...sim.verify import images_with_float_ties
from ...transforms.ir.graph import Graph
from ...transforms.ir.tensor import Array
from ...transforms.passes.compile import stages
from .trainable import Trainable

Progress = Callable[[int, int, dict[str, float]], None]


@dataclass(frozen=True, slots=True)
class FineTuning:
    """How a graph is trained.

    Attributes:
        epochs: passes over the images, 1 or more.
        batch: images a step.
        learning_rate: of Adam, at the first step; it falls along half a cosine.
        distill: weight, 0 to 1, of the loss against the answers of the whole network.
        seed: of the order of the images.
    """

    epochs: int
    batch: int
    learning_rate: float
    distill: float
    seed: int


@dataclass(frozen=True, slots=True)
class FineTuned:
    """What training made.

    Attributes:
        graph: trained, of the same operations.
        history: for each epoch `loss`, `accuracy` (0 to 1, on the images as they went by) and `seconds`.
        compared: images on which the graph's answers on integers were held against its module's.
        float_ties: of these, images with a float tie whose answer differs; every other answer is equal.
    """

    graph: Graph
    history: list[dict[str, float]]
    compared: int
    float_ties: int


def fine_tune(
    whole: Graph,
    smaller: Graph,
    inputs: Array,
    labels: Array | None,
    calibrating: Array,
    how: FineTuning,
    progress: Progress | None = None,
    sparse: Collection[str] = (),
) -> FineTuned:
    """Train a graph, and measure its norms anew.

    Args:
        whole: the teacher, where `how` asks for one.
        smaller: to train.
        inputs: (images, *input shape) that it is trained on, as the graphs take them.
        labels: (images,) classes; None where only the teacher says what is right.
        calibrating: images that norms are measured on.
        how: epochs and so on.
        progress: as for `models.training.train.train`.
        sparse: layers whose zeros stay, as for `Trainable`.

    Raises:
        Problem: an operation that is not trained through; labels that do not fit; neither labels nor a teacher alone;
            or (status 1) the loss is no longer a number, or the graph does not answer what the module answers.
    """
    inputs = narrow(inputs)
    network = Trainable(smaller, sparse=sparse)
    network.begin(calibrating)
    spec, labels, extras = training_of(whole, how, inputs, labels, calibrating)
    history = train(as_network(network.float()), inputs, labels, spec, progress=progress, extras=extras)
    check_finite(network, len(history))
    reestimate(network, calibrating)
    made = network.graph()
    return FineTuned(made, history, len(calibrating), check_answers(network, made, calibrating))


def training_of(
    whole: Graph, how: FineTuning, inputs: Array, labels: Array | None, calibrating: Array
) -> tuple[TrainSpec, Array, Extras]:
    """How a graph is trained, by which labels, and with which teacher; arguments are those of `fine_tune`.

    Raises:
        Problem: neither labels nor a teacher alone.
    """
    if labels is None and how.distill < 1.0:
        hint = "give --labels, or --distill 1: then the answers of the whole network are what is learned"
        raise Problem("fine-tuning needs labels", "--epochs", hint)
    spec = TrainSpec(
        how.epochs, how.batch, how.learning_rate, how.seed, distill=how.distill, schedule="cosine", device="auto"
    )
    extras = Extras()
    if how.distill:
        teacher = Trainable(whole)
        teacher.begin(calibrating)
        if labels is None:
            labels = teacher.classes(inputs)
        extras = Extras(teacher=teacher.float().eval())
    assert labels is not None
    return spec, labels, extras


def check_finite(network: Trainable, epochs: int) -> None:
    """Refuse what training left behind where it is no longer numbers.

    Raises:
        Problem: status 1.
    """
    if not all(bool(value.isfinite().all()) for value in network.parameters()):
        what, hint = "what was trained is no longer numbers", "lower the learning rate"
        raise Problem(what, f"epoch {epochs}", hint, CHECK_FAILED)


def as_network(network: Trainable) -> Any:
    """What training asks of a network, a `Trainable` has."""
    return network


def narrow(inputs: Array) -> Array:
    """The same whole numbers in the smallest type that torch knows, too."""
    low, high = (int(inputs.min()), int(inputs.max())) if inputs.size else (0, 0)
    for kind in (np.uint8, np.int8, np.int16, np.int32):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return inputs.astype(kind, copy=False)
    return inputs


def check_answers(network: Trainable, graph: Graph, inputs: Array) -> int:
    """Hold a graph's answers on integers against those of the module that it was made of.

    Args:
        network: the module.
        graph: what its `graph` gave.
        inputs: images, as the graph takes them.

    Returns:
        how many answers differ on images that hold a value so near a threshold that floats may round to its other side.

    Raises:
        Problem: status 1, any other answer differs.
    """
    made = stages(graph)
    simulated = Simulator.of(next(stage.graph for stage in made if stage.level == "xnor")).classes(inputs)
    different = network.classes(inputs) != simulated
    if not different.any():
        return 0
    ties = [each for stage in made for each in stage.float_ties]
    unsure = images_with_float_ties(made[0].graph, ties, inputs)
    wrong = int((different & ~unsure).sum())
    if wrong:
        what = f"{wrong:,} of {len(inputs):,} answers of the trained network differ from those of its graph"
        raise Problem(what, graph.name, "this is a bug: please report it", CHECK_FAILED)
    return int(different.sum())

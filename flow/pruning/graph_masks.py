"""Masks of channels that are trained with the weights of a graph, over the groups that are found in it."""

from __future__ import annotations

from math import prod

from bnnflow import Problem

from ...models.prune.masks import InputMasks, MaskSpec, train_masks
from ...models.prune.structure import MaskedGroup
from ...models.training.batchnorm import reestimate
from ...transforms.channels import channel_groups, cut
from ...transforms.ir.graph import Graph
from ...transforms.ir.ops import Conv, Dense
from ...transforms.ir.tensor import Array
from .fine_tune import FineTuning, Progress, as_network, check_answers, check_finite, narrow, training_of
from .trainable import Trainable


def learn_graph_masks(
    graph: Graph,
    inputs: Array,
    labels: Array | None,
    calibrating: Array,
    spec: MaskSpec,
    how: FineTuning,
    progress: Progress | None = None,
) -> tuple[Graph, dict[str, Array]]:
    """Train the weights of a graph and a mask for every group of its channels that can be cut.

    Norms are measured behind the masks, thresholds without norms follow from what they see there: the graph without
    what the masks leave out answers what the masked module does, without another re-estimation. That is held on the
    images that norms are measured on.

    Args:
        graph: of the network or integer level, on integers.
        inputs: (images, *input shape) that it is trained on, as the graph takes them.
        labels: (images,) classes; None where the graph's own answers say what is right.
        calibrating: images that norms are measured on.
        spec: of the masks, without growth.
        how: epochs of the masks (of each group, one after the other) and so on; what `how` distills, the graph teaches.
        progress: as for `models.training.train.train`.

    Returns:
        The whole graph with the trained weights, and ascending channels that stay, by group.

    Raises:
        Problem: no group can be cut; an operation that is not trained through; labels that do not fit; neither labels
            nor a teacher alone; or (status 1) the loss is no longer a number, or the cut graph does not answer what
            the masked module answers.
    """
    groups = [
        MaskedGroup(group.name, group.width, group.rows, group.columns)
        for group in channel_groups(graph)
        if not group.reason and group.columns
    ]
    if not groups:
        raise Problem("no layer can be made narrower", graph.name, "its hidden layers would have to be read by others")
    inputs = narrow(inputs)
    network = Trainable(graph)
    network.begin(calibrating)
    plan, labels, extras = training_of(graph, how, inputs, labels, calibrating)
    masks, layers = InputMasks(groups, spec), dict(network.weight_layers())
    trained = as_network(network.float())
    history = train_masks(trained, masks, layer_products(graph), inputs, labels, spec, plan, progress, extras=extras)
    check_finite(network, len(history))
    with masks.within(network, layers):
        reestimate(network, calibrating)
        made, keep = network.graph(), masks.keep()
        check_answers(network, cut(made, keep), calibrating)
    return made, keep


def layer_products(graph: Graph) -> dict[str, int]:
    """Products of an image, by layer."""
    layers = ((node.name, node.op) for node in graph.nodes if isinstance(node.op, Conv | Dense))
    return {name: prod(graph.types[name].shape) * op.weight[0].size for name, op in layers}

"""What single synapses of a graph are worth."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from ...transforms.ir.graph import Graph
from ...transforms.ir.tensor import Array
from ...transforms.synapses import synapses
from .fine_tune import narrow
from .trainable import Trainable
from .trainable_layers.tensors import numbers
from .trainable_layers.weights import TrainedConv, TrainedDense

_BATCH = 100


def synapse_scores(graph: Graph, inputs: Array, truth: Array, seed: int | None) -> dict[str, Array]:
    """|w dL/dw| of every synapse, to first order what the loss changes by where it goes; or scores that are drawn.

    L is the mean cross entropy in eval mode, gradients pass quantizers as in training (`Trainable`).

    Args:
        graph: of the network level with integer inputs, or on integers.
        inputs: (images, *input shape), as the graph takes them.
        truth: (images,) classes.
        seed: of scores that are drawn, in place of all this; None: none are.

    Returns:
        By name of a layer of `synapses`, float64 in the shape of its weights.

    Raises:
        Problem: an operation that is not trained through.

    Source: Molchanov et al., Importance Estimation for Neural Network Pruning, arXiv:1906.10771.
    """
    there = synapses(graph)
    if seed is not None:
        rng = np.random.default_rng(seed)
        return {name: rng.random(held.shape) for name, held in there.items()}
    network = Trainable(graph)
    network.begin(inputs)
    network.eval()
    layers = [(name, part) for name, part in network.weight_layers() if name in there]
    total = [torch.zeros_like(part.weight, dtype=torch.float64) for _, part in layers]
    data = narrow(inputs)
    for start in range(0, len(data), _BATCH):
        part = slice(start, start + _BATCH)
        target = torch.from_numpy(np.array(truth[part], np.int64))
        loss = functional.cross_entropy(network(torch.from_numpy(np.array(data[part]))), target, reduction="sum")
        found = torch.autograd.grad(loss, [part.weight for _, part in layers])
        for sum_, gradient in zip(total, found, strict=True):
            sum_ += gradient
    scores = {}
    for (name, layer), sum_ in zip(layers, total, strict=True):
        assert isinstance(layer, TrainedConv | TrainedDense)
        made = np.abs(numbers(sum_) * layer.whole()) / len(data)
        scores[name] = made.transpose(0, 2, 3, 1) if made.ndim == 4 else made
    return scores

"""Gradients of a loss by the weights of units, by way of the torch module of their graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ...sim.faults.analysis.progressive import Goal, Gradients
from ...transforms.ir.graph import Graph
from ...transforms.ir.ops import Conv, Dense, DuplicateStreams, Mvau, SlidingWindow
from ...transforms.ir.tensor import Array
from ...transforms.passes.raised import Raise, kernels
from .fine_tune import narrow
from .plain_graph import PlainGraph, plain_graph


@dataclass(frozen=True, slots=True)
class _Layer:
    """A unit's weights in torch.

    Attributes:
        module: that holds them.
        columns: of the unit's matrix, in the order of the module's weights of one row.
        shape: of these, without the rows.
    """

    module: nn.Conv2d | nn.Linear
    columns: Array
    shape: tuple[int, ...]


class WeightGradients:
    """The gradients of a goal's loss by the weights of a dataflow graph, whatever weights it has now.

    The graph's units are raised to the layers that they compute, and these to torch's modules, whose answers are held
    against the simulator's; quantizers hand gradients through as in training (straight-through estimator).

    Args:
        graph: dataflow level, with class scores.
        images: (images, *input shape), as the graph takes them: where gradients pass a quantizer is measured on them.

    Raises:
        Problem: an operation without a module, or (status 1) answers that are not the graph's.
    """

    def __init__(self, graph: Graph, images: Array) -> None:
        raised = Raise()(graph).graph
        self._network: PlainGraph = plain_graph(raised, images)
        modules = dict(self._network.weight_layers())
        self._layers = {
            node.name: _layer(graph, node.name, raised, modules) for node in graph.nodes if isinstance(node.op, Mvau)
        }
        self._held: dict[str, Mvau] = {}

    def of(self, images: Array, goal: Goal, layers: Sequence[str] = ()) -> Gradients:
        """Of a goal's loss on images, by the weights of some units; none: of all."""
        inputs = torch.from_numpy(np.array(narrow(images)))
        classes, sign = torch.from_numpy(goal.classes.astype(np.int64)), -1.0 if goal.targeted else 1.0
        wanted = {name: layer for name, layer in self._layers.items() if not layers or name in layers}

        def gradients(graph: Graph) -> Mapping[str, Array]:
            self._hold(graph)
            weights = [layer.module.weight.requires_grad_() for layer in wanted.values()]
            scores = self._network(inputs) * (self._network.body.unit / goal.unit)
            found = torch.autograd.grad(sign * functional.cross_entropy(scores, classes), weights, allow_unused=True)
            for weight in weights:
                weight.requires_grad_(requires_grad=False)
            return {name: _rows(layer, grad) for (name, layer), grad in zip(wanted.items(), found, strict=True)}

        return gradients

    def _hold(self, graph: Graph) -> None:
        """Take on the weights of a graph."""
        for name, layer in self._layers.items():
            op = graph.node(name).op
            assert isinstance(op, Mvau)
            if self._held.get(name) is not op:
                rows = _stored(op)[:, layer.columns].reshape(-1, *layer.shape)
                layer.module.weight.data.copy_(torch.from_numpy(rows))
                self._held[name] = op


def _stored(op: Mvau) -> Array:
    """Weights as they count in sums of -1 and +1, float64."""
    weight = op.weight.astype(np.float64)
    return 2 * weight - 1 if op.xnor else weight


def _rows(layer: _Layer, grad: torch.Tensor | None) -> Array:
    """A gradient as the unit's matrix has its columns; 0 where the scores do not depend on the layer."""
    made = np.zeros((layer.module.weight.shape[0], len(layer.columns)))
    if grad is not None:
        made[:, layer.columns] = grad.numpy().reshape(len(made), -1)
    return made


def _layer(graph: Graph, name: str, raised: Graph, modules: Mapping[str, nn.Conv2d | nn.Linear]) -> _Layer:
    """The module of a unit's weights, and where they stand in it."""
    op = graph.node(name).op
    assert isinstance(op, Mvau)
    found = f"{name}_sums" if op.has_bounds else name
    found = f"{found}_products" if op.xnor else found
    module, made = modules[found], raised.node(found).op
    assert isinstance(made, Conv | Dense)
    columns = np.arange(op.weight.shape[1])
    if isinstance(made, Dense):
        return _Layer(module, columns, (len(columns),))
    source = graph.node(name).input
    while isinstance(graph.maker(source), DuplicateStreams):
        source = graph.node(source).input
    window = graph.maker(source)
    placed = columns.reshape(1, 1, 1, -1)
    if isinstance(window, SlidingWindow):
        placed = kernels(columns[None], graph.types[graph.node(source).input], window)
    turned = placed[0].transpose(2, 0, 1)
    return _Layer(module, turned.reshape(-1), turned.shape)

"""Gradients of a loss by the weights of units, by way of the torch module of their graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from bnnflow import CHECK_FAILED, Problem

from ...sim.engine.simulator import Simulator
from ...sim.faults.analysis.progressive import Goal, Gradients
from ...transforms.ir.graph import Graph
from ...transforms.ir.ops import Conv, Dense, DuplicateStreams, Mvau, SlidingWindow
from ...transforms.ir.tensor import Array
from ...transforms.passes.raised import Raise, kernels
from .fine_tune import narrow
from .plain_graph import PlainGraph, unchecked
from .trainable_layers.scaling import FixedAffine, TrainedAffine


@dataclass(frozen=True, slots=True)
class _Layer:
    """A unit's weights in torch.

    Attributes:
        module: that holds them.
        columns: of the unit's matrix, in the order of the module's weights of one row.
        shape: of these, without the rows.
        zeros: of XNOR units, where the module behind adds the weights that are -1 (`passes.raised`), (rows,); else
            None.
    """

    module: nn.Conv2d | nn.Linear
    columns: Array
    shape: tuple[int, ...]
    zeros: Tensor | None

    def hold(self, op: Mvau) -> None:
        """Take on the weights of a unit."""
        weight = 2 * op.weight.astype(np.float64) - 1 if op.xnor else op.weight.astype(np.float64)
        self.module.weight.data.copy_(torch.from_numpy(weight[:, self.columns].reshape(-1, *self.shape)))
        if self.zeros is not None:
            self.zeros.copy_(torch.from_numpy((weight < 0).sum(axis=1)))

    def rows(self, weights: Tensor | None, sums: Tensor | None) -> Array:
        """The gradient as the unit's matrix has its columns; 0 where the scores do not depend on the layer.

        The popcount is sum(x v) + sum(1 - v) / 2 over bits x and weights v of -1 and +1, so that its gradient by v is
        x - 1/2: half of the sums' gradient is taken off what the module's weights are given.

        Args:
            weights: gradient of the module's weights.
            sums: of its output, (images, rows, ...).
        """
        made = np.zeros((self.module.weight.shape[0], len(self.columns)))
        if weights is not None:
            made[:, self.columns] = weights.numpy().reshape(len(made), -1)
        if self.zeros is not None and sums is not None:
            made -= sums.transpose(0, 1).flatten(1).sum(1).numpy()[:, None] / 2
        return made


class WeightGradients:
    """The gradients of a goal's loss by the weights of a dataflow graph, whatever weights it has now.

    The graph's units are raised to the layers that they compute, and these to torch's modules, whose scores are held
    against the simulator's; quantizers hand gradients through as in training (straight-through estimator).

    Args:
        graph: dataflow level, with class scores.
        images: (images, *input shape), as the graph takes them: where gradients pass a quantizer is measured on them.

    Raises:
        Problem: an operation without a module, or (status 1) scores that are not the graph's.
    """

    def __init__(self, graph: Graph, images: Array) -> None:
        raised = Raise()(graph).graph
        self._network: PlainGraph = unchecked(raised, images, borders=True)
        units = [node.name for node in graph.nodes if isinstance(node.op, Mvau)]
        self._layers = {name: _layer(graph, name, raised, self._network) for name in units}
        self._held: dict[str, Mvau] = {}
        self._hold(graph)
        exact = Simulator.of(graph).scores(images)
        # Products behind the last sums are rounded to float32 in torch's modules.
        apart = np.abs(self.scores(images) - exact).max(axis=1) > 1e-5 * np.abs(exact).max()
        if apart.any():
            what = f"scores of {int(apart.sum()):,} of {len(images):,} images in torch are not those of the graph"
            raise Problem(what, graph.name, "this is a bug: please report it", CHECK_FAILED)

    def of(self, images: Array, goal: Goal, layers: Sequence[str] = ()) -> Gradients:
        """Of a goal's loss on images, by the weights of some units; none: of all."""
        inputs = torch.from_numpy(np.array(narrow(images)))
        classes, sign = torch.from_numpy(goal.classes.astype(np.int64)), -1.0 if goal.targeted else 1.0
        wanted = {name: layer for name, layer in self._layers.items() if not layers or name in layers}

        def gradients(graph: Graph) -> Mapping[str, Array]:
            self._hold(graph)
            sums: dict[str, Tensor] = {}
            hooks = [_watched(layer.module, name, sums) for name, layer in wanted.items()]
            weights = [layer.module.weight.requires_grad_() for layer in wanted.values()]
            try:
                scores = self._network(inputs) * (self._network.body.unit / goal.unit)
                loss = sign * functional.cross_entropy(scores, classes)
                made = [sums[name] for name in wanted]
                found = torch.autograd.grad(loss, [*weights, *made], allow_unused=True)
            finally:
                for hook in hooks:
                    hook.remove()
                for weight in weights:
                    weight.requires_grad = False
            pairs = zip(found[: len(wanted)], found[len(wanted) :], strict=True)
            return {name: layer.rows(*pair) for (name, layer), pair in zip(wanted.items(), pairs, strict=True)}

        return gradients

    @torch.no_grad()
    def scores(self, images: Array) -> Array:
        """What the module gives, with the weights of the last graph, (images, classes) float64."""
        made: Array = self._network(torch.from_numpy(np.array(narrow(images)))).numpy() * self._network.body.unit
        return made

    def _hold(self, graph: Graph) -> None:
        """Take on the weights of a graph."""
        for name, layer in self._layers.items():
            op = graph.node(name).op
            assert isinstance(op, Mvau)
            if self._held.get(name) is not op:
                layer.hold(op)
                self._held[name] = op


def _watched(module: nn.Module, name: str, kept: dict[str, Tensor]) -> RemovableHandle:
    """Keep what a module gives."""

    def keep(_module: nn.Module, _given: object, made: Tensor) -> None:
        kept[name] = made

    return module.register_forward_hook(keep)


def _layer(graph: Graph, name: str, raised: Graph, network: PlainGraph) -> _Layer:
    """The module of a unit's weights, and where they stand in it."""
    op = graph.node(name).op
    assert isinstance(op, Mvau)
    sums = f"{name}_sums" if op.has_bounds else name
    found, zeros = sums, None
    if op.xnor:
        found, behind = f"{sums}_products", network.body.get_submodule(network.body.path(sums))
        assert isinstance(behind, TrainedAffine | FixedAffine)
        zeros = behind.shift.data
    module, made = dict(network.weight_layers())[found], raised.node(found).op
    assert isinstance(made, Conv | Dense)
    columns = np.arange(op.weight.shape[1])
    if isinstance(made, Dense):
        return _Layer(module, columns, (len(columns),), zeros)
    source = graph.node(name).input
    while isinstance(graph.maker(source), DuplicateStreams):
        source = graph.node(source).input
    window = graph.maker(source)
    placed = columns.reshape(1, 1, 1, -1)
    if isinstance(window, SlidingWindow):
        placed = kernels(columns[None], graph.types[graph.node(source).input], window)
    turned = placed[0].transpose(2, 0, 1)
    return _Layer(module, turned.reshape(-1), turned.shape, zeros)

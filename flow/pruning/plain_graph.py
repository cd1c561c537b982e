"""A graph as a network of plain torch modules, which the criteria of `models.relevance` look into as into any other."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ...models.networks.plain import PlainNetwork
from ...transforms.ir.graph import Graph
from ...transforms.ir.ops import Affine
from ...transforms.ir.tensor import Array
from .fine_tune import check_answers, narrow
from .trainable import Trainable
from .trainable_layers.shapes import Joined, Plus
from .trainable_layers.weights import TrainedConv, TrainedDense

_COMPARED = 64


class PlainGraph(PlainNetwork):
    """A graph in plain modules; it takes (images, *input shape) whole numbers, as the graph does.

    Args:
        module: of the graph, in eval mode and float64, its layers replaced by torch's.
    """

    body: Trainable

    def __init__(self, module: Trainable) -> None:
        super().__init__(
            module, module.spec.input_shape, {name: module.path(name) for name, _ in module.weight_layers()}
        )

    def hidden_layers(self) -> dict[str, nn.Conv2d | nn.Linear]:
        """See `PlainNetwork`: several layers may make what becomes class scores, as in an ensemble."""
        layers, read = dict(self.weight_layers()), set[str]()
        for name, _, sources in reversed(self.body.plan):
            if name in layers or name in read:
                read.update(sources)
        return {name: layer for name, layer in layers.items() if name in read}

    def label(self, path: str) -> str:
        """See `PlainNetwork`: the tensor that the module makes."""
        part = path.removeprefix("body.")
        return next(name for name, _, _ in self.body.plan if f"{part}.".startswith(f"{self.body.path(name)}."))

    @property
    def trunk(self) -> set[str]:
        """See `PlainNetwork`."""
        return {f"body.{self.body.path(name)}" for name in self._trunk()}

    @property
    def joins(self) -> dict[str, str]:
        """See `PlainNetwork`: the additions and concatenations of the graph that are of its trunk."""
        paths = {name: self.body.path(name) for name in self._trunk()}
        return {
            name: f"body.{path}"
            for name, path in paths.items()
            if isinstance(self.body.get_submodule(path), Plus | Joined)
        }

    def _trunk(self) -> list[str]:
        """Tensors behind which nothing that was there before is read any more."""
        plan = self.body.plan
        last = {source: place for place, (_, _, sources) in enumerate(plan) for source in sources}
        names = [name for name, _, _ in plan]
        made, found = [self.body.first.input], []
        for place, name in enumerate(names):
            if all(last.get(before, -1) <= place for before in made):
                found.append(name)
            made.append(name)
        return found

    def with_sums(self) -> PlainGraph:
        """See `PlainNetwork`."""
        body = self.body
        body.unit = 1.0
        while _is_one_scale(op := body.first.maker(body.scores)):
            assert isinstance(op, Affine)
            body.scores = next(sources for name, _, sources in body.plan if name == body.scores)[0]
            names = [name for name, _, _ in body.plan]
            body.plan = body.plan[: names.index(body.scores) + 1]
        return self


def plain_graph(graph: Graph, inputs: Array) -> PlainGraph:
    """The plain network of a graph; its answers on the first few images are held against the graph's on integers.

    Args:
        graph: of the network or integer level, on integers.
        inputs: (images, *input shape), as the graph takes them: where gradients pass a quantizer is measured on them.

    Raises:
        Problem: an operation without a module, a network without class scores, no images, or (status 1) an answer that
            is not the graph's.
    """
    inputs = narrow(inputs)
    made = unchecked(graph, inputs)
    check_answers(made.body, made.body.first, inputs[:_COMPARED])
    return made


def unchecked(graph: Graph, inputs: Array, borders: bool = False) -> PlainGraph:
    """The same, for those who hold its answers against the graph's themselves; `borders` as for `Trainable`."""
    inputs = narrow(inputs)
    body = Trainable(graph, borders)
    body.begin(inputs)
    body.double().eval()
    with torch.no_grad():
        for _, key, _ in body.plan:
            part = body.parts[key]
            if isinstance(part, TrainedConv | TrainedDense):
                body.parts[key] = part.plain()
    return PlainGraph(body)


def _is_one_scale(op: object) -> bool:
    if not isinstance(op, Affine) or not op.is_in_common:
        return False
    return bool(np.all(op.scale * op.divisor > 0))

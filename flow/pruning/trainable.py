"""A graph of the network or integer level as a torch module that can be trained, and the trained module as a graph.

What is trained: the weights of every layer, by latent ones; gains and biases of batch norms; products and sums between
a layer and the quantizer, or the class scores, behind it; and thresholds of sums, where the file has no norms. Steps of
quantizers, and what is done to pixels, stay as the file says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bnnflow import Problem

from ...models.training.batchnorm import in_batches
from ...sim.norms import graph_norms
from ...transforms.ir.graph import Graph, Node
from ...transforms.ir.ops import (
    Add,
    AddBorder,
    Affine,
    Best,
    Bias,
    ChannelsLast,
    Concat,
    Conv,
    Dense,
    Flatten,
    MaxPool,
    Pad,
    PiecewiseLinear,
    Quantize,
    Scale,
    Sign,
    Stairs,
    SumPool,
    Threshold,
)
from ...transforms.ir.tensor import Array
from .trainable_layers.quantizers import Rounding, Signs, Steps
from .trainable_layers.scaling import BorderSums, FixedAffine, FixedBias, NormStep, Pieces, TrainedAffine
from .trainable_layers.shapes import AsMap, Joined, Padding, Plus, Total, Turned
from .trainable_layers.weights import TrainedConv, TrainedDense

_QUANTIZERS = (Quantize, Sign, Stairs, Threshold)
_SHAPES = (ChannelsLast, Flatten, MaxPool, SumPool)


@dataclass(frozen=True, slots=True)
class GraphSpec:
    """What training asks of a network's shape.

    Attributes:
        input_shape: of the graph's input, without the batch.
        classes: scores of an image.
        text: sha256 of the graph's text.
    """

    input_shape: tuple[int, ...]
    classes: int
    text: str

    def to_dict(self) -> dict[str, Any]:
        """The fields."""
        return {"input_shape": list(self.input_shape), "classes": self.classes, "text": self.text}


class Trainable(nn.Module):
    """A graph as modules, one an operation.

    In eval mode and float64 it computes what the graph computes, `as_stored`.

    Args:
        graph: of the network or integer level, on integers.
        borders: let `AddBorder` through. Its table belongs to the weights as they were compiled, and stays when they
            change, as memories do whose bits flip: nothing for a training.
        sparse: names of layers of weights -1, 0 and +1 whose zeros are removed synapses, and stay.

    Attributes:
        first: the graph, as stored.
        spec: what training asks of a network's shape.
        scores: the tensor of class scores.
        norms: batch norms that are trained, by the tensor behind them.
        plan: in the order of execution a tensor, its module's name in `parts`, and what that reads.
        unit: what scores are divided by, where they are whole sums.
        as_given: tensors whose axes are those of the file's input, channels in front; maps of modules always are.

    Raises:
        Problem: an operation that is not trained through, or a network that does not end in class scores.
    """

    def __init__(self, graph: Graph, borders: bool = False, sparse: Collection[str] = ()) -> None:
        super().__init__()
        self._borders = borders
        self.first = as_stored(graph)
        self.scores = _scores(graph)
        self.norms = {norm.spread: norm for norm in graph_norms(graph) if _is_free(graph, norm.spread)}
        shape = graph.input_type.shape
        text = hashlib.sha256(str(self.first).encode()).hexdigest()
        self.spec = GraphSpec(shape, graph.types[self.scores].channels, text)
        # Axes of an input that is turned in the graph are as the file says until they are.
        turns = any(isinstance(node.op, ChannelsLast) for node in graph.nodes)
        self._enters_turned = len(shape) == 3 and not turns
        self.as_given = {graph.input} if len(shape) > 1 and turns else set()
        self._names: dict[str, str] = {}
        self.plan: list[tuple[str, str, tuple[str, ...]]] = []
        self.parts = nn.ModuleDict()
        self.unit = 1.0
        for node in _live(self.first, self.scores):
            module = self._module(node)
            if module is None:  # the first half of a norm
                continue
            key = f"n{len(self._names)}"
            self.parts[key], self._names[node.name] = module, key
            self.plan.append((node.name, key, self._sources(node)))
            if node.name in sparse:
                assert isinstance(module, TrainedConv | TrainedDense)
                module.keep_zeros()

    def _sources(self, node: Node) -> tuple[str, ...]:
        norm = self.norms.get(node.name)
        return node.inputs if norm is None else self.first.node(norm.centre).inputs

    def _module(self, node: Node) -> nn.Module | None:
        graph = self.first
        kind = graph.types[node.input]
        if node.input in self.as_given and not isinstance(node.op, ChannelsLast | Flatten):
            self.as_given.add(node.name)
        axis = -1 if node.input in self.as_given else 1
        if node.name in self.norms:
            centre = graph.node(self.norms[node.name].centre).op
            assert isinstance(centre, Affine)
            assert isinstance(node.op, Affine)
            return NormStep(kind.channels, centre, node.op)
        if node.name in {norm.centre for norm in self.norms.values()}:
            return None
        match node.op:
            case Conv():
                return TrainedConv(node.op)
            case Dense():
                return TrainedDense(node.op)
            case Affine():
                trained = _is_free(graph, node.name) and _layer_in_front(graph, node) is not None
                return TrainedAffine(node.op) if trained else FixedAffine(node.op, axis)
            case Bias(integers, scale):
                return FixedBias(integers * scale, axis)
            case AddBorder() if self._borders:
                return BorderSums(node.op)
            case Scale(factor):
                return FixedAffine(Affine(factor.astype(np.float64), np.zeros(1)), axis)
            case PiecewiseLinear():
                return Pieces(node.op, axis)
            case Quantize():
                return Rounding(node.op, axis)
            case Sign():
                return Signs(node.op)
            case Stairs() | Threshold():
                normed = self._is_normed(node)
                whole = isinstance(node.op, Threshold) and normed and not kind.is_float
                return Steps(node.op, kind.range if whole else None, kind.channels, normed)
            case ChannelsLast():
                return AsMap() if len(kind.shape) == 2 else nn.Identity()
            case Flatten():
                return Turned() if len(kind.shape) == 3 and axis == 1 else nn.Flatten()
            case MaxPool(kernel, stride, pads):
                pool = nn.MaxPool2d(kernel, stride)
                return nn.Sequential(Padding(pads), pool) if any(pads) else pool
            case SumPool(kernel, stride):
                return Total(kernel, stride)
            case Pad(pads, value):
                return Padding(pads, value)
            case Add():
                return Plus()
            case Concat():
                return Joined()
        raise Problem(
            f"{type(node.op).__name__} is not trained through",
            f"{node.name!r} of {graph.name!r}",
            "give the file that the network was exported to, or leave --epochs out",
        )

    def _is_normed(self, node: Node) -> bool:
        """Whether thresholds stand behind sums that nothing else that is trained moves."""
        layer = _layer_in_front(self.first, node)
        moved = _between(self.first, node, layer) if layer is not None else set()
        trained = {name for name in moved if isinstance(self._part(name), TrainedAffine | NormStep)}
        return layer is not None and not trained

    def path(self, name: str) -> str:
        """The path of the module that makes a tensor."""
        return f"parts.{self._names[name]}"

    def _part(self, name: str) -> nn.Module | None:
        return self.parts[self._names[name]] if name in self._names else None

    def forward(self, x: Tensor) -> Tensor:
        """(images, *input shape) integers, as the graph takes them, to (images, classes) scores."""
        scores = self.tensors(x, [self.scores])[self.scores].flatten(1)
        return scores if self.unit == 1.0 else scores / self.unit

    def tensors(self, x: Tensor, wanted: list[str]) -> dict[str, Tensor]:
        """Some of the graph's tensors, maps with channels in front."""
        x = x.to(next(self.parameters()).dtype)
        held = {self.first.input: x.permute(0, 3, 1, 2) if self._enters_turned else x}
        for name, key, sources in self.plan:
            held[name] = self.parts[key](*(held[source] for source in sources))
        return {name: held[name] for name in wanted}

    def weight_layers(self) -> list[tuple[str, nn.Conv2d | nn.Linear]]:
        """Name and module of every convolution and dense layer, in the order in which they run."""
        found = ((name, self.parts[key]) for name, key, _ in self.plan)
        return [(name, part) for name, part in found if isinstance(part, nn.Conv2d | nn.Linear)]

    @torch.no_grad()
    def begin(self, inputs: Array) -> None:
        """Measure what quantizers see, and scores that nothing scales, as training needs it; no answer changes.

        Args:
            inputs: (images, *input shape), as the graph takes them.

        Raises:
            Problem: there are none.
        """
        if not len(inputs):
            raise Problem("there are no images to measure on", self.first.name)
        self.eval()
        quantizers = [part for part in self.parts.values() if isinstance(part, Signs | Steps)]
        seen = {part: _Moments() for part in quantizers}
        hooks = [part.register_forward_pre_hook(lambda part, given: seen[part].add(given[0])) for part in quantizers]
        scores = _Moments()
        try:
            for x in in_batches(self, inputs, None):
                scores.add(self(x).reshape(-1, 1))
        finally:
            for hook in hooks:
                hook.remove()
        for part, moments in seen.items():
            part.begin(*moments.found())
        if not any(
            isinstance(self._part(name), TrainedAffine | NormStep | FixedAffine) for name in self._behind_layers()
        ):
            # Whole sums have no temperature of their own.
            self.unit = max(1.0, float(scores.found()[1].sqrt()))

    def _behind_layers(self) -> set[str]:
        """What stands between the last layers and the class scores."""
        end = self.first.maker(self.scores)
        if isinstance(end, Conv | Dense) or end is None:
            return set()
        node = self.first.node(self.scores)
        layer = _layer_in_front(self.first, node)
        return {node.name, *(_between(self.first, node, layer) if layer is not None else ())}

    @torch.no_grad()
    def graph(self) -> Graph:
        """The graph with the parameters of now, rounded to float32, as a file holds them."""
        self.eval()
        changed: dict[str, Any] = {}
        for name, key, _ in self.plan:
            part = self.parts[key]
            if isinstance(part, TrainedConv | TrainedDense | TrainedAffine):
                changed[name] = part.op()
            elif isinstance(part, NormStep):
                norm = self.norms[name]
                centre = self.first.node(norm.centre).op
                assert isinstance(centre, Affine)
                changed[norm.centre], changed[name] = part.norm.ops(centre)
        made = _with_ops(self.first, changed)
        # Ranges of sums follow from the weights.
        bounds: dict[str, Any] = {}
        for name, key, _ in self.plan:
            part, op = self.parts[key], self.first.maker(name)
            if isinstance(part, Steps) and part.norm is not None and isinstance(op, Threshold | Stairs):
                kind = made.types[made.node(name).input]
                bounds[name] = part.op(None if kind.is_float else kind.range, op)
        return _with_ops(made, bounds)

    @torch.no_grad()
    def classes(self, inputs: Array) -> Array:
        """The best class of each image, the first among equals, in float64; int64."""
        was, training = next(self.parameters()).dtype, self.training
        self.double().eval()
        try:
            parts = [self(x).cpu().numpy() for x in in_batches(self, inputs, None)]
        finally:
            self.to(was).train(training)
        best: Array = np.concatenate(parts).argmax(1)
        return best


def as_stored(graph: Graph) -> Graph:
    """The graph with products and sums rounded to float32, as files hold them."""
    changed = {}
    for node in graph.nodes:
        if isinstance(node.op, Affine):
            parts = (
                part.astype(np.float32).astype(np.float64) for part in (node.op.scale, node.op.shift, node.op.divisor)
            )
            changed[node.name] = Affine(*parts)
    return _with_ops(graph, changed)


def _with_ops(graph: Graph, changed: Mapping[str, Any]) -> Graph:
    return graph.with_nodes(tuple(replace(node, op=changed.get(node.name, node.op)) for node in graph.nodes))


class _Moments:
    """Mean and variance of what is added, a channel, in float64."""

    def __init__(self) -> None:
        self.total: Tensor = torch.zeros(1, dtype=torch.float64)
        self.squares: Tensor = torch.zeros(1, dtype=torch.float64)
        self.count = 0

    def add(self, x: Tensor) -> None:
        """(images, channels, ...) values."""
        wide = x.double().transpose(0, 1).flatten(1)
        self.total, self.squares = self.total + wide.sum(1), self.squares + (wide * wide).sum(1)
        self.count += wide.shape[1]

    def found(self) -> tuple[Tensor, Tensor]:
        """Mean and biased variance, (channels,)."""
        mean = self.total / self.count
        return mean, (self.squares / self.count - mean * mean).clamp(min=0.0)


def _scores(graph: Graph) -> str:
    """The tensor of class scores: the output, or what it is chosen by."""
    node = graph.node(graph.output) if graph.maker(graph.output) is not None else None
    if node is None:
        raise Problem("this network computes nothing", graph.name)
    return node.input if isinstance(node.op, Best) else node.name


def _live(graph: Graph, output: str) -> list[Node]:
    wanted = {output}
    for node in reversed(graph.nodes):
        if node.name in wanted:
            wanted.update(node.inputs)
    return [node for node in graph.nodes if node.name in wanted]


def _is_free(graph: Graph, tensor: str) -> bool:
    """Whether every number that a tensor's channels are multiplied with ends in quantizers or scores.

    Joins and layers add values up; those of another scale a channel could not be added as integers.
    """
    for node in graph.readers(tensor):
        if isinstance(node.op, (*_QUANTIZERS, Best)):
            continue
        if not isinstance(node.op, (Affine, Bias, PiecewiseLinear, *_SHAPES)) or not _is_free(graph, node.name):
            return False
    return True


def _layer_in_front(graph: Graph, node: Node) -> str | None:
    """The layer, or join behind layers, whose sums reach a node through pools, changes of shape and functions."""
    tensor = node.input
    while isinstance(graph.maker(tensor), (Affine, Bias, Scale, PiecewiseLinear, AddBorder, *_SHAPES)):
        tensor = graph.node(tensor).input
    if isinstance(graph.maker(tensor), Add | Concat):
        behind = {each.name for each in _live(graph, tensor)}
        return tensor if any(isinstance(graph.maker(name), Conv | Dense) for name in behind) else None
    return tensor if isinstance(graph.maker(tensor), Conv | Dense) else None


def _between(graph: Graph, node: Node, layer: str) -> set[str]:
    found, tensor = set(), node.input
    while tensor != layer:
        found.add(tensor)
        tensor = graph.node(tensor).input
    return found

"""Running the rest of a network again and again: what comes before a fault is computed once.

`prefix` keeps the tensors that a unit and all later units need, for all images; `finish` runs on from there with
other operations in place. `Walk` runs a graph with functions laid into its tensors, for faults of streams.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from ..transforms.graph import Graph, Node
from ..transforms.infer import result_type
from ..transforms.ops import AnyOp
from ..transforms.tensor import Array, TensorType
from .engine import Kernel, Simulator, _kernel, batches

BATCH = 250
Change = Callable[[Array, int], Array]


@dataclass(frozen=True, slots=True)
class Prefix:
    """What the nodes from number `start` on read, for every image.

    Attributes:
        start: position of the first node that is not computed yet.
        tensors: name to values of all images.
        images: how many.
    """

    start: int
    tensors: Mapping[str, Array]
    images: int


def prefix(simulator: Simulator, images: Array, upto: str) -> Prefix:
    """All that node `upto` and later nodes need, cached for all images."""
    nodes = simulator.graph.nodes
    start = next(place for place, node in enumerate(nodes) if node.name == upto)
    later = {name for node in nodes[start:] for name in node.inputs} | {simulator.graph.output}
    made = {simulator.graph.input, *(node.name for node in nodes[:start])}
    wanted = sorted(later & made)
    parts = [_run(simulator, start, part, wanted) for part in batches(images, BATCH)]
    return Prefix(start, {name: np.concatenate([part[name] for part in parts]) for name in wanted}, len(images))


def _run(simulator: Simulator, stop: int, images: Array, wanted: list[str]) -> dict[str, Array]:
    made = {simulator.graph.input: simulator._admit(images)}
    for node, kernel in zip(simulator.graph.nodes[:stop], simulator.kernels[:stop], strict=True):
        made[node.name] = kernel(*(made[name] for name in node.inputs))
    return {name: _narrow(made[name], simulator.graph.types[name]) for name in wanted}


def _narrow(values: Array, kind: TensorType) -> Array:
    """Integers in the smallest dtype that holds their type."""
    if kind.is_float:
        return values
    low, high = kind.range
    return values.astype(np.result_type(np.min_scalar_type(low), np.min_scalar_type(high)), copy=False)


def with_ops(simulator: Simulator, replaced: Mapping[str, AnyOp]) -> Simulator:
    """The same network with other operations under these names; only what they change is prepared again."""
    nodes, kernels = _prepared(simulator, 0, replaced)
    return Simulator(simulator.graph.with_nodes(nodes), kernels)


def _prepared(
    simulator: Simulator, start: int, replaced: Mapping[str, AnyOp]
) -> tuple[tuple[Node, ...], tuple[Kernel, ...]]:
    """Nodes and kernels from number `start` on; a kernel is made anew where its operation or a type is another."""
    types, nodes, kernels = dict(simulator.graph.types), [], []
    for node, kernel in zip(simulator.graph.nodes[start:], simulator.kernels[start:], strict=True):
        inputs = [types[name] for name in node.inputs]
        if node.name in replaced or any(types[name] != simulator.graph.types[name] for name in node.inputs):
            node = replace(node, op=replaced.get(node.name, node.op))
            types[node.name] = result_type(node.op, inputs, node.name)
            kernel = _kernel(node.op, inputs[0], types[node.name])
        nodes.append(node)
        kernels.append(kernel)
    return tuple(nodes), tuple(kernels)


def kernel_of(graph: Graph, node: str, op: AnyOp) -> Kernel:
    """What `op` would do in place of a node: a function of its inputs' batches."""
    inputs = [graph.types[name] for name in graph.node(node).inputs]
    return _kernel(op, inputs[0], result_type(op, inputs, node))


def finish(simulator: Simulator, start: Prefix, replaced: Mapping[str, AnyOp]) -> Array:
    """Class scores of all images with other operations in place, (images, classes) float64.

    `replaced` may name nodes from the prefix's end on alone.
    """
    graph = simulator.graph
    unknown = set(replaced) - {node.name for node in graph.nodes[start.start :]}
    assert not unknown, f"{unknown} are computed already"
    _, kernels = _prepared(simulator, start.start, replaced)
    parts = []
    for first in range(0, start.images, BATCH):
        made = {name: values[first : first + BATCH] for name, values in start.tensors.items()}
        for node, kernel in zip(graph.nodes[start.start :], kernels, strict=True):
            made[node.name] = kernel(*(made[name] for name in node.inputs))
        parts.append(made[graph.output].astype(np.float64))
    return np.concatenate(parts) if parts else np.zeros((0, *graph.output_type.shape))


@dataclass(frozen=True, slots=True)
class Walk:
    """A graph that runs with functions laid into some of its tensors.

    Types behind a changed tensor are inferred again from its bits, so that all sums stay exact.

    Attributes:
        graph: what runs.
        kernels: one function a node.
        changes: tensor to a function of (values, number of the first image) that gives the changed values.
    """

    graph: Graph
    kernels: tuple[Kernel, ...]
    changes: Mapping[str, Change]

    @staticmethod
    def of(graph: Graph, changes: Mapping[str, Change], wide: Mapping[str, TensorType]) -> Walk:
        """Prepare every layer; `wide` gives the types of changed tensors."""
        types: dict[str, TensorType] = {graph.input: wide.get(graph.input, graph.input_type)}
        kernels = []
        for node in graph.nodes:
            inputs = [types[name] for name in node.inputs]
            made = result_type(node.op, inputs, node.name)
            kernels.append(_kernel(node.op, inputs[0], made))
            types[node.name] = wide.get(node.name, made)
        return Walk(graph, tuple(kernels), changes)

    def scores(self, images: Array) -> Array:
        """Class scores, (images, classes) float64."""
        parts = []
        admit = Simulator(self.graph, ())._admit
        for first in range(0, len(images), BATCH):
            made = {self.graph.input: self._changed(self.graph.input, admit(images[first : first + BATCH]), first)}
            for node, kernel in zip(self.graph.nodes, self.kernels, strict=True):
                made[node.name] = self._changed(node.name, kernel(*(made[name] for name in node.inputs)), first)
            parts.append(made[self.graph.output].astype(np.float64))
        return np.concatenate(parts) if parts else np.zeros((0, *self.graph.output_type.shape))

    def _changed(self, name: str, values: Array, first: int) -> Array:
        change = self.changes.get(name)
        return values if change is None else change(values, first)

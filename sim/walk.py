"""A graph node by node on ordinary arrays: for what injects faults into tensors, or goes on from a changed tensor.

The packed simulator joins operations and leaves tensors out; here every tensor is made, by the kernels of `generic.py`,
and may hold values that only a fault can reach.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from ..transforms.ir.graph import Graph
from ..transforms.ir.infer import result_type
from ..transforms.ir.ops import AnyOp
from ..transforms.ir.tensor import Array, TensorType
from .engine.generic import Kernel, prepare
from .images import admitted, batches

BATCH = 250
Change = Callable[[Array, int], Array]
"""(values of a batch, number of its first image) to the values in their place."""


def kernel_of(graph: Graph, node: str, op: AnyOp) -> Kernel:
    """What `op` would do in place of a node: a function of its inputs' batches."""
    inputs = [graph.types[name] for name in graph.node(node).inputs]
    return prepare(op, inputs[0], result_type(op, inputs, node))


@dataclass(frozen=True, slots=True)
class Walk:
    """A graph that runs with functions injected into some of its tensors.

    Types behind a changed tensor are inferred again from its bits, so that all sums stay exact.

    Attributes:
        graph: what runs.
        kernels: one function a node.
        changes: tensor to a function of (values, number of the first image) that gives the changed values.
        instead: node to what it does in place of its operation: a function of (its input, number of the first image).
        wide: types of changed tensors.
    """

    graph: Graph
    kernels: tuple[Kernel, ...]
    changes: Mapping[str, Change]
    instead: Mapping[str, Change] = field(default_factory=dict)
    wide: Mapping[str, TensorType] = field(default_factory=dict)

    @staticmethod
    def of(
        graph: Graph,
        changes: Mapping[str, Change],
        wide: Mapping[str, TensorType],
        instead: Mapping[str, Change] | None = None,
    ) -> Walk:
        """Prepare every layer; `wide` gives the types of changed tensors, `instead` what stands for operations."""
        types: dict[str, TensorType] = {graph.input: wide.get(graph.input, graph.input_type)}
        kernels = []
        for node in graph.nodes:
            inputs = [types[name] for name in node.inputs]
            made = result_type(node.op, inputs, node.name)
            kernels.append(prepare(node.op, inputs[0], made))
            types[node.name] = wide.get(node.name, made)
        return Walk(graph, tuple(kernels), changes, instead or {}, wide)

    def scores(self, images: Array) -> Array:
        """Class scores, (images, classes) float64."""
        parts = []
        for first, batch in zip(range(0, len(images), BATCH), batches(images, BATCH), strict=True):
            made = {self.graph.input: self._changed(self.graph.input, admitted(self.graph, batch), first)}
            for node, kernel in zip(self.graph.nodes, self.kernels, strict=True):
                other = self.instead.get(node.name)
                inputs = [made[name] for name in node.inputs]
                values = kernel(*inputs) if other is None else other(inputs[0], first)
                made[node.name] = self._changed(node.name, values, first)
            parts.append(made[self.graph.output].astype(np.float64))
        return np.concatenate(parts) if parts else np.zeros((0, *self.graph.output_type.shape))

    def _changed(self, name: str, values: Array, first: int) -> Array:
        change = self.changes.get(name)
        return values if change is None else change(values, first)

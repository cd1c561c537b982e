"""Single synapses of a graph's layers: which are there, and the graph without some."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import prod

import numpy as np

from bnnflow import Problem

from .ir.graph import Graph
from .ir.ops import AddBorder, Conv, Dense
from .ir.tensor import Array


def synapses(graph: Graph) -> dict[str, Array]:
    """Which synapses are there: of each layer of weights -1 and +1, some of them 0 or none, bool in its shape."""
    found = {}
    for node in graph.nodes:
        if isinstance(node.op, Conv | Dense) and {-1, 1} <= set(np.unique(node.op.weight).tolist()) <= {-1, 0, 1}:
            found[node.name] = node.op.weight != 0
    return found


def without_synapses(graph: Graph, keep: Mapping[str, Array]) -> Graph:
    """The graph with the weights of all synapses but some at 0.

    Args:
        graph: of the network or integer level.
        keep: by layer, bool in the shape of its weights; other layers stay whole.

    Raises:
        Problem: a neuron or filter would keep none, or a table of borders belongs to the weights that go.
    """
    bordered = next((node for node in graph.nodes if isinstance(node.op, AddBorder) and node.input in keep), None)
    if bordered is not None:
        what = "what zero padding adds at its border depends on weights that would go"
        raise Problem(what, bordered.input, "give the file that the network was exported to")
    nodes = []
    for node in graph.nodes:
        if node.name in keep:
            assert isinstance(node.op, Conv | Dense)
            stays = keep[node.name]
            if not stays.reshape(len(stays), -1).any(axis=1).all():
                raise Problem("a neuron or filter keeps no synapse", node.name, "remove it as a whole")
            node = replace(node, op=replace(node.op, weight=node.op.weight * stays.astype(node.op.weight.dtype)))
        nodes.append(node)
    return graph.with_nodes(tuple(nodes))


def products(graph: Graph) -> int:
    """Products of an image, those with a weight of 0 left out."""
    layers = ((node.name, node.op) for node in graph.nodes if isinstance(node.op, Conv | Dense))
    return sum(prod(graph.types[name].shape[:-1]) * int(np.count_nonzero(op.weight)) for name, op in layers)


def weights(graph: Graph) -> int:
    """Weights that are not 0."""
    return sum(int(np.count_nonzero(node.op.weight)) for node in graph.nodes if isinstance(node.op, Conv | Dense))

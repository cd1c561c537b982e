"""Batch norms of a graph, re-estimated on integers.

A batch norm is read as two operations: x - mean, then (x * gain) / sqrt(variance + eps) + bias. Removing channels in
front of it changes what it sees; mean and variance are then taken from the exact sums of a sample of images, norm by
norm in the order of execution, as `models.batchnorm` does with a torch network.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from bnnflow import Problem

from ..transforms.ir.graph import Graph
from ..transforms.ir.ops import Add, Affine, AnyOp, Bias, Concat, Conv, Dense, MaxPool, SumPool
from ..transforms.ir.tensor import Array
from ..transforms.passes.rewrite import Equivalence, Rewritten
from ..transforms.passes.streamline import Streamline
from .engine.simulator import Prefix, Simulator

# As float32 files state it.
EPS = float(np.float32(1e-5))


@dataclass(frozen=True, slots=True)
class Norm:
    """A batch norm of a graph of the network level.

    Attributes:
        centre: name of the `Affine` whose shift is -mean.
        spread: name of the `Affine` behind it, whose divisor is sqrt(variance + eps).
        source: name of the layer or join in front, through pools and products.
    """

    centre: str
    spread: str
    source: str


def graph_norms(graph: Graph) -> tuple[Norm, ...]:
    """The batch norms behind layers with weights and joins, in the order of execution."""
    found = []
    for node in graph.nodes:
        behind = graph.sole_reader(node.name)
        if isinstance(node.op, Affine) and behind is not None and isinstance(behind.op, Affine):
            source = _source(graph, node.input)
            if source and not np.array_equal(behind.op.divisor, np.ones(1)):
                found.append(Norm(node.name, behind.name, source))
    return tuple(found)


def _source(graph: Graph, tensor: str) -> str:
    """The layer or join that makes a tensor, through pools and products; empty where none does."""
    while isinstance(graph.maker(tensor), MaxPool | SumPool | Affine | Bias):
        tensor = graph.node(tensor).input
    return tensor if isinstance(graph.maker(tensor), Conv | Dense | Add | Concat) else ""


def reestimate_graph(graph: Graph, images: Array, layers: Collection[str] | None = None, eps: float = EPS) -> Graph:
    """The graph whose batch norms hold the mean and variance of what they see on these images.

    Mean and variance are rounded to float32, as files of networks hold them; gains and biases stay.

    Args:
        graph: of the network level, with an integer input.
        images: (images, *input shape), a sample of the training images.
        layers: measure only the norms at or behind these layers; None for all.
        eps: what is added to variances.

    Raises:
        Problem: the graph cannot be compiled, or a norm sees what is no exact sum.
    """
    wanted = [norm for norm in graph_norms(graph) if layers is None or _stands_behind(graph, norm.source, layers)]
    simulator: Simulator | None = None
    prefix: Prefix | None = None
    for norm in wanted:
        lowered = Streamline()(graph)
        simulator = _simulator(simulator, lowered.graph)
        source = next(new for new, old in lowered.origins.items() if norm.source in old)
        prefix = simulator.resume(prefix, source) if prefix else simulator.prefix(images, source)
        mean, variance = _moments(graph, norm, lowered, simulator, prefix)
        graph = _with_statistics(graph, norm, mean, variance, eps)
    return graph


def _stands_behind(graph: Graph, source: str, layers: Collection[str]) -> bool:
    """Whether a node is one of some layers, or stands behind one of them."""
    reached = set(layers)
    for node in graph.nodes:
        if reached.intersection(node.inputs):
            reached.add(node.name)
    return source in reached


def _simulator(earlier: Simulator | None, graph: Graph) -> Simulator:
    """A simulator of the graph; what is equal in the earlier one is not prepared again."""
    if earlier is None or [node.name for node in earlier.graph.nodes] != [node.name for node in graph.nodes]:
        return Simulator.of(graph)
    before: dict[str, AnyOp] = {node.name: node.op for node in earlier.graph.nodes}
    return earlier.with_ops({node.name: node.op for node in graph.nodes if node.op != before[node.name]})


def _moments(graph: Graph, norm: Norm, lowered: Rewritten, simulator: Simulator, prefix: Prefix) -> tuple[Array, Array]:
    """Mean and biased variance, (channels,) float64, of what a norm sees."""
    factor, offset, equivalence = _seen(graph, norm, lowered)
    total = squares = np.zeros(1)
    count = 0
    for block in simulator.blocks(prefix, equivalence.new):
        sums = block.reshape(-1, block.shape[-1]).astype(np.float64)
        # Sums of integers below 2^53: no order of adding rounds.
        total, squares, count = total + sums.sum(0), squares + (sums * sums).sum(0), count + len(sums)
    total, squares = (
        factor * total + offset * count,
        factor * factor * squares + 2 * factor * offset * total + offset * offset * count,
    )
    mean = total / count
    return mean, np.maximum(squares / count - mean * mean, 0.0)


def _seen(graph: Graph, norm: Norm, lowered: Rewritten) -> tuple[Array, Array, Equivalence]:
    """What a norm sees as factor * integer + offset, and the integer tensor's equivalence."""
    tensor = graph.node(norm.centre).input
    before = graph.node(norm.centre).op
    assert isinstance(before, Affine)
    # The first of the two operations may hold a product that stood in front of the norm.
    factor, offset = before.scale / before.divisor, np.zeros(1)
    equivalences = {equivalence.old: equivalence for equivalence in lowered.equivalences}
    while tensor not in equivalences and isinstance(op := graph.maker(tensor), Affine | Bias):
        if isinstance(op, Bias):
            offset = factor * (op.integers * op.scale) + offset
        else:
            offset = factor * op.shift + offset
            factor = factor * op.scale / op.divisor
        tensor = graph.node(tensor).input
    equivalence = equivalences.get(tensor)
    if equivalence is None or equivalence.kept is not None:
        raise Problem("a batch norm sees what is no exact sum, so it cannot be measured", f"tensor {tensor!r}")
    return factor * equivalence.factor, factor * equivalence.offset + offset, equivalence


def _with_statistics(graph: Graph, norm: Norm, mean: Array, variance: Array, eps: float) -> Graph:
    stored_mean, stored = (value.astype(np.float32).astype(np.float64) for value in (mean, variance))
    nodes = []
    for node in graph.nodes:
        if node.name == norm.centre and isinstance(node.op, Affine):
            node = replace(node, op=replace(node.op, shift=-stored_mean))
        elif node.name == norm.spread and isinstance(node.op, Affine):
            node = replace(node, op=replace(node.op, divisor=np.sqrt(stored + eps)))
        nodes.append(node)
    return graph.with_nodes(tuple(nodes))

"""Batch norms of a graph, re-estimated on integers.

A batch norm is read as two operations: x - mean, then (x * gain) / sqrt(variance + eps) + bias. Removing channels in
front of it changes what it sees; mean and variance are then taken from the exact sums of a sample of images, norm by
norm in the order of execution, as `models.batchnorm` does with a torch network.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bnnflow import Problem

from ..transforms.ir.graph import Graph, Node
from ..transforms.ir.ops import (
    Add,
    Affine,
    AnyOp,
    Bias,
    Concat,
    Conv,
    Dense,
    MaxPool,
    PiecewiseLinear,
    Quantize,
    Sign,
    Stairs,
    SumPool,
)
from ..transforms.ir.tensor import Array
from ..transforms.passes.rewrite import Equivalence, Rewritten
from ..transforms.passes.streamline import Streamline
from .engine.simulator import Prefix, Simulator

# As float32 files state it.
EPS = float(np.float32(1e-5))
_BENDS = (PiecewiseLinear, Quantize, Sign, Stairs)


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


@dataclass(frozen=True, slots=True)
class Moments:
    """Sum and sum of squares of a tensor over images and places, (channels,) float64; of how many values a channel."""

    total: Array
    squares: Array
    count: int

    @staticmethod
    def of(simulator: Simulator, prefix: Prefix, tensor: str) -> Moments:
        """Of a tensor of integers, on all images of a prefix."""
        total = squares = np.zeros(1)
        count = 0
        for block in simulator.blocks(prefix, tensor):
            sums = block.reshape(-1, block.shape[-1]).astype(np.float64)
            # Sums of integers below 2^53: no order of adding rounds.
            total, squares, count = total + sums.sum(0), squares + (sums * sums).sum(0), count + len(sums)
        return Moments(total, squares, count)

    def scaled(self, factor: Array, offset: Array) -> Moments:
        """Of factor * tensor + offset."""
        total, squares, count = self.total, self.squares, self.count
        return Moments(
            factor * total + offset * count,
            factor * factor * squares + 2 * factor * offset * total + offset * offset * count,
            count,
        )

    def mean_and_variance(self) -> tuple[Array, Array]:
        """Mean and biased variance, (channels,) float64."""
        mean = self.total / self.count
        return mean, np.maximum(self.squares / self.count - mean * mean, 0.0)


def graph_norms(graph: Graph) -> tuple[Norm, ...]:
    """The batch norms behind layers with weights and joins, in the order in which these are executed."""
    found = []
    for node in graph.nodes:
        behind = graph.sole_reader(node.name)
        if isinstance(node.op, Affine) and behind is not None and isinstance(behind.op, Affine):
            source = _source(graph, node.input)
            if source and _spreads(behind.op, graph.types[behind.name].channels):
                found.append(Norm(node.name, behind.name, source))
    return _in_order(graph, found)


def _spreads(op: Affine, channels: int) -> bool:
    """Whether this is the second part of a batch norm: it divides each channel by a deviation of its own.

    One divisor for all is a scale that someone fixed (a temperature of scores), not a deviation that was measured. Of a
    single channel it is a norm's where a gain or a bias goes with it.
    """
    if channels == 1:
        return bool(op.divisor[0] != 1 and (op.scale[0] != 1 or op.shift[0] != 0))
    return op.divisor.size == channels and bool(np.any(op.divisor != 1))


def _in_order(graph: Graph, norms: Sequence[Norm]) -> tuple[Norm, ...]:
    """By their sources: no source depends on a later one's norm, whatever the order of the norms in the file."""
    place = {node.name: index for index, node in enumerate(graph.nodes)}
    return tuple(sorted(norms, key=lambda norm: place[norm.source]))


def without_norms(graph: Graph, layers: Collection[str] | None = None) -> tuple[str, ...]:
    """Names of quantizers and activations that see sums of some layers (None: of any) through no batch norm."""
    passed = {name for norm in graph_norms(graph) for name in (norm.centre, norm.spread)}
    changed = {node.name for node in graph.nodes} if layers is None else behind(graph, layers)
    # For each tensor whether it holds sums that no norm, quantizer or activation has seen.
    plain: dict[str, bool] = {graph.input: False}
    found = []
    for node in graph.nodes:
        seen = any(plain[tensor] for tensor in node.inputs)
        if isinstance(node.op, _BENDS):
            plain[node.name] = False
            if seen:
                found.append(node.name)
        elif isinstance(node.op, Conv | Dense):
            plain[node.name] = node.name in changed
        else:
            plain[node.name] = seen and node.name not in passed
    return tuple(found)


def can_have_norms(graph: Graph) -> bool:
    """Whether there are batch norms, and can be one in front of every quantizer or activation that sees sums."""
    return bool(graph_norms(graph)) and all(_source(graph, graph.node(name).input) for name in without_norms(graph))


def with_norms(graph: Graph, quantizers: Collection[str], images: Array, eps: float = EPS) -> Graph:
    """The graph with a batch norm in front of some quantizers or activations, of what they see on these images.

    Its gain and bias are its standard deviation and mean, so that it changes nothing but for their rounding to float32,
    until its mean and variance are measured again. That moves a threshold t to m' + (t - m) s' / s, as `refit` does.

    Args:
        graph: of the network level, with an integer input.
        quantizers: of `without_norms`, where `can_have_norms`.
        images: (images, *input shape).
        eps: what is added to variances.

    Raises:
        Problem: the graph cannot be compiled, or one of them sees what is no exact sum.
    """
    if not quantizers:
        return graph
    norms, nodes = [], []
    for node in graph.nodes:
        if node.name in quantizers:
            norm = Norm(f"{node.name}_mean", f"{node.name}_norm", _source(graph, node.input))
            channels = np.ones(graph.types[node.input].channels)
            nodes += [
                Node(norm.centre, Affine(channels, 0 * channels), (node.input,)),
                Node(norm.spread, Affine(channels, 0 * channels, channels), (norm.centre,)),
            ]
            norms.append(norm)
            node = replace(node, inputs=(norm.spread,))
        nodes.append(node)
    graph = graph.with_nodes(tuple(nodes))
    lowered = Streamline()(graph)
    simulator, prefix = Simulator.of(lowered.graph), None
    for norm in _in_order(graph, norms):
        source = _lowered_name(lowered, norm.source)
        prefix = simulator.resume(prefix, source) if prefix else simulator.prefix(images, source)
        mean, variance = _moments(graph, norm, lowered, simulator, prefix)
        graph = _with_statistics(graph, norm, mean, variance, eps)
        made = graph.node(norm.spread).op
        assert isinstance(made, Affine)
        graph = _with_op(graph, norm.spread, replace(made, scale=_stored(made.divisor), shift=_stored(mean)))
    return graph


def _lowered_name(lowered: Rewritten, layer: str) -> str:
    return next(new for new, old in lowered.origins.items() if layer in old)


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
    changed = None if layers is None else behind(graph, layers)
    wanted = [norm for norm in graph_norms(graph) if changed is None or norm.source in changed]
    simulator: Simulator | None = None
    prefix: Prefix | None = None
    for norm in wanted:
        lowered = Streamline()(graph)
        simulator = _simulator(simulator, lowered.graph)
        source = _lowered_name(lowered, norm.source)
        prefix = simulator.resume(prefix, source) if prefix else simulator.prefix(images, source)
        mean, variance = _moments(graph, norm, lowered, simulator, prefix)
        graph = _with_statistics(graph, norm, mean, variance, eps)
    return graph


def behind(graph: Graph, layers: Collection[str]) -> set[str]:
    """Some layers, and the names of all nodes behind one of them."""
    reached = set(layers)
    for node in graph.nodes:
        if reached.intersection(node.inputs):
            reached.add(node.name)
    return reached


def _simulator(earlier: Simulator | None, graph: Graph) -> Simulator:
    """A simulator of the graph; what is equal in the earlier one is not prepared again."""
    if earlier is None or [node.name for node in earlier.graph.nodes] != [node.name for node in graph.nodes]:
        return Simulator.of(graph)
    before: dict[str, AnyOp] = {node.name: node.op for node in earlier.graph.nodes}
    return earlier.with_ops({node.name: node.op for node in graph.nodes if node.op != before[node.name]})


def _moments(graph: Graph, norm: Norm, lowered: Rewritten, simulator: Simulator, prefix: Prefix) -> tuple[Array, Array]:
    """Mean and biased variance, (channels,) float64, of what a norm sees."""
    factor, offset, equivalence = _seen(graph, norm, lowered)
    return Moments.of(simulator, prefix, equivalence.new).scaled(factor, offset).mean_and_variance()


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
    centre, spread = graph.node(norm.centre).op, graph.node(norm.spread).op
    assert isinstance(centre, Affine) and isinstance(spread, Affine)
    graph = _with_op(graph, norm.centre, replace(centre, shift=-_stored(mean)))
    return _with_op(graph, norm.spread, replace(spread, divisor=np.sqrt(_stored(variance) + eps)))


def _with_op(graph: Graph, name: str, op: AnyOp) -> Graph:
    return graph.with_nodes(tuple(replace(node, op=op) if node.name == name else node for node in graph.nodes))


def _stored(values: Array) -> Array:
    """Rounded to float32, as files of networks hold them."""
    return values.astype(np.float32).astype(np.float64)

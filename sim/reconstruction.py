"""Which channels to remove so that what the layers behind add up changes least: sets, chosen on exact sums.

Channels of a binary network stand in for each other, so that no number a channel says which two of them do. What
removing a set R does to a sum, once its mean and spread are mended by the norm or the thresholds behind, is exactly the
sum over R x R of

    G[c, d] = mean over images and outputs o of v[o] T[o, c] T[o, d],

T[o, c] being what channel c adds to sum o, minus its mean. The channel with the least G[c, c] / 2 + sum over removed d
of G[c, d] goes next. v is 1 / variance of the sum, times FLOOR + exp(-2 z^2), z being the distance of this very sum
from the nearest threshold in standard deviations: what flips no bit costs little. In front of the class scores the
cross entropy itself is followed, exactly. No gradient is taken, and labels are of use in front of the classes alone.

The joint term is that of He et al., Channel Pruning (arXiv:1707.06168), and of optimal brain surgery; what it is worth
on binary networks: docs/results/pruning.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np

from ..transforms.channels import ChannelGroup, channel_groups
from ..transforms.ir.graph import Graph, Node
from ..transforms.ir.ops import (
    Add,
    Affine,
    Best,
    Bias,
    Conv,
    Dense,
    Flatten,
    MaxPool,
    PiecewiseLinear,
    Quantize,
    Scale,
    Sign,
    Stairs,
    SumPool,
    Threshold,
)
from ..transforms.ir.tensor import Array
from ..transforms.passes.streamline import Streamline
from .engine.simulator import Prefix, Simulator
from .reference import windows

FLOOR = 0.1
_PATCHES = 2048
"""Windows of a convolution that are looked at; dense layers are looked at on every image."""
_PRODUCTS = 6e10
"""Products of a reader that G may take, one to two seconds; of wider layers drawn outputs stand for all."""
_CHUNK = 32
_CELLS = 2**25


def removal_order(graph: Graph, images: Array, labels: Array | None = None, seed: int = 0) -> dict[str, Array]:
    """In which order the channels of each group go best, each group for itself.

    Args:
        graph: of the network or integer level, its input on integers.
        images: (images, *input shape), as the graph takes them; some hundred suffice.
        labels: (images,) of classes; None takes the network's own answers. Only layers in front of the class scores
            ask for them.
        seed: of the windows and outputs that are drawn.

    Returns:
        for each group of `channel_groups` that can be cut, int64 (width,): place of each channel in the order of
        removal, 0 for the first to go.

    Raises:
        Problem: the graph cannot be compiled, or there are no images.
    """
    integer, names = on_integers(graph)
    groups = [group for group in channel_groups(integer) if not group.reason and group.columns]
    rng = np.random.default_rng(seed)
    simulator = Simulator.of(integer)
    readers = {reader for group in groups for reader in group.readers}
    costs = {group.name: np.zeros((group.width, group.width)) for group in groups}
    orders: dict[str, Array] = {}
    prefix: Prefix | None = None
    for node in integer.nodes:
        if node.name not in readers:
            continue
        prefix = simulator.resume(prefix, node.name) if prefix else simulator.prefix(images, node.name)
        for group in (group for group in groups if node.name in group.columns):
            path = _ScorePath.of(integer, node.name)
            if path is not None and len(group.readers) == 1:
                added = _added_to_scores(simulator, prefix, node, group, path)
                orders[group.name] = _by_cross_entropy(added, _bias(simulator, images, added), labels)
            else:
                sample = _Sample.of(simulator, prefix, node, group, rng)
                costs[group.name] += sample.costs(_edges(integer, node.name), rng)
    for group in groups:
        if group.name not in orders:
            orders[group.name] = _by_reconstruction(costs[group.name])
    return {names[name]: order for name, order in orders.items()}


def on_integers(graph: Graph) -> tuple[Graph, dict[str, str]]:
    """The graph at the integer level with all its channels, and for each of its layers the name that it had before.

    Args:
        graph: of the network or integer level.

    Raises:
        Problem: it cannot be compiled.
    """
    layers = {node.name for node in graph.nodes if isinstance(node.op, Conv | Dense)}
    if not any(isinstance(node.op, Affine | Sign | Quantize | Stairs | PiecewiseLinear) for node in graph.nodes):
        return graph, {name: name for name in layers}
    lowered = Streamline()(graph)
    return lowered.graph, {new: name for new, old in lowered.origins.items() for name in old if name in layers}


def ends_in_scores(graph: Graph) -> bool:
    """Whether the graph ends in class scores, and not in the index of the best class or in one number."""
    shape = graph.output_type.shape
    return not isinstance(graph.maker(graph.output), Best) and len(shape) == 1 and shape[0] > 1


@dataclass(frozen=True, slots=True)
class _Sample:
    """What a layer reads of a group, and by which weights.

    Attributes:
        values: float32 (samples, taps, channels of the group).
        weights: float32 (outputs, taps, channels of the group).
        rest: float32 (samples, outputs), what inputs of other groups add.
    """

    values: Array
    weights: Array
    rest: Array

    @staticmethod
    def of(simulator: Simulator, prefix: Prefix, node: Node, group: ChannelGroup, rng: np.random.Generator) -> _Sample:
        """Drawn windows of a convolution, or all images of a dense layer."""
        op = node.op
        assert isinstance(op, Conv | Dense)
        columns, parts, rest = group.columns[node.name], [], []
        flat = op.weight.reshape(len(op.weight), -1, op.weight.shape[-1])
        others = columns < 0
        for block in simulator.blocks(prefix, node.input):
            if isinstance(op, Conv):
                seen = windows(block, (op.weight.shape[1], op.weight.shape[2]), op.stride)
                seen = seen.reshape(len(block), -1, seen.shape[3] * seen.shape[4], seen.shape[5])
                each = min(seen.shape[1], ceil(_PATCHES / prefix.images))
                places = np.argsort(rng.random(seen.shape[:2]), axis=1)[:, :each]
                seen = np.take_along_axis(seen, places[:, :, None, None], 1).reshape(-1, *seen.shape[2:])
            else:
                seen = block.reshape(-1, 1, block.shape[-1])
            parts.append(_grouped(seen, columns, group.width).astype(np.float32))
            rest.append(
                np.einsum(
                    "nkc,okc->no", seen[..., others].astype(float), flat[..., others].astype(float), optimize=True
                )
            )
        weights = _grouped(flat, columns, group.width).astype(np.float32)
        return _Sample(np.concatenate(parts), weights, np.concatenate(rest).astype(np.float32))

    def costs(self, edges: Array | None, rng: np.random.Generator) -> Array:
        """G of this layer, (channels, channels) float64; `edges` as `_edges` finds them."""
        samples, _, channels = self.values.shape
        outputs = np.arange(len(self.weights))
        most = max(_CHUNK, int(_PRODUCTS / (samples * channels**2)))
        if most < len(outputs):
            outputs = np.sort(rng.permutation(len(outputs))[:most])
        by_channel = np.ascontiguousarray(self.values.transpose(2, 0, 1))
        total = np.zeros((channels, channels))
        for start in range(0, len(outputs), _CHUNK):
            chosen = outputs[start : start + _CHUNK]
            added = np.matmul(by_channel, self.weights[chosen].transpose(2, 1, 0))
            sums = added.sum(0) + self.rest[:, chosen]
            spread = sums.std(0)
            weight = np.where(spread > 0, 1.0 / np.maximum(spread, 1e-6) ** 2, 0.0)
            for index, output in enumerate(chosen):
                one = added[:, :, index] - added[:, :, index].mean(1, keepdims=True)
                v = np.full(samples, weight[index])
                if edges is not None and spread[index] > 0:
                    row = edges[output if len(edges) > 1 else 0]
                    near = np.abs(sums[:, index, None] - row).min(1) / spread[index]
                    v *= FLOOR + np.exp(-2.0 * near**2)
                one *= np.sqrt(v).astype(np.float32)
                total += one @ one.T
        made: Array = total * (len(self.weights) / len(outputs) / samples)
        return made


def _grouped(values: Array, columns: Array, width: int) -> Array:
    """(n, taps, inputs) to (n, taps', channels of the group): features of a channel become taps, others go."""
    inputs = np.flatnonzero(columns >= 0)
    order = inputs[np.argsort(columns[inputs], kind="stable")]
    counts = np.bincount(columns[inputs], minlength=width)
    made = np.zeros((values.shape[0], values.shape[1], int(counts.max()), width), values.dtype)
    channel = columns[order]
    place = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    made[:, :, place, channel] = values[:, :, order]
    return made.reshape(len(values), -1, width)


def _edges(graph: Graph, layer: str) -> Array | None:
    """Where a layer's sums change a bit, (channels or 1, levels) float64, through maxima and signs; None elsewhere.

    None, too, where a map is flattened first and a channel's bounds differ from place to place: samples do not say
    where in the map they were taken.
    """
    behind, factor, channels = graph.sole_reader(layer), np.ones(1), graph.types[layer].channels
    while behind is not None and isinstance(behind.op, MaxPool | Flatten | Scale):
        if isinstance(behind.op, Scale):
            factor = factor * behind.op.factor
        elif isinstance(behind.op, Flatten) and len(factor) > 1:
            factor = np.tile(factor, graph.types[behind.name].channels // channels)
        behind = graph.sole_reader(behind.name)
    if behind is None or not isinstance(behind.op, Threshold):
        return None
    # Halfway between the bound and the whole number below it.
    middle = behind.op.bounds - 0.5
    edges: Array = np.where(factor == 0, np.inf, 1.0 / np.where(factor == 0, 1.0, factor))[:, None] * middle
    if len(edges) <= channels:
        return edges
    places: Array = edges.reshape(-1, channels, edges.shape[1])
    return places[0] if bool((places == places[0]).all()) else None


@dataclass(frozen=True, slots=True)
class _ScorePath:
    """How a layer's sums reach the class scores where nothing but sums lies between.

    Attributes:
        gain: by what they count, (classes or 1,) float64.
        counts: how often each place of the layer's map is added, (height, width) int64; (1, 1) for dense layers.
    """

    gain: Array
    counts: Array

    @staticmethod
    def of(graph: Graph, layer: str) -> _ScorePath | None:
        """The path; None where there is another operation, several places become scores, or there are no scores."""
        gain, tensor, pools = np.ones(1), layer, []
        while tensor != graph.output:
            behind = graph.sole_reader(tensor)
            match behind.op if behind is not None else None:
                case Affine(scale, _, divisor):
                    gain = gain * (scale / divisor)
                case Scale(factor):
                    gain = gain * factor
                case SumPool() as pool:
                    pools.append((pool, graph.types[tensor].shape))
                case Flatten() if np.prod(graph.types[tensor].shape[:-1]) != 1:
                    return None
                case Bias() | Add() | Flatten():
                    pass
                case _:
                    return None
            assert behind is not None
            tensor = behind.name
        if not ends_in_scores(graph):
            return None
        counts = np.ones((1, 1), np.int64)
        for pool, (height, width, _) in reversed(pools):
            added = np.zeros((height, width), np.int64)
            for (y, x), count in np.ndenumerate(counts):
                top, left = y * pool.stride[0], x * pool.stride[1]
                added[top : top + pool.kernel[0], left : left + pool.kernel[1]] += count
            counts = added
        return _ScorePath(gain, counts)


def _added_to_scores(simulator: Simulator, prefix: Prefix, node: Node, group: ChannelGroup, path: _ScorePath) -> Array:
    """What each channel adds to each class score, float32 (images, classes, channels)."""
    op = node.op
    assert isinstance(op, Conv | Dense)
    flat = op.weight.reshape(len(op.weight), -1, op.weight.shape[-1])
    weights = _grouped(flat, group.columns[node.name], group.width).astype(np.float32)
    parts = []
    for block in simulator.blocks(prefix, node.input):
        if isinstance(op, Conv):
            seen = windows(block, (op.weight.shape[1], op.weight.shape[2]), op.stride)
            seen = np.einsum("nyxijc,yx->nijc", seen, path.counts).reshape(len(block), -1, seen.shape[-1])
        else:
            seen = block.reshape(len(block), 1, -1)
        values = _grouped(seen, group.columns[node.name], group.width).astype(np.float32)
        parts.append(np.einsum("nkc,okc->noc", values, weights, optimize=True))
    made: Array = np.concatenate(parts) * path.gain.astype(np.float32)[:, None]
    return made


def _bias(simulator: Simulator, images: Array, added: Array) -> Array:
    """What stands in the class scores beside the group's channels, float32 (images, classes)."""
    made: Array = simulator.scores(images).astype(np.float32) - added.sum(2)
    return made


def _by_cross_entropy(added: Array, bias: Array, labels: Array | None) -> Array:
    """Places in the order in which the channel goes whose absence gives the least mean cross entropy."""
    images = max(1, min(len(added), _CELLS // max(1, added[0].size)))
    added, scores = added[:images], added[:images].sum(2) + bias[:images]
    # Whole sums have no temperature of their own.
    if not added.size or float(np.abs(added).max()) >= 1.0:
        unit = np.float32(max(float(scores.std()), 1e-6))
        added, scores = added / unit, scores / unit
    truth = scores.argmax(1) if labels is None else np.asarray(labels[:images], np.int64)
    rows = np.arange(images)
    right = added[rows, truth]
    shrunk = np.exp(-added)
    left = np.arange(added.shape[2])
    places = np.empty(len(left), np.int64)
    for place in range(len(places)):
        raised = np.exp(scores - scores.max(1, keepdims=True))
        loss = (np.log(np.matmul(raised[:, None], shrunk)[:, 0]) + right).mean(0)
        gone = int(loss.argmin())
        places[left[gone]] = place
        scores = scores - added[:, :, gone]
        stays = np.arange(len(left)) != gone
        left, added, shrunk, right = left[stays], added[:, :, stays], shrunk[:, :, stays], right[:, stays]
    return places


def _by_reconstruction(costs: Array) -> Array:
    """Places in the order of the least growth of the sum of G over all pairs that are gone."""
    growth = np.diag(costs) / 2
    left = np.ones(len(costs), bool)
    places = np.empty(len(costs), np.int64)
    for place in range(len(costs)):
        gone = int(np.where(left, growth, np.inf).argmin())
        places[gone], left[gone] = place, False
        growth = growth + costs[:, gone]
    return places

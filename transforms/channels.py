"""Groups of channels that can only be removed together, and cutting them out of a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from bnnflow import Problem

from .ir.graph import Graph, Node
from .ir.ops import (
    Add,
    Affine,
    AnyOp,
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
from .ir.tensor import Array

KEEPS_CHANNELS = (
    *(ChannelsLast, Affine, Bias, PiecewiseLinear, Quantize, Sign, Stairs, Pad, MaxPool, SumPool, Scale, Threshold),
)


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """Channels of one or more layers, each of which stays or goes in all of them at once.

    Layers are of one group where their results are added, through whatever keeps channels apart.

    Attributes:
        name: of the first layer that makes the channels; of the graph's input where no layer does.
        width: number of channels that stay or go one by one.
        rows: for each layer that makes them, in the graph's order: int64, (rows of its weight,), the channel of
            the group that each row is. A repeated channel is several rows of a layer behind the repetition; a layer
            that makes a part of a concatenation has some of the channels only.
        columns: for each layer that reads them: int64, (inputs,), the channel of the group that each input is, -1
            for inputs of other groups. Inputs of a convolution are channels, those of a dense layer features.
        reason: why they cannot be cut; empty where they can.
    """

    name: str
    width: int
    rows: Mapping[str, Array] = field(compare=False)
    columns: Mapping[str, Array] = field(compare=False)
    reason: str = ""

    @property
    def producers(self) -> tuple[str, ...]:
        """Names of the layers that make the channels."""
        return tuple(self.rows)

    @property
    def readers(self) -> tuple[str, ...]:
        """Names of the layers that multiply the channels."""
        return tuple(self.columns)

    @property
    def multiple(self) -> int:
        """The most rows of one layer that are one channel: 1 where nothing is repeated."""
        return max((int(np.bincount(rows).max()) for rows in self.rows.values()), default=1)


def channel_groups(graph: Graph) -> tuple[ChannelGroup, ...]:
    """The groups of a graph of the network or integer level, in the order of their first layers.

    Every layer with weights makes the channels of exactly one group. The image's channels come first, with the
    graph's input as name unless a layer's result is added to them; those and the class scores cannot be cut.

    Raises:
        Problem: an operation of another level.
    """
    return _Channels.of(graph).groups()


def cut(graph: Graph, keep: Mapping[str, Sequence[int] | Array]) -> Graph:
    """The graph with only the named channels of some groups; what is not named stays whole.

    Every tensor holds what it held before in the channels that stay, had the weights of the removed channels been 0
    in all layers that read them.

    Args:
        graph: of the network or integer level.
        keep: ascending channels that stay, by group name.

    Raises:
        Problem: an unknown group; channels that are none, repeated, unsorted or out of range; a group that cannot be
            cut; a layer of the group of which nothing would be left; an operation of another level.
    """
    stays = staying(graph, keep)
    nodes = [replace(node, op=narrowed(node.op, stays[node.name], stays[node.input])) for node in graph.nodes]
    return graph.with_nodes(tuple(nodes))


def staying(graph: Graph, keep: Mapping[str, Sequence[int] | Array]) -> dict[str, Array]:
    """For every tensor of a graph which places of its channel axis `cut` would leave, bool.

    Args and errors are those of `cut`.
    """
    channels = _Channels.of(graph)
    groups = {group.name: group for group in channels.groups()}
    gone = np.zeros(len(channels.roots), bool)
    for name, listed in keep.items():
        group = groups.get(name)
        if group is None:
            able = ", ".join(other.name for other in groups.values() if not other.reason)
            raise Problem("there is no such group of channels", name, f"one of {able}" if able else "")
        kept = _checked(listed, group)
        for layer, rows in group.rows.items():
            gone[channels.of_tensor(layer)[~np.isin(rows, kept)]] = True
    return {tensor: ~gone[channels.of_tensor(tensor)] for tensor in channels.tensors}


def _checked(listed: Sequence[int] | Array, group: ChannelGroup) -> Array:
    """The channels of `group` that stay as int64; Problem where they cannot be what stays."""
    kept = np.asarray(listed)
    good = kept.ndim == 1 and len(kept) > 0 and kept.dtype.kind in "iu"
    if not (good and kept[0] >= 0 and kept[-1] < group.width and bool((np.diff(kept.astype(np.int64)) > 0).all())):
        raise Problem(f"what stays must be ascending channels from 0 to {group.width - 1}", group.name)
    if len(kept) < group.width and group.reason:
        raise Problem(f"these channels cannot be cut: {group.reason}", group.name)
    for layer, rows in group.rows.items():
        if not np.isin(rows, kept).any():
            hint = f"keep one of channels {', '.join(map(str, np.unique(rows)[:8]))}"
            raise Problem(f"nothing would be left of {layer!r}", group.name, hint)
    return kept.astype(np.int64)


@dataclass(slots=True)
class _Channels:
    """Which channel every place of every tensor's channel axis is.

    Attributes:
        graph: the graph.
        tensors: int64, one entry a channel: its number before unification.
        roots: for each number, the number that stands for all that it was unified with: the least of them.
    """

    graph: Graph
    tensors: dict[str, Array]
    roots: Array

    @staticmethod
    def of(graph: Graph) -> _Channels:
        """Number the channels of the image and of every layer, and follow them through the graph."""
        shape = graph.input_type.shape
        # A product may stand between the input and where its channels move.
        first = any(isinstance(node.op, ChannelsLast) for node in graph.nodes)
        made = _Channels(graph, {graph.input: np.arange(shape[0] if first else shape[-1])}, np.zeros(0, np.int64))
        parents = list(range(len(made.tensors[graph.input])))
        for node in graph.nodes:
            made.tensors[node.name] = made._follow(node, parents)
        made.roots = np.array([root(parents, number) for number in range(len(parents))])
        return made

    def _follow(self, node: Node, parents: list[int]) -> Array:
        """The numbers of what a node makes; new ones go into `parents`, sums unify theirs there."""
        read = [self.tensors[tensor] for tensor in node.inputs]
        match node.op:
            case Conv(weight) | Dense(weight):
                numbers = np.arange(len(parents), len(parents) + len(weight))
                parents.extend(numbers.tolist())
                return numbers
            case Best():
                return np.zeros(0, np.int64)
            case Add():
                for one, other in zip(*(numbers.tolist() for numbers in read), strict=True):
                    low, high = sorted((root(parents, one), root(parents, other)))
                    parents[high] = low
                return read[0]
            case Concat():
                return np.concatenate(read)
            case Flatten():
                places = int(np.prod(self.graph.types[node.input].shape[:-1]))
                return np.tile(read[0], places)
            case op if isinstance(op, KEEPS_CHANNELS):
                return read[0]
        raise Problem(
            f"channels are not followed through {type(node.op).__name__}",
            f"{node.name!r} in graph {self.graph.name!r}",
            "cut the graph at the network level, and compile it again",
        )

    def of_tensor(self, tensor: str) -> Array:
        """For each place of a tensor's channel axis, the number that stands for its channel."""
        made: Array = self.roots[self.tensors[tensor]]
        return made

    def groups(self) -> tuple[ChannelGroup, ...]:
        """Layers that share a channel, and those that share one with these, and so on, are a group."""
        graph = self.graph
        layers = [node.name for node in graph.nodes if isinstance(node.op, Conv | Dense)]
        makers = [graph.input, *layers]
        parents = list(range(len(makers)))
        owner: dict[int, int] = {}
        for index, maker in enumerate(makers):
            for channel in self.of_tensor(maker).tolist():
                low, high = sorted((root(parents, owner.setdefault(channel, index)), root(parents, index)))
                parents[high] = low
        scores = graph.node(graph.output).input if isinstance(graph.maker(graph.output), Best) else graph.output
        made = []
        for first in sorted({root(parents, index) for index in range(len(makers))}):
            members = [maker for index, maker in enumerate(makers) if root(parents, index) == first]
            numbers = np.unique(np.concatenate([self.of_tensor(member) for member in members]))
            reason = "they are the image's" if first == 0 else ""
            if np.isin(self.of_tensor(scores), numbers).any():
                reason = "they are the class scores"
            rows = {name: np.searchsorted(numbers, self.of_tensor(name)) for name in members if name != graph.input}
            columns = {name: _places(self.of_tensor(graph.node(name).input), numbers) for name in layers}
            columns = {name: places for name, places in columns.items() if (places >= 0).any()}
            made.append(ChannelGroup(next(iter(rows), graph.input), len(numbers), rows, columns, reason))
        return tuple(made)


def root(parents: list[int], number: int) -> int:
    """The number that stands for all that `number` was unified with; paths are shortened on the way."""
    while parents[number] != number:
        parents[number] = number = parents[parents[number]]
    return number


def _places(channels: Array, numbers: Array) -> Array:
    """For each channel its place among the sorted `numbers`, -1 where it is not there."""
    places = np.minimum(np.searchsorted(numbers, channels), len(numbers) - 1)
    found: Array = np.where(numbers[places] == channels, places, -1)
    return found


def narrowed(op: AnyOp, stays: Array, read: Array) -> AnyOp:
    """An operation on the channels that stay: `stays` says which of its result's, `read` which of its input's."""

    def rows(values: Array) -> Array:
        return values if len(values) == 1 and len(stays) != 1 else values[stays]

    match op:
        case Conv(weight) | Dense(weight):
            return replace(op, weight=weight[stays][..., read])
        case Affine(scale, shift, divisor):
            return Affine(rows(scale), rows(shift), rows(divisor))
        case Bias(integers, scale):
            return Bias(rows(integers), rows(scale))
        case Quantize(scale):
            return replace(op, scale=rows(scale))
        case PiecewiseLinear(knots, slopes, intercepts):
            return replace(op, knots=rows(knots), slopes=rows(slopes), intercepts=rows(intercepts))
        case Stairs(bounds) | Threshold(bounds):
            return replace(op, bounds=rows(bounds))
        case Scale(factor):
            return Scale(rows(factor))
        case _:
            return op

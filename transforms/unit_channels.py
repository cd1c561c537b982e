"""Channels of dataflow units that can only be computed in another order together, and that order in every tensor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bnnflow import Problem

from .channels import root
from .ir.graph import Graph, Node
from .ir.ops import (
    AddBorder,
    AddStreams,
    Affine,
    AnyOp,
    Best,
    ChannelsLast,
    ChannelwiseMul,
    DuplicateStreams,
    Flatten,
    FMPadding,
    GlobalAccPool,
    LabelSelect,
    Mvau,
    Pool,
    SlidingWindow,
    StreamingConcat,
    StreamingMaxPool,
    Thresholding,
)
from .ir.tensor import Array

_KEEPS_ORDER = (
    *(AddBorder, Affine, ChannelwiseMul, DuplicateStreams, FMPadding, GlobalAccPool, StreamingMaxPool, Thresholding),
)


@dataclass(frozen=True, slots=True)
class UnitChannels:
    """Which channel every place of every tensor's channel axis is, in a dataflow graph.

    Channels are those of the image and of each MVAU; joins make two of them one.

    Attributes:
        graph: dataflow level.
        numbers: for each tensor, int64, one entry a place of its channel axis: the number of the channel there, the
            least of all that are one with it.
        reasons: why a channel has to stay where it is, by number; those that may move are not there.
    """

    graph: Graph
    numbers: Mapping[str, Array]
    reasons: Mapping[int, str]

    @staticmethod
    def of(graph: Graph) -> UnitChannels:
        """Number the channels, and follow them through the units."""
        kind = graph.input_type
        # A product may stand between the input and where its channels move.
        first = any(isinstance(node.op, ChannelsLast) for node in graph.nodes)
        made = {graph.input: np.arange(kind.shape[0] if first else kind.channels)}
        parents = made[graph.input].tolist()
        fixed: list[tuple[Array, str]] = [(made[graph.input], "they are the image's")]
        for node in graph.nodes:
            read = [made[tensor] for tensor in node.inputs]
            followed = _followed(graph, node, read, parents)
            if followed is None:
                why = f"{node.name!r}, which is no unit with channels, reads or makes them"
                followed = _new(graph.types[node.name].channels, parents)
                fixed += [(numbers, why) for numbers in (*read, followed)]
            made[node.name] = followed
            if graph.types[node.name].is_float and node.name != graph.output:
                fixed.append((followed, f"{node.name!r} holds floats, whose sums depend on their order"))
        last = graph.output
        scores = graph.node(last).input if isinstance(graph.maker(last), Best | LabelSelect) else last
        # First, so that of several reasons this is the one that is told.
        fixed.insert(0, (made[scores], "they are the class scores"))
        reasons: dict[int, str] = {}
        for numbers, why in fixed:
            for number in numbers.tolist():
                reasons.setdefault(root(parents, number), why)
        roots = np.array([root(parents, number) for number in range(len(parents))])
        return UnitChannels(graph, {tensor: roots[numbers] for tensor, numbers in made.items()}, reasons)

    def why_fixed(self, tensor: str) -> str:
        """Why the channels of a tensor cannot be computed in another order; empty where they can."""
        found = (self.reasons[number] for number in self.numbers[tensor].tolist() if number in self.reasons)
        return next(found, "")

    def why_not_any(self, tensor: str) -> str:
        """Why the channels of a tensor cannot be computed in any order; empty where they can.

        Beside `why_fixed`, for channels that stand in several parts of what is joined: these keep their parts.
        """
        why = self.why_fixed(tensor)
        if why:
            return why
        mine = self.numbers[tensor]
        whole = len(np.unique(mine)) == len(mine)
        for name in self.moved_with(tensor):
            # Each unit has all of these channels, equally often, or it would have to give some to another.
            count = np.bincount(self.numbers[name], minlength=int(mine.max()) + 1)[mine]
            whole = whole and len(np.unique(count)) == 1
        return "" if whole else "they are parts of what is joined, and only some orders keep these parts"

    def moved_with(self, tensor: str) -> tuple[str, ...]:
        """Other MVAUs whose channels are in part the same ones, in the graph's order."""
        mine = self.numbers[tensor]
        layers = (node.name for node in self.graph.nodes if isinstance(node.op, Mvau) and node.name != tensor)
        return tuple(name for name in layers if np.isin(self.numbers[name], mine).any())

    def orders(self, wanted: Mapping[str, Sequence[int] | Array]) -> dict[str, Array]:
        """The order of every tensor's channels when those of some units have a new one.

        Args:
            wanted: for each unit (any tensor), which old channel each new one is: a permutation.

        Returns:
            For every tensor, int64: new[..., i] = old[..., order[i]].

        Raises:
            Problem: there is no such unit; no permutation; channels that have to stay; two units that are to order the
                same channels in two ways; a unit that would have to give a part of its channels to another.
        """
        places: dict[int, int] = {}
        for name, listed in wanted.items():
            if name not in self.numbers or name == self.graph.input:
                units = ", ".join(node.name for node in self.graph.nodes if isinstance(node.op, Mvau))
                raise Problem("there is no such unit", name, f"one of {units}")
            numbers, order = self.numbers[name], np.asarray(listed)
            if order.dtype.kind not in "iu" or not np.array_equal(np.sort(order), np.arange(len(numbers))):
                raise Problem(f"no order of channels: each from 0 to {len(numbers) - 1} must stand once", name)
            why = self.why_fixed(name)
            if why and not np.array_equal(order, np.arange(len(order))):
                raise Problem(f"these channels cannot be computed in another order: {why}", name)
            for old, new in zip(numbers.tolist(), numbers[order].tolist(), strict=True):
                if places.setdefault(old, new) != new:
                    raise Problem("these channels would have two orders: they are added to others", name)
        made = {self.graph.input: np.arange(len(self.numbers[self.graph.input]))}
        for node in self.graph.nodes:
            made[node.name] = self._order(node, [made[tensor] for tensor in node.inputs], places)
        return made

    def _order(self, node: Node, read: Sequence[Array], places: Mapping[int, int]) -> Array:
        match node.op:
            case Mvau():
                return self._order_made(node.name, places)
            case Flatten():
                return _blocks(read[0], int(np.prod(self.graph.types[node.input].shape[:-1])))
            case SlidingWindow(kernel, _, simd, depthwise):
                area = kernel[0] * kernel[1]
                if not depthwise:
                    return _blocks(read[0], area)
                groups, lanes = (part.reshape(-1, 1, simd) for part in np.divmod(read[0], simd))
                return ((groups * area + np.arange(area)[:, None]) * simd + lanes).reshape(-1)
            case Pool(kernel, _, pe):
                area = kernel[0] * kernel[1]
                heads = read[0].reshape(-1, area, pe)[:, 0].reshape(-1)
                return heads // (area * pe) * pe + heads % pe
            case StreamingConcat():
                starts = np.cumsum([0, *(len(part) for part in read)])
                return np.concatenate([start + part for start, part in zip(starts, read, strict=False)])
            case AddStreams():
                # One channel stands twice in a tensor, and the other side has it in another order.
                if not np.array_equal(read[0], read[1]):
                    raise Problem("what is added would have two orders", f"{node.name!r} in graph {self.graph.name!r}")
                return read[0]
            case op if isinstance(op, _KEEPS_ORDER):
                return read[0]
        # `of` keeps what these read where it is.
        assert all(np.array_equal(order, np.arange(len(order))) for order in read)
        return np.arange(self.graph.types[node.name].channels)

    def _order_made(self, name: str, places: Mapping[int, int]) -> Array:
        """The order of an MVAU's channels: equal numbers keep theirs."""
        numbers = self.numbers[name]
        wanted = np.array([places.get(number, number) for number in numbers.tolist()], np.int64)
        old, new = np.argsort(numbers, kind="stable"), np.argsort(wanted, kind="stable")
        if not np.array_equal(numbers[old], wanted[new]):
            hint = "order the channels of each part of a concatenation by themselves"
            raise Problem("a unit would have to compute channels of another", name, hint)
        order = np.empty(len(numbers), np.int64)
        order[new] = old
        return order


def reordered(op: AnyOp, made: Array, read: Array) -> AnyOp:
    """An operation whose result's channels are in the order `made` where its input's are in the order `read`."""
    match op:
        case Mvau(weight, bounds):
            return replace(op, weight=weight[made][:, read], bounds=bounds[made] if op.has_bounds else bounds)
        case Thresholding(bounds):
            return replace(op, bounds=bounds[made])
        case ChannelwiseMul(factor):
            return op if len(factor) == 1 else replace(op, factor=factor[made])
        case AddBorder(values):
            return replace(op, values=values[..., made])
        case _:
            return op


def _followed(graph: Graph, node: Node, read: Sequence[Array], parents: list[int]) -> Array | None:
    """The numbers of what a node makes; new ones go into `parents`, sums unify theirs there. None for other levels."""
    match node.op:
        case Mvau(weight):
            return _new(len(weight), parents)
        case AddStreams():
            for one, other in zip(*(numbers.tolist() for numbers in read), strict=True):
                low, high = sorted((root(parents, one), root(parents, other)))
                parents[high] = low
            return read[0]
        case StreamingConcat():
            return np.concatenate(read)
        case Flatten():
            return np.tile(read[0], int(np.prod(graph.types[node.input].shape[:-1])))
        case SlidingWindow(kernel, _, simd, depthwise):
            area = kernel[0] * kernel[1]
            if depthwise:
                return np.tile(read[0].reshape(-1, 1, simd), (1, area, 1)).reshape(-1)
            return np.tile(read[0], area)
        case Pool(kernel, _, pe):
            return read[0].reshape(-1, kernel[0] * kernel[1], pe)[:, 0].reshape(-1)
        case ChannelsLast():
            return read[0]
        case op if isinstance(op, _KEEPS_ORDER):
            return read[0]
    return None


def _new(count: int, parents: list[int]) -> Array:
    numbers = np.arange(len(parents), len(parents) + count)
    parents.extend(numbers.tolist())
    return numbers


def _blocks(order: Array, count: int) -> Array:
    """The order of `count` copies of the channels, one behind the other."""
    made: Array = (np.arange(count)[:, None] * len(order) + order).reshape(-1)
    return made

"""Which layers' widths divide badly for a rate, and the nearest widths that do not.

PE divides a matrix's rows and SIMD its columns, so a unit that must take a number of products a cycle often takes more:
of 61 rows all or one. What it takes beyond what the rate asks for is hardware that waits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil, prod

import numpy as np

from bnnflow import Problem

from ..transforms.channels import ChannelGroup
from ..transforms.ir.graph import Graph, Node
from ..transforms.ir.ops import (
    AddBorder,
    AddStreams,
    Affine,
    AnyOp,
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
from ..transforms.ir.tensor import Array
from .schedule import divisors

# Products a cycle, relative to those that are needed: from `UNFRIENDLY` on a width is called so, which powers of two
# never are, and a width that is offered in its place stays below `FRIENDLY`.
UNFRIENDLY, FRIENDLY = 2.0, 1.5
_KEEPS = (
    *(FMPadding, StreamingMaxPool, Pool, SlidingWindow, GlobalAccPool, AddStreams, DuplicateStreams, LabelSelect),
    Affine,
)
# How far a friendly width may be from the present one, relative.
_FAR = 0.25


@dataclass(frozen=True, slots=True)
class Matrix:
    """What a unit multiplies for an image.

    Attributes:
        rows, columns: of its weights.
        vectors: that it multiplies.
    """

    rows: int
    columns: int
    vectors: int


@dataclass(frozen=True, slots=True)
class Division:
    """How few products a cycle a unit can take within a number of cycles an image.

    Attributes:
        matrix: of the unit.
        needed: products a cycle that would do if any number could be had, those that SIMD has at least among them.
        pe, simd: of the legal folding with the fewest that do.
    """

    matrix: Matrix
    needed: int
    pe: int
    simd: int

    @property
    def overshoot(self) -> float:
        """Products a cycle that it takes, of one that is needed: 1 and more."""
        return self.pe * self.simd / self.needed

    @property
    def unfriendly(self) -> bool:
        """Whether that is `UNFRIENDLY` and more."""
        return self.overshoot >= UNFRIENDLY


def matrices(graph: Graph) -> dict[str, Matrix]:
    """What every MVAU of a dataflow graph multiplies, by name."""
    return {
        node.name: Matrix(len(node.op.weight), node.op.weight.shape[1], prod(graph.types[node.input].shape[:-1]))
        for node in graph.nodes
        if isinstance(node.op, Mvau)
    }


@lru_cache(maxsize=4096)
def division(matrix: Matrix, cycles: int) -> Division | None:
    """The legal folding with the fewest products a cycle; None where even all of them at once take too long.

    SIMD is at least columns / 1024, as everywhere.

    Args:
        matrix: of the unit.
        cycles: most that it may take for an image, 1 and more.
    """
    if matrix.vectors > cycles:
        return None
    simds = [simd for simd in divisors(matrix.columns) if simd * 1024 >= matrix.columns]
    needed = max(simds[0], ceil(matrix.vectors * matrix.rows * matrix.columns / cycles))
    pairs = ((pe * simd, pe, simd) for simd in simds for pe in divisors(matrix.rows))
    _, pe, simd = min(pair for pair in pairs if _within(matrix, pair[0], cycles))
    return Division(matrix, needed, pe, simd)


def _within(matrix: Matrix, products: int, cycles: int) -> bool:
    return matrix.vectors * matrix.rows * matrix.columns // products <= cycles


def unfriendly(graph: Graph, cycles: int) -> dict[str, Division]:
    """Units of a dataflow graph whose widths divide badly for so many cycles an image, by name, the worst first."""
    found = ((name, division(matrix, cycles)) for name, matrix in matrices(graph).items())
    bad = {name: one for name, one in found if one is not None and one.unfriendly}
    return dict(sorted(bad.items(), key=lambda pair: -pair[1].overshoot))


def friendly_widths(
    name: str, group: ChannelGroup, known: Mapping[str, Matrix], cycles: int
) -> list[tuple[int, Division]]:
    """The nearest numbers of a group's channels, below and above, with which a unit takes less than `FRIENDLY`.

    No other unit of the group then divides badly that divided well, or worse than it did.

    Args:
        name: of the unit.
        group: whose channels are its rows or its columns.
        known: units by name.
        cycles: most that each may take for an image.

    Returns:
        channels, and how the unit then divides; of each side at most one.
    """
    below = range(group.width - 1, ceil(group.width * (1 - _FAR)) - 1, -1)
    above = range(group.width + 1, int(group.width * (1 + _FAR)) + 1)
    units = [each for each in dict.fromkeys([*group.producers, *group.readers]) if each in known]
    found = []
    for widths in (below, above):
        for width in widths:
            made = {each: division(_with_width(each, group, known[each], width), cycles) for each in units}
            mine = made.get(name)
            if mine is not None and mine.overshoot < FRIENDLY and _none_worse(made, known, cycles):
                found.append((width, mine))
                break
    return found


def _none_worse(made: Mapping[str, Division | None], known: Mapping[str, Matrix], cycles: int) -> bool:
    for name, after in made.items():
        before = division(known[name], cycles)
        if after is None or (after.unfriendly and before is not None and after.overshoot > before.overshoot):
            return False
    return True


def _with_width(name: str, group: ChannelGroup, matrix: Matrix, width: int) -> Matrix:
    """A unit's matrix once the group has so many channels."""
    if name in group.rows:
        matrix = replace(matrix, rows=matrix.rows * width // group.width)
    if name in group.columns:
        inputs = group.columns[name]
        # Each input of a convolution is as many columns as its kernel has places.
        of_group = matrix.columns // len(inputs) * int((inputs >= 0).sum())
        matrix = replace(matrix, columns=matrix.columns - of_group + of_group // group.width * width)
    return matrix


def with_widths(graph: Graph, rows: Mapping[str, int]) -> Graph:
    """A dataflow graph, not folded, whose MVAUs make other numbers of channels: for costs, which follow from sizes.

    The channels are the first ones, and beyond them the first ones again, in units and all who read them.

    Args:
        graph: dataflow level.
        rows: 1 and more, by the name of each MVAU that makes the channels.

    Raises:
        Problem: something between units that is not followed.
    """
    taken = {graph.input: np.arange(graph.input_type.channels)}
    nodes = []
    for node in graph.nodes:
        read = [taken[tensor] for tensor in node.inputs]
        op, made = _resized(node, read, graph, rows)
        taken[node.name] = made
        nodes.append(replace(node, op=op))
    return graph.with_nodes(tuple(nodes))


def _resized(node: Node, read: Sequence[Array], graph: Graph, rows: Mapping[str, int]) -> tuple[AnyOp, Array]:
    """An operation on other channels, and which of the old ones those that it makes are."""
    first = read[0]
    at_one = {key: 1 for key in ("pe", "simd") if hasattr(node.op, key)}
    op: AnyOp = replace(node.op, **at_one)  # type: ignore[arg-type]
    shape = graph.types[node.input].shape
    match op:
        case Mvau(weight, bounds):
            kept = np.arange(rows.get(node.name, len(weight))) % len(weight)
            return replace(op, weight=weight[kept][:, first], bounds=bounds[kept] if op.has_bounds else bounds), kept
        case Thresholding(bounds):
            return replace(op, bounds=bounds if len(bounds) == 1 else bounds[first]), first
        case ChannelwiseMul(factor):
            return replace(op, factor=factor if factor.size == 1 else factor[first]), first
        case AddBorder(values):
            return replace(op, values=values[..., first]), first
        case SlidingWindow(kernel, depthwise=False):
            return op, _places(first, kernel[0] * kernel[1], shape[-1])
        case ChannelsLast():
            # Of the image, whose channels stay as they are.
            return op, np.arange(graph.types[node.name].channels)
        case Flatten():
            return op, _places(first, prod(shape[:-1]), shape[-1])
        case StreamingConcat():
            sizes = [graph.types[tensor].channels for tensor in node.inputs]
            starts = np.cumsum([0, *sizes[:-1]])
            return op, np.concatenate([one + start for one, start in zip(read, starts, strict=True)])
        case _ if isinstance(op, _KEEPS):
            # Behind depthwise windows, a pool makes one value of each channel's.
            return op, first
    raise Problem(f"channels are not followed through {type(op).__name__}", f"{node.name!r} in graph {graph.name!r}")


def _places(channels: Array, places: int, size: int) -> Array:
    """So many places of all channels behind each other, each of `size` before."""
    return np.concatenate([channels + place * size for place in range(places)])


def groups_of(name: str, groups: Sequence[ChannelGroup]) -> Iterator[tuple[str, ChannelGroup]]:
    """Groups that a unit makes ("outputs") or reads ("inputs") and whose width can be changed."""
    for group in groups:
        if not group.reason and group.multiple == 1:
            if name in group.rows:
                yield "outputs", group
            if name in group.columns:
                yield "inputs", group

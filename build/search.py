"""The cheapest designs of given choices: exactly along a chain, by turns in a graph with branches (see `explore`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import inf
from typing import Protocol

import numpy as np

from ..transforms.ir.graph import Graph, Node
from ..transforms.ir.ops import Pool, Unit
from ..transforms.ir.tensor import Array, TensorType
from .pareto import best
from .points import MULTIPLIER_LUT, WEIGHED, Choice, Point, Ways


class Searched(Protocol):
    """What a search asks of a network: its units, and what stands between them (`explore.Space`)."""

    graph: Graph

    @property
    def units(self) -> Sequence[Node]:
        """In order."""

    def converter(self, kind: TensorType, wide: int, wanted: int) -> Array:
        """(3,) LUTs, block RAMs and registers of what joins words of two widths; infinite where nothing does."""

    def entrance(self, wanted: int) -> Array:
        """(3,) of the FIFO at the input, likewise."""

    def point(self, folded: Graph) -> Point:
        """The design that a folded graph of the network is."""


@dataclass(frozen=True, slots=True)
class _Designs:
    """Designs up to a unit, for each width of the words that it writes.

    Attributes:
        luts: (block RAMs,) the fewest LUTs of a design with exactly so many block RAMs.
        before: (block RAMs,) of it, the width of the words that the unit before writes, and its block RAMs.
        chosen: (block RAMs,) of it, the place of the unit's choice among `ways`.
        ways: choices.
    """

    luts: Array
    before: Array
    chosen: Array
    ways: Sequence[Choice]


def along(space: Searched, ways_of: Ways, rams: int) -> list[Point]:
    """The designs of a chain that no other beats in LUTs and block RAMs.

    Args:
        space: the network.
        ways_of: choices, of each unit one at least.
        rams: block RAMs that a design may have.
    """
    made: list[dict[int, _Designs]] = []
    tensor = space.graph.input
    size = 1 + rams
    for node in space.units:
        groups = ways_of[node.name]
        entries = {
            entry: _joined(space, made[-1] if made else None, node, tensor, entry, size)
            for entry in dict.fromkeys(entry for entry, _ in groups)
        }
        found: dict[int, list[tuple[int, Choice]]] = {}
        for (entry, leave), ways in groups.items():
            found.setdefault(leave, []).extend((entry, each) for each in ways)
        made.append({leave: _added(entries, pairs, size) for leave, pairs in found.items()})
        tensor = node.name
    last = made[-1]
    ends = [(leave, int(place)) for leave, held in last.items() for place in np.flatnonzero(np.isfinite(held.luts))]
    table = np.array([[last[leave].luts[place], place] for leave, place in ends]).reshape(-1, 2)
    return [_traced(space, made, *ends[place]) for place in best(table)]


def _joined(
    space: Searched, before: Mapping[int, _Designs] | None, node: Node, tensor: str, entry: int, size: int
) -> tuple[Array, Array]:
    """Designs up to the words that a unit reads: LUTs by block RAMs, and width and block RAMs of those before."""
    rams = np.arange(size)
    if before is None:
        luts, first = np.full(size, inf), space.entrance(entry)
        if first[1] < size:
            luts[int(first[1])] = first[0]
        return luts, np.stack([np.zeros(size, int), rams], axis=1)
    # A pool takes the channels in the groups in which its window gives them.
    leaves = [leave for leave in before if not isinstance(node.op, Pool) or leave == entry]
    kind = space.graph.types[tensor]
    table, moved = np.full((len(leaves), size), inf), np.zeros(len(leaves), int)
    for row, leave in enumerate(leaves):
        more = space.converter(kind, leave, entry)
        if np.isfinite(more[0]) and more[1] < size:
            moved[row] = int(more[1])
            table[row, moved[row] :] = before[leave].luts[: size - moved[row]] + more[0]
    if not leaves:
        return np.full(size, inf), np.zeros((size, 2), int)
    chosen = table.argmin(axis=0)
    return table[chosen, rams], np.stack([np.array(leaves)[chosen], rams - moved[chosen]], axis=1)


def _added(entries: Mapping[int, tuple[Array, Array]], pairs: Sequence[tuple[int, Choice]], size: int) -> _Designs:
    table = np.full((len(pairs), size), inf)
    for row, (entry, each) in enumerate(pairs):
        rams = min(int(each.cost[1]), size)
        table[row, rams:] = entries[entry][0][: size - rams] + each.cost[0]
    chosen = table.argmin(axis=0)
    number = np.arange(size)
    places = {entry: place for place, entry in enumerate(entries)}
    of_entries = np.stack([before for _, before in entries.values()])
    entry_of = np.array([places[entry] for entry, _ in pairs])[chosen]
    added = np.array([int(each.cost[1]) for _, each in pairs])[chosen]
    before = of_entries[entry_of, np.maximum(number - added, 0)]
    # Where there is no design, what stands there is never read.
    return _Designs(table[chosen, number], before, chosen, [each for _, each in pairs])


def _traced(space: Searched, made: Sequence[Mapping[int, _Designs]], leave: int, rams: int) -> Point:
    ops: dict[str, Unit] = {}
    slowest, dsp, ff = 0, 0, 0
    lut, bram18 = float(made[-1][leave].luts[rams]), rams
    read = [space.graph.input, *(node.name for node in space.units)]
    for node, tensor, designs in zip(reversed(space.units), reversed(read[:-1]), reversed(made), strict=True):
        held = designs[leave]
        choice = held.ways[held.chosen[rams]]
        ops[node.name] = choice.op
        slowest, dsp = max(slowest, choice.cycles), dsp + choice.dsp
        leave, rams = int(held.before[rams, 0]), int(held.before[rams, 1])
        first = tensor == space.graph.input
        kind = space.graph.types[tensor]
        ahead = space.entrance(choice.entry) if first else space.converter(kind, leave, choice.entry)
        ff += choice.ff + int(ahead[WEIGHED])
    return Point(dict(reversed(ops.items())), slowest, round(lut - MULTIPLIER_LUT * dsp), bram18, dsp, ff)


# Weights of block RAMs against LUTs with which graphs that are no chain are searched: LUTs that one is worth.
_WORTH = (10, 30, 100, 300, 1000)


def settled(space: Searched, ways_of: Ways, rams: int) -> list[Point]:
    """Designs of a graph with branches, each unit at its cheapest beside its neighbours; arguments as of `along`."""
    found = [_settled_at(space, ways_of, np.array([1, worth])) for worth in _WORTH]
    points = [point for point in found if point is not None and point.bram18 <= rams]
    table = np.array([[point.lut, point.bram18] for point in points]).reshape(-1, WEIGHED)
    return [points[place] for place in best(table)]


def _settled_at(space: Searched, ways_of: Ways, weights: Array) -> Point | None:
    # Of the ways that read and write the same words, only the cheapest can be chosen.
    ways: dict[str, list[tuple[Choice, float]]] = {}
    for name, groups in ways_of.items():
        weighed = ([(each, float(each.cost @ weights)) for each in group] for group in groups.values())
        ways[name] = [min(group, key=lambda pair: pair[1]) for group in weighed]
    chosen = {name: min(held, key=lambda pair: pair[1]) for name, held in ways.items()}
    graph = space.graph
    names = {node.name for node in space.units}
    makers = {node.name: [_maker(graph, tensor, names) for tensor in node.inputs] for node in space.units}
    readers: dict[str, list[str]] = {}
    for name, held in makers.items():
        for maker in held:
            readers.setdefault(maker, []).append(name)
    pools = {node.name for node in space.units if isinstance(node.op, Pool)}

    @cache
    def between(maker: str, leave: int, entry: int, pool: bool) -> float:
        if maker == graph.input or leave == entry:
            return 0.0
        return inf if pool else float(space.converter(graph.types[maker], leave, entry)[:WEIGHED] @ weights)

    def cost(name: str, way: Choice, own: float) -> float:
        total = own
        for maker in makers[name]:
            total += between(maker, chosen[maker][0].leave if maker in chosen else 0, way.entry, name in pools)
        for reader in readers.get(name, []):
            total += between(name, way.leave, chosen[reader][0].entry, reader in pools)
        return total

    for _ in range(2 * len(names)):
        changed = False
        for node in space.units:
            now = min(ways[node.name], key=lambda pair: cost(node.name, *pair))
            if cost(node.name, *now) < cost(node.name, *chosen[node.name]):
                chosen[node.name], changed = now, True
        if not changed:
            break
    if any(not np.isfinite(cost(name, *pair)) for name, pair in chosen.items()):
        return None
    point = Point({name: way.op for name, (way, _) in chosen.items()}, 0, 0, 0, 0, 0)
    return space.point(point.graph(graph))


def _maker(graph: Graph, tensor: str, units: set[str]) -> str:
    """The unit that makes a tensor, or the input."""
    while tensor != graph.input and tensor not in units:
        tensor = graph.node(tensor).input
    return tensor

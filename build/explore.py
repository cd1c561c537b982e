"""The design space of a network: every folding and memory that is worth building, by dynamic programming.

A design costs what its units cost and what stands between them: a converter where neighbours' words differ in width.
On a chain the cheapest designs within a number of cycles an image are found exactly: units are taken in order, and of
all designs up to a unit only the one with the fewest LUTs is kept for each width of its words and each number of block
RAMs. The front is these for every number of cycles that a unit can take. Units with several readers or inputs have no
such order: there each unit in turn takes its cheapest folding beside its neighbours' until none changes.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import pairwise
from math import inf, lcm

import numpy as np

from ..transforms.ir.graph import Graph, Node
from ..transforms.ir.ops import Mvau, Pool, SlidingWindow, Unit
from ..transforms.ir.tensor import Array, TensorType
from ..transforms.streams import Converter, Stream, input_width, output_width
from .cost import estimate, registers
from .cost_models.base import Widths
from .cost_models.bnnflow import Bnnflow, image_cycles
from .finn_formulas import FinnCost
from .pareto import best
from .parts import Part
from .rtl.modules import FEW_WORDS
from .schedule import foldings, like_folded, refolded, sizes

# What two resources are weighed: LUTs, with multipliers as so many, and block RAMs.
_WEIGHED, MULTIPLIER_LUT = 2, 80


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """A way to build a unit.

    Attributes:
        op: folded, with its memories' style.
        entry, leave: values a word of what it reads and writes.
        cycles: an image.
        dsp, ff: multipliers and registers.
        cost: (2,) LUTs, those that are memories and what multipliers are worth among them, and block RAMs.
    """

    op: Unit
    entry: int
    leave: int
    cycles: int
    dsp: int
    ff: int
    cost: Array


@dataclass(frozen=True, slots=True)
class Point:
    """A design.

    Attributes:
        ops: of the units, by name.
        cycles: an image, of the slowest unit.
        lut, bram18, dsp, ff: estimated, with FIFOs of two words; LUTs that are memories count as LUTs, `bram18` are
            block RAMs of the family's size. Registers are not weighed, as parts have more of them than a design needs.
    """

    ops: Mapping[str, Unit]
    cycles: int
    lut: int
    bram18: int
    dsp: int
    ff: int

    def graph(self, graph: Graph) -> Graph:
        """A graph folded so."""
        return graph.with_nodes(
            tuple(
                replace(node, op=like_folded(node.op, self.ops[node.name]))
                if isinstance(node.op, Unit) and node.name in self.ops
                else node
                for node in graph.nodes
            )
        )

    def share(self, part: Part) -> float:
        """Of a part's LUTs, block RAMs and multipliers, added up; what it has none of counts nothing."""
        pairs = ((self.lut, part.lut), (self.bram18, part.block_rams), (self.dsp, part.dsp))
        return sum(taken / there for taken, there in pairs if there)

    def fits(self, part: Part) -> bool:
        """Whether the part has as much."""
        pairs = ((self.lut, part.lut), (self.bram18, part.block_rams), (self.dsp, part.dsp))
        return all(taken <= there for taken, there in pairs) and (not part.ff or self.ff <= part.ff)


# Choices by the name of their unit and the widths of words that it reads and writes.
_Ways = Mapping[str, Mapping[tuple[int, int], Sequence[Choice]]]


@dataclass(slots=True)
class Counted:
    """What was counted before, for spaces of one model whose units cost by their sizes alone.

    Attributes:
        choices: ways to build a unit, by its name, its sizes and the cycles that it may take.
        converters: as `Space.converter`, by what they carry and both widths.
        best: of ways, those that no other beats.
    """

    choices: dict[tuple[Hashable, ...], tuple[Choice, ...]] = field(default_factory=dict)
    converters: dict[tuple[TensorType, int, int], Array] = field(default_factory=dict)
    best: dict[tuple[Choice, ...], tuple[Choice, ...]] = field(default_factory=dict)


@dataclass
class Space:
    """All designs of a network.

    Attributes:
        graph: dataflow level; its folding is ignored, with the places of memories (`schedule.refolded`).
        model: what units cost.
        most: cycles an image that a unit may take; None: any.
        known: of spaces of narrower and wider networks, by the same model, which then must count sizes alone; None:
            nothing.
    """

    graph: Graph
    model: Bnnflow
    most: int | None = None
    known: Counted | None = None

    def __post_init__(self) -> None:
        self.graph = refolded(self.graph)

    @cached_property
    def _counted(self) -> Counted:
        return Counted() if self.known is None else self.known

    @cached_property
    def units(self) -> tuple[Node, ...]:
        """Units, in order."""
        return tuple(node for node in self.graph.nodes if isinstance(node.op, Unit))

    @cached_property
    def is_chain(self) -> bool:
        """Whether every unit reads what the one before it makes, and nothing else."""
        made = self.graph.input
        for node in self.graph.nodes:
            if len(node.inputs) != 1 or node.inputs[0] != made:
                return False
            made = node.name
        return made == self.graph.output

    def cheap(self, cycles: int) -> Mapping[str, Mapping[tuple[int, int], tuple[Choice, ...]]]:
        """Choices within a number of cycles, by name and the widths of words, that no other beats in every resource."""
        return self._within(dict.fromkeys(self.alike, cycles))

    def _within(self, most: Mapping[str, int]) -> Mapping[str, Mapping[tuple[int, int], tuple[Choice, ...]]]:
        made: dict[str, dict[tuple[int, int], tuple[Choice, ...]]] = {}
        for name, groups in self.alike.items():
            within = {key: tuple(each for each in ways if each.cycles <= most[name]) for key, ways in groups.items()}
            made[name] = {key: self._best_of(ways) for key, ways in within.items() if ways}
        return made

    def _best_of(self, ways: tuple[Choice, ...]) -> tuple[Choice, ...]:
        known = self._counted.best
        if len(ways) not in (0, 1) and ways not in known:
            known[ways] = tuple(ways[place] for place in best(np.array([each.cost for each in ways])))
        return known.get(ways, ways)

    @cached_property
    def alike(self) -> Mapping[str, Mapping[tuple[int, int], tuple[Choice, ...]]]:
        """The ways to build each unit, by name and by the widths of words that it reads and writes."""
        made: dict[str, dict[tuple[int, int], list[Choice]]] = {name: {} for name in self.choices}
        for name, ways in self.choices.items():
            for each in ways:
                made[name].setdefault((each.entry, each.leave), []).append(each)
        return {name: {key: tuple(ways) for key, ways in groups.items()} for name, groups in made.items()}

    @cached_property
    def choices(self) -> Mapping[str, tuple[Choice, ...]]:
        """The ways to build each unit, by name, none of which is worse in all than another of the same widths."""
        return {node.name: self._known_choices(node) for node in self.units}

    def _known_choices(self, node: Node) -> tuple[Choice, ...]:
        assert isinstance(node.op, Unit)
        width = self.model.widths(node.op, self.graph.types[node.input])
        if self.known is None:
            return tuple(_worth(self._choices(node, width)))
        key = (node.name, width, self.most, *sizes(self.graph, node))
        if key not in self.known.choices:
            self.known.choices[key] = tuple(_worth(self._choices(node, width)))
        return self.known.choices[key]

    def _choices(self, node: Node, width: Widths) -> Iterator[Choice]:
        x, types = self.graph.types[node.input], self.graph.types
        depths = [2] * max(1, len(self.graph.readers(node.name)))
        for folded in foldings(self.graph, node):
            if self.most is not None and image_cycles(folded, x, types[node.name]) > self.most:
                continue
            for op in _styled(folded):
                here = replace(node, op=op)
                cost = self.model.unit(here, types, width, depths)
                entry, leave, row = input_width(here, self.graph), output_width(here, self.graph), _row(cost)
                yield Choice(op, entry, leave, cost.cycles, cost.dsp, cost.ff, row[:_WEIGHED])

    def converter(self, kind: TensorType, wide: int, wanted: int) -> Array:
        """(3,) LUTs, block RAMs and registers of what joins words of two widths; infinite where nothing does."""
        known, key = self._counted.converters, (kind, wide, wanted)
        if key not in known:
            known[key] = self._converter(kind, wide, wanted)
        return known[key]

    def _converter(self, kind: TensorType, wide: int, wanted: int) -> Array:
        size = int(np.prod(kind.shape))
        if wide == wanted:
            return np.zeros(_WEIGHED + 1)
        between = lcm(wide, wanted)
        ends = [wide, wanted] if between in (wide, wanted) else [wide, between, wanted]
        if any(size % each for each in ends):
            return np.full(_WEIGHED + 1, inf)
        streams = [Stream("", "", "", each, size // each, kind) for each in ends]
        total = np.zeros(_WEIGHED + 1)
        for one, two in pairwise(streams):
            total += _row(self.model.converter(Converter("", one, two), 2))
        return total

    def entrance(self, wanted: int) -> Array:
        """(3,) LUTs, block RAMs and registers of the FIFO at the input."""
        kind = self.graph.types[self.graph.input]
        size = int(np.prod(kind.shape))
        return _row(self.model.entrance(Stream("", "", "", wanted, size // wanted, kind), 2))

    def steps(self) -> list[int]:
        """Cycles an image that units can take and the slowest of the fastest design need not, descending."""
        least = self.cycles()[0]
        return sorted({each.cycles for ways in self.choices.values() for each in ways if each.cycles < least})[::-1]

    def faster(self, cycles: int, rams: int) -> list[Point]:
        """Designs of the highest rate whose units take at most so many cycles, or, where they cannot, their least."""
        most = {name: max(cycles, min(each.cycles for each in ways)) for name, ways in self.choices.items()}
        return self._designs(self._within(most), rams)

    def cycles(self) -> list[int]:
        """Every number of cycles an image that a design can have, ascending."""
        least = max(min(each.cycles for each in ways) for ways in self.choices.values())
        return sorted({each.cycles for ways in self.choices.values() for each in ways if each.cycles >= least})

    def point(self, folded: Graph) -> Point:
        """The design that a folded graph of the same network is.

        Raises:
            Problem: words that a tensor does not fill, or a unit without hardware.
        """
        made = estimate(folded, self.model)
        ops = {node.name: node.op for node in folded.nodes if isinstance(node.op, Unit)}
        cycles = max(unit.cycles for unit in made.units if unit.name in ops)
        return Point(ops, cycles, made.lut + made.lut_ram, made.bram18, made.dsp, registers(made))

    @property
    def slowest(self) -> Node:
        """The unit that bounds the rate, however wide all are folded."""
        return max(self.units, key=lambda node: min(each.cycles for each in self.choices[node.name]))

    def within(self, cycles: int, rams: int) -> list[Point]:
        """Designs of at most so many cycles an image and block RAMs that no other beats in both resources."""
        ways = self.cheap(cycles)
        return self._designs(ways, rams) if all(ways.values()) else []

    def _designs(self, ways: _Ways, rams: int) -> list[Point]:
        return _along(self, ways, rams) if self.is_chain else _settled(self, ways, rams)

    def front(self, rams: int, most: int | None = None) -> list[Point]:
        """Designs that no other beats in cycles and both resources, fastest first.

        Args:
            rams: block RAMs that a design may have.
            most: cycles an image that it may take; None: any.
        """
        found: list[Point] = []
        before = None
        for cycles in self.cycles():
            if most is None or cycles <= most:
                ways = self.cheap(cycles)
                # More cycles that make nothing cheaper make no other design.
                if ways != before:
                    found += self._designs(ways, rams)
                before = ways
        rows = [[point.cycles, point.lut + MULTIPLIER_LUT * point.dsp, point.bram18] for point in found]
        table = np.array(rows, float).reshape(-1, 3)
        kept = [found[place] for place in best(table)]
        return sorted(kept, key=lambda point: (point.cycles, point.lut, point.bram18))


def _row(cost: FinnCost) -> Array:
    return np.array([cost.lut + cost.lut_ram + MULTIPLIER_LUT * cost.dsp, cost.bram18, cost.ff], float)


def _styled(op: Unit) -> Iterator[Unit]:
    """A folded unit with each place for what it stores; what is stated stays."""
    match op:
        case Mvau(weight, ram_style="auto", pe=pe, simd=simd) if weight.size // (pe * simd) > FEW_WORDS:
            yield replace(op, ram_style="distributed")
            yield replace(op, ram_style="block")
        case SlidingWindow(ram_style="distributed"):
            yield op
            yield replace(op, ram_style="block")
        case _:
            yield op


def _worth(ways: Iterator[Choice]) -> Iterator[Choice]:
    """Those that none of the same widths beats in cycles and cost."""
    alike: dict[tuple[int, int], list[Choice]] = {}
    for each in ways:
        alike.setdefault((each.entry, each.leave), []).append(each)
    for group in alike.values():
        table = np.array([[each.cycles, *each.cost] for each in group])
        yield from (group[place] for place in best(table))


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


def _along(space: Space, ways_of: _Ways, rams: int) -> list[Point]:
    """The designs of a chain of given choices, of at most so many block RAMs."""
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
    space: Space, before: Mapping[int, _Designs] | None, node: Node, tensor: str, entry: int, size: int
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


def _traced(space: Space, made: Sequence[Mapping[int, _Designs]], leave: int, rams: int) -> Point:
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
        ff += choice.ff + int(ahead[_WEIGHED])
    return Point(dict(reversed(ops.items())), slowest, round(lut - MULTIPLIER_LUT * dsp), bram18, dsp, ff)


# Weights of block RAMs against LUTs with which graphs that are no chain are searched: LUTs that one is worth.
_WORTH = (10, 30, 100, 300, 1000)


def _settled(space: Space, ways_of: _Ways, rams: int) -> list[Point]:
    """Designs of a graph with branches: each unit at its cheapest beside its neighbours."""
    found = [_settled_at(space, ways_of, np.array([1, worth])) for worth in _WORTH]
    points = [point for point in found if point is not None and point.bram18 <= rams]
    table = np.array([[point.lut, point.bram18] for point in points]).reshape(-1, _WEIGHED)
    return [points[place] for place in best(table)]


def _settled_at(space: Space, ways_of: _Ways, weights: Array) -> Point | None:
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
        return inf if pool else float(space.converter(graph.types[maker], leave, entry)[:_WEIGHED] @ weights)

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

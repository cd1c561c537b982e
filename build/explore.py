"""The design space of a network: every folding and memory that is worth building, by dynamic programming.

A design costs what its units cost and what stands between them: a converter where neighbours' words differ in width.
On a chain the cheapest designs within a number of cycles an image are found exactly: units are taken in order, and of
all designs up to a unit only the one with the fewest LUTs is kept for each width of its words and each number of block
RAMs. The front is these for every number of cycles that a unit can take. Units with several readers or inputs have no
such order: there each unit in turn takes its cheapest folding beside its neighbours' until none changes.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise
from math import inf, lcm

import numpy as np

from ..transforms.ir.graph import Graph, Node
from ..transforms.ir.ops import Mvau, SlidingWindow, Unit
from ..transforms.ir.tensor import Array, TensorType
from ..transforms.streams import Converter, Stream, input_width, output_width
from .cost import estimate, flip_flops
from .cost_models.base import Widths
from .cost_models.bnnflow import Bnnflow, image_cycles
from .finn_formulas import FinnCost
from .pareto import best
from .points import MULTIPLIER_LUT, WEIGHED, Choice, Point, Ways
from .rtl.modules import FEW_WORDS
from .schedule import foldings, refolded, sizes
from .search import along, settled


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
                yield Choice(op, entry, leave, cost.cycles, cost.dsp, cost.ff, row[:WEIGHED])

    def converter(self, kind: TensorType, wide: int, wanted: int) -> Array:
        """(3,) LUTs, block RAMs and registers of what joins words of two widths; infinite where nothing does."""
        known, key = self._counted.converters, (kind, wide, wanted)
        if key not in known:
            known[key] = self._converter(kind, wide, wanted)
        return known[key]

    def _converter(self, kind: TensorType, wide: int, wanted: int) -> Array:
        size = int(np.prod(kind.shape))
        if wide == wanted:
            return np.zeros(WEIGHED + 1)
        between = lcm(wide, wanted)
        ends = [wide, wanted] if between in (wide, wanted) else [wide, between, wanted]
        if any(size % each for each in ends):
            return np.full(WEIGHED + 1, inf)
        streams = [Stream("", "", "", each, size // each, kind) for each in ends]
        total = np.zeros(WEIGHED + 1)
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
        return Point(ops, cycles, made.lut + made.lut_ram, made.bram18, made.dsp, flip_flops(made))

    @property
    def slowest(self) -> Node:
        """The unit that bounds the rate, however wide all are folded."""
        return max(self.units, key=lambda node: min(each.cycles for each in self.choices[node.name]))

    def within(self, cycles: int, rams: int) -> list[Point]:
        """Designs of at most so many cycles an image and block RAMs that no other beats in both resources."""
        ways = self.cheap(cycles)
        return self._designs(ways, rams) if all(ways.values()) else []

    def _designs(self, ways: Ways, rams: int) -> list[Point]:
        return along(self, ways, rams) if self.is_chain else settled(self, ways, rams)

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

"""The folding for a target rate: the cheapest by the cost of our own hardware, or by FINN's formulas."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bnnflow import Problem

from ..transforms.ir.graph import Graph
from .calibrated.table import Table
from .cost import UnitCost, beyond, estimate, usual_model
from .cost_models import COST_MODELS, CostModel
from .cost_models.bnnflow import Bnnflow
from .explore import Space
from .parts import Part, known_parts
from .points import Point
from .schedule import cycles_for, fold, out_of_reach, schedule, too_large

FINNS = "exact"
# Designs that are looked at before none is said to fit.
_TRIES = 30


def as_designed(graph: Graph, part: Part, model: Bnnflow) -> str:
    """What a folded graph takes more of than a part has, with FIFOs of two words; empty where it fits."""
    return beyond(estimate(graph, model), part, model)


@dataclass(frozen=True, slots=True)
class RateFolding:
    """A graph that is folded for a rate.

    Attributes:
        graph: dataflow level, folded.
        by: name of the cost model that chose: that of our own hardware, or `FINNS`.
        why: why our own hardware's did not; empty where it did, or where another one was asked for.
        lut_error: of the LUTs of units that the model's fit did not see, relative, on average; None of FINN's formulas.
    """

    graph: Graph
    by: str
    why: str = ""
    lut_error: float | None = None


def fold_for_rate(
    graph: Graph,
    fps: float,
    clock_mhz: float,
    part: Part,
    by: str = Bnnflow.name,
    own: Table | None = None,
    too_much: Callable[[Graph, Part, Bnnflow], str] = as_designed,
) -> RateFolding:
    """The dataflow graph folded so that every unit keeps the rate, at the least cost on the part.

    By our own hardware's cost it is the design with the least share of the part (`cheapest`), which follows from sizes
    alone: a network that is trained again keeps its folding. By FINN's formulas each unit is folded by itself
    (`schedule`). Costs are with FIFOs of two words.

    Args:
        graph: dataflow level; its folding is ignored.
        fps: target rate, images per second.
        clock_mhz: clock.
        part: what it must fit.
        by: name of a cost model: that of our own hardware, which FINN's formulas stand in for where it does not know
            the part or a unit; any other: FINN's formulas.
        own: calibration of our own hardware; None: the one that comes with the package.
        too_much: says what a folded graph takes more of than a part has, for people; the next design is taken then.

    Raises:
        Problem: status 1; no folding reaches the rate, or none that does fits the part. The message says what can be
            reached.
    """
    model, why = rate_model(graph, part, by, own)
    if not isinstance(model, Bnnflow):
        return RateFolding(schedule(graph, fps, clock_mhz, part), FINNS, why)
    cycles = cycles_for(fps, clock_mhz)
    held = _Held(graph, part, model, too_much)
    present, lacking = fold(graph, cycles, part), ""
    # By sizes a network that is trained again is folded alike; what so seems too large may fit by its weights.
    for counting in (model.of_sizes(), model):
        for design in _by_share(Space(graph, counting, cycles), cycles, part, present)[:_TRIES]:
            if not (over := held.lacking(design)):
                return RateFolding(design.graph(graph), model.name, lut_error=model.table.mean_error)
            lacking = lacking or over
    raise _refused(Space(graph, model), fps, clock_mhz, held, lacking)


@dataclass(frozen=True, slots=True)
class _Held:
    """Designs of a network held against a part.

    Attributes:
        graph: dataflow level.
        part, model: what has to hold them, and what counts them.
        too_much: as for `fold_for_rate`.
    """

    graph: Graph
    part: Part
    model: Bnnflow
    too_much: Callable[[Graph, Part, Bnnflow], str]

    def lacking(self, design: Point) -> str:
        """What a design takes more of than there is; empty where it fits."""
        return self.too_much(design.graph(self.graph), self.part, self.model)


def rate_model(graph: Graph, part: Part, by: str = Bnnflow.name, own: Table | None = None) -> tuple[CostModel, str]:
    """The cost model that counts a graph on a part, and why it is not that of our own hardware.

    Args:
        graph, part, by, own: as of `fold_for_rate`.
    """
    return usual_model(graph, part.family, own) if by == Bnnflow.name else (COST_MODELS[by](), "")


def cheapest(space: Space, cycles: int, part: Part, present: Graph | None = None) -> Point | None:
    """The design of at most so many cycles an image that takes the least share of a part; None where there is none.

    Designs that fit go first, of equal shares the fastest. Networks with branches are searched, so a folding that is
    there may be cheaper than all that the search finds.

    Args:
        space: all designs of a network.
        cycles: most that a unit may take for an image.
        part: whose share is taken.
        present: the same network folded, which stays where nothing is cheaper; None: it is not folded.
    """
    return next(iter(_by_share(space, cycles, part, present)), None)


def _by_share(space: Space, cycles: int, part: Part, present: Graph | None) -> list[Point]:
    points = space.within(cycles, part.block_rams)
    if present is not None and (found := _point(space, present)) is not None:
        points.insert(0, found)
    kept = [point for point in points if point.cycles <= cycles]
    return sorted(kept, key=lambda point: (not point.fits(part), point.share(part), point.cycles))


def fastest(space: Space, lut: int, rams: int, part: Part) -> Iterator[Point]:
    """Designs within a budget, from the fastest rate on downwards: of each rate the least share of the part.

    The rate is found by bisection, for what a number of cycles allows, more cycles do, too. In networks with branches,
    which are searched, a faster design may be overlooked.

    Args:
        space: all designs of a network.
        lut: LUTs that a design may take, those that are memories among them.
        rams: block RAMs that it may take.
        part: whose share is taken, and which it must fit.
    """

    def within(cycles: int) -> list[Point]:
        return [each for each in space.within(cycles, min(rams, part.block_rams)) if _is_within(each, lut, part)]

    cycles = space.cycles()
    first = bisect_left(cycles, True, key=lambda number: bool(within(number)))
    for number in cycles[first:]:
        if found := within(number):
            yield min(found, key=lambda point: (point.share(part), point.cycles))


def _is_within(point: Point, lut: int, part: Part) -> bool:
    return point.lut <= lut and point.fits(part)


def _point(space: Space, folded: Graph) -> Point | None:
    try:
        return space.point(folded)
    except Problem:
        # Words that a tensor does not fill: nothing is built of it.
        return None


def larger_part(space: Space, part: Part, cycles: int) -> str:
    """The smallest part of the same family that a design within the cycles fits, before its FIFOs grow; or nothing."""
    for other in sorted(known_parts(), key=lambda each: (each.lut, each.block_rams)):
        if other.family == part.family and (other.lut > part.lut or other.block_rams > part.block_rams):
            for point in space.within(cycles, other.block_rams)[:_TRIES]:
                if not as_designed(point.graph(space.graph), other, space.model):
                    return other.name
    return ""


def _largest_unit(space: Space, point: Point, part: Part) -> str:
    """The unit of a design that takes the largest share of a part, of all its resources together."""

    def share(unit: UnitCost) -> float:
        taken = (unit.lut + unit.lut_ram, part.lut), (unit.counts.get("ff", 0), part.ff)
        rest = (unit.bram18, part.block_rams), (unit.dsp, part.dsp)
        return sum(need / there for need, there in (*taken, *rest) if there)

    units = estimate(point.graph(space.graph), space.model).units
    return max((unit for unit in units if unit.name in point.ops), key=share).name


def _refused(space: Space, fps: float, clock_mhz: float, held: _Held, lacking: str) -> Problem:
    part, least, wanted = held.part, space.cycles()[0], cycles_for(fps, clock_mhz)
    slower = [point for point in space.front(part.block_rams) if point.cycles > wanted and point.fits(part)]
    fitting = next((point.cycles for point in slower[:_TRIES] if not held.lacking(point)), None)
    if wanted < least:
        return out_of_reach(fps, clock_mhz, space.slowest.name, least, fitting, part.name)
    designs, more = space.within(wanted, part.block_rams), larger_part(space, part, wanted)
    if not designs:
        there = f"{part.name} has {part.lut:,} LUT and {part.block_rams:,} BRAM18"
        return too_large(fps, clock_mhz, f"more block RAMs than there are; {there}", fitting, more)
    nearest = min(designs, key=lambda point: point.share(part))
    unit = _largest_unit(space, nearest, part)
    return too_large(fps, clock_mhz, f"{lacking} ({part.name}); the largest unit is {unit!r}", fitting, more)

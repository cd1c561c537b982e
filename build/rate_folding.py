"""The folding for a target rate: the cheapest by the cost of our own hardware, or by FINN's formulas."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

from bnnflow import Problem

from ..transforms.ir.graph import Graph
from .calibrated.table import Table
from .cost import usual_model
from .cost_models import COST_MODELS, CostModel
from .cost_models.bnnflow import Bnnflow
from .explore import Point, Space
from .parts import Part
from .schedule import cycles_for, fold, out_of_reach, schedule, too_large

FINNS = "exact"


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
    graph: Graph, fps: float, clock_mhz: float, part: Part, by: str = Bnnflow.name, own: Table | None = None
) -> RateFolding:
    """The dataflow graph folded so that every unit keeps the rate, at the least cost on the part.

    By our own hardware's cost it is the design with the least share of the part (`cheapest`), which follows from sizes
    alone: a network that is trained again keeps its folding. By FINN's formulas each unit is folded by itself
    (`schedule`).

    Args:
        graph: dataflow level; its folding is ignored.
        fps: target rate, images per second.
        clock_mhz: clock.
        part: what it must fit.
        by: name of a cost model: that of our own hardware, which FINN's formulas stand in for where it does not know
            the part or a unit; any other: FINN's formulas.
        own: calibration of our own hardware; None: the one that comes with the package.

    Raises:
        Problem: status 1; no folding reaches the rate, or none that does fits the part. The message says what can be
            reached.
    """
    model, why = rate_model(graph, part, by, own)
    if not isinstance(model, Bnnflow):
        return RateFolding(schedule(graph, fps, clock_mhz, part), FINNS, why)
    cycles, sizes = cycles_for(fps, clock_mhz), model.of_sizes()
    found = cheapest(Space(graph, sizes, cycles), cycles, part, fold(graph, cycles, part))
    if found is None or not found.fits(part):
        raise _refused(Space(graph, sizes), fps, clock_mhz, part, found)
    return RateFolding(found.graph(graph), model.name, lut_error=model.table.mean_error)


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
    points = space.within(cycles, part.block_rams)
    if present is not None and (found := _point(space, present)) is not None:
        points.insert(0, found)
    kept = [point for point in points if point.cycles <= cycles]
    return min(kept, key=lambda point: (not point.fits(part), point.share(part), point.cycles), default=None)


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


def _refused(space: Space, fps: float, clock_mhz: float, part: Part, found: Point | None) -> Problem:
    least = space.cycles()[0]
    if cycles_for(fps, clock_mhz) < least:
        return out_of_reach(fps, clock_mhz, space.slowest.name, least)
    needed = "more block RAMs than there are"
    if found is not None:
        needed = f"{found.lut:,} LUT and {found.bram18:,} BRAM18" + (f", {found.dsp:,} DSP slices" if found.dsp else "")
    held = f"{part.name} has {part.lut:,} and {part.block_rams:,}"
    if found is not None and found.dsp:
        held += f", {part.dsp:,} DSP slices"
    fitting = (point.cycles for point in space.front(part.block_rams) if point.fits(part))
    return too_large(fps, clock_mhz, needed, held, next(fitting, None))

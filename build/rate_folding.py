"""The folding for a target rate: the cheapest by the cost of our own hardware, or by FINN's formulas."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bnnflow import Problem

from ..transforms.ir.graph import Graph
from .calibrated.table import Table
from .cost import beyond, estimate, usual_model
from .cost_models import COST_MODELS, CostModel
from .cost_models.bnnflow import Bnnflow
from .explore import Point, Space
from .parts import Part, known_parts
from .schedule import cycles_for, fold, out_of_reach, schedule, too_large

FINNS = "exact"
# Designs that are looked at with their FIFOs before none is said to fit.
_TRIES = 30


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
    too_much: Callable[[Graph, CostModel], str] | None = None,
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
        too_much: what a folded graph takes more of than the part has once its FIFOs are as deep as they must be; the
            next design is taken then. None: FIFOs are not looked at.

    Raises:
        Problem: status 1; no folding reaches the rate, or none that does fits the part. The message says what can be
            reached.
    """
    model, why = rate_model(graph, part, by, own)
    if not isinstance(model, Bnnflow):
        return RateFolding(schedule(graph, fps, clock_mhz, part), FINNS, why)
    cycles = cycles_for(fps, clock_mhz)
    space = Space(graph, model.of_sizes(), cycles)
    designs = _by_share(space, cycles, part, fold(graph, cycles, part))
    lacking = ""
    for tried, design in enumerate(designs):
        folded = design.graph(graph)
        # By sizes a design may take more than with the weights and bounds that it has.
        over = "" if design.fits(part) else beyond(estimate(folded, model), part, model)
        over = over or (too_much(folded, model) if too_much is not None else "")
        if not over:
            return RateFolding(folded, model.name, lut_error=model.table.mean_error)
        lacking = lacking or over
        if tried == _TRIES:
            break
    raise _refused(Space(graph, model.of_sizes()), fps, clock_mhz, part, designs, lacking)


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
    """The smallest part of the same family that a design within the cycles fits; empty where there is none."""
    for other in sorted(known_parts(), key=lambda each: (each.lut, each.block_rams)):
        more = other.family == part.family and (other.lut > part.lut or other.block_rams > part.block_rams)
        if more and any(point.fits(other) for point in space.within(cycles, other.block_rams)):
            return other.name
    return ""


def largest_unit(space: Space, point: Point, part: Part) -> str:
    """The unit of a design that takes the largest share of a part's LUTs, block RAMs and multipliers."""
    names = set(point.ops)
    units = [unit for unit in estimate(point.graph(space.graph), space.model).units if unit.name in names]
    pairs = (("lut", part.lut), ("lut_ram", part.lut), ("bram18", part.block_rams), ("dsp", part.dsp))
    return max(units, key=lambda unit: sum(getattr(unit, key) / there for key, there in pairs if there)).name


def _refused(space: Space, fps: float, clock_mhz: float, part: Part, designs: list[Point], lacking: str) -> Problem:
    least, wanted = space.cycles()[0], cycles_for(fps, clock_mhz)
    fitting = next((point.cycles for point in space.front(part.block_rams) if point.fits(part)), None)
    if wanted < least:
        return out_of_reach(fps, clock_mhz, space.slowest.name, least, fitting, part.name)
    more = larger_part(space, part, wanted)
    if not designs:
        return too_large(fps, clock_mhz, "more block RAMs than there are", _held(part), fitting, more)
    fits, unit = designs[0].fits(part), largest_unit(space, designs[0], part)
    included = ", FIFOs that keep the rate included" if fits else ""
    found = too_large(
        fps, clock_mhz, f"{lacking} ({part.name}){included}; its largest unit is {unit!r}", "", fitting, more
    )
    if not fits:
        return found
    hint = f"ask for a lower rate, {f'take {more}' if more else 'choose a larger part'}, or prune more"
    return Problem(found.what, found.where, hint, found.status)


def _held(part: Part) -> str:
    return f"{part.name} has {part.lut:,} LUT and {part.block_rams:,} BRAM18"

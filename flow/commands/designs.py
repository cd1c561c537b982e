"""Which of a network's designs is built: the cheapest that does what is asked with its FIFOs, simulated."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import inf
from pathlib import Path

from bnnflow import CHECK_FAILED, Problem

from ...build.calibrated.table import Table
from ...build.cost import Estimate, beyond, estimate, flip_flops
from ...build.explore import Space
from ...build.points import Point
from ...sim.pipeline import Timing
from ...transforms.ir.graph import Graph
from ..graphs.folding import Wanted
from ..graphs.rates import FIFO, affordable, rate, timing_of
from ..results.exploration import DesignFound

# Designs that are looked at with their FIFOs: until one does, and of networks whose images are so many words of all
# streams at most until no other can be cheaper.
_TRIES, _SMALL = 60, 50_000


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of a design.

    Attributes:
        own: calibration; None: the one that comes with the package.
        latency_us: of the first image, at most; None: any.
        lut, bram18: that it may take; None: what the part has, block RAMs of its own size.
        points: designs that are shown.
        pick: number of the design that is wanted; None: the cheapest that does what is asked, where a rate, a latency
            or an output is given.
        output: folder, or ONNX file, for the design that is wanted.
        csv: file for all designs.
        widths: look for layers whose widths divide badly for the rate of the design that is wanted.
    """

    own: Table | None = None
    latency_us: float | None = None
    lut: int | None = None
    bram18: int | None = None
    points: int = 20
    pick: int | None = None
    output: Path | None = None
    csv: Path | None = None
    widths: bool = False


@dataclass(frozen=True, slots=True)
class Built:
    """A design with FIFOs that keep its rate, simulated.

    Attributes:
        number: of the design.
        design: without these FIFOs.
        graph: folded.
        depths: of FIFOs that are deeper than two words.
        timing: of three images.
        cost: with these FIFOs.
    """

    number: int
    design: Point
    graph: Graph
    depths: Mapping[str, int]
    timing: Timing
    cost: Estimate

    @property
    def point(self) -> Point:
        """Its cost as those of the front are counted."""
        cost = self.cost
        return Point({}, cost.cycles, cost.lut + cost.lut_ram, cost.bram18, cost.dsp, flip_flops(cost))

    @classmethod
    def of(cls, space: Space, number: int, point: Point) -> Built:
        """A design of the front."""
        folded = point.graph(space.graph)
        deep = rate(folded, FIFO, {}).restoring
        timing = timing_of(folded, 3, FIFO, deep)
        assert timing.interval is not None and timing.latency is not None, "these FIFOs keep the rate"
        return cls(number, point, folded, dict(deep), timing, estimate(folded, space.model, FIFO, deep))


def chosen_design(
    space: Space,
    wanted: Wanted,
    asked: Asked,
    front: Sequence[Point],
    designs: Sequence[DesignFound],
    allowed: tuple[int, int],
) -> Built | None:
    """The design that is wanted, with its FIFOs; None where none is.

    Where none of the front is early enough, designs of the highest rate whose units are faster than it asks are tried;
    such a one has the number behind all others.
    """
    share = {each.number: point.share(wanted.part) for each, point in zip(designs, front, strict=True)}
    fitting = sorted((each for each in designs if each.fits), key=lambda each: (share[each.number], each.cycles))
    if asked.pick is not None:
        if not 1 <= asked.pick <= len(designs):
            raise Problem(f"there is no design {asked.pick}", "--pick", f"designs are numbered 1 to {len(designs)}")
        picked = designs[asked.pick - 1]
        if not picked.fits:
            what = f"design {picked.number} takes {picked.lut:,} LUT, {picked.bram18:,} BRAM18 and {picked.dsp:,} DSP"
            raise Problem(f"{what}, which is more than is allowed", "--pick", "pick one that fits", CHECK_FAILED)
        fitting = [picked]
    elif asked.latency_us is not None:
        # No image leaves before the slowest unit is through with it; the fastest design says what is possible.
        limit = asked.latency_us * wanted.clock_mhz
        fitting = [each for each in fitting if each.cycles <= limit] or [min(fitting, key=lambda each: each.cycles)]
    elif wanted.fps is None and asked.output is None:
        return None
    found = _cheapest(space, wanted, asked, front, fitting, allowed)
    if isinstance(found, Built):
        return found
    if found.earliest < inf and asked.pick is None:
        early = _earlier(space, wanted, asked, allowed, len(designs) + 1)
        if isinstance(early, Built):
            return early
        found = replace(found, earliest=min(early, found.earliest))
    raise found.problem(wanted, asked)


@dataclass(frozen=True, slots=True)
class _NoneFound:
    """Why no design does what is asked.

    Attributes:
        tried: designs that were looked at with their FIFOs.
        earliest: cycles to the first image, of those that came too late; infinite where none did.
        largest: what the first of those that are too large takes; empty where none is.
    """

    tried: int
    earliest: float
    largest: str

    def problem(self, wanted: Wanted, asked: Asked) -> Problem:
        """For people."""
        lacking = f"{self.largest}, with the FIFOs that it needs ({wanted.part.name})" if self.largest else ""
        if self.earliest < inf:
            which = "no design gives" if asked.pick is None else f"design {asked.pick} does not give"
            what = f"{which} the first image within {asked.latency_us:g} us at {wanted.clock_mhz:g} MHz"
            hint = f"the earliest of those that were simulated needs {self.earliest / wanted.clock_mhz:,.2f} us"
            if lacking:
                what, hint = f"{what} and fits: {lacking}", f"allow more than that, or a later image; {hint}"
            return Problem(what, "--latency-us", hint, CHECK_FAILED)
        more = "" if asked.pick is None else "another design, "
        hint = f"{more}larger limits, a larger part, or a lower rate"
        what = f"no design of {self.tried} that were looked at fits: {lacking}"
        return Problem(what, "design space", hint, CHECK_FAILED)


def _earlier(space: Space, wanted: Wanted, asked: Asked, allowed: tuple[int, int], number: int) -> Built | float:
    """A design of the highest rate whose first image is early enough, or the cycles to the earliest that was seen.

    The less every other unit may take, the earlier the first image and the larger the design, so that the slowest units
    that do are found by bisection.
    """
    assert asked.latency_us is not None
    part, limit, (lut, rams) = wanted.part, asked.latency_us * wanted.clock_mhz, allowed
    steps, seen = space.steps(), [inf]

    @cache
    def fitting(step: int) -> tuple[Point, ...]:
        points = (each for each in space.faster(steps[step], rams) if each.lut <= lut and each.fits(part))
        return tuple(sorted(points, key=lambda each: each.share(part)))

    def is_early(step: int) -> bool:
        cycles = timing_of(fitting(step)[0].graph(space.graph), 1, 0).latency
        assert cycles is not None, "unbounded FIFOs cannot be full"
        seen.append(cycles)
        return cycles <= limit

    end = bisect_left(range(len(steps)), True, key=lambda step: not fitting(step))
    tried = 0
    for step in range(bisect_left(range(end), True, key=is_early), end):
        for point in fitting(step):
            if tried == _TRIES:
                return min(seen)
            tried += 1
            built = Built.of(space, number, point)
            made, latency = built.point, built.timing.latency
            assert latency is not None, "these FIFOs keep the rate"
            seen.append(latency)
            if latency <= limit and not beyond(built.cost, part, space.model) and _within(made, allowed):
                return built
    return min(seen)


def _within(point: Point, allowed: tuple[int, int]) -> bool:
    return point.lut <= allowed[0] and point.bram18 <= allowed[1]


def _cheapest(
    space: Space,
    wanted: Wanted,
    asked: Asked,
    front: Sequence[Point],
    fitting: Sequence[DesignFound],
    allowed: tuple[int, int],
) -> Built | _NoneFound:
    """Of designs in the order of their share of the part the cheapest that does what is asked with its FIFOs.

    FIFOs that are deeper cost more, so that what costs more without them is not looked at; of each rate designs are
    looked at until one is too late.
    """
    part, limit = wanted.part, inf if asked.latency_us is None else asked.latency_us * wanted.clock_mhz
    best: tuple[float, Built] | None = None
    earliest, late, largest, tried = inf, set[int](), "", 0
    for each in fitting:
        point = front[each.number - 1]
        if tried == _TRIES or (
            best is not None and (point.share(part) >= best[0] or not affordable(best[1].graph, _SMALL))
        ):
            break
        if each.cycles in late:
            continue
        if limit < inf:
            least = timing_of(point.graph(space.graph), 1, 0).latency
            assert least is not None, "unbounded FIFOs cannot be full"
            if least > limit:
                late.add(each.cycles)
                earliest = min(earliest, least)
                continue
        tried += 1
        built = Built.of(space, each.number, point)
        made = built.point
        over = beyond(built.cost, part, space.model)
        if over or not _within(made, allowed):
            taken = over or f"{made.lut:,} LUT and {made.bram18:,} BRAM18 of {allowed[0]:,} and {allowed[1]:,}"
            largest = largest or f"design {each.number} takes {taken}"
        elif built.timing.latency is not None and built.timing.latency > limit:
            late.add(each.cycles)
            earliest = min(earliest, built.timing.latency)
        elif best is None or made.share(part) < best[0]:
            best = made.share(part), built
    return _NoneFound(tried, earliest, largest) if best is None else best[1]

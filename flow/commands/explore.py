"""The work behind `flow explore`: the front of a network's designs, and one of them with all that hardware needs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor, inf, log
from pathlib import Path

from bnnflow import CHECK_FAILED, Problem

from ...build.calibrated.table import Table
from ...build.cost import Estimate, beyond, block_note, estimate, model_for
from ...build.cost_models.bnnflow import Bnnflow
from ...build.explore import Point, Space
from ...build.finn_reports import folding, unit_names
from ...build.rate_folding import larger_part
from ...build.schedule import cycles_for
from ...sim.pipeline import Timing
from ...transforms.ir.graph import Graph
from ...transforms.ir.ops import Mvau, SlidingWindow
from ..graphs.folded_files import places_of, write_folded
from ..graphs.folding import Wanted, compiled
from ..graphs.rates import FIFO, affordable, rate, timing_of
from ..pruning.widths import widths
from ..results.exploration import DesignChosen, DesignFound, Exploration
from ..run.files import write_whole

# Designs that are looked at with their FIFOs: until one does, and of networks whose images are so many words of all
# streams at most until no other can be cheaper.
_TRIES, _SMALL = 60, 50_000
FOLDING = "auto_folding_config.json"


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


def explore(graph: Graph, wanted: Wanted, asked: Asked) -> Exploration:
    """The designs of a graph of any level that are worth building.

    Args:
        graph: of any level; its folding is ignored.
        wanted: part and clock; with a rate, designs of this rate and faster ones.
        asked: what else.

    Raises:
        Problem: it does not compile; the part's family has no calibration; status 1: no design is as fast, as early or
            as small; there is no design of the number.
    """
    part = wanted.part
    files = None if asked.output is None else places_of(asked.output)
    made = compiled(graph, wanted)
    units = made[-1].graph
    model = model_for(Bnnflow.name, part.family, asked.own)
    assert isinstance(model, Bnnflow)
    lut, rams = asked.lut or part.lut, part.block_rams if asked.bram18 is None else asked.bram18
    space = Space(units, model)
    most = None if wanted.fps is None else cycles_for(wanted.fps, wanted.clock_mhz)
    front = space.front(rams, most)
    fitting = [point.lut <= lut and point.fits(part) for point in front]
    if not any(fitting):
        raise _refused(space, wanted, (lut, rams), most, whole=asked.lut is None and asked.bram18 is None)
    designs = [
        DesignFound(
            number=number,
            cycles=point.cycles,
            fps=wanted.clock_mhz * 1e6 / point.cycles,
            lut=point.lut,
            bram18=point.bram18,
            dsp=point.dsp,
            share=round(point.share(part), 4),
            fits=fits,
        )
        for number, (point, fits) in enumerate(zip(front, fitting, strict=True), 1)
    ]
    shown = _spread(designs, asked.points)
    names = unit_names(units)
    if asked.csv is not None:
        _write(designs, [_folding(point, names) for point in front], asked.csv)
    chosen = _chosen(space, wanted, asked, front, designs, (lut, rams))
    number = None if chosen is None else chosen.number
    found = None
    if asked.widths:
        if number is None:
            raise Problem("widths divide well or badly for a rate", "--widths", "name one by --fps, --pick or -o")
        found = widths(units, most or front[number - 1].cycles, part, model)
    return Exploration(
        name=graph.name,
        part=part.name,
        clock_mhz=wanted.clock_mhz,
        source=f"{model.source}; LUTs within {model.table.mean_error:.0%} on average of units never seen",
        exact=space.is_chain,
        lut=lut,
        bram18=rams,
        designs=designs,
        shown=shown,
        foldings={str(number): _folding(front[number - 1], names) for number in shown},
        chosen=None if chosen is None else _written(chosen, wanted, files),
        widths=found,
        notes=[*(note for stage in made for note in stage.notes), *filter(None, [block_note(part, model)])],
    )


def _refused(space: Space, wanted: Wanted, allowed: tuple[int, int], most: int | None, *, whole: bool) -> Problem:
    """Why no design does, what is nearest, and, where the whole part was allowed, which part would do."""
    part, clock, (lut, rams) = wanted.part, wanted.clock_mhz, allowed
    least = space.cycles()[0]
    if most is not None and most < least:
        what = (
            f"{wanted.fps:,.0f} images/s at {clock:g} MHz leave {most:,} cycles, {space.slowest.name!r} needs {least:,}"
        )
        hint = f"at most {floor(clock * 1e6 / least):,} images/s, or a faster clock"
        return Problem(what, "--fps", hint, CHECK_FAILED)
    every = space.front(rams)
    doing = [point for point in every if point.lut <= lut and point.fits(part)]
    fast = [point for point in every if most is None or point.cycles <= most]
    needs = "more block RAMs than are allowed"
    if fast:
        nearest = min(fast, key=lambda point: point.share(part))
        needs = f"{nearest.lut:,} LUT and {nearest.bram18:,} BRAM18 at least"
    larger = larger_part(space, part, space.cycles()[-1] if most is None else most) if whole else ""
    hints = [
        f"at most {floor(clock * 1e6 / doing[0].cycles):,} images/s fit with FIFOs of two words"
        if doing
        else "no design of it fits"
    ]
    hints += [f"{larger} would do"] if larger else []
    said = "" if wanted.fps is None else f"{wanted.fps:,.0f} images/s at {clock:g} MHz: "
    what = f"{said}this takes {needs}; allowed are {lut:,} and {rams:,} ({part.name})"
    return Problem(what, "design space", "; ".join([*hints, "or prune more"]), CHECK_FAILED)


def _spread(designs: Sequence[DesignFound], points: int) -> list[int]:
    """Numbers of designs that fit, the cheapest of its rate each, evenly over the logarithm of the rates."""
    cheapest: dict[int, DesignFound] = {}
    least = inf
    # A slower design that is no cheaper is no choice.
    for each in sorted(designs, key=lambda one: (one.cycles, one.share)):
        if each.fits and each.cycles not in cheapest and each.share < least:
            cheapest[each.cycles] = each
            least = each.share
    rows = list(cheapest.values())
    if len(rows) <= points:
        return [each.number for each in rows]
    low, high = log(rows[0].cycles), log(rows[-1].cycles)
    wanted = [low + (high - low) * place / max(1, points - 1) for place in range(points)]
    nearest = (min(rows, key=lambda each: abs(log(each.cycles) - goal)) for goal in wanted)
    return list(dict.fromkeys(each.number for each in nearest))


@dataclass(frozen=True, slots=True)
class _Built:
    """A design with FIFOs that keep its rate, simulated.

    Attributes:
        number: of the design.
        graph: folded.
        depths: of FIFOs that are deeper than two words.
        timing: of three images.
        cost: with these FIFOs.
    """

    number: int
    graph: Graph
    depths: Mapping[str, int]
    timing: Timing
    cost: Estimate

    @property
    def point(self) -> Point:
        """Its cost as those of the front are counted."""
        cost = self.cost
        return Point({}, cost.cycles, cost.lut + cost.lut_ram, cost.bram18, cost.dsp)

    @classmethod
    def of(cls, space: Space, number: int, point: Point) -> _Built:
        """A design of the front."""
        folded = point.graph(space.graph)
        deep = rate(folded, FIFO, {}).restoring
        timing = timing_of(folded, 3, FIFO, deep)
        assert timing.interval is not None and timing.latency is not None, "these FIFOs keep the rate"
        return cls(number, folded, dict(deep), timing, estimate(folded, space.model, FIFO, deep))


def _chosen(
    space: Space,
    wanted: Wanted,
    asked: Asked,
    front: Sequence[Point],
    designs: Sequence[DesignFound],
    allowed: tuple[int, int],
) -> _Built | None:
    """The design that is wanted, with its FIFOs; None where none is."""
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
    return _cheapest(space, wanted, asked, front, fitting, allowed)


def _cheapest(
    space: Space,
    wanted: Wanted,
    asked: Asked,
    front: Sequence[Point],
    fitting: Sequence[DesignFound],
    allowed: tuple[int, int],
) -> _Built:
    """Of designs in the order of their share of the part the cheapest that does what is asked with its FIFOs.

    FIFOs that are deeper cost more, so that what costs more without them is not looked at; of each rate designs are
    looked at until one is too late.
    """
    part, limit = wanted.part, inf if asked.latency_us is None else asked.latency_us * wanted.clock_mhz
    best: tuple[float, _Built] | None = None
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
        built = _Built.of(space, each.number, point)
        made = built.point
        over = beyond(built.cost, part, space.model)
        if over or made.lut > allowed[0] or made.bram18 > allowed[1]:
            taken = over or f"{made.lut:,} LUT and {made.bram18:,} BRAM18 of {allowed[0]:,} and {allowed[1]:,}"
            largest = largest or f"design {each.number} takes {taken}"
        elif built.timing.latency is not None and built.timing.latency > limit:
            late.add(each.cycles)
            earliest = min(earliest, built.timing.latency)
        elif best is None or made.share(part) < best[0]:
            best = made.share(part), built
    if best is not None:
        return best[1]
    lacking = f"{largest}, with the FIFOs that it needs ({part.name})" if largest else ""
    if earliest < inf:
        which = "no design gives" if asked.pick is None else f"design {asked.pick} does not give"
        what = f"{which} the first image within {asked.latency_us:g} us at {wanted.clock_mhz:g} MHz"
        hint = f"the earliest of those that were simulated needs {earliest / wanted.clock_mhz:,.2f} us"
        if lacking:
            what, hint = f"{what} and fits: {lacking}", f"allow more than that, or a later image; {hint}"
        raise Problem(what, "--latency-us", hint, CHECK_FAILED)
    more = "" if asked.pick is None else "another design, "
    hint = f"{more}larger limits, a larger part, or a lower rate"
    raise Problem(f"no design of {tried} that were looked at fits: {lacking}", "design space", hint, CHECK_FAILED)


def _written(built: _Built, wanted: Wanted, files: tuple[Path, Path] | None) -> DesignChosen:
    """What is told of a design, and its files, where they are wanted."""
    clock, timing, cost = wanted.clock_mhz, built.timing, built.cost
    assert timing.interval is not None and timing.latency is not None
    written: list[str] = []
    if files is not None:
        place = files[0].with_name(FOLDING)
        written = [*write_folded(built.graph, files), str(place)]
        write_whole(place, (json.dumps(folding(built.graph), indent=2) + "\n").encode())
    return DesignChosen(
        number=built.number,
        interval_cycles=timing.interval,
        latency_cycles=timing.latency,
        fps=clock * 1e6 / timing.interval,
        latency_us=timing.latency / clock,
        fifo_depths=dict(built.depths),
        lut=cost.lut + cost.lut_ram,
        bram18=cost.bram18,
        dsp=cost.dsp,
        files=written,
    )


def _folding(point: Point, names: Mapping[str, str]) -> dict[str, dict[str, int | str]]:
    """What a design chooses of each unit, by FINN's names."""
    found: dict[str, dict[str, int | str]] = {}
    for name, op in point.ops.items():
        settings = {key.upper(): getattr(op, key) for key in ("pe", "simd") if hasattr(op, key)}
        if isinstance(op, Mvau | SlidingWindow):
            settings["ram_style"] = op.ram_style
        if settings:
            found[names[name]] = settings
    return found


def _write(
    designs: Sequence[DesignFound], foldings: Sequence[Mapping[str, Mapping[str, int | str]]], path: Path
) -> None:
    """A row a design; foldings as `unit:PE=2,SIMD=4` behind each other."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = ("number", "cycles", "fps", "lut", "bram18", "dsp", "share", "fits")
    writer.writerow((*columns, "folding"))
    for each, units in zip(designs, foldings, strict=True):
        chosen = (
            f"{unit}:{','.join(f'{key}={value}' for key, value in settings.items())}"
            for unit, settings in units.items()
        )
        writer.writerow((*(getattr(each, key) for key in columns), " ".join(chosen)))
    write_whole(path, text.getvalue().encode())

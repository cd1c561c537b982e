"""The work behind `flow explore`: the front of a network's designs, and one of them with all that hardware needs."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from math import inf, log
from pathlib import Path

from bnnflow import CHECK_FAILED, Problem

from ...build.cost import block_note, model_for
from ...build.cost_models.bnnflow import Bnnflow
from ...build.explore import Space
from ...build.finn_reports import folding, unit_names
from ...build.points import Point
from ...build.rate_folding import larger_part
from ...build.schedule import cycles_for, highest_rate
from ...sim.pipeline import fifo_names
from ...transforms.ir.graph import Graph
from ...transforms.ir.ops import Mvau, SlidingWindow
from ..graphs.fifo_depths import fifo_settings
from ..graphs.folded_files import places_of, write_folded
from ..graphs.folding import Wanted, compiled, placed_anew
from ..graphs.rates import FIFO
from ..pruning.widths import widths
from ..results.exploration import DesignChosen, DesignFound, Exploration
from ..run.files import write_whole
from .designs import Asked, Built, chosen_design

FOLDING = "auto_folding_config.json"


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
        _found(number, point, fits, wanted) for number, (point, fits) in enumerate(zip(front, fitting, strict=True), 1)
    ]
    shown = _spread(designs, asked.points)
    chosen = chosen_design(space, wanted, asked, front, designs, (lut, rams))
    number = None if chosen is None else chosen.number
    notes = [*(note for stage in made for note in stage.notes), *placed_anew(units)]
    notes += filter(None, [block_note(part, model)])
    if chosen is not None and chosen.number > len(front):
        notes.append(f"design {number} is not of the front: its units are faster than its rate asks, for the latency")
        front.append(chosen.design)
        designs.append(_found(chosen.number, chosen.design, True, wanted))
        shown.append(chosen.number)
    names = unit_names(units)
    if asked.csv is not None:
        _write(designs, [_folding(point, names) for point in front], asked.csv)
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
        notes=notes,
    )


def _found(number: int, point: Point, fits: bool, wanted: Wanted) -> DesignFound:
    return DesignFound(
        number=number,
        cycles=point.cycles,
        fps=wanted.clock_mhz * 1e6 / point.cycles,
        lut=point.lut,
        bram18=point.bram18,
        dsp=point.dsp,
        ff=point.ff,
        share=round(point.share(wanted.part), 4),
        fits=fits,
    )


def _refused(space: Space, wanted: Wanted, allowed: tuple[int, int], most: int | None, *, whole: bool) -> Problem:
    """Why no design does, what is nearest, and, where the whole part was allowed, which part would do."""
    part, clock, (lut, rams) = wanted.part, wanted.clock_mhz, allowed
    least = space.cycles()[0]
    if most is not None and most < least:
        what = (
            f"{wanted.fps:,.0f} images/s at {clock:g} MHz leave {most:,} cycles, {space.slowest.name!r} needs {least:,}"
        )
        hint = f"at most {highest_rate(least, clock):,} images/s, or a faster clock"
        return Problem(what, "--fps", hint, CHECK_FAILED)
    every = space.front(rams)
    doing = [point for point in every if point.lut <= lut and point.fits(part)]
    fast = [point for point in every if most is None or point.cycles <= most]
    needs = "more block RAMs than are allowed"
    if fast:
        nearest = min(fast, key=lambda point: point.share(part))
        needs = f"{nearest.lut:,} LUT and {nearest.bram18:,} BRAM18 at least"
        more = ((nearest.dsp, part.dsp, "DSP"), (nearest.ff, part.ff or nearest.ff, "FF"))
        needs += "".join(f", and {taken:,} {name} of {there:,}" for taken, there, name in more if taken > there)
    larger = larger_part(space, part, space.cycles()[-1] if most is None else most) if whole else ""
    hints = [
        f"at most {highest_rate(doing[0].cycles, clock):,} images/s fit with FIFOs of two words"
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


def _written(built: Built, wanted: Wanted, files: tuple[Path, Path] | None) -> DesignChosen:
    """What is told of a design, and its files, where they are wanted."""
    clock, timing, cost = wanted.clock_mhz, built.timing, built.cost
    assert timing.interval is not None and timing.latency is not None
    written: list[str] = []
    if files is not None:
        place = files[0].with_name(FOLDING)
        written = [*write_folded(built.graph, files), str(place)]
        settings = folding(built.graph)
        for unit, depths in fifo_settings(built.depths, built.graph, fifo_names(built.graph), FIFO).items():
            settings.setdefault(unit, {}).update(depths)
        write_whole(place, (json.dumps(settings, indent=2) + "\n").encode())
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
    columns = ("number", "cycles", "fps", "lut", "bram18", "dsp", "ff", "share", "fits")
    writer.writerow((*columns, "folding"))
    for each, units in zip(designs, foldings, strict=True):
        chosen = (
            f"{unit}:{','.join(f'{key}={value}' for key, value in settings.items())}"
            for unit, settings in units.items()
        )
        writer.writerow((*(getattr(each, key) for key in columns), " ".join(chosen)))
    write_whole(path, text.getvalue().encode())

"""The work behind `flow calibrate`: units are synthesized, and the cost model is fitted to them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from bnnflow import Problem

from ...build.calibrated.clock import Clock, sizes_of
from ...build.calibrated.fit import Measured, calibration, counted_subject
from ...build.calibrated.fit_clock import Placed, clock_of, placed_subjects
from ...build.calibrated.subject import Subject
from ...build.calibrated.subjects import held_out, subjects
from ...build.calibrated.table import Table, read_table
from ...build.parts import Part
from ...build.route.harness import harnessed
from ...build.route.nextpnr import Nextpnr
from ...build.rtl.design import design
from ...build.synth.units import unit_sources
from ...build.synth.yosys import Sources, Yosys
from ..graphs.routing import RouteOptions, program_of, routed_modules
from ..graphs.synthesis import Progress, SynthOptions, netlists
from ..recipe.text import read_text
from ..run.files import write_whole


def calibrate(how: SynthOptions, tool: Yosys, progress: Progress, place: tuple[Part, Nextpnr] | None = None) -> Table:
    """Fit the cost model to a family; units that were synthesized before are taken from the cache.

    Args:
        how: the family, units at a time, and seconds that one may take.
        tool: yosys.
        progress: is told units done and in all.
        place: part of the family on which units are also placed and routed, for what paths take, and the program.

    Raises:
        Problem: yosys or nextpnr fails, or takes too long (status 1).
    """
    every = {each.name: _sources(each) for each in (*subjects(), *held_out())}
    found = netlists(every, how, tool, progress)

    def measured(chosen: Iterable[Subject]) -> list[Measured]:
        return [
            (each.name, counted_subject(each, how.family.name), how.family.resources(found[each.name].cells))
            for each in chosen
        ]

    made = calibration(how.family.name, tool.version, measured(subjects()), measured(held_out()))
    return made if place is None else replace(made, clock=_clock(made, how, (tool, place[1]), place[0], progress))


def _clock(table: Table, how: SynthOptions, tools: tuple[Yosys, Nextpnr], part: Part, progress: Progress) -> Clock:
    """What paths take on a part, at its slowest speed grade."""
    chosen = placed_subjects(table)
    modules = {each.name: harnessed(_sources(each)) for units in chosen for each in units}
    options = RouteOptions(part, jobs=how.jobs, seconds=how.seconds)
    found = routed_modules(modules, options, tools, progress)

    def placed(units: Iterable[Subject]) -> list[Placed]:
        made: list[Placed] = []
        for each in units:
            pieces = counted_subject(each, how.family.name)
            (run,) = found[each.name].values()
            made.append((each.name, sizes_of(pieces, table.lut(pieces.terms)), run.fmax_mhz))
        return made

    fitting, others = map(placed, chosen)
    return clock_of(part.name, options.speed, [tool.version for tool in tools], fitting, others)


def placer(part: Part, family: str) -> str:
    """The program that places units of a family on a part.

    Raises:
        Problem: the part is of another family, or no open tool places on it.
    """
    program = program_of(part)
    if part.family != family:
        hint = f"give a part of {family}, or calibrate {part.family}"
        raise Problem(f"{part.name} is of the family {part.family}, not {family}", "--place", hint)
    return program


def _sources(subject: Subject) -> Sources:
    return dict(unit_sources(design(subject.graph, subject.depth, {}, 100.0, subject.control)))[subject.part]


def write_table(made: Table, output: Path) -> None:
    """Write a calibration."""
    write_whole(output, made.text().encode())


def calibration_of(path: Path) -> Table:
    """The calibration in a file that `write_table` wrote.

    Raises:
        Problem: it cannot be read, or is none.
    """
    return read_table(read_text(path, "calibration", "`flow calibrate -o FILE` writes one"), str(path))

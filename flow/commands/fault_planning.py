"""The work behind `flow tolerance` and `flow protect`: plans are chosen on every second image and judged on the others,
with other fault maps."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bnnflow import Problem

from ...sim.faults import Campaign, CellRate, Grid, Memory, Plan, Point, Protections, Rates, Store, Subject, Workers
from ...sim.faults.analysis.planning import CodeChoice, assign_rates, protection_front
from ...transforms.ir.graph import Graph
from ..graphs import campaign
from ..graphs.fault_folding import check_folding
from ..graphs.inputs import input_held
from ..graphs.plans import ENDING, plan_text
from ..results.planning import JudgedAccuracy, MemoryRate, ProtectedNetwork, ProtectionPlan, TolerancePlan
from ..run.files import write_whole
from .faults import FaultedGraph
from .halves import Halves
from .simulation import Images

Progress = Callable[[int, int], None]
TABLES = (".csv",)
PLANS = (ENDING,)
LUT_OF_BRAM18 = 200.0
"""LUTs that a block RAM of 18 kbit is worth where both are weighed: about their ratio on a Zynq-7020, 53,200 to 280."""


@dataclass(frozen=True, slots=True)
class Measuring:
    """How plans are measured.

    Attributes:
        target: "weights", "thresholds", or both joined by "+".
        maps: fault maps of each measurement.
        seed: of the maps that choose; those that judge have the next.
        store: where results are kept; an interrupted search goes on.
        jobs: processes.
    """

    target: str = "weights"
    maps: int = 5
    seed: int = 0
    store: Path | None = None
    jobs: int = 1


class _Measured:
    """A graph with the images that choose and those that judge."""

    def __init__(self, graph: Graph, images: Halves, how: Measuring, store: Store) -> None:
        self.choosing, self.judging = Subject(graph, *images.choosing), Subject(graph, *images.judging)
        self.how, self._store = how, store
        self.count = 0
        self.progress: Callable[[], None] = lambda: None

    def point(self, rates: Rates, protection: str = "none", seed: int | None = None) -> Point:
        """What is measured at these rates."""
        return Point(self.how.target, (), "flip", rates, protection, self.how.seed if seed is None else seed)

    def chosen(self, rates: Rates, protection: str = "none") -> float:
        """Mean accuracy on the images that choose."""
        self.count += 1
        (series,) = self._run(self.choosing, self.point(rates, protection))
        self.progress()
        return float(np.mean(series.accuracy))

    def surely(self, rates: Rates) -> float:
        """The lower end of that mean's interval over maps; the mean where one map says nothing of others.

        The images are those of the accuracy without faults, so that what others would change is left to the judges.
        """
        self.count += 1
        (series,) = self._run(self.choosing, self.point(rates))
        self.progress()
        facts = series.facts()
        return float(facts["mean"]) - (float(facts["half_width"]) if self.how.maps > 1 else 0.0)

    def judged(self, rates: Rates, protection: str = "none") -> JudgedAccuracy:
        """Accuracy on the images, and with the maps, that did not choose."""
        (series,) = self._run(self.judging, self.point(rates, protection, self.how.seed + 1))
        facts = series.facts()
        return JudgedAccuracy(mean=facts["mean"], low=facts["low"], high=facts["high"])

    def _run(self, subject: Subject, point: Point) -> list[campaign.Series]:
        return Campaign(subject, [point], Plan(self.how.maps), self._store, Workers(self.how.jobs)).run()

    @staticmethod
    def clean(subject: Subject) -> float:
        """Accuracy without faults."""
        return float(np.mean(subject.classes == subject.labels))


def tolerance(
    source: FaultedGraph,
    given: Images,
    grid: Sequence[float],
    loss: float,
    how: Measuring,
    output: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> TolerancePlan:
    """The highest bit error rate of each memory with which a graph loses no more than `loss`, 0 to 1.

    Raises:
        Problem: files that are missing or cannot be written; rates that do not ascend; the lowest costs more already.
    """
    source.check(given, (output, TABLES), (how.store, (".sqlite", ".sqlite3", ".db")))
    graph, _ = source.open(source.path)
    images = Halves.of(graph, source.path, given)
    with Store(how.store) as store:
        halves = _Measured(graph, images, how, store)
        places = _places(halves)
        total = len(places) * len(grid) + len(grid) + len(places) * max(0, len(grid) - 1)
        halves.progress = lambda: progress(halves.count, total)
        quiet = CellRate.of(0.0)
        alone = {
            place.name: [halves.chosen(Rates(quiet, {place.name: CellRate.of(rate)})) for rate in grid]
            for place in places
        }
        floor = halves.clean(halves.choosing) - loss
        bits = {place.name: place.size for place in places}
        made = assign_rates(bits, grid, alone, lambda rates: halves.surely(_rates(rates)), floor)
        progress(total, total)
        uniform = made.uniform
        return TolerancePlan(
            images=len(halves.choosing.images),
            judged=len(halves.judging.images),
            maps=how.maps,
            clean=halves.clean(halves.judging),
            floor=floor,
            rates=[
                MemoryRate(memory=name, bits=bits[name], rate=rate, alone=alone[name][list(grid).index(rate)])
                for name, rate in made.rates.items()
            ],
            accuracy=halves.judged(_rates(made.rates)),
            uniform=uniform,
            uniform_accuracy=halves.judged(Rates.of(uniform)),
            measured=made.measured,
            output=_written(output, _table(made.rates)),
            input=input_held(graph),
        )


def protect(
    source: FaultedGraph,
    given: Images,
    rate: float,
    codes: Sequence[str],
    loss: float,
    how: Measuring,
    output: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> ProtectionPlan:
    """Which memories to protect, and how, against flips at a rate.

    The plan that is written is the cheapest of the front that loses no more than `loss`, 0 to 1, on the images that
    judge; the most accurate one where none does.

    Raises:
        Problem: files that are missing or cannot be written; codes that there are not, that are of one memory, or that
            a graph without a folding has no words for.
    """
    codes = _codes(codes)
    source.check(given, (output, PLANS), (how.store, (".sqlite", ".sqlite3", ".db")))
    graph, known = source.open(source.path)
    if not known:
        check_folding(graph, Grid([Rates.of(rate)], [how.target], protections=codes))
    images = Halves.of(graph, source.path, given)
    with Store(how.store) as store:
        halves = _Measured(graph, images, how, store)
        places, quiet, struck = _places(halves), CellRate.of(0.0), CellRate.of(rate)
        total = len(places) * (1 + 2 * len(codes)) + 1
        halves.progress = lambda: progress(min(halves.count, total), total)

        def alone(place: Memory, code: str) -> float:
            return halves.chosen(Rates(quiet, {place.name: struck}), code)

        bare = {place.name: alone(place, "none") for place in places}
        choices = []
        for place in places:
            for code in codes:
                cost = Protections.parse(code).at(place).cost(place)
                extra = cost.bram18 - cost.bram18_plain
                choices.append(CodeChoice(place.name, code, cost.lut, extra, alone(place, code)))
        front = protection_front(choices, bare, lambda made: halves.chosen(Rates.of(rate), _text(made)), LUT_OF_BRAM18)
        progress(total, total)
        rows = []
        for one in front:
            text = _text(one.codes)
            safe = Protections.parse(text)
            extra = sum(safe.at(place).cost(place).extra_bits for place in places)
            judged = halves.judged(Rates.of(rate), text)
            rows.append(
                ProtectedNetwork(protect=text, lut=one.lut, bram18=one.bram18, extra_bits=extra, accuracy=judged)
            )
        clean = halves.clean(halves.judging)
        enough = (index for index, one in enumerate(rows) if one.accuracy.mean >= clean - loss)
        pick = next(enough, max(range(len(rows)), key=lambda index: rows[index].accuracy.mean))
        return ProtectionPlan(
            images=len(halves.choosing.images),
            judged=len(halves.judging.images),
            maps=how.maps,
            rate=rate,
            clean=clean,
            front=rows,
            pick=pick,
            output=_written(output, plan_text(graph, rows[pick].protect)),
            input=input_held(graph),
        )


def _codes(texts: Sequence[str]) -> list[str]:
    """Codes that are tried on every memory, each once."""
    for text in texts:
        if Protections.parse(text).by:
            hint = "give codes alone, such as --code tmr: each is measured on every memory"
            raise Problem(f"{text!r} names a memory", "--code", hint)
    return list(dict.fromkeys(texts))


def _places(halves: _Measured) -> list[Memory]:
    return [place for place in halves.point(Rates.of(0.0)).places(halves.choosing.graph) if isinstance(place, Memory)]


def _rates(rates: Mapping[str, float]) -> Rates:
    return Rates(CellRate.of(0.0), {name: CellRate.of(rate) for name, rate in rates.items()})


def _text(codes: Mapping[str, str]) -> str:
    return ",".join(f"{name}={code}" for name, code in sorted(codes.items())) or "none"


def _table(rates: Mapping[str, float]) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("condition", "memory", "rate"))
    # what a table does not name is refused: other memories are as they should be
    rows.writerow(("plan", "", 0.0))
    for name, rate in rates.items():
        rows.writerow(("plan", name, repr(rate)))
    return text.getvalue()


def _written(output: Path | None, text: str) -> str | None:
    if output is None:
        return None
    write_whole(output, text.encode())
    return str(output)

"""Campaigns: a grid of points, as many maps at each as its interval needs, results kept as they come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from math import sqrt
from typing import Any

import numpy as np

from bnnflow import Problem

from ....transforms.ir.graph import Graph
from ..injection.cells import CellRate
from ..injection.rates import Rates
from ..injection.trials import SINGLE, Outcome, Point, Subject, population, undervolted_at
from ..injection.undervolting import Chip
from .statistics import both, clopper_pearson, half_width, image_half_width, leveugle, stein, student_t, unseen
from .store import Store
from .workers import Task, Workers


@dataclass(frozen=True, slots=True)
class Plan:
    """How many maps a point gets.

    Without `wanted`, `maps`. With it, two stages (`statistics.stein`): the first maps, as many again while all of
    them are equal and say nothing of how maps differ, decide by their deviation how many there are in all. That
    depends on the maps alone, not on who ran them in which order, and no one looks at an interval in between.

    Attributes:
        maps: of the first stage.
        wanted: half width of the mean over maps to reach at 95 %, 0.0025 for a quarter of a point; None: no second
            stage.
        most: maps in all, where `wanted` asks for more.
        error, confidence: half width of the interval of the share of critical faults, and its confidence, 0 to 1, for
            the points of the model "single" (Leveugle's sample size).
    """

    maps: int = 5
    wanted: float | None = None
    most: int = 100
    error: float = 0.01
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if self.maps < 1 or self.most < 1:
            raise Problem(f"{min(self.maps, self.most)} fault maps", "fault campaign", "give 1 or more", key="faults")
        if self.wanted is None:
            return
        if not 0 < self.wanted < 1:
            hint = "give the half width in accuracy, 0.0025 for a quarter of a point"
            raise Problem(f"an interval of +- {self.wanted:g}", "fault campaign", hint, key="faults")
        if self.maps < 2:
            hint = "begin with 5 or more; their deviation decides how many are needed"
            raise Problem("one fault map says nothing of how maps differ", "fault campaign", hint, key="faults")
        if self.most < self.maps:
            what = f"at most {self.most} fault maps, but {self.maps} to begin with"
            raise Problem(what, "fault campaign", "allow more, or begin with fewer", key="faults")

    def stages(self, values: Sequence[float], unit: float) -> tuple[int, int]:
        """Maps of the first stage, and in all, as far as these accuracies of maps 0, 1, 2, ... say.

        Args:
            values: of the maps that are there; where they are fewer than a stage, it is not over.
            unit: 1 / images.
        """
        first = self.maps
        if self.wanted is None:
            return first, first
        while len(values) >= first and len(set(values[:first])) == 1 and first < self.most:
            first = min(self.most, first + self.maps)
        if len(values) < first:
            return first, first
        return first, min(self.most, stein(values[:first], self.wanted, unit))


@dataclass(frozen=True, slots=True)
class Series:
    """The trials of one point, and what they say.

    Attributes:
        point: what they suffer.
        outcomes: trial 0, 1, 2, ...
        population: cells a single fault can hit; 0 for other models.
        first: maps of the first stage of `Plan`; None: all.
        confidence: of the interval of single faults, 0 to 1.
    """

    point: Point
    outcomes: tuple[Outcome, ...]
    population: int = 0
    first: int | None = None
    confidence: float = 0.95

    @property
    def accuracy(self) -> list[float]:
        """Of each trial."""
        return [one.right / one.images for one in self.outcomes]

    def facts(self) -> dict[str, Any]:
        """Plain values: what was injected, mean, 95 % intervals, worst map, changed classes.

        `low` and `high` hold for other maps and other test images; `half_width` is what the maps leave of that,
        `test_half_width` what the images do. At 95 %, at most `worse_share` of all maps are worse than the worst one.
        For single faults: the share that changes a class of these images, with its exact interval. `classes`,
        `worst_class` and `margin` where the outcomes tell them.
        """
        values, images = self.accuracy, self.outcomes[0].images
        point, mean = self.point, float(np.mean(values))
        half, low, high = self._spread(values, images)
        facts: dict[str, Any] = {
            "target": point.target,
            "layers": list(point.layers) or ["all"],
            "model": point.model,
            "rate": point.rates.value,
            "rates": str(point.rates),
            "injected": point.rates.facts(),
            "protection": point.protection,
            "seed": point.seed,
            "images": images,
            "maps": len(values),
            "mean": mean,
            "low": low,
            "high": high,
            "half_width": half,
            "test_half_width": image_half_width(mean, images),
            "worst": min(values),
            "worse_share": 0.0 if self.sure or len(values) == self.population else unseen(len(values)),
            "changed": float(np.mean([one.changed for one in self.outcomes])) / images,
        }
        shares = [one.changed / images for one in self.outcomes]
        facts["changed_low"], facts["changed_high"] = self._changes(shares, images)
        facts |= self._classes() | self._margin()
        if point.model == SINGLE:
            critical = sum(one.changed > 0 for one in self.outcomes)
            low, high = clopper_pearson(critical, len(values), self.confidence)
            if len(values) == self.population:
                low = high = critical / len(values)
            facts |= {"population": self.population, "critical": critical, "critical_share": critical / len(values)}
            facts |= {"critical_low": low, "critical_high": high, "confidence": self.confidence}
        return facts

    @property
    def sure(self) -> bool:
        """All maps are the same one."""
        return self.point.sure

    def _spread(self, values: Sequence[float], images: int) -> tuple[float, float, float]:
        """Half width over maps of a mean share of so many images, and its interval for other maps and images."""
        half = 0.0 if self.sure else half_width(values, 1 / images, self.first)
        return half, *both(float(np.mean(values)), half, images)

    def _changes(self, values: Sequence[float], images: int) -> tuple[float, float]:
        """Interval of a share of changed classes: where nothing is hit, no image's class changes."""
        nothing = self.point.rates.none and self.point.model != SINGLE
        return (0.0, 0.0) if nothing else self._spread(values, images)[1:]

    def _classes(self) -> dict[str, Any]:
        """Accuracy and changed classes of the images of each true class; classes without images are left out."""
        told = [one.classes for one in self.outcomes if one.classes is not None]
        if not told or len(told) < len(self.outcomes):
            return {}
        rows = []
        for label, of in enumerate(told[0]):
            if of.images:
                right = [each[label].right / of.images for each in told]
                half, low, high = self._spread(right, of.images)
                other = [each[label].changed / of.images for each in told]
                changed_low, changed_high = self._changes(other, of.images)
                rows.append(
                    {
                        "label": label,
                        "images": of.images,
                        "clean": of.clean / of.images,
                        "accuracy": float(np.mean(right)),
                        "low": low,
                        "high": high,
                        "half_width": half,
                        "changed": float(np.mean(other)),
                        "changed_low": changed_low,
                        "changed_high": changed_high,
                    }
                )
        worst = max(rows, key=lambda row: row["clean"] - row["accuracy"])
        return {"classes": rows, "worst_class": worst["label"]}

    def _margin(self) -> dict[str, Any]:
        """Mean fall of margins, with Student's t over maps; no interval where maps do not differ, or there is one."""
        told = [one.margin for one in self.outcomes if one.margin is not None]
        if not told or len(told) < len(self.outcomes):
            return {}
        images = self.outcomes[0].images
        losses = [(one.clean - one.faulty) / images for one in told]
        head = losses[: self.first]
        half: float | None = 0.0 if self.sure else None
        if len(set(head)) > 1:
            half = student_t(len(head) - 1) * float(np.std(head, ddof=1)) / sqrt(len(losses))
        margin = {
            "unit": told[0].unit,
            "clean": told[0].clean / images,
            "faulty": float(np.mean([one.faulty for one in told])) / images,
            "loss": float(np.mean(losses)),
            "half_width": half,
            "greatest": max(losses),
        }
        return {"margin": margin}


@dataclass(frozen=True, slots=True)
class Grid:
    """Every combination of its entries is a point.

    Attributes:
        targets, models, protections: text forms, as in `Point`. No models: what the rates say, "asymmetric" where
            they are given for each direction, else "flip".
        layers: names joined by "+", "all" (all at once) or "each" (one after another).
        rates, seeds: entries of the grid.
        fifo_depth: words of FIFOs.
        voltages: of block RAMs, in volts; where no models are named, each is one, "undervolting:VOLTAGE".
        chip: the device whose block RAMs are undervolted.
    """

    rates: Sequence[Rates]
    targets: Sequence[str] = ("weights",)
    layers: Sequence[str] = ("all",)
    models: Sequence[str] = ()
    protections: Sequence[str] = ("none",)
    seeds: Sequence[int] = (0,)
    fifo_depth: int = 32
    voltages: Sequence[float] = ()
    chip: Chip = Chip()  # noqa: RUF009  (frozen)

    def points(self, graph: Graph) -> list[Point]:
        """All points, layer by layer, rates innermost; all are checked against the graph.

        Raises:
            Problem: names that the graph or the models do not have; the hint names the closest.
        """
        made: list[Point] = []
        usual = "asymmetric" if any(rates.directed for rates in self.rates) else "flip"
        models = self.models or [f"undervolting:{volts!r}" for volts in self.voltages] or [usual]
        axes = product(self.targets, self.layers, models, self.protections, self.seeds)
        for target, named, model, protection, seed in axes:
            steps = self._steps(model)
            nothing = Rates(CellRate.of(0.0), {}, steps[0].directed or steps[0].one_way)
            whole = Point(target, (), model, nothing, protection, seed, self.fifo_depth, self.chip)
            known = tuple(dict.fromkeys(place.layer for place in whole.places(graph)))
            groups = [(name,) for name in known] if named == "each" else [() if named == "all" else _names(named)]
            for layers in groups:
                made += [replace(whole, layers=layers, rates=rates) for rates in steps]
        for point in made:
            point.check(graph)
        # Conditions of a table stay apart, also where their rates are the same.
        return list({(point.key(), point.rates.label): point for point in made}.values())

    def _steps(self, model: str) -> Sequence[Rates]:
        """Rates of a model: a single fault has none, that of an undervolted board is its own."""
        if model == SINGLE:
            return [Rates.of(0.0)]
        voltage = undervolted_at(model)
        return self.rates if voltage is None else [self.chip.rates(voltage)]


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split("+"))


@dataclass(slots=True)
class Campaign:
    """A subject, its points and how far each is followed.

    Attributes:
        subject: the network and its images.
        points: as `Grid.points` gives them.
        plan: how many maps.
        store: where results are kept; what lies there is not run again.
        workers: who runs trials.
    """

    subject: Subject
    points: Sequence[Point]
    plan: Plan = field(default_factory=Plan)
    store: Store = field(default_factory=Store)
    workers: Workers = field(default_factory=Workers)

    def run(self, progress: Callable[[int, int], None] = lambda done, total: None) -> list[Series]:
        """Run what is missing.

        Args:
            progress: called with trials done and those that are sure to be needed.

        Raises:
            Problem: from trials or workers; what was gathered before is in the store.
        """
        digest = self.subject.digest
        sizes = {p.key(): population(self.subject.graph, p) if p.model == SINGLE else 0 for p in self.points}
        while True:
            told = self.subject.metrics
            found = {point.key(): self.store.outcomes(digest, point.key(), told) for point in self.points}
            needed = {p.key(): self._needed(p, found[p.key()], sizes[p.key()]) for p in self.points}
            total = sum(needed.values())
            done = sum(sum(trial < needed[key] for trial in outcomes) for key, outcomes in found.items())
            progress(done, total)
            once = {point.key(): point for point in self.points}
            tasks = [task for key, point in once.items() for task in self._missing(point, found[key], needed)]
            if not tasks:
                return [self._series(p, found[p.key()], needed[p.key()], sizes[p.key()]) for p in self.points]
            for point, outcomes in self.workers.perform(self.subject, tasks):
                self.store.add(digest, point.key(), outcomes)
                done += len(outcomes)
                progress(done, total)

    def _needed(self, point: Point, found: dict[int, Outcome], size: int) -> int:
        """Maps of the present stage."""
        if point.model == SINGLE:
            return leveugle(size, self.plan.error, self.plan.confidence)
        if point.rates.none:
            return self.plan.maps
        if point.sure:
            return 1
        return self.plan.stages(_whole(found), 1 / len(self.subject.images))[1]

    def _missing(self, point: Point, found: dict[int, Outcome], needed: dict[str, int]) -> list[Task]:
        missing = [trial for trial in range(needed[point.key()]) if trial not in found]
        size = self.workers.chunk
        return [(point, tuple(missing[first : first + size])) for first in range(0, len(missing), size)]

    def _series(self, point: Point, found: dict[int, Outcome], needed: int, size: int) -> Series:
        outcomes, first = tuple(found[trial] for trial in range(needed)), None
        if self.plan.wanted is not None and point.model != SINGLE and not point.sure:
            first = self.plan.stages(_whole(found), 1 / len(self.subject.images))[0]
        return Series(point, outcomes, size, first, self.plan.confidence)


def _whole(found: dict[int, Outcome]) -> list[float]:
    """Accuracies of maps 0, 1, 2, ... up to the first that is missing."""
    values: list[float] = []
    while len(values) in found:
        one = found[len(values)]
        values.append(one.right / one.images)
    return values

"""Campaigns: a grid of points, as many maps at each as its interval needs, results kept as they come."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

import numpy as np

from bnnflow import Problem

from ...transforms.graph import Graph
from .rates import Rates
from .statistics import half_width, image_half_width, leveugle, wilson
from .store import Store
from .trials import SINGLE, Outcome, Point, Subject, population
from .workers import Task, Workers


@dataclass(frozen=True, slots=True)
class Plan:
    """How many maps a point gets.

    Maps are looked at in rounds: `maps` first, then `step` more at a time, while the 95 % interval of the mean
    over maps is wider than +- `wanted` and there are less than `most`. What stops a series depends on its maps
    alone, not on who ran them in which order.

    Attributes:
        maps: of the first round; the only one while `wanted` is None.
        wanted: half width of the mean accuracy to reach, 0.0025 for a quarter of a point; None: no more rounds.
        step, most: maps of a later round, and in all.
        error, confidence: of Leveugle's sample size, for the points of the model "single".
    """

    maps: int = 5
    wanted: float | None = None
    step: int = 5
    most: int = 100
    error: float = 0.01
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if self.maps < 1 or self.step < 1 or self.most < 1:
            raise Problem(f"{min(self.maps, self.step, self.most)} fault maps", "fault campaign", "give 1 or more")
        if self.wanted is not None and not 0 < self.wanted < 1:
            hint = "give the half width in accuracy, 0.0025 for a quarter of a point"
            raise Problem(f"an interval of +- {self.wanted:g}", "fault campaign", hint)
        if self.wanted is not None and self.most < self.maps:
            what = f"at most {self.most} fault maps, but {self.maps} to begin with"
            raise Problem(what, "fault campaign", "allow more, or begin with fewer")


@dataclass(frozen=True, slots=True)
class Series:
    """The trials of one point, and what they say.

    Attributes:
        point: what they suffer.
        outcomes: trial 0, 1, 2, ...
        population: cells a single fault can hit; 0 for other models.
    """

    point: Point
    outcomes: tuple[Outcome, ...]
    population: int = 0

    @property
    def accuracy(self) -> list[float]:
        """Of each trial."""
        return [one.right / one.images for one in self.outcomes]

    def facts(self) -> dict[str, Any]:
        """Plain values: mean, 95 % interval over maps, the test set's part beside it, worst map, changed classes.

        For single faults: the share that changes any class, with its score interval.
        """
        values, images = self.accuracy, self.outcomes[0].images
        mean, half = float(np.mean(values)), half_width(values)
        point = self.point
        facts: dict[str, Any] = {
            "target": point.target,
            "layers": list(point.layers) or ["all"],
            "model": point.model,
            "rate": point.rates.value,
            "rates": str(point.rates),
            "protection": point.protection,
            "seed": point.seed,
            "images": images,
            "maps": len(values),
            "mean": mean,
            "low": max(0.0, mean - half),
            "high": min(1.0, mean + half),
            "half_width": half,
            "test_half_width": image_half_width(mean, images),
            "worst": min(values),
            "changed": float(np.mean([one.changed for one in self.outcomes])) / images,
        }
        if point.model == SINGLE:
            critical = sum(one.changed > 0 for one in self.outcomes)
            low, high = wilson(critical, len(values))
            if len(values) == self.population:
                low = high = critical / len(values)
            facts |= {"population": self.population, "critical": critical, "critical_share": critical / len(values)}
            facts |= {"critical_low": low, "critical_high": high}
        return facts


@dataclass(frozen=True, slots=True)
class Grid:
    """Every combination of its entries is a point.

    Attributes:
        targets, models, protections: text forms, as in `Point`.
        layers: names joined by "+", "all" (all at once) or "each" (one after another).
        rates, seeds: entries of the grid.
        fifo_depth: words of FIFOs.
    """

    rates: Sequence[Rates]
    targets: Sequence[str] = ("weights",)
    layers: Sequence[str] = ("all",)
    models: Sequence[str] = ("flip",)
    protections: Sequence[str] = ("none",)
    seeds: Sequence[int] = (0,)
    fifo_depth: int = 32

    def points(self, graph: Graph) -> list[Point]:
        """All points, layer by layer, rates innermost; all are checked against the graph.

        Raises:
            Problem: names that the graph or the models do not have; the hint names the closest.
        """
        made: list[Point] = []
        axes = product(self.targets, self.layers, self.models, self.protections, self.seeds)
        for target, named, model, protection, seed in axes:
            whole = Point(target, (), model, Rates.of(0.0), protection, seed, self.fifo_depth)
            known = tuple(dict.fromkeys(place.layer for place in whole.places(graph)))
            groups = [(name,) for name in known] if named == "each" else [() if named == "all" else _names(named)]
            for layers in groups:
                # A single fault has no rate.
                steps = [Rates.of(0.0)] if model == SINGLE else self.rates
                made += [replace(whole, layers=layers, rates=rates) for rates in steps]
        for point in made:
            point.places(graph)
        return list({point.key(): point for point in made}.values())


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
            found = {point.key(): self.store.outcomes(digest, point.key()) for point in self.points}
            needed = {p.key(): self._needed(p, found[p.key()], sizes[p.key()]) for p in self.points}
            total = sum(needed.values())
            done = sum(sum(trial < needed[key] for trial in outcomes) for key, outcomes in found.items())
            progress(done, total)
            tasks = [task for point in self.points for task in self._missing(point, found[point.key()], needed)]
            if not tasks:
                return [self._series(p, found[p.key()], needed[p.key()], sizes[p.key()]) for p in self.points]
            for point, outcomes in self.workers.perform(self.subject, tasks):
                self.store.add(digest, point.key(), outcomes)
                done += len(outcomes)
                progress(done, total)

    def _needed(self, point: Point, found: dict[int, Outcome], size: int) -> int:
        """Maps of the present round: the first round at which the series may stop, or the first that is not whole."""
        plan = self.plan
        if point.model == SINGLE:
            return leveugle(size, plan.error, plan.confidence)
        count = plan.maps
        while plan.wanted is not None and count < plan.most and all(trial in found for trial in range(count)):
            values = [found[trial].right / found[trial].images for trial in range(count)]
            if count > 1 and half_width(values) <= plan.wanted:
                break
            count = min(plan.most, count + plan.step)
        return count

    def _missing(self, point: Point, found: dict[int, Outcome], needed: dict[str, int]) -> list[Task]:
        missing = [trial for trial in range(needed[point.key()]) if trial not in found]
        size = self.workers.chunk
        return [(point, tuple(missing[first : first + size])) for first in range(0, len(missing), size)]

    @staticmethod
    def _series(point: Point, found: dict[int, Outcome], needed: int, size: int) -> Series:
        return Series(point, tuple(found[trial] for trial in range(needed)), size)

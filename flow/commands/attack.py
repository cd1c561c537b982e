"""The work behind `flow attack`: the progressive bit-flip attack on a graph, random flips beside it, and their map."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bnnflow import Problem

from ..graphs.campaign import labelled
from ..graphs.inputs import input_held
from ..recipe.objects import set_threads
from ..results.fault_analysis import AttackResult, AttackStep, RandomFlips
from ..run.files import write_whole
from .faults import MAPS, FaultedGraph, judged_on
from .simulation import Images

if TYPE_CHECKING:
    from ...sim.faults import FaultMap, Subject
    from ...sim.faults.analysis.progressive import Attack
    from ...sim.faults.injection.layout import Memory

_SAVED_EVERY = 10.0
"""Seconds between two writings of the map of an attack that goes on."""
_DRAW = 0x6261


@dataclass(frozen=True, slots=True)
class AttackPlan:
    """What an attack wants, by which means, and when it ends.

    Attributes:
        target: the class that all images are to get; None: any wrong one.
        layers: units that may be hit; none: all with weights.
        batch: images that gradients and losses are of.
        candidates: bits of a layer that are looked at in a step.
        flips: at most so many.
        margin: it ends where accuracy on the images judged is at most 1 / classes + this, or, of a target, where at
            least 1 - this of them have its class; 0 to 1.
        random: orders in which bits are flipped at random, beside it.
        seed: of these, and of which images are attacked on.

    Raises:
        Problem: a number that is out of range.
    """

    target: int | None = None
    layers: tuple[str, ...] = ()
    batch: int = 128
    candidates: int = 100
    flips: int = 1000
    margin: float = 0.01
    random: int = 5
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("flips", 1), ("batch", 1), ("candidates", 1), ("random", 0), ("seed", 0)):
            value = getattr(self, name)
            if value < least:
                raise Problem(f"{name} is {value}", key=name, hint=f"give {least} or more")
        if not 0 <= self.margin < 1:
            raise Problem(f"a margin of {self.margin:g}", key="margin", hint="give a number from 0 up to below 1")

    def check(self, classes: int) -> None:
        """Refuse a target that is none of the classes."""
        if self.target is not None and not 0 <= self.target < classes:
            what = f"there is no class {self.target}: the network has {classes}"
            raise Problem(what, key="target", hint=f"give a class from 0 to {classes - 1}")

    def reached(self, accuracy: float, share: float | None, classes: int) -> bool:
        """Whether an attack has done what it wants.

        Args:
            accuracy: on the images judged, 0 to 1.
            share: of them, that have the target's class; None without a target.
            classes: of the network.
        """
        if share is not None:
            return share >= 1 - self.margin
        return accuracy <= 1 / classes + self.margin


def attack(
    source: FaultedGraph,
    given: Images,
    plan: AttackPlan,
    *,
    start: Path | None = None,
    save: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> AttackResult:
    """Attack a graph: the first images of `given` judge, and `plan.batch` of those behind them are attacked on.

    Args:
        source: the graph, folded as its memories are to be.
        given: images and labels; of fewer images than both take, those that are left judge.
        plan: of the attack.
        start: a map of flips to begin with; an attack goes on as if it had made them.
        save: file of the map, .npz or .csv; written while the attack goes on, too.
        progress: called with flips made and the most that there may be.

    Raises:
        Problem: no labels, too few images, a graph without weights in memories or classes, a target or layers that do
            not exist, an operation that no gradient passes, or files that cannot be written.
    """
    from ...sim.engine.simulator import Simulator, class_count
    from ...sim.faults import FaultMap, Subject, contents
    from ...sim.faults.analysis.progressive import Attack, Goal, attacked, with_scores
    from ..pruning.weight_gradients import WeightGradients

    source.check(given, (save, MAPS))
    set_threads(1)
    opened, _ = source.open(source.path)
    pixels, kept = judged_on(opened, source.path, replace(given, count=None))
    labels = labelled(kept)
    graph = with_scores(opened)
    classes = class_count(graph)
    plan.check(classes)
    places = attacked(graph, plan.layers)
    count, chosen = _parted(len(pixels), given.count, plan)
    subject = Subject(graph, pixels[:count], labels[:count])
    batch = pixels[chosen]
    simulator = Simulator.of(graph)
    wanted = labels[chosen] if plan.target is None else np.full(len(chosen), plan.target)
    goal = Goal.of(simulator.scores(batch), wanted.astype(np.int64), plan.target is not None)
    gradients = WeightGradients(graph, batch).of(batch, goal, [place.layer for place in places])
    begun = None if start is None else FaultMap.load(start, graph)
    if begun is not None and begun.contents not in ("", contents(graph)):
        what = "the flips were chosen for other weights or thresholds"
        raise Problem(what, str(start), "begin with a map of this network, or with none", key="start")
    run = Attack(simulator, batch, goal, gradients, places, plan.candidates, begun)
    clean = float(np.mean(subject.classes == subject.labels))
    made, ended = _steps(run, subject, plan, classes, save, progress)
    found = run.map()
    accuracy = _accuracy(subject, found)
    if save is not None:
        write_whole(save, found.content(save.suffix, graph))
    bits = sum(place.size for place in places)
    return AttackResult(
        images=count,
        attacked_on=len(chosen),
        classes=classes,
        target=plan.target,
        level=1 - plan.margin if plan.target is not None else 1 / classes + plan.margin,
        layers=[place.layer for place in places],
        bits=bits,
        clean=clean,
        begun_with=0 if begun is None else sum(len(cells.index) for cells in begun.cells.values()),
        flips=run.flips,
        accuracy=accuracy,
        ended=ended,
        steps=made,
        random=_random(subject, places, plan, run.flips, classes) if plan.random else None,
        cells={name: len(cells.index) for name, cells in found.cells.items()},
        map=None if save is None else str(save),
        input=input_held(opened),
    )


def _parted(total: int, judged: int | None, plan: AttackPlan) -> tuple[int, np.ndarray]:
    """How many images judge, from the first on, and which of those behind them are attacked on, ascending."""
    count = total - plan.batch if judged is None else min(judged, total - plan.batch)
    if count < 1:
        what = f"{total} images, of which {plan.batch} are attacked on and the others judge"
        raise Problem(what, "attack", "give more images, or attack on fewer", key="batch")
    drawn = np.random.default_rng([plan.seed, _DRAW]).permutation(total - count)[: plan.batch]
    return count, count + np.sort(drawn)


def _steps(
    run: Attack,
    subject: Subject,
    plan: AttackPlan,
    classes: int,
    save: Path | None,
    progress: Callable[[int, int], None],
) -> tuple[list[AttackStep], str]:
    """Every step until the attack ends, and why it did."""

    def share(found: np.ndarray) -> float | None:
        return None if plan.target is None else float(np.mean(found == plan.target))

    made: list[AttackStep] = []
    now = run.simulator.classes(subject.images)
    if plan.reached(float(np.mean(now == subject.labels)), share(now), classes):
        return made, "level"
    saved = time.monotonic()
    for step in run.steps(plan.flips):
        now = step.simulator.classes(subject.images)
        accuracy = float(np.mean(now == subject.labels))
        made.append(
            AttackStep(
                flips=run.flips,
                layer=step.layer,
                cells=step.cells.tolist(),
                loss=step.loss,
                accuracy=accuracy,
                share=share(now),
            )
        )
        progress(run.flips, plan.flips)
        if plan.reached(accuracy, share(now), classes):
            return made, "level"
        if save is not None and time.monotonic() - saved > _SAVED_EVERY:
            write_whole(save, run.map().content(save.suffix, subject.graph))
            saved = time.monotonic()
    return made, "flips" if run.flips >= plan.flips else "stuck"


def _accuracy(subject: Subject, found: FaultMap) -> float:
    """Accuracy with a map, as a replay of it measures."""
    return subject.run(found.ops(subject.graph)).right / len(subject.images)


def _random(subject: Subject, places: Sequence[Memory], plan: AttackPlan, flips: int, classes: int) -> RandomFlips:
    """Accuracy after 1, 2, 4, ... flips in random orders, up to half of the bits, and after as many as were found."""
    from ...sim.faults.analysis.progressive import random_flips
    from ...sim.faults.campaigns.statistics import both, half_width

    total, images = sum(place.size for place in places), len(subject.images)
    counts = sorted({flips, *(min(2**power, total // 2) for power in range(total.bit_length()))} - {0})
    rows = []
    for trial in range(plan.random):
        drawn = random_flips(subject.graph, places, plan.seed, trial)
        rows.append([_accuracy(subject, drawn(count)) for count in counts])
    table = np.array(rows)
    means = table.mean(axis=0).tolist()
    bounds = [both(mean, half_width(column, 1 / images), images) for mean, column in zip(means, table.T, strict=True)]
    level = 1 / classes + plan.margin
    to_level = [next((count for count, one in zip(counts, row, strict=True) if one <= level), None) for row in rows]
    at = counts.index(flips) if flips else None
    return RandomFlips(
        orders=plan.random,
        flips=counts,
        mean=means,
        low=[low for low, _ in bounds],
        high=[high for _, high in bounds],
        after_as_many=None if at is None else means[at],
        to_level=to_level,
    )

"""Iterative structured pruning: score, remove, recover, step by step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from bnnflow import Problem

from .. import store
from ..augment import augment
from ..batchnorm import reestimate
from ..criteria import Criterion
from ..flips import FlipCounts
from ..networks import Network, NetworkSpec
from ..relevance import Relevance, Sample, score
from ..train import Progress, TrainSpec, accuracy, run_key, train
from .groups import Group, group_scores, groups
from .surgery import remove

HELD_OUT = 0.1
HELD_OUT_MOST = 2000
NORM_IMAGES = 5000


@dataclass(frozen=True, slots=True)
class PruneSpec:
    """How to prune.

    Args:
        amount: share of the channels of each group (`groups`; without joins, each hidden layer) to remove in all, 0 to
            0.9; an allocator may take it as a share of something else.
        steps: in how many steps; scores are taken anew at each.
        unit: what is left of a group is a multiple of it (at least one unit), so that PE and SIMD can
            divide it.
        images: training images that the scores are computed on.
        recovery: training after each step, with the seed of the step in place of its own; 0 epochs re-estimate the
            batch norms alone.
        seed: of all random choices.
        criterion: as `criteria` lists them; "random" is the control.
        max_loss: most that accuracy on the held-out images may fall below the unpruned network's, 0 to 1; the first
            step that falls further is undone, and ends the pruning. None sets no limit.
        least: channels that every group keeps.

    Raises:
        Problem: a value is out of its range.
    """

    amount: float
    steps: int
    unit: int
    images: int
    recovery: TrainSpec
    seed: int
    criterion: str = "deeplift"
    max_loss: float | None = None
    least: int = 1

    def __post_init__(self) -> None:
        if not 0.0 <= self.amount <= 0.9:
            raise Problem(f"an amount of {self.amount}", where="amount", hint="a share from 0 to 0.9")
        for name in ("steps", "unit", "images", "least"):
            if getattr(self, name) < 1:
                raise Problem(f"{name} of {getattr(self, name)}", where=name, hint="1 or more")
        Criterion.parse(self.criterion)
        if self.max_loss is not None and not 0 <= self.max_loss <= 1:
            raise Problem(f"a loss of {self.max_loss}", where="max_loss", hint="a share of the images, from 0 to 1")

    def fine_tuning(self, step: int) -> TrainSpec:
        """The training of step `step`; each has its own seed."""
        return replace(self.recovery, seed=self.seed + step)


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known when it is decided how many filters each layer keeps.

    Attributes:
        original, network: the unpruned network, and the one to be pruned further.
        scores: by group of `network`; higher matters more.
        step: from 0.
        images, labels: training images held out of scoring and fine-tuning.
        calibration: training images that batch norms are measured on.
        records: of earlier steps.
    """

    original: Network
    network: Network
    scores: dict[str, np.ndarray]
    step: int
    images: np.ndarray
    labels: np.ndarray
    calibration: np.ndarray
    records: Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Allocation:
    """How many channels each group keeps after a step.

    Attributes:
        kept: by group; equal widths remove nothing, and the step is left out.
        facts: plain values for the record.
        stop: why no later step is to follow; empty goes on.
    """

    kept: dict[str, int]
    facts: dict[str, Any] = field(default_factory=dict)
    stop: str = ""


Allocator = Callable[[Situation], Allocation]


@dataclass(frozen=True, slots=True)
class PruneResult:
    """A pruned network and how it came about.

    Args:
        network: the last good one, in eval mode, batch norms re-estimated.
        steps: for each step `step` (from 1), `kept` (channels left by group), `filters` (which ones, as
            indices into the unpruned group), `scores` (by layer, before the step), `macs` (for one image),
            `accuracy_before` and `accuracy_after` fine-tuning (share, on training images that fine-tuning
            did not see), `check` (of the scores; None where the criterion has none), `rolled_back` (the step cost too
            much accuracy, and was undone),
            `allocation` (what the allocator says).
        accuracy: of the unpruned network on the held-out images.
        stop: why pruning ended before its last step; empty where it did not.
    """

    network: Network
    steps: list[dict[str, Any]]
    accuracy: float
    stop: str = ""


@dataclass(slots=True)
class _State:
    """What a checkpoint holds: the last good network, the filters it has, and what was done."""

    network: Network
    filters: dict[str, np.ndarray]
    accuracy: float
    records: list[dict[str, Any]] = field(default_factory=list)
    done: int = 0
    stop: str = ""


def prune(
    network: Network,
    images: np.ndarray,
    labels: np.ndarray,
    spec: PruneSpec,
    checkpoint: Path | None = None,
    progress: Callable[[int, int, dict[str, float]], None] | None = None,
    allocate: Allocator | None = None,
    allocation: str = "",
    held_out: np.ndarray | None = None,
    flips: FlipCounts | None = None,
) -> PruneResult:
    """Remove the filters and neurons of lowest relevance step by step, with recovery after each step.

    A step scores all hidden layers, removes the lowest channels of each group, re-estimates the batch norms,
    fine-tunes, and re-estimates again. A step that loses more than `spec.max_loss` is undone and ends the pruning.

    Args:
        network: the trained network; not changed.
        images: (N, C, H, W) uint8, the training images.
        labels: (N,) integers.
        spec: how to prune.
        checkpoint: written after each step, and beside it one file for the epochs of the step under way; a
            file of another run, or a damaged one, is ignored.
        progress: called after each batch of fine-tuning with steps done, total (of all prune steps), and
            `prune_step`, `epoch`, `loss`, `accuracy`.
        allocate: how many channels each group keeps after a step; None takes the same share of every group. It must
            decide the same in the same situation.
        allocation: says what `allocate` does, so that a checkpoint of another is not taken.
        held_out: ascending indices of the images that are kept out of scoring and fine-tuning to measure accuracy:
            best those that training kept out. None draws a tenth, at most 2,000; where the network was trained on them
            before, accuracies are optimistic, the unpruned network's most of all.
        flips: what training counted, for criteria that ask for it.
    """
    key = f"{run_key(network, images, labels, spec)} {allocation} {held_out is None}"
    out, rest = _split(len(images), spec.seed) if held_out is None else _apart(len(images), held_out)
    held_images, held_labels = images[out], labels[out]
    images, labels = images[rest], labels[rest]
    state = _resumed(checkpoint, key) or _started(network, held_images, held_labels)
    for step in range(state.done, spec.steps):
        if state.stop:
            break
        counts = flips.cut(_layers(groups(network.spec), state.filters)) if flips is not None else None
        draw = (spec.images, spec.seed, step)
        relevance = step_scores(state.network, images, labels, spec.criterion, *draw, counts)
        scores = group_scores(state.network.spec, relevance.scores)
        calibration = _calibration(images, spec, step)
        present = {name: len(kept) for name, kept in state.filters.items()}
        if allocate is None:
            decided = Allocation({g.name: _width_after(g.width, spec, step) for g in groups(network.spec)})
        else:
            held = (held_images, held_labels, calibration)
            decided = allocate(Situation(network, state.network, scores, step, *held, state.records))
        state.done, state.stop = step + 1, decided.stop
        if allocate is None or decided.kept != present:
            keep = {name: _highest(scores[name], decided.kept[name]) for name in present}
            smaller = remove(state.network, keep)
            filters = {name: state.filters[name][keep[name]] for name in present}
            reestimate(smaller, calibration)
            before = after = accuracy(smaller, held_images, held_labels)
            if spec.recovery.epochs:
                beside = checkpoint and checkpoint.with_name(f"{checkpoint.stem}-step{step + 1}{checkpoint.suffix}")
                train(smaller, images, labels, spec.fine_tuning(step), beside, _shifted(progress, step, spec.steps))
                reestimate(smaller, calibration)
                after = accuracy(smaller, held_images, held_labels)
            bad = spec.max_loss is not None and after < state.accuracy - spec.max_loss
            record = _record(step, smaller, filters, relevance, before, after)
            state.records.append({**record, "rolled_back": bad, "allocation": decided.facts})
            if bad:
                state.stop = f"step {step + 1} lost more than {100 * (spec.max_loss or 0):g} points, and was undone"
            else:
                state.network, state.filters = smaller, filters
        _save(state, key, checkpoint)
    return PruneResult(state.network.eval(), state.records, state.accuracy, state.stop)


def _started(network: Network, images: np.ndarray, labels: np.ndarray) -> _State:
    whole = {group.name: np.arange(group.width) for group in groups(network.spec)}
    return _State(network, whole, accuracy(network, images, labels))


def _resumed(checkpoint: Path | None, key: str) -> _State | None:
    stored = store.load(checkpoint) if checkpoint is not None else None
    if stored is None or stored.get("key") != key:
        return None
    network = Network(NetworkSpec.from_dict(stored["spec"])).eval()
    network.load_state_dict(stored["network"])
    filters = {name: np.asarray(kept) for name, kept in stored["filters"].items()}
    return _State(network, filters, stored["accuracy"], list(stored["records"]), stored["done"], stored["stop"])


def _save(state: _State, key: str, checkpoint: Path | None) -> None:
    if checkpoint is None:
        return
    plain = {name: kept.tolist() for name, kept in state.filters.items()}
    whole = {"spec": state.network.spec.to_dict(), "network": state.network.state_dict(), "filters": plain}
    facts = {"accuracy": state.accuracy, "records": state.records, "done": state.done, "stop": state.stop}
    store.save({"key": key, **whole, **facts}, checkpoint)


def _calibration(images: np.ndarray, spec: PruneSpec, step: int) -> np.ndarray:
    rng = np.random.default_rng([spec.seed, step, 2])
    return augment(images[rng.permutation(len(images))[:NORM_IMAGES]], spec.recovery.augment, rng)


def _split(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Ascending indices of the images held out, and of the rest."""
    out = max(1, min(HELD_OUT_MOST, int(count * HELD_OUT)))
    order = np.random.default_rng([seed, 0, 0]).permutation(count)
    return np.sort(order[:out]), np.sort(order[out:])


def _apart(count: int, out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return out, np.setdiff1d(np.arange(count), out)


def step_scores(
    network: Network,
    images: np.ndarray,
    labels: np.ndarray,
    criterion: str,
    count: int,
    seed: int,
    step: int = 0,
    flips: FlipCounts | None = None,
) -> Relevance:
    """Score all hidden layers as step `step` of a pruning does.

    Args:
        network: the network.
        images, labels: of which `count` are drawn.
        criterion: as `criteria` lists them.
        count: images that are scored.
        seed, step: of the draw.
        flips: what training counted of the filters that are left.
    """
    rng = np.random.default_rng([seed, step, 1])
    sample = Sample.draw(images, labels, count, rng)
    return score(network, criterion, sample, int(rng.integers(2**31)), flips)


def _layers(parts: tuple[Group, ...], filters: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The filters that are left of each layer, from the channels left of each group."""
    return {layer: part.rows(layer, filters[part.name]) for part in parts for layer in part.layers}


def _width_after(width: int, spec: PruneSpec, step: int) -> int:
    """Filters left of `width` after step `step` (from 0): whole units, at least one, at most `width`."""
    share = 1.0 - spec.amount * (step + 1) / spec.steps
    rounded = max(spec.unit, spec.least, int(width * share / spec.unit + 0.5) * spec.unit)
    return min(width, rounded)


def _highest(scores: np.ndarray, count: int) -> np.ndarray:
    """Ascending indices of the `count` highest scores; of equal ones the first."""
    return np.sort(np.argsort(-scores, kind="stable")[:count])


def _shifted(progress: Progress | None, step: int, steps: int) -> Progress | None:
    if progress is None:
        return None
    report = progress
    return lambda done, total, metrics: report(
        step * total + done, steps * total, {"prune_step": step + 1.0, **metrics}
    )


def _record(
    step: int,
    network: Network,
    filters: dict[str, np.ndarray],
    relevance: Relevance,
    before: float,
    after: float,
) -> dict[str, Any]:
    return {
        "step": step + 1,
        "kept": {name: len(kept) for name, kept in filters.items()},
        "filters": {name: kept.tolist() for name, kept in filters.items()},
        "scores": {name: scores.tolist() for name, scores in relevance.scores.items()},
        "macs": network.spec.macs(),
        "accuracy_before": before,
        "accuracy_after": after,
        "check": relevance.check,
    }

"""Iterative structured pruning: score, remove, recover, step by step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bnnflow import Problem

from .. import store
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
            0.9.
        steps: in how many steps; scores are taken anew at each.
        unit: what is left of a group is a multiple of it (at least one unit), so that PE and SIMD can
            divide it.
        images: training images that the scores are computed on.
        epochs: of fine-tuning after each step; 0 re-estimates the batch norms alone.
        learning_rate, batch: of fine-tuning, as in `TrainSpec`.
        seed: of all random choices.
        criterion: as `criteria` lists them; "random" is the control.

    Raises:
        Problem: a value is out of its range.
    """

    amount: float
    steps: int
    unit: int
    images: int
    epochs: int
    learning_rate: float
    batch: int
    seed: int
    criterion: str = "deeplift"

    def __post_init__(self) -> None:
        if not 0.0 <= self.amount <= 0.9:
            raise Problem(f"an amount of {self.amount}", where="amount", hint="a share from 0 to 0.9")
        for field in ("steps", "unit", "images"):
            if getattr(self, field) < 1:
                raise Problem(f"{field} of {getattr(self, field)}", where=field, hint="1 or more")
        Criterion.parse(self.criterion)
        self.fine_tuning(0)

    def fine_tuning(self, step: int) -> TrainSpec:
        """The training of step `step`; each has its own seed."""
        return TrainSpec(self.epochs, self.batch, self.learning_rate, self.seed + step)


@dataclass(frozen=True, slots=True)
class PruneResult:
    """A pruned network and how it came about.

    Args:
        network: in eval mode, batch norms re-estimated.
        steps: for each step `step` (from 1), `kept` (channels left by group), `filters` (which ones, as
            indices into the unpruned group), `scores` (by layer, before the step), `macs` (for one image),
            `accuracy_before` and `accuracy_after` fine-tuning (share, on training images that fine-tuning
            did not see), `check` (of the scores; None where the criterion has none).
    """

    network: Network
    steps: list[dict[str, Any]]


def prune(
    network: Network,
    images: np.ndarray,
    labels: np.ndarray,
    spec: PruneSpec,
    checkpoint: Path | None = None,
    progress: Callable[[int, int, dict[str, float]], None] | None = None,
    flips: FlipCounts | None = None,
) -> PruneResult:
    """Remove the filters and neurons of lowest relevance step by step, with recovery after each step.

    A step scores all hidden layers, removes the lowest channels of each group, re-estimates the batch norms,
    fine-tunes, and re-estimates again. A tenth of the images (at most 2,000) is held out of scoring and fine-tuning to
    measure the recovery; where the network was trained on them before, that accuracy is optimistic.

    Args:
        network: the trained network; not changed.
        images: (N, C, H, W) uint8, the training images.
        labels: (N,) integers.
        spec: how to prune.
        checkpoint: written after each step, and beside it one file for the epochs of the step under way; a
            file of another run, or a damaged one, is ignored.
        progress: called after each batch of fine-tuning with steps done, total (of all prune steps), and
            `prune_step`, `epoch`, `loss`, `accuracy`.
        flips: what training counted, for criteria that ask for it.
    """
    key = run_key(network, images, labels, spec)
    out, rest = _split(len(images), spec.seed)
    held_images, held_labels = images[out], labels[out]
    images, labels = images[rest], labels[rest]
    parts = groups(network.spec)
    widths = {group.name: group.width for group in parts}
    filters = {name: np.arange(width) for name, width in widths.items()}
    records: list[dict[str, Any]] = []
    state = store.load(checkpoint) if checkpoint is not None else None
    if state is not None and state.get("key") == key:
        records = list(state["records"])
        network = Network(NetworkSpec.from_dict(state["spec"])).eval()
        network.load_state_dict(state["network"])
        filters = {name: np.asarray(kept) for name, kept in records[-1]["filters"].items()}
    for step in range(len(records), spec.steps):
        relevance = _score(network, images, labels, spec, step, flips, _layers(parts, filters))
        scores = group_scores(network.spec, relevance.scores)
        keep = {name: _highest(scores[name], _width_after(width, spec, step)) for name, width in widths.items()}
        filters = {name: filters[name][keep[name]] for name in widths}
        network = remove(network, keep)
        calibration = images[np.random.default_rng([spec.seed, step, 2]).permutation(len(images))[:NORM_IMAGES]]
        reestimate(network, calibration)
        before = accuracy(network, held_images, held_labels)
        if spec.epochs:
            beside = checkpoint and checkpoint.with_name(f"{checkpoint.stem}-step{step + 1}{checkpoint.suffix}")
            train(network, images, labels, spec.fine_tuning(step), beside, _shifted(progress, step, spec.steps))
            reestimate(network, calibration)
        after = accuracy(network, held_images, held_labels) if spec.epochs else before
        records.append(_record(step, network, filters, relevance, before, after))
        if checkpoint is not None:
            whole = {"spec": network.spec.to_dict(), "network": network.state_dict(), "records": records}
            store.save({"key": key, **whole}, checkpoint)
    return PruneResult(network.eval(), records)


def _split(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Ascending indices of the images held out, and of the rest."""
    out = max(1, min(HELD_OUT_MOST, int(count * HELD_OUT)))
    order = np.random.default_rng([seed, 0, 0]).permutation(count)
    return np.sort(order[:out]), np.sort(order[out:])


def _score(
    network: Network,
    images: np.ndarray,
    labels: np.ndarray,
    spec: PruneSpec,
    step: int,
    flips: FlipCounts | None,
    filters: dict[str, np.ndarray],
) -> Relevance:
    rng = np.random.default_rng([spec.seed, step, 1])
    sample = Sample.draw(images, labels, spec.images, rng)
    counts = flips.cut(filters) if flips is not None else None
    return score(network, spec.criterion, sample, int(rng.integers(2**31)), counts)


def _layers(parts: tuple[Group, ...], filters: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The filters that are left of each layer, from the channels left of each group."""
    return {layer: part.rows(layer, filters[part.name]) for part in parts for layer in part.layers}


def _width_after(width: int, spec: PruneSpec, step: int) -> int:
    """Filters left of `width` after step `step` (from 0): whole units, at least one, at most `width`."""
    share = 1.0 - spec.amount * (step + 1) / spec.steps
    rounded = max(spec.unit, int(width * share / spec.unit + 0.5) * spec.unit)
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

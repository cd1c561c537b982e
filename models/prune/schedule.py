"""Iterative structured pruning: score, remove, recover, step by step."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import store
from ..files.saved import network_of
from ..networks.network import Network
from ..networks.own import OwnNetwork
from ..relevance.sample import Relevance, Sample, SetScores
from ..relevance.scores import score
from ..training.augment import augment
from ..training.batchnorm import NORM_IMAGES
from ..training.evaluate import accuracy, run_key
from ..training.flips import FlipCounts
from ..training.injection import MemoriesOf
from ..training.train import Extras, Progress
from .recovery import Recovery
from .spec import Allocation, Allocator, PruneResult, PruneSpec, Situation, apart
from .structure import SpecStructure, Structure
from .widths import highest, width_left


@dataclass(slots=True)
class _State:
    """What a checkpoint holds: the last good network, the filters it has, and what was done."""

    network: Network | OwnNetwork
    filters: dict[str, np.ndarray]
    accuracy: float
    records: list[dict[str, Any]] = field(default_factory=list)
    done: int = 0
    stop: str = ""


def prune(
    network: Network | OwnNetwork,
    images: np.ndarray,
    labels: np.ndarray,
    spec: PruneSpec,
    checkpoint: Path | None = None,
    progress: Callable[[int, int, dict[str, float]], None] | None = None,
    allocate: Allocator | None = None,
    allocation: str = "",
    held_out: np.ndarray | None = None,
    flips: FlipCounts | None = None,
    structure: Structure[Any] | None = None,
    sets: SetScores | None = None,
    memories: MemoriesOf | None = None,
) -> PruneResult:
    """Remove the filters and neurons of lowest importance step by step, with recovery after each step.

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
        structure: of a user's own network; None is that of the network's shape.
        sets: what chooses sets of channels, for criteria that ask for it.
        memories: of the hardware of a network, for bit errors in fine-tuning.
    """
    if structure is None:
        assert isinstance(network, Network), "the structure of a user's own network is to be given"
    parts: Structure[Any] = structure or SpecStructure(network.spec)  # type: ignore[arg-type]
    widths = parts.widths
    drawn = "" if held_out is None else hashlib.sha256(np.asarray(held_out, np.int64).tobytes()).hexdigest()
    key = f"{run_key(network, images, labels, spec)} {allocation} {drawn}"
    out, rest = apart(len(images), spec.seed, held_out)
    held_images, held_labels = images[out], labels[out]
    images, labels = images[rest], labels[rest]
    state = _resumed(network, checkpoint, key) or _started(network, widths, held_images, held_labels)
    for step in range(state.done, spec.steps):
        if state.stop:
            break
        counts = parts.flips(flips, state.filters) if flips is not None else None
        draw = (spec.images, spec.seed, step)
        relevance = step_scores(state.network, images, labels, spec.criterion, *draw, counts, sets)
        scores = parts.scores(state.network, relevance.scores)
        rng = np.random.default_rng([spec.seed, step, 2])
        calibration = augment(images[rng.permutation(len(images))[:NORM_IMAGES]], spec.recovery.augment, rng)
        present = {name: len(kept) for name, kept in state.filters.items()}
        if allocate is None:
            decided = Allocation(_widths_after(widths, spec, step))
        else:
            held = (held_images, held_labels, calibration)
            decided = allocate(Situation(network, state.network, widths, scores, step, *held, state.records))
        state.done, state.stop = step + 1, decided.stop
        if allocate is None or decided.kept != present:
            keep = {name: highest(scores[name], decided.kept[name]) for name in present}
            smaller = parts.remove(state.network, keep)
            filters = {name: state.filters[name][keep[name]] for name in present}
            recover = Recovery(
                images,
                labels,
                (held_images, held_labels),
                spec.fine_tuning(step),
                checkpoint,
                _shifted(progress, step, spec.steps),
                calibration,
                Extras(teacher=network, memories=memories),
            )
            before, after = recover(smaller, f"step{step + 1}")
            bad = spec.max_loss is not None and after < state.accuracy - spec.max_loss
            record = _record(step, parts.macs(smaller), filters, relevance, before, after)
            state.records.append({**record, "rolled_back": bad, "allocation": decided.facts})
            if bad:
                state.stop = f"step {step + 1} lost more than {100 * (spec.max_loss or 0):g} points, and was undone"
            else:
                state.network, state.filters = smaller, filters
        _save(state, key, checkpoint)
    return PruneResult(state.network.eval(), state.records, state.accuracy, state.stop)


def _started(network: Network | OwnNetwork, widths: dict[str, int], images: np.ndarray, labels: np.ndarray) -> _State:
    whole = {name: np.arange(width) for name, width in widths.items()}
    return _State(network, whole, accuracy(network, images, labels))


def _resumed(start: Network | OwnNetwork, checkpoint: Path | None, key: str) -> _State | None:
    stored = store.load_stored(checkpoint) if checkpoint is not None else None
    if stored is None or stored.get("key") != key:
        return None
    network = network_of(stored["spec"], getattr(start.spec, "folder", "")).eval()
    assert isinstance(network, Network | OwnNetwork)
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


def step_scores(
    network: Network | OwnNetwork,
    images: np.ndarray,
    labels: np.ndarray,
    criterion: str,
    count: int,
    seed: int,
    step: int = 0,
    flips: FlipCounts | None = None,
    sets: SetScores | None = None,
) -> Relevance:
    """Score all hidden layers as step `step` of a pruning does.

    Args:
        network: the network.
        images, labels: of which `count` are drawn.
        criterion: as `criteria` lists them.
        count: images that are scored.
        seed, step: of the draw.
        flips: what training counted of the filters that are left.
        sets: what chooses sets of channels, for criteria that ask for it.
    """
    rng = np.random.default_rng([seed, step, 1])
    sample = Sample.draw(images, labels, count, rng)
    return score(network, criterion, sample, int(rng.integers(2**31)), flips, sets)


def widths_after(widths: Mapping[str, int], spec: PruneSpec) -> dict[str, int]:
    """Channels that the same share of every group, of so many, leaves after the last round."""
    return _widths_after(widths, spec, spec.steps - 1)


def _widths_after(widths: Mapping[str, int], spec: PruneSpec, step: int) -> dict[str, int]:
    share = 1.0 - spec.amount * (step + 1) / spec.steps
    return {name: width_left(width, share, spec.unit, spec.least) for name, width in widths.items()}


def _shifted(progress: Progress | None, step: int, steps: int) -> Progress | None:
    if progress is None:
        return None
    report = progress
    return lambda done, total, metrics: report(
        step * total + done, steps * total, {"prune_step": step + 1.0, **metrics}
    )


def _record(
    step: int,
    macs: int,
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
        "macs": macs,
        "accuracy_before": before,
        "accuracy_after": after,
        "check": relevance.check,
    }

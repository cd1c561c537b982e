"""Whole residual units: how important each is, and networks without the least important ones.

A unit is what one join adds: with join "integer" one convolution, with "thresholded" a block of two.

Idea: Veit, Wilber, Belongie, Residual networks behave like ensembles of relatively shallow networks, arXiv:1605.06431:
most single units can be deleted from a trained network at little loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bnnflow import Problem

from ..networks.network import Network, NetworkSpec
from ..networks.zoo import figures
from ..training.batchnorm import NORM_IMAGES, reestimate
from ..training.evaluate import accuracy
from ..training.injection import MemoriesOf
from ..training.train import Extras, Progress, TrainSpec
from .recovery import Recovery, Removal, rounds
from .surgery import drop_blocks, most_removable, removable, stages_of_blocks


@dataclass(frozen=True, slots=True)
class BlockLoss:
    """What one residual unit is worth to a network, measured without training.

    Attributes:
        name: block0, block1, ...
        macs, weights: of an image, and of the network, that go with it.
        without: accuracy (0 to 1) without it, batch norms re-estimated.
    """

    name: str
    macs: int
    weights: int
    without: float


@dataclass(frozen=True, slots=True)
class BlockStep:
    """One step of `reduce_blocks`.

    Attributes:
        dropped: the unit, by its name in the network that it began with.
        left: residual units of the network behind it.
        macs: of that network.
        before, after: accuracy (0 to 1) on the held images before and after recovery.
        undone: it lost too much.
    """

    dropped: str
    left: int
    macs: int
    before: float
    after: float
    undone: bool


def block_losses(
    network: Network,
    images: np.ndarray,
    labels: np.ndarray,
    norm_images: np.ndarray,
    augment: str = "none",
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[BlockLoss, ...]:
    """Measure every residual unit that can go, from input to output.

    Args:
        network: with residual joins; not changed.
        images, labels: (N, C, H, W) uint8 and (N,), to measure accuracy on.
        norm_images: (M, C, H, W) uint8, training images for the batch norms; of more than `NORM_IMAGES` so many are
            drawn.
        augment, seed: of those images, as in training.
        progress: called with units done and their number.

    Raises:
        Problem: the network has no residual joins.
    """
    names, whole, rows = removable(network.spec), figures(network.spec).weights, []
    for name in names:
        small = drop_blocks(network, [name])
        reestimate(small, norm_images, augment, seed, most=NORM_IMAGES)
        macs, weights = network.spec.macs() - small.spec.macs(), whole - figures(small.spec).weights
        rows.append(BlockLoss(name, macs, weights, accuracy(small, images, labels)))
        if progress is not None:
            progress(len(rows), len(names))
    return tuple(rows)


def reduce_blocks(
    network: Network,
    images: np.ndarray,
    labels: np.ndarray,
    held: tuple[np.ndarray, np.ndarray],
    recovery: TrainSpec,
    count: int | None = None,
    most: float = 0.01,
    progress: Progress | None = None,
    checkpoint: Path | None = None,
    measured: Sequence[BlockLoss] = (),
    memories: MemoriesOf | None = None,
) -> tuple[Network, list[BlockStep]]:
    """Drop residual units one by one, each time the one whose loss on the held images is least, and fine-tune.

    Args:
        network: with residual joins; not changed.
        images, labels: (N, C, H, W) uint8 and (N,), to fine-tune and measure batch norms on.
        held: images and labels to judge by.
        recovery: fine-tuning after each step; its 0 epochs measure the batch norms alone.
        count: units to drop; None for as many as `most` allows.
        most: accuracy that may be lost without `count`, 0 to 1; the step that loses more is undone, and is the last.
        progress: as for `train`, for each step anew; while units are measured, called with those done, all, and {}.
        checkpoint: beside it the epochs of each step are kept, so that the same call resumes from there.
        measured: what `block_losses` says of the network with the recovery's augmentation and seed; else it is asked.
        memories: of the hardware of a network, for bit errors in fine-tuning.

    Returns:
        The network in eval mode, and the steps.

    Raises:
        Problem: the network has no residual joins, or fewer than `count` units that can go.
    """
    can = most_removable(network.spec)
    if count is not None and count > can:
        raise Problem(f"{count} residual units, of which {can} can go", "drop", f"at most {can}")
    shown = None if progress is None else lambda done, total: progress(done, total, {})
    recover = Recovery(images, labels, held, recovery, checkpoint, progress, extras=Extras(memories=memories))
    start = drop_blocks(network, [])
    names = list(stages_of_blocks(start.spec))
    dropped: list[str] = []

    def least_needed(best: Network, number: int) -> Removal[Network] | None:
        if number > (can if count is None else count):
            return None
        worth = measured
        if number > 1 or not measured:
            worth = block_losses(best, *held, images, recovery.augment, recovery.seed, shown)
        least = max(worth, key=lambda one: one.without)
        small = drop_blocks(best, [least.name])
        dropped.append(names.pop(int(least.name.removeprefix("block"))))
        return Removal(small, f"blocks{_count(small.spec)}")

    floor = recover.judge(network) - most if count is None else None
    made, done = rounds(start, least_needed, recover, floor)
    return made, [
        BlockStep(name, _count(one.network.spec), one.network.spec.macs(), one.before, one.after, one.undone)
        for name, one in zip(dropped, done, strict=True)
    ]


def _count(spec: NetworkSpec) -> int:
    return len(stages_of_blocks(spec))

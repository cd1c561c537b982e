"""Whole residual units: how important each is, and networks without the least important ones.

A unit is what one join adds: with join "integer" one convolution, with "thresholded" a block of two.

Idea: Veit, Wilber, Belongie, Residual networks behave like ensembles of relatively shallow networks, arXiv:1605.06431:
most single units can be deleted from a trained network at little loss.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from bnnflow import Problem

from ..networks.network import Network
from ..networks.own import OwnNetwork
from ..networks.zoo import figures
from ..training.batchnorm import NORM_IMAGES, reestimate
from ..training.evaluate import accuracy
from ..training.injection import MemoriesOf
from ..training.train import Extras, Progress, TrainSpec
from .recovery import Recovery, Removal, rounds
from .surgery import drop_blocks, most_removable, removable, stages_of_blocks

N = TypeVar("N", Network, OwnNetwork)


class Units(Protocol[N]):
    """The residual units of a network, and the network without some."""

    def names(self, network: N) -> tuple[str, ...]:
        """The units that are there, in the order of execution."""
        ...

    def removable(self, network: N) -> tuple[str, ...]:
        """Those of which any one can go."""
        ...

    def most(self, network: N) -> int:
        """How many can go in all."""
        ...

    def without(self, network: N, names: Sequence[str]) -> N:
        """A copy of the network without some of them."""
        ...

    def macs(self, network: N) -> int:
        """Products of an image."""
        ...

    def weights(self, network: N) -> int:
        """How many there are."""
        ...


class SpecUnits:
    """Of a network of `NetworkSpec`, which becomes physically smaller; what is left is numbered anew."""

    def names(self, network: Network) -> tuple[str, ...]:
        """See `Units`."""
        return tuple(stages_of_blocks(network.spec))

    def removable(self, network: Network) -> tuple[str, ...]:
        """See `Units`.

        Raises:
            Problem: the network has no residual joins.
        """
        return removable(network.spec)

    def most(self, network: Network) -> int:
        """See `Units`; errors are those of `removable`."""
        return most_removable(network.spec)

    def without(self, network: Network, names: Sequence[str]) -> Network:
        """See `Units`."""
        return drop_blocks(network, names)

    def macs(self, network: Network) -> int:
        """See `Units`."""
        return network.spec.macs()

    def weights(self, network: Network) -> int:
        """See `Units`."""
        return figures(network.spec).weights


@dataclass(frozen=True, slots=True)
class UnitModules:
    """A residual unit of a user's own module.

    Attributes:
        last: path of the module whose result is what the unit adds, and nothing else.
        layers: names of the layers with weights that only the unit needs, in the order of execution.
    """

    last: str
    layers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OwnUnits:
    """Of a user's own module, whose code nobody may change: what a unit adds is taken for 0.

    That is what the network computes without the unit. The module keeps its size; its graph loses the unit.

    Attributes:
        units: those that can go, by name, in the order of execution; none is inside of another.
        products: of an image, by layer.
    """

    units: Mapping[str, UnitModules]
    products: Mapping[str, int]

    def names(self, network: OwnNetwork) -> tuple[str, ...]:
        """See `Units`."""
        return tuple(name for name, unit in self.units.items() if unit.last not in network.spec.dropped)

    def removable(self, network: OwnNetwork) -> tuple[str, ...]:
        """See `Units`."""
        return self.names(network)

    def most(self, network: OwnNetwork) -> int:
        """See `Units`."""
        return len(self.names(network))

    def without(self, network: OwnNetwork, names: Sequence[str]) -> OwnNetwork:
        """See `Units`."""
        return network.without_units({self.units[name].last: self.units[name].layers[0] for name in names})

    def macs(self, network: OwnNetwork) -> int:
        """See `Units`; of the layers of the exported graph."""
        return sum(self.products[name] for name in self.products.keys() - self._gone(network))

    def weights(self, network: OwnNetwork) -> int:
        """See `Units`; of the layers of the exported graph."""
        there = self.products.keys() - self._gone(network)
        return sum(layer.weight.numel() for name, layer in network.weight_layers() if name in there)

    def _gone(self, network: OwnNetwork) -> set[str]:
        return {name for unit in self.units.values() if unit.last in network.spec.dropped for name in unit.layers}


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
    network: N,
    images: np.ndarray,
    labels: np.ndarray,
    norm_images: np.ndarray,
    augment: str = "none",
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
    units: Units[N] | None = None,
) -> tuple[BlockLoss, ...]:
    """Measure every residual unit that can go, from input to output.

    Args:
        network: with residual joins; not changed.
        images, labels: (N, C, H, W) uint8 and (N,), to measure accuracy on.
        norm_images: (M, C, H, W) uint8, training images for the batch norms; of more than `NORM_IMAGES` so many are
            drawn.
        augment, seed: of those images, as in training.
        progress: called with units done and their number.
        units: of the network; None: those of its shape.

    Raises:
        Problem: the network has no residual joins.
    """
    parts: Any = units or SpecUnits()
    names, whole, macs_whole, rows = parts.removable(network), parts.weights(network), parts.macs(network), []
    for name in names:
        small = parts.without(network, [name])
        reestimate(small, norm_images, augment, seed, most=NORM_IMAGES)
        macs, weights = macs_whole - parts.macs(small), whole - parts.weights(small)
        rows.append(BlockLoss(name, macs, weights, accuracy(small, images, labels)))
        if progress is not None:
            progress(len(rows), len(names))
    return tuple(rows)


def reduce_blocks(
    network: N,
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
    units: Units[N] | None = None,
) -> tuple[N, list[BlockStep]]:
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
        units: of the network; None: those of its shape.

    Returns:
        The network in eval mode, and the steps.

    Raises:
        Problem: the network has no residual joins, or fewer than `count` units that can go.
    """
    parts: Any = units or SpecUnits()
    can = parts.most(network)
    if count is not None and count > can:
        raise Problem(f"{count} residual units, of which {can} can go", "drop", f"at most {can}")
    shown = None if progress is None else lambda done, total: progress(done, total, {})
    recover = Recovery(images, labels, held, recovery, checkpoint, progress, extras=Extras(memories=memories))
    start: N = parts.without(network, [])
    names = list(parts.names(start))
    dropped: list[str] = []

    def least_needed(best: N, number: int) -> Removal[N] | None:
        if number > (can if count is None else count) or not parts.removable(best):
            return None
        worth = measured
        if number > 1 or not measured:
            worth = block_losses(best, *held, images, recovery.augment, recovery.seed, shown, units)
        least = max(worth, key=lambda one: one.without)
        small = parts.without(best, [least.name])
        # Those of a shape are numbered anew after each step.
        dropped.append(names.pop(parts.names(best).index(least.name)))
        return Removal(small, f"blocks{len(parts.names(small))}")

    floor = recover.judge(network) - most if count is None else None
    made, done = rounds(start, least_needed, recover, floor)
    return made, [
        BlockStep(name, len(parts.names(one.network)), parts.macs(one.network), one.before, one.after, one.undone)
        for name, one in zip(dropped, done, strict=True)
    ]

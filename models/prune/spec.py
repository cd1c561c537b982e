"""How to prune, what an allocator is told and decides, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bnnflow import Problem

from ..networks.network import Network
from ..networks.own import OwnNetwork
from ..relevance.criteria import Criterion
from ..training.train_spec import TrainSpec

HELD_OUT = 0.1
HELD_OUT_MOST = 2000


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
            batch norms alone. The teacher of its distillation is the unpruned network.
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
            raise Problem(f"an amount of {self.amount}", key="amount", hint="a share from 0 to 0.9")
        for name in ("steps", "unit", "images", "least"):
            if getattr(self, name) < 1:
                raise Problem(f"{name} of {getattr(self, name)}", key=name, hint="1 or more")
        Criterion.parse(self.criterion)
        if self.max_loss is not None and not 0 <= self.max_loss <= 1:
            raise Problem(f"a loss of {self.max_loss}", key="max_loss", hint="a share of the images, from 0 to 1")

    def fine_tuning(self, step: int) -> TrainSpec:
        """The training of step `step`; each has its own seed."""
        return replace(self.recovery, seed=self.seed + step)


@dataclass(frozen=True, slots=True)
class Situation:
    """What is known when it is decided how many filters each layer keeps.

    Attributes:
        original, network: the unpruned network, and the one to be pruned further.
        widths: channels of `original` by group.
        scores: by group of `network`; higher is more important.
        step: from 0.
        images, labels: training images held out of scoring and fine-tuning.
        calibration: training images that batch norms are measured on.
        records: of earlier steps.
    """

    original: Network | OwnNetwork
    network: Network | OwnNetwork
    widths: dict[str, int]
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

    network: Network | OwnNetwork
    steps: list[dict[str, Any]]
    accuracy: float
    stop: str = ""


def apart(count: int, seed: int, held_out: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Ascending indices of the images, of so many, that pruning is judged by, and of the rest.

    Args:
        count: training images.
        seed: of the draw of a tenth, at most 2,000, where none are given.
        held_out: ascending indices of those that training kept out.
    """
    if held_out is None:
        out = max(1, min(HELD_OUT_MOST, int(count * HELD_OUT)))
        order = np.random.default_rng([seed, 0, 0]).permutation(count)
        return np.sort(order[:out]), np.sort(order[out:])
    return held_out, np.setdiff1d(np.arange(count), held_out)

"""What every method does with a network that lost something: re-estimate, fine-tune, re-estimate, judge; and in rounds.

A method says what to remove; this module alone says what follows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from .. import store
from ..networks.network import Network
from ..networks.own import OwnNetwork
from ..relevance.guide import with_guide
from ..training.batchnorm import NORM_IMAGES, reestimate
from ..training.evaluate import accuracy
from ..training.train import Extras, Progress, TrainSpec, train

N = TypeVar("N", Network, OwnNetwork)


@dataclass(frozen=True, slots=True)
class Recovery:
    """How a network recovers from a removal.

    Args:
        images, labels: (N, C, H, W) uint8 and (N,), to fine-tune on.
        held: images and labels to judge by.
        plan: of fine-tuning; its 0 epochs re-estimate the batch norms alone.
        checkpoint: beside it the epochs of each removal are kept, so that the same call resumes from there.
        progress: as for `train`, for each removal anew.
        calibration: images that batch norms are re-estimated on, as they are; None takes `images`, drawn and augmented
            as the plan says, `NORM_IMAGES` at most.
        extras: of fine-tuning, such as a teacher.
    """

    images: np.ndarray
    labels: np.ndarray
    held: tuple[np.ndarray, np.ndarray]
    plan: TrainSpec
    checkpoint: Path | None = None
    progress: Progress | None = None
    calibration: np.ndarray | None = None
    extras: Extras | None = None

    def __call__(self, network: Network | OwnNetwork, name: str, plan: TrainSpec | None = None) -> tuple[float, float]:
        """Let a network recover in place.

        Args:
            network: right after the removal; left in eval mode.
            name: of its checkpoint.
            plan: in place of the usual one.

        Returns:
            Accuracy (0 to 1) on the held images before and after fine-tuning.
        """
        self.reestimate(network)
        before = self.judge(network)
        return before, self.judge(network) if self.tune(network, name, plan) else before

    def tune(self, network: Network | OwnNetwork, name: str, plan: TrainSpec | None = None) -> bool:
        """Fine-tune and re-estimate in place; False where the plan has no epochs, and nothing is done."""
        plan = plan or self.plan
        if not plan.epochs:
            return False
        own = store.beside(self.checkpoint, name)
        extras = with_guide(self.extras, plan, self.images, self.labels)
        train(network, self.images, self.labels, plan, own, self.progress, extras=extras)
        self.reestimate(network)
        return True

    def reestimate(self, network: Network | OwnNetwork) -> None:
        """Re-estimate the batch norms' statistics, in place."""
        if self.calibration is not None:
            reestimate(network, self.calibration)
        else:
            reestimate(network, self.images, self.plan.augment, self.plan.seed, most=NORM_IMAGES)

    def judge(self, network: Network | OwnNetwork) -> float:
        """Accuracy on the held images, 0 to 1."""
        return accuracy(network, *self.held)


@dataclass(frozen=True, slots=True)
class Removal(Generic[N]):
    """A network from which something was removed.

    Attributes:
        network: a copy, not recovered yet.
        name: of its checkpoint.
        plan: of its fine-tuning, where it is not the usual one.
    """

    network: N
    name: str
    plan: TrainSpec | None = None


@dataclass(frozen=True, slots=True)
class Round(Generic[N]):
    """A removal and its recovery.

    Attributes:
        network: recovered.
        before, after: accuracy (0 to 1) on the held images before and after fine-tuning.
        undone: it lost too much.
    """

    network: N
    before: float
    after: float
    undone: bool


def rounds(
    start: N,
    remove: Callable[[N, int], Removal[N] | None],
    recover: Recovery,
    floor: float | None = None,
) -> tuple[N, list[Round[N]]]:
    """Remove, re-estimate, fine-tune and re-estimate until nothing is left to remove, or a round loses too much.

    Args:
        start: not changed.
        remove: given the network so far and the round's number from 1, the next removal; None ends.
        recover: what follows each.
        floor: accuracy below which a round is undone, and is the last; None: no round is.

    Returns:
        The last network that held, in eval mode, and all rounds.
    """
    best = start
    done: list[Round[N]] = []
    while (removal := remove(best, len(done) + 1)) is not None:
        before, after = recover(removal.network, removal.name, removal.plan)
        done.append(Round(removal.network, before, after, floor is not None and after < floor))
        if done[-1].undone:
            break
        best = removal.network
    return best.eval(), done

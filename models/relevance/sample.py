"""What a criterion looks at, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bnnflow import Problem

from ..networks.twin import AnyNetwork
from ..training.flips import FlipCounts


@dataclass(frozen=True, slots=True)
class Sample:
    """Images that relevance is measured on.

    Args:
        images: (N, C, H, W) uint8, or whole numbers of the network's input shape.
        labels: (N,) integers.
        baselines: (M, C, H, W), of the same kind, what the images are compared with; image i with baseline i modulo M.
            Other real images say more than black ones, which signs do not see as empty.

    Raises:
        Problem: there are none, or images and labels differ in number.
    """

    images: np.ndarray
    labels: np.ndarray
    baselines: np.ndarray

    def __post_init__(self) -> None:
        if not len(self.images) or not len(self.baselines) or len(self.images) != len(self.labels):
            counts = f"{len(self.images)} images, {len(self.labels)} labels and {len(self.baselines)} baselines"
            raise Problem(f"a sample of {counts}", "relevance", "give one or more, and a label to each image")

    @staticmethod
    def draw(images: np.ndarray, labels: np.ndarray, count: int, rng: np.random.Generator) -> Sample:
        """`count` of the images (or all), and as many others as their baselines; none is its own baseline."""
        chosen, others = paired(rng.permutation(len(images)), count)
        return Sample(images[chosen], labels[chosen], images[others])

    def first(self, count: int) -> Sample:
        """Its first `count` images, each with its own baseline."""
        rows = np.arange(min(count, len(self.images)))
        return Sample(self.images[rows], self.labels[rows], self.baselines[rows % len(self.baselines)])


def paired(order: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The first `count` of an order (or all), and as many others beside them; of two or more none is its own."""
    chosen = order[:count]
    others = np.roll(order, -len(chosen))[: len(chosen)] if len(order) > len(chosen) else np.roll(order, 1)
    return chosen, others


SetScores = Callable[[Any, Sample, int], dict[str, np.ndarray]]
"""Of a network, a sample and a seed: for each filter of its hidden layers its place in the order of removal."""


@dataclass(frozen=True, slots=True)
class ScoringRequest:
    """What a figure of every filter is made of.

    Attributes:
        network: its eval mode is analysed; it is not changed.
        sample: of images.
        seed: of what is drawn.
        flips: what training counted; None where it did not.
        sets: what chooses sets of channels in the exported graph; None where there is no graph at hand.
    """

    network: AnyNetwork
    sample: Sample
    seed: int = 0
    flips: FlipCounts | None = None
    sets: SetScores | None = None


@dataclass(frozen=True, slots=True)
class CaptumCheck:
    """What Captum's DeepLIFT says to ours.

    Args:
        images: how many were compared; 0 where Captum cannot follow the network.
        completeness: greatest |sum of Captum's attributions - change| / max(1, |change|) over images, the pixels and
            cuts of the network; None without images.
        difference: greatest |Captum's attribution - ours| / max(1, |change|) over images and `layers`; None without.
        layers: with no pool behind them, where both rules are the same.
        reason: why Captum cannot follow the network; "" where it can.
    """

    images: int
    completeness: float | None
    difference: float | None
    layers: tuple[str, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Relevance:
    """Importance of each filter and neuron.

    Args:
        scores: for each weight layer but the last, (filters,) float64; higher is more important. Scores of different
            layers or criteria are on different scales.
        criterion: what was asked for, as `Criterion` writes it.
        check: the method's self-check as `CRITERIA` describes it; of borda the greatest of its parts; None where there
            is nothing to check.
        seconds: that it took.
        images: how many images were used; 0 for criteria that look at none.
        captum: of deeplift, what Captum says to it on a few of the images; of borda that of its part.
    """

    scores: dict[str, np.ndarray]
    criterion: str
    check: float | None
    seconds: float
    images: int
    captum: CaptumCheck | None = None

"""Bit errors that a network is trained with: how many, where, and who gets fewer of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from bnnflow import Problem

Draw = Literal["fresh", "frozen"]
Assignment = Literal["linear", "rank", "protect", "softmax"]
MOST = 0.5
"""The highest rate of a guided layer: a bit that is wrong half of the time says nothing any more."""


@dataclass(frozen=True, slots=True)
class ErrorRates:
    """Chances that a stored bit is read wrong.

    Args:
        up: of a bit that is 0, 0 to 1.
        down: of a bit that is 1, 0 to 1.
    """

    up: float = 0.0
    down: float = 0.0

    def __bool__(self) -> bool:
        return self.up > 0 or self.down > 0

    @property
    def symmetric(self) -> bool:
        """Whether both directions are as likely."""
        return self.up == self.down


@dataclass(frozen=True, slots=True)
class BitErrors:
    """Fault aware training: forward and backward are computed with wrong bits, the optimizer changes the right ones.

    The gradient passes a wrong bit as it passes a right one (Hirtzlin et al., arXiv:1904.03652; straight-through:
    Buschjäger et al., arXiv:2002.00909).

    Args:
        weights: of the bits of weights as the hardware stores them, in two's complement where there are several.
        activations: chance that a bit of an activation is wrong on its way to the next layer, of each image on its
            own; the network's input has none.
        thresholds: chance that a bit of a threshold is wrong, as the hardware stores it: whole numbers in two's
            complement, of which high bits move far.
        draw: "fresh" draws other bits for each part of a batch, "frozen" one set for the whole training: a defective
            device.
        ramp_epochs: epochs in which all rates rise linearly from 0; a frozen set grows then, and loses no bit.
        guide: criterion that scores filters by their importance, so that important ones get fewer wrong weights and
            others more, as many in all; "" for the same rate everywhere. The last layer keeps the same rate (after
            Sabih et al., EuroMLSys 2023, who do not say how rates follow from scores: `shares` is ours).
        assignment, protected, temperature: see `shares`.
        guide_epochs: epochs after which filters are scored anew; 0: once, before the first.
        guide_images: training images that are scored.

    Raises:
        Problem: a value is out of its range, or guiding has nothing to guide.
    """

    weights: ErrorRates = ErrorRates()
    activations: float = 0.0
    thresholds: float = 0.0
    draw: Draw = "fresh"
    ramp_epochs: int = 0
    guide: str = ""
    assignment: Assignment = "linear"
    protected: float = 0.1
    temperature: float = 0.5
    guide_epochs: int = 1
    guide_images: int = 256

    def __post_init__(self) -> None:
        rates = [("weights", self.weights.up), ("weights", self.weights.down)]
        rates += [(name, getattr(self, name)) for name in ("activations", "thresholds")]
        for name, rate in rates:
            if not 0 <= rate <= 1:
                raise Problem(f"an error rate of {rate:g}", key=name, hint="from 0 to 1")
        for name, allowed in (("draw", Draw), ("assignment", Assignment)):
            if getattr(self, name) not in get_args(allowed):
                raise Problem(f"{getattr(self, name)!r} is not one of {', '.join(get_args(allowed))}", key=name)
        for name, least in (("ramp_epochs", 0), ("guide_epochs", 0), ("guide_images", 2)):
            if getattr(self, name) < least:
                raise Problem(f"{name} of {getattr(self, name)}", key=name, hint=f"{least} or more")
        if not 0 <= self.protected < 1:
            raise Problem(f"a protected share of {self.protected:g}", key="protected", hint="from 0 to below 1")
        if not (self.temperature > 0 and math.isfinite(self.temperature)):
            raise Problem(f"a temperature of {self.temperature:g}", key="temperature", hint="above 0")
        if self.guide and not self.weights:
            what = "the scores guide errors of weights, and there are none"
            raise Problem(what, key="guide", hint="set weights, or leave guide out")
        if self.guide and max(self.weights.up, self.weights.down) > MOST:
            raise Problem("guided rates above 0.5 leave nothing to move", key="weights", hint="0.5 or less")
        most = MOST * (1 - self.protected)
        if self.guide and self.assignment == "protect" and max(self.weights.up, self.weights.down) > most:
            what = f"where {self.protected:g} of the filters are spared, rates are {most:g} on average at most"
            raise Problem(what, key="weights", hint="give less, or spare fewer (protected)")

    def __bool__(self) -> bool:
        return bool(self.weights) or self.activations > 0 or self.thresholds > 0

    def ramp(self, epoch: int) -> float:
        """Factor of all rates in an epoch, counted from 0."""
        return 1.0 if epoch >= self.ramp_epochs else (epoch + 1) / (self.ramp_epochs + 1)

    def shares(self, scores: np.ndarray) -> np.ndarray:
        """How many of a layer's errors each filter gets, in relation to others: (filters,), 0 to 1.

        With s the scores scaled to 0..1 and r their places in ascending order, a filter's share is:
        linear: 1 - s. rank: 1 - r / (n - 1). protect: 0 for the highest `protected` of the filters, one at least, 1 for
        others. softmax: exp(-s / temperature).

        Args:
            scores: (filters,), finite; the highest is the most important.

        Raises:
            Problem: a score is not finite.
        """
        if not np.isfinite(scores).all():
            raise Problem(f"scores of {self.guide} that are no numbers", key="guide", hint="use another criterion")
        count, low, high = len(scores), scores.min(), scores.max()
        shares = np.ones(count)
        if high > low:
            scaled = (scores - low) / (high - low)
            match self.assignment:
                case "linear":
                    shares = 1.0 - scaled
                case "rank":
                    ordered = np.sort(scores)  # equal scores share the mean of their places
                    places = np.searchsorted(ordered, scores, "left") + np.searchsorted(ordered, scores, "right") - 1
                    shares = 1.0 - places / 2 / (count - 1)
                case "protect":
                    spared = max(1, int(self.protected * count)) if self.protected else 0
                    shares[np.argsort(-scores, kind="stable")[:spared]] = 0.0
                case "softmax":
                    shares = np.exp(-scaled / self.temperature)
        return shares

    @staticmethod
    def rates(shares: np.ndarray, mean: float) -> np.ndarray:
        """Rates of filters in proportion to `shares`, but 0.5 at most, and with this mean.

        What a filter cannot take goes to the others.

        Raises:
            Problem: all that are not spared have 0.5, and the mean is lower.
        """
        if mean * len(shares) > MOST * np.count_nonzero(shares) * (1 + 1e-9):
            most = MOST * np.count_nonzero(shares) / len(shares)
            what = f"guided rates of {mean:g} on average: where some filters are spared, {most:g} is the most"
            raise Problem(what, key="weights", hint="give less, or spare fewer (protected)")
        made, free, left = np.zeros(len(shares)), shares > 0, mean * len(shares)
        while left > 0 and free.any():
            wanted = shares * (left / shares[free].sum())
            full = free & (wanted > MOST)
            if not full.any():
                made[free] = wanted[free]
                break
            made[full] = MOST
            left -= MOST * float(full.sum())
            free &= ~full
        return made


NO_ERRORS = BitErrors()

"""Intervals and sample sizes of fault campaigns.

An accuracy under faults is estimated from M random maps, each judged on the same N test images. Both are samples: of
all maps that the fault model can draw, and of all images that the test set was drawn from. `half_width` is what the
choice of maps leaves open, `clopper_pearson` what the choice of images does, and `both` joins them. None of them is
ever of no width: maps that agree say that others are rare, not that there are none (`unseen`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, hypot, log, log1p, sqrt
from typing import Any

import numpy as np

from bnnflow import Problem


@lru_cache(maxsize=64)
def normal(confidence: float = 0.95) -> float:
    """What a standard normal number stays below in size, with this probability: 1.959964 for 0.95."""
    return float(_special().ndtri((1 + confidence) / 2))


@lru_cache(maxsize=1024)
def student_t(freedom: int, confidence: float = 0.95) -> float:
    """What Student's t of `freedom` >= 1 degrees of freedom stays below in size, with this probability."""
    return float(_special().stdtrit(freedom, (1 + confidence) / 2))


def _special() -> Any:
    """scipy's distributions; importing them takes a tenth of a second, which only those who ask should wait."""
    from scipy import special

    return special


def unseen(draws: int, confidence: float = 0.95) -> float:
    """The greatest share of all maps (images, ...) that can be of a kind which none of so many draws was.

    1 - (1 - c)^(1 / n), which is nearly 3 / n at 95 %. Source: Hanley, Lippman-Hand, If nothing goes wrong, is
    everything all right?, JAMA 249, 1983 (rule of three).
    """
    return 1 - (1 - confidence) ** (1 / draws) if draws else 1.0


def half_width(values: Sequence[float], unit: float, first: int | None = None, span: float = 1.0) -> float:
    """Half of the 95 % interval that the choice of maps leaves to a mean.

    Student's t, and no less than if `unseen` of all maps differed by the least step there is.

    Args:
        values: of the maps.
        unit: the least step, 1 / images.
        first: maps of the first stage, whose deviation decided how many there are (`stein`); None: all.
        span: the whole range, which is all that one value says.
    """
    count = len(values)
    head = values[:first]
    if len(head) < 2:
        return span
    spread = student_t(len(head) - 1) * float(np.std(head, ddof=1)) / sqrt(count)
    return max(spread, unseen(count) * unit)


def stein(first: Sequence[float], wanted: float, unit: float) -> int:
    """Maps at which the mean over all of them is known to +- `wanted` at 95 %, by the deviation of the first ones.

    The t of the first stage over the deviation of the first stage: the mean of all, standardized with it, has exactly
    that distribution for normal values, whatever number it asks for. Looking at the interval after every map and
    stopping when it is narrow would hold in fewer cases than 95 of 100.

    Source: Stein, A two-sample test for a linear hypothesis whose power is independent of the variance, Annals of
    Mathematical Statistics 16, 1945.
    """
    count = ceil((student_t(len(first) - 1) * float(np.std(first, ddof=1)) / wanted) ** 2)
    rare = ceil(log(0.05) / log1p(-wanted / unit)) if wanted < unit else 1
    return max(len(first), count, rare)


def both(mean: float, over_maps: float, images: int) -> tuple[float, float]:
    """95 % interval of an accuracy, for other maps and other test images.

    The variance of a crossed sample is at most the sum of that of the maps' means and that of the images' means, and
    the latter at most a (1 - a) / N; so the distances of both limits from the mean are added in squares.

    Args:
        mean: accuracy over maps and images.
        over_maps: `half_width` of the maps.
        images: how many each map was judged on.

    Source: Zou, Donner, Construction of confidence limits about effect measures: a general approach, Statistics in
    Medicine 27, 2008 (limits from limits of the parts).
    """
    least, most = clopper_pearson(round(mean * images, 9), images)
    return max(0.0, mean - hypot(over_maps, mean - least)), min(1.0, mean + hypot(over_maps, most - mean))


def image_half_width(accuracy: float, images: int) -> float:
    """Half of the 95 % interval that the choice of test images leaves (`clopper_pearson`); the longer half.

    More fault maps do not reduce it.
    """
    least, most = clopper_pearson(round(accuracy * images, 9), images)
    return max(accuracy - least, most - accuracy)


def leveugle(population: int, error: float, confidence: float = 0.95, share: float = 0.5) -> int:
    """Faults to draw of `population` single faults: N / (1 + e^2 (N - 1) / (t^2 p (1 - p))), rounded to the nearest.

    Args:
        population: possible faults N.
        error: half width e of the interval of the share of critical faults.
        confidence: of that interval, between 0 and 1; its t is rounded to three decimals, as the paper's tables are.
        share: expected share p; 0.5 is the worst case.

    Source: Leveugle, Calvez, Maistri, Vanhauwaert, Statistical fault injection: quantified error and confidence,
    DATE 2009.
    """
    if not all(0 < value < 1 for value in (error, confidence, share)) or population < 1:
        hint = "error, confidence and share lie between 0 and 1"
        raise Problem("a sample size of these settings", "single-fault campaign", hint)
    variance = round(normal(confidence), 3) ** 2 * share * (1 - share)
    if not variance:
        # So little confidence that any fault will do.
        return 1
    scale = error**2 * (population - 1) / variance
    return min(population, max(1, round(population / (1 + scale))))


@lru_cache(maxsize=4096)
def clopper_pearson(hits: float, draws: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval of a share: the shares at which `hits` of `draws` is not yet too rare in either direction.

    Args:
        hits: 0 to `draws`; between whole numbers, where it is a mean, limits lie between theirs.
        draws: none: 0 to 1.
        confidence: of the interval, at least.
    """
    if draws < 1:
        return 0.0, 1.0
    tail, missed = (1 - confidence) / 2, draws - hits
    quantile = _special().betaincinv
    least = 0.0 if hits <= 0 else float(quantile(hits, missed + 1, tail))
    most = 1.0 if missed <= 0 else float(quantile(hits + 1, missed, 1 - tail))
    return least, most


def binomial_pmf(draws: int, chance: float) -> np.ndarray:
    """Probabilities of 0 .. draws hits, (draws + 1,) float64."""
    special, hits = _special(), np.arange(draws + 1.0)
    odds = special.gammaln(draws + 1) - special.gammaln(hits + 1) - special.gammaln(draws - hits + 1)
    chance = min(max(chance, 0.0), 1.0)
    made: np.ndarray = np.exp(odds + special.xlogy(hits, chance) + special.xlog1py(draws - hits, -chance))
    return made


def binomial_tail(hits: int, draws: int, chance: float) -> float:
    """Probability of at least `hits` hits."""
    return 1.0 if hits < 1 else float(_special().betainc(hits, draws - hits + 1, chance)) if hits <= draws else 0.0


@dataclass(frozen=True, slots=True)
class Paired:
    """Difference of two networks on the same images and fault maps.

    Attributes:
        maps: pairs.
        mean: of first minus second.
        half_width: what other maps would change, at 95 % (paired t; `half_width`).
        image_half_width: what other test images would change, at most: how often the networks are right together is
            not kept, so that they are taken to differ on as many images as their accuracies allow.
        wins, losses: maps on which the first is better or worse.
        p_sign: two-sided exact sign test over the maps that differ.
    """

    maps: int
    mean: float
    half_width: float
    image_half_width: float
    wins: int
    losses: int
    p_sign: float


def paired(first: Sequence[float], second: Sequence[float], images: int) -> Paired:
    """Compare two networks map by map: entry m of both was measured on the same images with the same map m."""
    if len(first) != len(second) or not len(first):
        raise Problem(f"{len(first)} results against {len(second)}", "paired comparison", "run the same maps on both")
    gaps = np.subtract(first, second)
    wins, losses = int((gaps > 0).sum()), int((gaps < 0).sum())
    count = wins + losses
    chance = min(1.0, 2 * binomial_tail(max(wins, losses), count, 0.5)) if count else 1.0
    a, b, mean = float(np.mean(first)), float(np.mean(second)), float(gaps.mean())
    # Right alone: the first at most min(a, 1 - b), the second at most min(b, 1 - a).
    most = min(a, 1 - b) + min(b, 1 - a) - mean**2
    over_images = max(normal() * sqrt(max(0.0, most) / images), unseen(images))
    over_maps = half_width(gaps.tolist(), 1 / images, span=2.0)
    return Paired(len(gaps), mean, over_maps, over_images, wins, losses, chance)

"""Intervals and sample sizes of fault campaigns.

An accuracy under faults is estimated from M random maps, each judged on the same N test images. Both are samples: of
all maps that the fault model can draw, and of all images that the test set was drawn from. `half_width` is what the
choice of maps leaves open, `clopper_pearson` what the choice of images does, and `both` joins them. None of them is
ever of no width: maps that agree say that others are rare, not that there are none (`unseen`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, exp, hypot, lgamma, log, log1p, sqrt

import numpy as np

from bnnflow import Problem

Z95 = 1.959964
_Z = {0.9: 1.645, 0.95: 1.96, 0.99: 2.576, 0.999: 3.291}


def beta_share(x: float, a: float, b: float) -> float:
    """The regularized incomplete beta function I_x(a, b), a and b above 0.

    Source: continued fraction of DLMF 8.17.22, by Lentz's method.
    """
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_share(1 - x, b, a)
    front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x)) / a
    tiny, ratio, c = 1e-300, 1.0, 1.0
    d = 1 / max(1 - (a + b) * x / (a + 1), tiny)
    ratio = d
    for m in range(1, 10_000):
        for part in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1 + part * d, 1 + part / c
            d, c = 1 / (d if abs(d) > tiny else tiny), c if abs(c) > tiny else tiny
            ratio *= d * c
        if abs(d * c - 1) < 1e-14:
            break
    return min(1.0, front * ratio)


def _root(small: Callable[[float], bool]) -> float:
    """The place in [0, 1] up to which `small` holds."""
    low, high = 0.0, 1.0
    for _ in range(48):
        middle = (low + high) / 2
        low, high = (middle, high) if small(middle) else (low, middle)
    return low


@lru_cache(maxsize=1024)
def student_t(freedom: int, confidence: float = 0.95) -> float:
    """What Student's t of `freedom` >= 1 degrees of freedom stays below in size, with this probability."""
    share = _root(lambda x: beta_share(x, freedom / 2, 0.5) < 1 - confidence)
    return sqrt(freedom * (1 - share) / share)


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
        confidence: 0.9, 0.95, 0.99 or 0.999.
        share: expected share p; 0.5 is the worst case.

    Source: Leveugle, Calvez, Maistri, Vanhauwaert, Statistical fault injection: quantified error and confidence,
    DATE 2009.
    """
    if not 0 < error < 1 or confidence not in _Z or not 0 < share < 1 or population < 1:
        hint = f"error and share between 0 and 1, confidence one of {', '.join(map(str, _Z))}"
        raise Problem("a sample size of these settings", "single-fault campaign", hint)
    scale = error**2 * (population - 1) / (_Z[confidence] ** 2 * share * (1 - share))
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
    least = 0.0 if hits <= 0 else _root(lambda p: beta_share(p, hits, missed + 1) < tail)
    most = 1.0 if missed <= 0 else _root(lambda p: beta_share(p, hits + 1, missed) < 1 - tail)
    return least, most


def binomial_pmf(draws: int, chance: float) -> np.ndarray:
    """Probabilities of 0 .. draws hits, (draws + 1,) float64."""
    if chance <= 0 or chance >= 1:
        made = np.zeros(draws + 1)
        made[0 if chance <= 0 else draws] = 1
        return made
    hits = range(draws + 1)
    odds = [lgamma(draws + 1) - lgamma(k + 1) - lgamma(draws - k + 1) for k in hits]
    return np.array([exp(o + k * log(chance) + (draws - k) * log1p(-chance)) for k, o in zip(hits, odds, strict=True)])


def binomial_tail(hits: int, draws: int, chance: float) -> float:
    """Probability of at least `hits` hits."""
    return float(min(1.0, binomial_pmf(draws, chance)[hits:].sum()))


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
    over_images = max(Z95 * sqrt(max(0.0, most) / images), unseen(images))
    over_maps = half_width(gaps.tolist(), 1 / images, span=2.0)
    return Paired(len(gaps), mean, over_maps, over_images, wins, losses, chance)

"""Intervals and sample sizes of fault campaigns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import exp, lgamma, log, log1p, sqrt

import numpy as np

from bnnflow import Problem

Z95 = 1.959964
_Z = {0.9: 1.645, 0.95: 1.96, 0.99: 2.576, 0.999: 3.291}


def student_t(freedom: int) -> float:
    """0.975 quantile of Student's t with `freedom` >= 1 degrees of freedom, to three decimals up to 30.

    Beyond 30: Cornish-Fisher expansion, off by less than 0.001.
    """
    table: tuple[float, ...] = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
    table += (2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086)
    table += (2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)
    if freedom <= len(table):
        return table[freedom - 1]
    return Z95 + (Z95**3 + Z95) / (4 * freedom)


def half_width(values: Sequence[float]) -> float:
    """Half of the 95 % interval of a mean (Student's t); 0 for less than two values."""
    if len(values) < 2:
        return 0.0
    return float(student_t(len(values) - 1) * np.std(values, ddof=1) / sqrt(len(values)))


def image_half_width(accuracy: float, images: int) -> float:
    """Half of the 95 % interval that the choice of test images leaves: 1.96 * sqrt(a (1 - a) / N).

    More fault maps do not reduce it.
    """
    return Z95 * sqrt(accuracy * (1 - accuracy) / images) if images else 0.0


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


def wilson(hits: int, draws: int) -> tuple[float, float]:
    """95 % score interval of a share (Wilson)."""
    if draws < 1:
        return 0.0, 1.0
    share, square = hits / draws, Z95**2 / draws
    centre = (share + square / 2) / (1 + square)
    half = Z95 * sqrt(share * (1 - share) / draws + square / (4 * draws)) / (1 + square)
    return max(0.0, centre - half), min(1.0, centre + half)


def clopper_pearson(hits: int, draws: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact interval of a share: the shares at which `hits` of `draws` is not yet too rare in either direction."""
    tail = (1 - confidence) / 2

    def root(small: Callable[[float], bool]) -> float:
        low, high = 0.0, 1.0
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if small(middle) else (low, middle)
        return low

    least = 0.0 if hits == 0 else root(lambda p: binomial_tail(hits, draws, p) < tail)
    most = 1.0 if hits == draws else root(lambda p: 1 - binomial_tail(hits + 1, draws, p) > tail)
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
        half_width: of its 95 % interval (paired t); 0 for one pair.
        wins, losses: maps on which the first is better or worse.
        p_sign: two-sided exact sign test over the maps that differ.
    """

    maps: int
    mean: float
    half_width: float
    wins: int
    losses: int
    p_sign: float


def paired(first: Sequence[float], second: Sequence[float]) -> Paired:
    """Compare two networks map by map: entry m of both was measured on the same images with the same map m."""
    if len(first) != len(second) or not len(first):
        raise Problem(f"{len(first)} results against {len(second)}", "paired comparison", "run the same maps on both")
    gaps = np.subtract(first, second)
    wins, losses = int((gaps > 0).sum()), int((gaps < 0).sum())
    count = wins + losses
    chance = min(1.0, 2 * binomial_tail(max(wins, losses), count, 0.5)) if count else 1.0
    return Paired(len(gaps), float(gaps.mean()), half_width(gaps.tolist()), wins, losses, chance)

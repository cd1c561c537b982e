"""Intervals hold as often as they say, in simulated campaigns whose true means are known."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnnflow.flow.pruning.statistics import StudyCell, comparison
from bnnflow.flow.results.rankings import ComparedRow
from bnnflow.sim.faults import Outcome, Plan, Point, Rates, Series, paired, student_t
from bnnflow.sim.faults.campaigns.statistics import (
    binomial_pmf,
    binomial_tail,
    both,
    clopper_pearson,
    half_width,
    normal,
    stein,
    unseen,
)

Draw = Callable[[np.random.Generator, int], np.ndarray]
UNIT = 1 / 360
# Accuracies of maps, and their mean: normal; of 360 images; one map in ten, or in 33, loses two points; single images.
MAPS: dict[str, tuple[Draw, float]] = {
    "normal": (lambda rng, n: 0.9 + 0.01 * rng.standard_normal(n), 0.9),
    "binomial": (lambda rng, n: rng.binomial(360, 0.9, n) * UNIT, 0.9),
    "rare": (lambda rng, n: 0.9 - 0.02 * (rng.random(n) < 0.1), 0.898),
    "rarer": (lambda rng, n: 0.9 - 0.02 * (rng.random(n) < 0.03), 0.8994),
    "single": (lambda rng, n: 0.9 - rng.poisson(0.3, n) * UNIT, 0.9 - 0.3 * UNIT),
}
REPEATS = 1500
# A share of 0.95 of so many is below this once in a thousand times.
LEAST = 0.95 - 3.09 * np.sqrt(0.95 * 0.05 / REPEATS)


@pytest.mark.parametrize("name", MAPS)
def test_two_stages_keep_their_95_percent(name: str) -> None:
    """The mean lies in the interval that stopped the campaign in 95 of 100 campaigns."""
    draw, mean = MAPS[name]
    rng, hits = np.random.default_rng(0), 0
    for _ in range(REPEATS):
        plan = Plan(5, 0.005, 400)
        values = draw(rng, 400).tolist()
        first, count = plan.stages(values, UNIT)
        hits += abs(np.mean(values[:count]) - mean) <= half_width(values[:count], UNIT, first)
    assert hits / REPEATS >= LEAST


def test_looking_after_every_round_does_not() -> None:
    """What the test above would find of the rule that it replaces: stop as soon as Student's interval is narrow."""
    rng, hits = np.random.default_rng(0), 0
    for _ in range(REPEATS):
        values, count = MAPS["normal"][0](rng, 400), 5
        while count < 400 and student_t(count - 1) * values[:count].std(ddof=1) / np.sqrt(count) > 0.005:
            count += 5
        hits += abs(values[:count].mean() - 0.9) <= student_t(count - 1) * values[:count].std(ddof=1) / np.sqrt(count)
    assert hits / REPEATS < LEAST


CROSSED = {"faults": (0.9, 0.05, 5), "few": (0.9, 0.3, 2), "none": (0.97, 0.0, 5), "sure": (0.999, 0.0, 5)}


@pytest.mark.parametrize("name", CROSSED)
def test_intervals_hold_for_other_maps_and_other_images(name: str) -> None:
    """Images of different difficulty, maps of different severity, every map on the same 200 images."""
    clean, severity, maps = CROSSED[name]
    rng, hits = np.random.default_rng(1), 0
    for _ in range(REPEATS):
        hard = rng.random(200) > clean
        # An image that is right without faults goes wrong in a share of the maps, in more of them if it is fragile.
        fragile = rng.random(200) * 2
        lost = severity * rng.random(maps)
        wrong = hard | (rng.random((maps, 200)) < lost[:, None] * fragile)
        values = (~wrong).mean(axis=1)
        low, high = both(float(values.mean()), half_width(values.tolist(), 1 / 200), 200)
        # Mean of lost is severity / 2, of fragile 1.
        hits += low <= clean * (1 - severity / 2) <= high
    assert hits / REPEATS >= LEAST


def test_equal_maps_leave_an_interval() -> None:
    """The rule of three: 5 equal maps of 360 images, all right."""
    same = tuple(Outcome(trial, 360, 360, 0) for trial in range(5))
    found = Series(Point("weights", (), "flip", Rates.of(1e-6)), same).facts()
    assert found["low"] == pytest.approx(1 - 3.68 / 360, rel=5e-3) and found["high"] == 1
    assert found["half_width"] == pytest.approx((1 - 0.05**0.2) / 360)
    assert found["worse_share"] == pytest.approx(1 - 0.05**0.2)
    one = Series(Point("weights", (), "flip", Rates.of(1e-6)), same[:1]).facts()
    assert (one["low"], one["high"]) == (0, 1), "one map says nothing of others"
    none = Series(Point("weights", (), "flip", Rates.of(0.0)), same).facts()
    assert none["half_width"] == 0 < none["test_half_width"], "without faults all maps are one"


def test_more_images_narrow_what_maps_cannot() -> None:
    values = [0.9, 0.91, 0.89, 0.9, 0.9]
    (few_low, few_high), (low, high) = (both(0.9, half_width(values, 1 / n), n) for n in (360, 10_000))
    assert few_low < low < 0.9 < high < few_high and few_high - few_low > 0.06


@given(st.integers(1, 200), st.data())
def test_no_interval_is_a_point(images: int, data: st.DataObject) -> None:
    right = data.draw(st.lists(st.integers(0, images), min_size=1, max_size=8))
    outcomes = tuple(Outcome(trial, images, r, images - r) for trial, r in enumerate(right))
    found = Series(Point("weights", (), "flip", Rates.of(0.1)), outcomes).facts()
    assert 0 <= found["low"] <= found["mean"] <= found["high"] <= 1 and found["low"] < found["high"]
    assert found["half_width"] > 0 and found["test_half_width"] > 0
    gap = paired(Series(found_point(), outcomes).accuracy, [0.5] * len(right), images)
    assert gap.half_width > 0 and gap.image_half_width > 0


def found_point() -> Point:
    return Point("weights", (), "flip", Rates.of(0.1))


@given(st.integers(1, 12), st.integers(0, 60), st.integers(1, 99))
def test_binomial_probabilities(hits: int, more: int, percent: int) -> None:
    """In rational arithmetic; Clopper and Pearson's lower limit is where as many hits have a chance of 2.5 %."""
    draws, p = hits + more, Fraction(percent, 100)
    chances = [comb(draws, k) * p**k * (1 - p) ** (draws - k) for k in range(draws + 1)]
    assert binomial_tail(hits, draws, percent / 100) == pytest.approx(float(sum(chances[hits:])), rel=1e-9, abs=1e-13)
    np.testing.assert_allclose(binomial_pmf(draws, percent / 100), np.array(chances, float), rtol=1e-9, atol=1e-13)
    least = clopper_pearson(hits, draws)[0]
    assert binomial_tail(hits, draws, least) == pytest.approx(0.025, rel=1e-9)


def test_chances_of_0_and_1() -> None:
    assert binomial_pmf(3, 0.0).tolist() == [1, 0, 0, 0] and binomial_pmf(3, 1.0).tolist() == [0, 0, 0, 1]
    assert binomial_tail(0, 3, 0.0) == 1 and binomial_tail(1, 3, 0.0) == 0 and binomial_tail(4, 3, 0.5) == 0


def test_printed_quantiles_and_limits() -> None:
    """Student's t as tables print it; the rule of three; Clopper and Pearson's limits between whole numbers."""
    for freedom, printed in ((1, 12.706), (2, 4.303), (9, 2.262), (29, 2.045), (1000, 1.962)):
        assert student_t(freedom) == pytest.approx(printed, abs=5e-4)
    assert student_t(4, 0.99) == pytest.approx(4.604, abs=5e-4)
    for confidence, printed in ((0.9, 1.645), (0.95, 1.96), (0.99, 2.576), (0.999, 3.291)):
        assert normal(confidence) == pytest.approx(printed, abs=5e-4)
    assert unseen(300) == pytest.approx(3 / 300, rel=0.01)
    low, high = zip(*(clopper_pearson(hits, 100) for hits in (89, 89.5, 90)), strict=True)
    assert sorted(low) == list(low) and sorted(high) == list(high)
    assert clopper_pearson(95_123.4, 100_000)[0] == pytest.approx(0.95123 - 1.96 * 0.000681, abs=2e-5)
    assert stein([0.89, 0.9, 0.91], 0.005, UNIT) == int(np.ceil((4.3027 * 0.01 / 0.005) ** 2))


def test_studies_of_equal_networks_leave_an_interval() -> None:
    """All runs alike: no criterion is told apart from chance, and the interval is not 0."""
    right = np.ones(360, bool)
    cells = [
        StudyCell(seed, name, draw, 0.5, right, (), 10, 5, 0.0)
        for seed in (0, 1)
        for name, draws in (("random", 5), ("lrp", 1))
        for draw in range(draws)
    ]
    (at,) = comparison(cells, [1.0, 1.0]).amounts
    row = next(row for row in at.rows if isinstance(row, ComparedRow))
    assert row.gap == 0 and row.verdict == "-" and row.half_width >= unseen(360)

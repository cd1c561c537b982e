"""Sensitivity curves: isotonic, remembered, the same for any number of processes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnnflow import Problem
from bnnflow.models.prune.allocation.sensitivity import (
    MeasuredAccuracy,
    SensitivityCurve,
    check_subset,
    levels,
    measure_curves,
    monotone,
)

SCORES = {"a": np.array([3.0, 1.0, 2.0, 5.0, 4.0, 0.0]), "b": np.array([1.0, 1.0, 2.0, 0.5])}
REMOVED = {"a": (1, 2, 4), "b": (2,)}


def share(keep: Mapping[str, np.ndarray]) -> float:
    """An accuracy that depends on which channels stay."""
    return 1.0 - sum(0.01 * (10 - float(np.sum(1.0 + kept % 3))) for kept in keep.values())


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=12))
def test_monotone_is_isotonic_regression(values: list[float]) -> None:
    """By the max-min formula (Robertson, Wright, Dykstra 1988, theorem 1.4.4), which pools no blocks."""
    places = range(len(values))
    expected = [
        max(min(np.mean(values[first : last + 1]) for last in places[at:]) for first in places[: at + 1])
        for at in places
    ]
    np.testing.assert_allclose(monotone(values), expected, atol=1e-9)


def test_what_goes_are_the_lowest_scores() -> None:
    asked: list[dict[str, list[int]]] = []

    def measure(keep: Mapping[str, np.ndarray]) -> float:
        asked.append({name: kept.tolist() for name, kept in keep.items()})
        return share(keep)

    table = measure_curves(SCORES, REMOVED, MeasuredAccuracy(measure, "x"))
    whole, rest = asked[0], asked[1:]
    assert whole == {}
    assert rest == [{"a": [0, 1, 2, 3, 4]}, {"a": [0, 2, 3, 4]}, {"a": [3, 4]}, {"b": [0, 2]}]
    assert table["a"].removed == (0, 1, 2, 4)
    assert table["a"].accuracy[3] == share({"a": np.array([3, 4])})


def test_levels_are_whole_units_and_leave_the_least() -> None:
    assert levels(64, 8, 1) == (8, 16, 24, 32, 40, 48, 56)
    assert levels(64, 8, 30) == (8, 16, 24, 32)
    assert levels(10, 8, 1) == (8,)
    assert levels(8, 8, 1) == ()


def test_an_interrupted_table_goes_on_and_damaged_cells_are_measured_again(tmp_path: Path) -> None:
    calls = 0

    def measure(keep: Mapping[str, np.ndarray]) -> float:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return share(keep)

    with pytest.raises(KeyboardInterrupt):
        measure_curves(SCORES, REMOVED, MeasuredAccuracy(measure, "x", tmp_path))
    found = measure_curves(SCORES, REMOVED, MeasuredAccuracy(measure, "x", tmp_path))
    assert calls == 3 + 3
    assert found == measure_curves(SCORES, REMOVED, MeasuredAccuracy(share, "x"))
    next(iter(tmp_path.iterdir())).write_text("{")
    assert measure_curves(SCORES, REMOVED, MeasuredAccuracy(measure, "x", tmp_path)) == found
    assert calls == 7
    measure_curves(SCORES, REMOVED, MeasuredAccuracy(measure, "another network", tmp_path))
    assert calls == 12


@pytest.mark.slow
def test_two_processes_find_the_same() -> None:
    assert measure_curves(SCORES, REMOVED, MeasuredAccuracy(share, "x"), 2) == measure_curves(
        SCORES, REMOVED, MeasuredAccuracy(share, "x")
    )


def test_losses_never_fall_and_start_at_nothing() -> None:
    curve = SensitivityCurve("a", 8, (0, 2, 4, 6), (0.9, 0.92, 0.88, 0.7))
    np.testing.assert_allclose(curve.losses(), [0, 0, 0.03, 0.21], atol=1e-12)
    assert curve.loss(5) == pytest.approx(0.12)


def test_scores_and_images_that_cannot_judge_are_refused() -> None:
    for values in (np.nan, np.inf):
        with pytest.raises(Problem, match="channel 1") as caught:
            measure_curves({"a": np.array([0.0, values])}, {"a": (1,)}, MeasuredAccuracy(share, "x"))
        assert caught.value.where == "a"
    with pytest.raises(Problem, match="3 validation images for 4 classes"):
        check_subset(np.arange(3), 4)
    with pytest.raises(Problem, match="of class 1, 3"):
        check_subset(np.array([0, 0, 2, 2]), 4)
    check_subset(np.arange(4), 4)

"""Allocation takes what saves most for the accuracy it costs, meets budgets, and says when none can be met."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

import pytest

from bnnflow import CHECK_FAILED, Problem
from bnnflow.models.prune.allocation.greedy import Objective, Space, allocate, equal_shares, explore
from bnnflow.models.prune.allocation.sensitivity import SensitivityCurve, separates

WIDTHS = {"a": 32, "b": 32}
REMOVED = (0, 8, 16, 24)


def cost(kept: Mapping[str, int]) -> dict[str, float]:
    return {"lut": 10.0 * kept["a"] + kept["b"], "bram18": kept["a"] // 16 + 1.0, "ops": float(kept["a"] * kept["b"])}


def space(a: float = 0.01, b: float = 0.01, least: int = 1) -> Space:
    """Groups that lose so much accuracy for every 8 channels."""
    curves = {
        name: SensitivityCurve(name, 32, REMOVED, tuple(0.9 - rate * count / 8 for count in REMOVED))
        for name, rate in (("a", a), ("b", b))
    }
    return Space(WIDTHS, WIDTHS, dict.fromkeys(WIDTHS, 8), dict.fromkeys(WIDTHS, least), curves)


def test_what_is_cheap_to_lose_goes_first() -> None:
    ops = Objective({"ops": 1.0})
    assert allocate(space(a=0.001), cost, ops, 0.5) == {"a": 16, "b": 32}
    assert allocate(space(b=0.001), cost, ops, 0.5) == {"a": 32, "b": 16}


def test_what_saves_more_hardware_goes_first() -> None:
    assert allocate(space(), cost, Objective({"lut": 1.0}), 0.8) == {"a": 24, "b": 32}


def test_every_goal_is_reached_within_the_bounds() -> None:
    ops, chosen = Objective({"ops": 1.0}), space(least=16)
    for goal in (0.9, 0.7, 0.5, 0.3):
        kept = allocate(chosen, cost, ops, goal)
        assert ops.left(cost(kept), cost(WIDTHS)) <= goal
        assert all(width >= 16 and width % 8 == 0 for width in kept.values())
    # Nothing smaller is allowed: the smallest is what is left of a goal out of reach.
    assert allocate(chosen, cost, ops, 0.01) == {"a": 16, "b": 16}


def test_a_memory_that_shrinks_in_steps_is_passed() -> None:
    kept = allocate(space(), cost, Objective({}, {"bram18": 2.0}), 1.0)
    assert cost(kept)["bram18"] <= 2


def test_a_budget_out_of_reach_shows_the_closest() -> None:
    with pytest.raises(Problem, match=r"the closest has lut 88 of 50 \(a 8, b 8\)") as caught:
        allocate(space(), cost, Objective({}, {"lut": 50.0}), 1.0)
    assert caught.value.status == CHECK_FAILED
    closest = min(cost({"a": a, "b": b})["lut"] for a, b in product((8, 16, 24, 32), repeat=2))
    assert closest == 88


def test_objectives_without_sense_are_refused() -> None:
    for weights, budget in (({}, {}), ({"lut": 0.0}, {}), ({}, {"lut": -1.0})):
        with pytest.raises(Problem):
            Objective(weights, budget)


def test_exploration_repeats_itself_and_keeps_what_measures_best() -> None:
    ops = Objective({"ops": 1.0})
    start = {"a": 16, "b": 32}

    def accuracy(kept: Mapping[str, int]) -> float:
        return 0.9 if kept == {"a": 24, "b": 16} else 0.8

    found, tried = explore(space(), start, cost, ops, accuracy, 16, 3, 0.5)
    assert (found, tried) == explore(space(), start, cost, ops, accuracy, 16, 3, 0.5)
    assert all(ops.left(cost(found), cost(WIDTHS)) <= 0.5 for _ in tried)
    assert accuracy(found) == max([0.8, *(float(one["accuracy"]) for one in tried)])


def test_equal_shares_are_the_least_that_reach_the_goal() -> None:
    ops, chosen = Objective({"ops": 1.0}), space(least=16)
    assert equal_shares(chosen, cost, ops, 0.6) == {"a": 24, "b": 24}
    assert equal_shares(chosen, cost, ops, 0.5) == {"a": 16, "b": 16}
    assert equal_shares(chosen, cost, ops, 0.2) is None


def test_a_table_of_less_than_an_image_tells_nothing() -> None:
    flat = space(a=0.0, b=0.0001).curves
    assert not separates(flat, 1000) and separates(flat, 10_000)
    assert separates(space().curves, 1000)

"""Plans are within their floor, better than one rate for all, and the best of all where all can be tried."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnnflow import CHECK_FAILED, Problem
from bnnflow.sim.faults.analysis.planning import CodeChoice, MeasureRates, assign_rates, protection_front

GRID = (1e-4, 1e-3, 1e-2, 1e-1)


def network(slopes: Mapping[str, float]) -> tuple[Mapping[str, list[float]], MeasureRates]:
    """Accuracies of memories that lose in proportion to rates, one beside the other."""

    def measure(rates: Mapping[str, float]) -> float:
        return 1.0 - sum(slopes[name] * rate for name, rate in rates.items())

    return {name: [measure({name: rate}) for rate in GRID] for name in slopes}, measure


slopes = st.dictionaries(st.sampled_from("abcd"), st.floats(0, 20), min_size=1)


@given(slopes, st.floats(0.001, 0.3))
def test_rates_keep_the_floor_and_none_could_be_higher(slopes: dict[str, float], loss: float) -> None:
    alone, measure = network(slopes)
    bits, floor = dict.fromkeys(slopes, 1000), 1.0 - loss
    if measure(dict.fromkeys(slopes, GRID[0])) < floor:
        with pytest.raises(Problem, match="are asked for") as caught:
            assign_rates(bits, GRID, alone, measure, floor)
        assert caught.value.status == CHECK_FAILED
        return
    plan = assign_rates(bits, GRID, alone, measure, floor)
    assert plan.accuracy == measure(plan.rates) >= floor
    for name, rate in plan.rates.items():
        above = [one for one in GRID if one > rate]
        assert not above or measure({**plan.rates, name: above[0]}) < floor
    assert plan.uniform == max(r for r in GRID if measure(dict.fromkeys(slopes, r)) >= floor)
    assert measure(dict.fromkeys(slopes, plan.uniform)) == plan.uniform_accuracy


def test_large_memories_that_lose_little_rise_first() -> None:
    alone, measure = network({"large": 0.1, "small": 0.1, "critical": 30.0})
    plan = assign_rates({"large": 10_000, "small": 10, "critical": 1000}, GRID, alone, measure, 0.985)
    assert plan.rates == {"large": 1e-1, "small": 1e-2, "critical": 1e-4}
    assert plan.uniform == 1e-4


def test_grids_that_do_not_ascend_are_refused() -> None:
    alone, measure = network({"a": 1.0})
    for grid in ((), (0.0, 0.1), (0.1, 0.1), (0.2, 0.1)):
        with pytest.raises(Problem, match="ascend"):
            assign_rates({"a": 1}, grid, alone, measure, 0.5)


losses = st.lists(st.tuples(st.floats(0.0, 0.2), st.integers(1, 50), st.integers(0, 2)), min_size=1, max_size=4)


@given(losses)
def test_the_front_ascends_begins_without_and_ends_with_all_that_helps(memories: list[tuple[float, int, int]]) -> None:
    names = [f"m{index}" for index in range(len(memories))]
    lost = {name: one[0] for name, one in zip(names, memories, strict=True)}
    left = {"weak": 0.5, "strong": 0.0}
    choices = [
        CodeChoice(name, code, lut * (1 if code == "weak" else 3), bram, 1.0 - lost[name] * left[code])
        for (name, (_, lut, bram)), code in product(zip(names, memories, strict=True), left)
    ]

    def measure(codes: Mapping[str, str]) -> float:
        return 1.0 - sum(lost[name] * (left[codes[name]] if name in codes else 1.0) for name in names)

    front = protection_front(choices, {name: 1.0 - one for name, one in lost.items()}, measure, 100.0)
    assert not front[0].codes and front[0].lut == front[0].bram18 == 0
    costs = [one.lut + 100 * one.bram18 for one in front]
    assert costs == sorted(costs) and all(a.accuracy < b.accuracy for a, b in pairwise(front))
    assert front[-1].accuracy == pytest.approx(1.0)
    for one in front:
        assert one.accuracy == measure(one.codes)
        taken = [choice for choice in choices if one.codes.get(choice.memory) == choice.code]
        assert one.lut == sum(choice.lut for choice in taken) and one.bram18 == sum(choice.bram18 for choice in taken)

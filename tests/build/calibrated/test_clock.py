"""Clocks of units: the fit finds what was planted, tables say what their units had, and networks have their slowest."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from bnnflow import Problem
from bnnflow.build.calibrated.clock import LOGIC, Clock, crowded, sizes_of, slowest
from bnnflow.build.calibrated.fit import counted_subject
from bnnflow.build.calibrated.fit_clock import clock_of, placed_subjects
from bnnflow.build.calibrated.pieces import MULTIPLIED, RANKED, READ_AHEAD, READ_AT_ONCE, SUMMED
from bnnflow.build.calibrated.subjects import held_out, subjects
from bnnflow.build.calibrated.table import calibrated, read_table, table
from bnnflow.build.cost import estimate
from bnnflow.build.cost_models.bnnflow import Bnnflow
from tests.hardware_graphs import GRAPHS

BY_NAME = {each.name: each for each in (*subjects(), *held_out())}
TIMED = [family for family in calibrated() if table(family).clock is not None]


def test_times_that_were_planted_are_found() -> None:
    paths = {"bnnflow_mvau": (1.5, 0.5), READ_AHEAD: (6.0, 0.3)}
    rng = np.random.default_rng(0)
    units = []
    for number in range(60):
        sizes = {"bnnflow_mvau": float(rng.uniform(3, 12))}
        if number % 2:
            sizes[READ_AHEAD] = float(rng.integers(0, 6))
        units.append((f"unit {number}", sizes, 1000 / slowest(paths, sizes)[0]))
    made = clock_of("a part", "6", ["a tool"], units[:40], units[40:])
    assert made.worst_error < 0.02 and len(made.held_out) == 20
    assert made.paths["bnnflow_mvau"] == pytest.approx(paths["bnnflow_mvau"], abs=0.1)
    assert made.slowest({"bnnflow_mvau": 2.0, READ_AHEAD: 4.0})[1] == READ_AHEAD
    assert made.slowest({"bnnflow_pool": 2.0}) == (LOGIC[0] + 2 * LOGIC[1], "bnnflow_pool"), "never seen"


def test_a_table_with_clocks_is_what_its_file_says() -> None:
    units = [(f"unit {size}", {"bnnflow_fifo": float(size)}, 1000 / (2 + size)) for size in range(1, 9)]
    made = replace(table("ecp5"), clock=clock_of("a part", "", ["one", "two"], units[::2], units[1::2]))
    read = read_table(made.text(), "")
    assert read.clock is not None and made.clock is not None
    assert json.loads(read.text()) == json.loads(made.text())
    assert read.clock.slowest({"bnnflow_fifo": 3.0}) == made.clock.slowest({"bnnflow_fifo": 3.0})
    with pytest.raises(Problem, match="no calibration"):
        read_table(made.text().replace('"paths"', '"pats"'), "")


@pytest.mark.parametrize("family", TIMED)
def test_clocks_of_a_table_follow_from_its_paths_and_what_units_are_made_of(family: str) -> None:
    made = table(family)
    assert made.clock is not None
    fitting, others = placed_subjects(made)
    assert [each.name for each in made.clock.fitted] == [each.name for each in fitting]
    assert [each.name for each in made.clock.held_out] == [each.name for each in others]
    for each in (*made.clock.fitted, *made.clock.held_out):
        parts = counted_subject(BY_NAME[each.name], family)
        period, _ = made.clock.slowest(sizes_of(parts, made.lut(parts.terms)))
        assert round(1000 / period, 1) == each.predicted_mhz, each.name
    errors = [abs(each.error) for each in made.clock.held_out]
    assert made.clock.mean_error == pytest.approx(np.mean(errors), abs=1e-4) and made.clock.worst_error < 1


def test_paths_are_those_of_the_memories_that_units_have() -> None:
    """A kept vector and a deep FIFO are read through logic, weights ahead of it."""

    def paths(name: str) -> set[str]:
        return set(counted_subject(BY_NAME[name], "ecp5").paths)

    assert paths("mvau 256x256 2x4 of 0..1, levels 1, top 0, auto, 2 deep") == {READ_AHEAD}
    assert paths("input of 24, 33 deep") == {READ_AT_ONCE}
    assert paths("labels 10 2 5 -100..100") == {RANKED} and paths("labels 10 10 1 -60..60") == set()
    assert {SUMMED, MULTIPLIED} <= paths("mvau 16x27 2x3 of 0..255, levels 1, top 7, auto, 2 deep")


def test_a_network_is_as_slow_as_its_slowest_unit() -> None:
    made = estimate(GRAPHS["convolutions"](), Bnnflow(table("ecp5")))
    clock = Clock("a part", "", [], {"bnnflow_max_pool": (50.0, 0.0)}, 0, 0)
    unit, period, path = made.slowest(clock)
    assert unit.op.startswith("StreamingMaxPool") and (period, path) == (50.0, "bnnflow_max_pool")
    assert crowded(0) == crowded(1000) == 1 < crowded(2000) < crowded(4000), "small ones do not crowd"
    usual = Clock("a part", "", [], {}, 0, 0)
    unit, period, path = made.slowest(usual)
    assert period == max(usual.slowest(one.paths)[0] for one in made.units) == usual.slowest(unit.paths)[0]

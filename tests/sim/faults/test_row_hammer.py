"""Row hammer: only neighbours are hit, at the memory's edges too, and as often as the model says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnflow import Problem
from bnnflow.sim.faults import CellRate, FaultModel, Memory, Point, Rates, Subject, memories
from bnnflow.sim.faults.injection.draws import stream
from bnnflow.sim.faults.shapes.base import Coins
from tests.sim.faults.fault_graphs import cnn, mlp, pixels


def place(depth: int, width: int) -> Memory:
    return replace(memories(mlp())[0], depth=depth, width=width, bank=width, lanes=1)


@pytest.mark.parametrize(
    ("depth", "row", "victims"), [(5, 2, [1, 3]), (5, 0, [1]), (5, 4, [3]), (2, 1, [0]), (1, 0, [])]
)
def test_victims_are_the_words_beside(depth: int, row: int, victims: list[int]) -> None:
    """At probability 1 every cell of both neighbours and no other; at the edges there is one, or none."""
    memory, shape = place(depth, 7), FaultModel.parse("row-hammer:1 flip").shape
    cells = shape.cells(memory, row, Coins(stream(0, 0, 0), row))
    assert cells.tolist() == [word * 7 + bit for word in victims for bit in range(7)]


@settings(max_examples=60)
@given(st.integers(1, 30), st.integers(1, 20), st.integers(0, 99), st.floats(0, 1), st.floats(0, 1))
def test_only_neighbours_of_hammered_words_are_hit(
    depth: int, width: int, seed: int, rate: float, chance: float
) -> None:
    """The hammered words are those that the word lines of the same seed hit; a higher probability only adds victims."""
    memory, source = place(depth, width), stream(seed, 0, 1)
    lines = FaultModel.parse("word-line stuck-at-1").draw(memory, CellRate.of(rate), source)
    hammered = set((lines.index // width).tolist())
    beside = {word for row in hammered for word in (row - 1, row + 1) if 0 <= word < depth}
    hit = FaultModel.parse(f"row-hammer:{chance!r} flip").draw(memory, CellRate.of(rate), source)
    every = FaultModel.parse("row-hammer:1 flip").draw(memory, CellRate.of(rate), source)
    assert set((every.index // width).tolist()) == beside and len(every.index) == len(beside) * width
    assert set(hit.index.tolist()) <= set(every.index.tolist())
    assert set(hit.effect.tolist()) <= {2}


def test_a_cell_between_two_hammered_words_is_hit_once() -> None:
    """Two flips do not cancel: lost charge does not come back."""
    memory = place(3, 4)
    units, source = np.array([0, 2]), stream(0, 0, 0)
    hit = FaultModel.parse("row-hammer:1 flip").hit(memory, units, np.zeros(2), CellRate.of(1.0), source)
    assert hit.index.tolist() == [4, 5, 6, 7]


@pytest.mark.parametrize(("rate", "chance"), [(0.1, 0.02), (0.5, 0.3), (0.02, None), (1.0, 0.05)])
def test_cells_are_hit_as_often_as_the_model_says(rate: float, chance: float | None) -> None:
    """A cell of two neighbours escapes with (1 - rate * p)^2, one at the edge with 1 - rate * p; p by default 1/1700.

    Counted in words of which no two share a hammered one; 4 deviations of sums of cells that share theirs.
    """
    text = "row-hammer" if chance is None else f"row-hammer:{chance!r}"
    model, p = FaultModel.parse(f"{text} flip"), 1 / 1700 if chance is None else chance
    memory, maps, found = place(82, 600), 60, {1: 0, 2: 0}
    words = {1: np.array([0, 81]), 2: np.arange(2, 80, 4)}
    for trial in range(maps):
        hit = model.draw(memory, CellRate.of(rate), stream(7, trial, 0)).index // 600
        for neighbours in found:
            found[neighbours] += int(np.isin(hit, words[neighbours]).sum())
    for neighbours, count in found.items():
        miss, miss_both = (1 - rate * p) ** neighbours, (1 - 2 * rate * p + rate * p * p) ** neighbours
        covariance = miss_both - miss**2
        spread = len(words[neighbours]) * maps * (600 * miss * (1 - miss) + 600 * 599 * covariance)
        assert abs(count - len(words[neighbours]) * maps * 600 * (1 - miss)) <= 4 * spread**0.5


def test_campaigns_of_row_hammer() -> None:
    """Three copies side by side share their words: a vote gains nothing where all victims flip, else much."""
    graph = cnn()
    subject = Subject(graph, pixels(0, graph, 20), np.arange(20) % 3)

    def changed(text: str, rate: float, code: str = "none") -> int:
        point = Point("weights", (), text, Rates.of(rate), code)
        return sum(subject.trial(point, trial).changed for trial in range(6))

    assert changed("row-hammer", 0.0) == 0 < changed("row-hammer:0.1", 0.5)
    assert changed("row-hammer:1 flip", 0.5, "tmr") == changed("row-hammer:1 flip", 0.5) > 0
    assert changed("row-hammer:0.1 flip", 0.5, "tmr") < changed("row-hammer:0.1 flip", 0.5)


@pytest.mark.parametrize("target", ["streams", "fifos"])
def test_streams_have_no_rows(target: str, golden: object) -> None:
    with pytest.raises(Problem) as found:
        Point(target, (), "row-hammer", Rates.of(0.1)).places(cnn())
    golden(f"problems/faults_row_hammer_{target}", str(found.value))  # type: ignore[operator]


@pytest.mark.parametrize("size", ["1.5", "often"])
def test_no_probability(size: str, golden: object) -> None:
    with pytest.raises(Problem) as found:
        FaultModel.parse(f"row-hammer:{size} flip")
    golden(f"problems/faults_row_hammer_{size.replace('.', '_')}", str(found.value))  # type: ignore[operator]

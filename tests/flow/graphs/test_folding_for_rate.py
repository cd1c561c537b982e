"""What is folded for a rate keeps it: simulated word by word, with FIFOs that are deep enough."""

from __future__ import annotations

import pytest

from bnnflow.build.calibrated.table import table
from bnnflow.build.cost_models.bnnflow import Bnnflow
from bnnflow.build.explore import Space
from bnnflow.build.parts import part
from bnnflow.flow.graphs.folding import FPS, Wanted, compile_and_fold
from bnnflow.flow.graphs.rates import timing_of

from ...hardware_graphs import GRAPHS

PART, MHZ = part("xc7z020"), 100.0


@pytest.mark.parametrize("name", GRAPHS)
def test_the_simulated_interval_is_within_the_cycles_of_the_rate(name: str) -> None:
    graph = GRAPHS[name]()
    cycles = Space(graph, Bnnflow(table("xc7"))).cycles()
    for most in (cycles[0], cycles[len(cycles) // 2], cycles[-1]):
        made = compile_and_fold(graph, Wanted(PART, MHZ, MHZ * 1e6 / most))
        interval = timing_of(made.graph, 3, 0).interval
        assert interval is not None and interval <= most
        assert made.chosen_by == "bnnflow"


def test_it_is_said_which_cost_chose() -> None:
    graph = GRAPHS["convolutions"]()
    for wanted, by in (
        (Wanted(PART, MHZ, FPS), "bnnflow"),
        (Wanted(PART, MHZ, FPS, cost_model="exact"), "exact"),
        (Wanted(part("xczu3eg"), MHZ, FPS), "exact"),
        (Wanted(PART, MHZ, FPS, finn_plus=True), "exact"),
    ):
        made = compile_and_fold(graph, wanted)
        assert made.chosen_by == by
        assert any(f"at the least cost by {by}" in note for note in made.notes)
    kept = compile_and_fold(graph, Wanted(PART, MHZ, folded=True))
    assert kept.chosen_by is None and kept.graph == graph

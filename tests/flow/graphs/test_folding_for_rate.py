"""What is folded for a rate keeps it: simulated word by word, with FIFOs that are deep enough."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import pytest

from bnnflow import CHECK_FAILED, Problem
from bnnflow.build.calibrated.table import table
from bnnflow.build.cost import beyond, estimate
from bnnflow.build.cost_models.bnnflow import Bnnflow
from bnnflow.build.explore import Space
from bnnflow.build.parts import part
from bnnflow.build.points import Point
from bnnflow.flow.commands.explore import Asked, explore
from bnnflow.flow.graphs.fitting import with_fifos
from bnnflow.flow.graphs.folding import FPS, Wanted, compile_and_fold
from bnnflow.flow.graphs.rates import timing_of
from bnnflow.transforms.ir.graph import Graph

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
        (Wanted(part("xcve2802"), MHZ, FPS), "exact"),
        (Wanted(PART, MHZ, FPS, finn_plus=True), "exact"),
    ):
        made = compile_and_fold(graph, wanted)
        assert made.chosen_by == by
        assert any(f"at the least cost by {by}" in note for note in made.notes)
    kept = compile_and_fold(graph, Wanted(PART, MHZ, folded=True))
    assert kept.chosen_by is None and kept.graph == graph


@pytest.mark.parametrize("name", GRAPHS)
def test_what_fits_does_so_with_its_fifos(name: str) -> None:
    """A part with less than a design takes with the FIFOs that keep its rate: another design, or a refusal."""
    graph, model = GRAPHS[name](), Bnnflow(table("xc7"))
    fps = MHZ * 1e6 / Space(graph, model).cycles()[-1]
    made = compile_and_fold(graph, Wanted(PART, MHZ, fps)).graph
    cost, least = with_fifos(made, model), estimate(made, model)
    taken = cost.lut + cost.lut_ram
    assert taken >= least.lut + least.lut_ram and beyond(cost, PART, model) == ""
    for lut in (taken, taken - 1, least.lut + least.lut_ram, int(0.9 * taken)):
        small = replace(PART, lut=lut)
        other, refusal = built(graph, Wanted(small, MHZ, fps))
        if other is not None:
            assert beyond(with_fifos(other, model), small, model) == ""
        else:
            assert f" of {lut:,} (xc7z020)" in refusal and lut < taken


def built(graph: Graph, wanted: Wanted) -> tuple[Graph | None, str]:
    """A folded graph, or why there is none."""
    try:
        return compile_and_fold(graph, wanted).graph, ""
    except Problem as problem:
        return None, f"{problem.what} ({problem.status})" if problem.status != CHECK_FAILED else problem.what


def test_flip_flops_are_held_against_a_part_that_says_how_many_it_has() -> None:
    graph = GRAPHS["convolutions"]()
    with pytest.raises(Problem, match=r"FF of 10 \(xc7z020\); the largest unit is") as raised:
        compile_and_fold(graph, Wanted(replace(PART, ff=10), MHZ, FPS))
    assert raised.value.status == CHECK_FAILED and "images/s fit" not in raised.value.hint
    compile_and_fold(graph, Wanted(replace(PART, ff=0), MHZ, FPS))


@pytest.mark.parametrize("name", ["convolutions", "integers", "winner"])
def test_a_design_is_chosen_with_its_fifos(name: str) -> None:
    """Limits hold of the design as it is built; no other of the front is cheaper then."""
    graph, model = GRAPHS[name](), Bnnflow(table("xc7"))
    space = Space(graph, model)
    cycles = space.cycles()[-1]
    wanted = Wanted(PART, MHZ, MHZ * 1e6 / cycles)
    first = explore(graph, wanted, Asked())
    chosen = first.chosen
    assert chosen is not None
    for point in space.front(PART.block_rams, cycles):
        cost = with_fifos(point.graph(graph), model)
        built = Point({}, 0, cost.lut + cost.lut_ram, cost.bram18, cost.dsp, 0)
        assert built.share(PART) >= Point({}, 0, chosen.lut, chosen.bram18, chosen.dsp, 0).share(PART) - 1e-4
    for asked in (Asked(lut=chosen.lut - 1), Asked(latency_us=chosen.latency_us - 0.005)):
        with suppress(Problem):
            found = explore(graph, wanted, asked).chosen
            assert found is not None and found.lut <= (asked.lut or found.lut)
            assert found.latency_us <= (asked.latency_us or found.latency_us)

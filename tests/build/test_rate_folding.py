"""Foldings for a rate: chosen by the cost of our own hardware, or by FINN's formulas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnflow import CHECK_FAILED, Problem
from bnnflow.build.calibrated.table import table
from bnnflow.build.cost_models.bnnflow import Bnnflow
from bnnflow.build.explore import Space
from bnnflow.build.parts import Part, part
from bnnflow.build.rate_folding import cheapest, fold_for_rate
from bnnflow.build.schedule import cycles_for, fold, highest_rate, like_folded, schedule
from bnnflow.transforms.ir.graph import Graph
from bnnflow.transforms.ir.ops import Mvau
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.reading.read import read

from ..hardware_graphs import GRAPHS
from ..random_qonnx import random_network
from .test_explore import layers

Golden = Callable[[str, str], None]

MHZ = 100.0
PARTS = ("xc7z020", "lfe5u-85f")


def rates(graph: Graph, chip: Part, number: int = 4) -> list[float]:
    """Images per second of so many designs, the fastest and the slowest among them."""
    cycles = Space(graph, Bnnflow(table(chip.family))).cycles()
    return [MHZ * 1e6 / cycles[round(place)] for place in np.linspace(0, len(cycles) - 1, number)]


@given(st.integers(1, 3_000_000), st.sampled_from([33.3, 16.1, 100.0, 66.666, 0.1, 250.0]))
def test_a_rate_gives_its_cycles_again(cycles: int, clock_mhz: float) -> None:
    """As JSON has it, and rounded down as people see it; the next faster one is another."""
    assert cycles_for(clock_mhz * 1e6 / cycles, clock_mhz) == cycles
    if rate := highest_rate(cycles, clock_mhz):
        assert cycles_for(rate, clock_mhz) >= cycles
    assert cycles_for(clock_mhz * 1e6 / cycles * (1 + 1e-9), clock_mhz) < cycles


def held_against_finns(graph: Graph, fps: float, chip: Part) -> None:
    """The rate is reached, and nothing is dearer than what FINN's formulas choose."""
    found = fold_for_rate(graph, fps, MHZ, chip)
    assert (found.by, found.why) == ("bnnflow", "")
    most = cycles_for(fps, MHZ)
    space = Space(graph, Bnnflow(table(chip.family)).of_sizes())
    chosen = space.point(found.graph)
    assert chosen.cycles <= most and chosen.fits(chip)
    before = fold(graph, most, chip)
    if before is not None:
        earlier = space.point(before)
        assert chosen.share(chip) <= earlier.share(chip)
        if chosen.share(chip) == earlier.share(chip):
            assert chosen.cycles <= earlier.cycles


@pytest.mark.parametrize("chip", PARTS)
@pytest.mark.parametrize("name", GRAPHS)
def test_the_folding_reaches_the_rate_and_costs_no_more_than_by_finns_formulas(name: str, chip: str) -> None:
    graph = GRAPHS[name]()
    for fps in rates(graph, part(chip)):
        held_against_finns(graph, fps, part(chip))


@settings(max_examples=15)
@given(st.integers(0, 10_000), st.sampled_from(PARTS))
def test_so_does_that_of_any_network(seed: int, chip: str) -> None:
    pool = ("none", "before-norm", "after-sign")[seed % 3]
    graph = stages(read(random_network(seed, seed % 3, 1 + seed % 2, pool)))[-1].graph
    # The fastest designs of some fit no part.
    for fps in rates(graph, part(chip), 4)[2:]:
        held_against_finns(graph, fps, part(chip))


def test_on_a_chain_it_is_the_cheapest_of_the_front() -> None:
    chip, graph = part("xc7z020"), layers((64, 256), (32, 64))
    space = Space(graph, Bnnflow(table("xc7")).of_sizes())
    front = space.front(chip.block_rams)
    for fps in rates(graph, chip, 6):
        chosen = space.point(fold_for_rate(graph, fps, MHZ, chip).graph)
        fast = [point for point in front if point.cycles <= MHZ * 1e6 / fps]
        assert chosen.share(chip) == pytest.approx(min(point.share(chip) for point in fast))


def test_a_space_of_a_rate_alone_has_the_same_designs() -> None:
    for name in ("convolutions", "residual"):
        graph = GRAPHS[name]()
        model = Bnnflow(table("xc7"))
        whole = Space(graph, model)
        for cycles in whole.cycles()[::5]:
            found, expected = (space.within(cycles, 280) for space in (Space(graph, model, cycles), whole))
            assert [(p.lut, p.bram18, p.cycles) for p in found] == [(p.lut, p.bram18, p.cycles) for p in expected]


def test_the_folding_follows_from_sizes_alone() -> None:
    """A network that is trained again is folded alike: memories whose faults it was trained with stay as they are."""
    rng, chip, graph = np.random.default_rng(5), part("xc7z020"), layers((64, 256), (32, 64), (10, 32))
    nodes = []
    for node in graph.nodes:
        assert isinstance(node.op, Mvau)
        rows, columns = node.op.weight.shape
        weight, bounds = rng.integers(0, 2, (rows, columns), np.uint8), np.full((rows, 1), columns // 2)
        nodes.append(replace(node, op=replace(node.op, weight=weight, bounds=bounds)))
    other = graph.with_nodes(tuple(nodes))
    for fps in rates(graph, chip, 8):
        one, two = (fold_for_rate(each, fps, MHZ, chip).graph for each in (graph, other))
        for a, b in zip(one.nodes, two.nodes, strict=True):
            assert isinstance(a.op, Mvau) and isinstance(b.op, Mvau)
            assert like_folded(a.op, b.op) == a.op


def test_what_nothing_is_cheaper_than_stays() -> None:
    chip, graph = part("xc7z020"), layers((8, 24), (4, 8))
    space = Space(graph, Bnnflow(table("xc7")))
    best = cheapest(space, 48, chip)
    assert best is not None
    again = cheapest(space, 48, chip, best.graph(graph))
    assert again is not None
    assert again.graph(graph) == best.graph(graph)
    slow = fold(graph, 4096, chip)
    assert slow is not None
    kept = cheapest(space, 48, chip, slow)
    assert kept is not None and kept.cycles <= 48, "what is too slow is no choice"


def test_other_cost_models_and_parts_fold_by_finns_formulas() -> None:
    graph = GRAPHS["convolutions"]()
    fps = rates(graph, part("xc7z020"))[1]
    for name in ("exact", "finn", "bits"):
        found = fold_for_rate(graph, fps, MHZ, part("xc7z020"), name)
        assert (found.by, found.why) == ("exact", "")
        assert found.graph == schedule(graph, fps, MHZ, part("xc7z020"))
    for chip in ("xcve2802", "xcvc1902"):
        found = fold_for_rate(graph, fps, MHZ, part(chip))
        assert found.by == "exact" and "not calibrated" in found.why
        assert found.graph == schedule(graph, fps, MHZ, part(chip))


def test_a_calibration_of_ones_own_decides() -> None:
    graph, chip = GRAPHS["convolutions"](), part("gw2ar-lv18")
    fps = rates(graph, part("xc7z020"))[1]
    own = replace(table("ecp5"), family="gowin")
    assert fold_for_rate(graph, fps, MHZ, chip, own=own).by == "bnnflow"


def test_what_cannot_be_reached_is_said(golden: Golden) -> None:
    graph = layers((64, 256), (32, 64))
    small = replace(part("xc7a35t"), name="small", lut=900, block_rams=2)
    tiny = replace(small, name="tiny", lut=10, block_rams=0)
    said = []
    for fps, chip in ((1e9, part("xc7z020")), (1e8, small), (1e3, tiny)):
        with pytest.raises(Problem) as caught:
            fold_for_rate(graph, fps, MHZ, chip)
        assert caught.value.status == CHECK_FAILED
        said.append(str(caught.value))
    golden("refused", "\n".join(said))

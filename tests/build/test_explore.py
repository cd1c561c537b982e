"""The front of a design space against all designs that there are."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnnflow.build.calibrated.table import table
from bnnflow.build.cost import estimate, flip_flops
from bnnflow.build.cost_models.bnnflow import Bnnflow
from bnnflow.build.explore import Space
from bnnflow.build.pareto import best
from bnnflow.build.parts import Part
from bnnflow.build.schedule import refolded
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import Mvau, SlidingWindow
from bnnflow.transforms.ir.tensor import TensorType
from bnnflow.transforms.streams import streams_of

from ..hardware_graphs import GRAPHS, residual

MOST_RAMS = 40


@given(st.integers(1, 4), st.integers(1, 30), st.integers(0, 1000))
def test_the_best_rows_are_those_that_no_other_beats(columns: int, rows: int, seed: int) -> None:
    drawn = np.random.default_rng(seed).integers(0, 5, (rows, columns)).astype(float)
    kept = best(drawn)
    expected = {tuple(row) for row in drawn if not any(np.all(other <= row) and np.any(other < row) for other in drawn)}
    assert {tuple(drawn[place]) for place in kept} == expected and len(kept) == len(expected)


def layers(*shapes: tuple[int, int], ram_style: str = "auto") -> Graph:
    """A chain of layers of bits of rows and columns."""
    rng, nodes, tensor = np.random.default_rng(3), [], "x"
    for place, (rows, columns) in enumerate(shapes):
        weight = rng.integers(0, 2, (rows, columns), np.uint8)
        op = Mvau(weight, rng.integers(1, columns, (rows, 1)), True, ram_style=ram_style)
        nodes.append(Node(f"dense{place}", op, (tensor,)))
        tensor = nodes[-1].name
    return Graph("layers", "x", TensorType((shapes[0][1],), 0, 1), tuple(nodes), tensor)


def every_design(space: Space) -> list[tuple[int, int, int]]:
    """Cycles, LUTs and block RAMs of all foldings and places of weights, each estimated as a whole graph."""
    ways: list[list[Node]] = []
    for node in space.units:
        assert isinstance(node.op, Mvau)
        rows, columns = node.op.weight.shape
        ways.append(
            [
                replace(node, op=replace(node.op, pe=pe, simd=simd, ram_style=style))
                for pe in range(1, rows + 1)
                for simd in range(1, columns + 1)
                for style in ("distributed", "block")
                if rows % pe == 0 and columns % simd == 0
            ]
        )
    found = []
    for nodes in product(*ways):
        made = estimate(space.graph.with_nodes(tuple(nodes)), space.model)
        found.append((made.cycles, made.lut + made.lut_ram, made.bram18))
    return found


def test_the_front_of_a_chain_is_that_of_all_designs() -> None:
    space = Space(layers((6, 20), (10, 6)), Bnnflow(table("ecp5")))
    assert space.is_chain
    every = [each for each in every_design(space) if each[2] <= MOST_RAMS]
    rows = np.array(every, float)
    expected = {tuple(int(value) for value in rows[place]) for place in best(rows)}
    front = space.front(MOST_RAMS)
    assert {(point.cycles, point.lut, point.bram18) for point in front} == expected
    assert len(every) > 1000 and len(expected) > 10
    for point in front:
        made = estimate(point.graph(space.graph), space.model)
        assert (made.cycles, made.lut + made.lut_ram, made.bram18) == (point.cycles, point.lut, point.bram18)


def test_designs_within_cycles_keep_them_and_are_legal_with_branches() -> None:
    space = Space(residual(), Bnnflow(table("xc7")))
    assert not space.is_chain
    fastest, slowest = space.cycles()[0], space.cycles()[-1]
    assert space.within(fastest - 1, MOST_RAMS) == []
    for cycles in (fastest, 4 * fastest, slowest):
        for point in space.within(cycles, MOST_RAMS):
            graph = point.graph(space.graph)
            streams_of(graph)
            made = estimate(graph, space.model)
            assert made.cycles <= cycles and made.cycles == point.cycles
            assert (made.lut + made.lut_ram, made.bram18) == (point.lut, point.bram18)


def test_no_design_has_more_block_rams_than_are_allowed() -> None:
    graph = layers((64, 256), (32, 64))
    space = Space(graph, Bnnflow(table("xc7")))
    few, many = (space.front(rams) for rams in (0, MOST_RAMS))
    assert {point.bram18 for point in few} == {0}
    assert min(point.lut for point in many) < min(point.lut for point in few)


def test_a_folded_graph_has_the_designs_of_the_graph() -> None:
    """Places of memories that a folding chose are chosen anew; UltraRAM, which none chooses, is what a user wants."""
    graph = layers((8, 96), (4, 8))
    space = Space(graph, Bnnflow(table("xc7")))
    whole = space.front(MOST_RAMS)
    for point in (whole[0], whole[len(whole) // 2]):
        again = Space(point.graph(graph), space.model).front(MOST_RAMS)
        assert [(each.cycles, each.lut, each.bram18, each.ff) for each in again] == [
            (each.cycles, each.lut, each.bram18, each.ff) for each in whole
        ]
    first = graph.nodes[0]
    asked = graph.with_nodes((replace(first, op=replace(first.op, pe=2, ram_style="ultra")), *graph.nodes[1:]))
    held = refolded(asked).nodes[0].op
    assert isinstance(held, Mvau) and held.ram_style == "ultra"


@pytest.mark.parametrize("family", ["xc7", "ecp5"])
@pytest.mark.parametrize("name", GRAPHS)
def test_points_cost_what_their_graphs_do(name: str, family: str) -> None:
    space = Space(GRAPHS[name](), Bnnflow(table(family)))
    front = space.front(MOST_RAMS)
    for point in front[:: max(1, len(front) // 6)]:
        cost = estimate(point.graph(space.graph), space.model)
        assert (point.bram18, point.dsp, point.ff) == (cost.bram18, cost.dsp, flip_flops(cost))
        # Each unit's LUTs are rounded by themselves.
        assert abs(point.lut - cost.lut - cost.lut_ram) <= len(space.units)


def test_registers_that_a_part_has_not_do_not_fit() -> None:
    point = Space(layers((8, 96), (4, 8)), Bnnflow(table("xc7"))).front(MOST_RAMS)[0]
    few, silent = (Part("own", 10_000, 100, ff=ff) for ff in (point.ff - 1, 0))
    assert point.fits(silent) and not point.fits(few) and point.fits(replace(few, ff=point.ff))


def test_a_memory_that_is_stated_stays() -> None:
    stated = layers((8, 96), (4, 8), ram_style="block")
    window = Node("window", SlidingWindow((3, 3), (1, 1), ram_style="block"), ("x",))
    for graph in (stated, Graph("window", "x", TensorType((8, 8, 4), 0, 1), (window,), "window")):
        front = Space(graph, Bnnflow(table("xc7"))).front(MOST_RAMS)
        ops = [op for point in front for op in point.ops.values()]
        assert ops
        for op in ops:
            assert isinstance(op, Mvau | SlidingWindow) and op.ram_style == "block"

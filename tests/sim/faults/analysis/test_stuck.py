"""Stuck channels and PEs: judged by campaigns of the same fault, by the reference, and by brute force."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from bnnflow import Problem
from bnnflow.sim import reference
from bnnflow.sim.faults import Point, Rates, Subject
from bnnflow.sim.faults.analysis.stuck import StuckOutcome, StuckUnit, least, order_with, tried, units
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import LabelSelect
from bnnflow.transforms.ir.tensor import Array
from bnnflow.transforms.passes.permute import PermuteChannels
from tests.sim.faults.fault_graphs import cnn, mlp, pixels
from tests.transforms.passes.test_permute import wide

Golden = Callable[[str, str], None]


def given(graph: Graph, count: int = 40) -> tuple[Array, Array]:
    return pixels(0, graph, count), np.random.default_rng(0).integers(0, 3, count)


def ranked() -> Graph:
    graph = mlp()
    return replace(graph, nodes=(*graph.nodes, Node("best", LabelSelect(), ("d2",))), output="best")


@pytest.mark.parametrize("bit", [0, 1])
@pytest.mark.parametrize("make", [cnn, mlp, wide, ranked])
def test_a_pe_is_what_a_campaign_makes_of_it(make: Callable[[], Graph], bit: int) -> None:
    """Every PE of every unit, the one that gives the class scores too: the fault `pe:p stuck-at-b` of streams."""
    graph = make()
    images, labels = given(graph, 260)
    subject = Subject(graph, images, labels)
    assert {"cnn": "join", "mlp": "d2", "wide": "times"}.get(graph.name) in units(graph)
    for name in units(graph):
        unit = StuckUnit.of(graph, name, bit)
        found = unit.judge(images, labels, [unit.on(pe) for pe in range(unit.pes)])
        for pe, one in enumerate(found):
            point = Point("streams", (name,), f"pe:{pe} stuck-at-{bit}", Rates.of(1.0))
            outcome = subject.trial(point, 0)
            assert (one.right, one.changed) == (outcome.right, outcome.changed)


def test_any_channels_by_the_reference() -> None:
    """Two channels of a 2-bit layer that is read twice, at 0 and at the bits' greatest value."""
    graph = cnn()
    images, labels = given(graph)
    clean = reference.run(graph, images)["fc"].argmax(axis=1)
    for bit, value in ((0, 0), (1, 3)):
        unit = StuckUnit.of(graph, "conv0", bit)
        assert (unit.value, unit.channels, unit.pes) == (value, 4, 2)
        (found, none) = unit.judge(images, labels, [np.array([0, 3]), np.zeros(0, np.int64)])
        made = {graph.input: images.astype(np.int64)}
        for node in graph.nodes:
            made[node.name] = reference.apply(node.op, *(made[name] for name in node.inputs))
            if node.name == "conv0":
                made[node.name][..., [0, 3]] = value
        classes = made["fc"].argmax(axis=1)
        assert found == StuckOutcome(int((classes == labels).sum()), int((classes != clean).sum()))
        assert none == StuckOutcome(int((clean == labels).sum()), 0)


@pytest.mark.parametrize("by", ["accuracy", "changed"])
def test_the_least_by_brute_force(by: str) -> None:
    graph = mlp(3, (12, 8, 6, 3))
    images, labels = given(graph, 200)
    unit = StuckUnit.of(graph, "d0", 1)
    assert (unit.channels, unit.pes) == (8, 4)

    def cost(channels: tuple[int, ...]) -> tuple[int, ...]:
        (one,) = unit.judge(images, labels, [np.array(channels)])
        return (-one.right, one.changed) if by == "accuracy" else (one.changed, -one.right)

    alone = sorted(range(8), key=lambda channel: (*cost((channel,)), channel))
    steps: list[int] = []
    assert least(unit, images, labels, by, False).tolist() == sorted(alone[:2])
    found = least(unit, images, labels, by, True, steps.append).tolist()
    second = min((one for one in range(8) if one != alone[0]), key=lambda channel: cost((alone[0], channel)))
    assert found == sorted([alone[0], second]) and steps == [8, 15]
    assert tried(unit, True) == 15 and tried(unit, False) == 8
    # One after another is no search of all pairs, but not worse than each alone.
    assert min(map(cost, combinations(range(8), 2))) <= cost(tuple(found)) <= cost(tuple(alone[:2]))


@pytest.mark.parametrize(("make", "name"), [(cnn, "conv0"), (cnn, "other"), (cnn, "conv2"), (wide, "a"), (wide, "b")])
def test_a_permuted_graph_spares_them_whichever_pe_is_stuck(make: Callable[[], Graph], name: str) -> None:
    graph = make()
    images, labels = given(graph)
    for bit in (0, 1):
        unit = StuckUnit.of(graph, name, bit)
        spared = least(unit, images, labels)
        (wanted,) = unit.judge(images, labels, [spared])
        for pe in range(unit.pes):
            order = order_with(unit, pe, spared)
            assert np.array_equal(np.sort(order[unit.on(pe)]), spared)
            assert np.count_nonzero(order != np.arange(unit.channels)) == 2 * len(np.setdiff1d(spared, unit.on(pe)))
            other = StuckUnit.of(PermuteChannels({name: order})(graph).graph, name, bit)
            assert other.judge(images, labels, [other.on(pe)]) == [wanted]


REFUSED: dict[str, Callable[[], object]] = {
    "no_pes": lambda: StuckUnit.of(cnn(), "pool", 0),
    "ranking": lambda: StuckUnit.of(ranked(), "best", 0),
    "unknown": lambda: StuckUnit.of(cnn(), "conv3", 0),
    "bit": lambda: StuckUnit.of(cnn(), "conv0", 2),
    "pe": lambda: StuckUnit.of(cnn(), "conv0", 0).on(2),
    "only_pe": lambda: StuckUnit.of(cnn(), "fc", 0).on(1),
    "negative_pe": lambda: StuckUnit.of(cnn(), "conv0", 0).on(-1),
    "criterion": lambda: least(StuckUnit.of(cnn(), "conv0", 0), *given(cnn()), "acuracy"),
    "labels": lambda: StuckUnit.of(cnn(), "conv0", 0).judge(given(cnn())[0], np.zeros(3, np.int64), []),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, golden: Golden) -> None:
    with pytest.raises(Problem) as found:
        REFUSED[name]()
    golden(f"problems/stuck_{name}", f"{found.value}\n")

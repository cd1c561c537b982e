"""Channels in another order: the same integers, in that order, in every tensor of drawn networks; refused by name."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bnnflow import Problem
from bnnflow.sim import reference
from bnnflow.sim.verify import Level, verify
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import (
    NO_BOUNDS,
    AddStreams,
    ChannelwiseMul,
    DuplicateStreams,
    Flatten,
    GlobalAccPool,
    LabelSelect,
    Mvau,
    Pool,
    SlidingWindow,
    StreamingConcat,
    Thresholding,
)
from bnnflow.transforms.ir.tensor import Array, TensorType
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.passes.permute import PermuteChannels
from bnnflow.transforms.reading.read import read
from bnnflow.transforms.unit_channels import UnitChannels
from tests.drawn_networks import Drawn, networks
from tests.random_graphs import random_graph
from tests.sim.faults.fault_graphs import bits, cnn, dense, mlp, pixels

Golden = Callable[[str, str], None]
SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]


def wide(seed: int = 0) -> Graph:
    """What `cnn` has not: a depthwise pool, a concatenation that is added to a layer, a product, a global sum."""
    rng = np.random.default_rng(seed)
    small = TensorType((5, 5, 2), 0, 3)
    plus = 2 * bits(seed, 6, 8).astype(np.int8) - 1
    first = Mvau(plus, np.sort(rng.integers(-8, 8, (6, 3)), axis=1), False, pe=3, simd=2)
    nodes = (
        Node("window", SlidingWindow((2, 2), (1, 1), 2), ("x",)),
        Node("a", first, ("window",)),
        Node("fork", DuplicateStreams(), ("a",)),
        Node("windowp", SlidingWindow((2, 2), (1, 1), 3, depthwise=True), ("fork",)),
        Node("pool", Pool((2, 2), True, 3), ("windowp",)),
        Node("poolb", Thresholding(np.sort(rng.integers(0, 12, (6, 3)), axis=1), 0, 2), ("pool",)),
        Node("b", Mvau(rng.integers(-2, 3, (4, 6)).astype(np.int8), NO_BOUNDS, False, pe=2), ("poolb",)),
        Node("c", Mvau(rng.integers(-2, 3, (6, 6)).astype(np.int8), NO_BOUNDS, False, pe=2), ("poolb",)),
        Node("both", StreamingConcat(2), ("b", "c")),
        Node("d", Mvau(rng.integers(-2, 3, (10, 6)).astype(np.int8), NO_BOUNDS, False, pe=5), ("poolb",)),
        Node("join", AddStreams(2), ("both", "d")),
        Node("times", ChannelwiseMul(rng.integers(1, 4, 10), 5), ("join",)),
        Node("sum", GlobalAccPool(2), ("times",)),
        Node("flat", Flatten(), ("sum",)),
        Node("e", Mvau(rng.integers(-2, 3, (5, 10)).astype(np.int8), NO_BOUNDS, False), ("flat",)),
    )
    return Graph("wide", "x", small, nodes, "e")


def judged(graph: Graph, orders: dict[str, Array], images: Array) -> Graph:
    """The permuted graph; every tensor is the old one in the order that is stated, by the reference and by `verify`."""
    made = PermuteChannels(orders)(graph)
    old, new = reference.run(graph, images), reference.run(made.graph, images)
    assert {one.old for one in made.equivalences} == set(graph.types) == set(new)
    for one in made.equivalences:
        assert np.array_equal(old[one.old] if one.kept is None else old[one.old][..., one.kept], new[one.new])
        assert graph.types[one.old] == made.graph.types[one.new]
    (found,) = verify([Level("old", graph), Level("permuted", made.graph, made.equivalences)], images)
    assert found.differences == 0 and found.tensors == len(graph.types)
    for name, order in orders.items():
        assert np.array_equal(old[name][..., order], new[name])
    return made.graph


def free(graph: Graph) -> list[str]:
    channels = UnitChannels.of(graph)
    return [node.name for node in graph.nodes if isinstance(node.op, Mvau) and not channels.why_not_any(node.name)]


@given(st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=SLOW)
def test_drawn_networks_keep_their_integers(data: st.DataObject) -> None:
    """Anything that compiles: every unit that may, in a drawn order, one unit after another."""
    net: Drawn = data.draw(networks())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            graph = stages(read(net.model))[-1].graph
        except Problem:
            return
    images = pixels(0, graph, 5) if not graph.input_type.is_float else None
    if images is None:
        return
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    for name in free(graph):
        graph = judged(graph, {name: rng.permutation(graph.types[name].channels)}, images)


@pytest.mark.parametrize("seed", range(60))
def test_graphs_of_mixed_levels(seed: int) -> None:
    """Operations that are no units keep what they touch in place."""
    graph = random_graph(seed, (2, 4, 6))
    rng = np.random.default_rng(seed)
    for name in free(graph):
        graph = judged(graph, {name: rng.permutation(graph.types[name].channels)}, pixels(seed, graph, 5))


@pytest.mark.parametrize("seed", range(3))
def test_pools_windows_forks_joins_and_flattening(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for graph, names in ((cnn(seed), ["conv0", "conv2"]), (wide(seed), ["a"]), (mlp(seed), ["d0", "d1"])):
        orders = {name: rng.permutation(graph.types[name].channels) for name in names}
        assert set(names) <= set(free(graph))
        made = judged(graph, orders, pixels(seed, graph, 20))
        assert str(made) != str(graph)
        back = {name: np.argsort(order) for name, order in orders.items()}
        assert str(judged(made, back, pixels(seed, graph, 3))) == str(graph)


def test_what_is_added_moves_together() -> None:
    """A residual join: the branch, its shortcut and the threshold behind; parts of a concatenation by themselves."""
    graph = cnn()
    assert UnitChannels.of(graph).moved_with("conv1") == ("conv0",)
    made = PermuteChannels({"conv1": [2, 0, 3, 1]})(graph)
    moved = {one.old for one in made.equivalences if one.kept is not None}
    assert moved == {"conv0", "fork", "conv1", "other", "join", "bit", "pad", "pool", "window2"}
    graph = wide()
    assert UnitChannels.of(graph).moved_with("d") == ("b", "c")
    made = PermuteChannels({"d": [1, 0, 3, 2, 9, 8, 7, 6, 5, 4]})(graph)
    orders = {one.old: one.kept for one in made.equivalences}
    assert orders["b"].tolist() == [1, 0, 3, 2] and orders["c"].tolist() == [5, 4, 3, 2, 1, 0]
    judged(graph, {"d": np.array([1, 0, 3, 2, 9, 8, 7, 6, 5, 4])}, pixels(0, graph, 20))


def test_orders_that_keep_parts() -> None:
    """Where only some orders are possible it is said; where any is, it is done."""
    channels = UnitChannels.of(wide())
    assert channels.why_not_any("d").startswith("they are parts") and channels.why_fixed("d") == ""
    assert [channels.why_not_any(name) for name in "abc"] == ["", "", ""]
    assert [UnitChannels.of(graph).why_not_any(name) for graph, name in ((cnn(), "conv1"), (mlp(), "d1"))] == ["", ""]
    assert UnitChannels.of(mlp()).why_not_any("d2") == "they are the class scores"
    assert UnitChannels.of(doubled()).why_not_any("b").startswith("they are parts")


def doubled() -> Graph:
    """A layer's channels twice beside each other, added to those of another."""
    nodes = (
        Node("a", dense(0, 4, 6, last=True), ("x",)),
        Node("fork", DuplicateStreams(), ("a",)),
        Node("twice", StreamingConcat(), ("fork", "fork")),
        Node("b", dense(1, 8, 6, last=True), ("x",)),
        Node("join", AddStreams(), ("twice", "b")),
        Node("bit", Thresholding(np.full((8, 1), 6)), ("join",)),
        Node("c", dense(2, 3, 8, last=True), ("bit",)),
        Node("best", LabelSelect(), ("c",)),
    )
    return Graph("doubled", "x", TensorType((6,), 0, 1), nodes, "best")


def test_a_channel_that_stands_twice() -> None:
    graph = doubled()
    made = judged(graph, {"a": np.array([3, 1, 0, 2])}, pixels(0, graph, 20))
    op = made.node("b").op
    assert isinstance(op, Mvau)
    assert np.array_equal(op.weight, dense(1, 8, 6).weight[[3, 1, 0, 2, 7, 5, 4, 6]])


def forked() -> Graph:
    """A fork of the image in front."""
    first, *others = mlp().nodes
    return replace(mlp(), nodes=(Node("fork", DuplicateStreams(), ("x",)), replace(first, inputs=("fork",)), *others))


REFUSED = {
    "scores": (mlp, {"d2": [1, 0, 2]}),
    "ranked": (doubled, {"c": [1, 0, 2]}),
    "image": (forked, {"fork": [*range(1, 12), 0]}),
    "unknown": (mlp, {"d9": [0]}),
    "input": (mlp, {"x": [0]}),
    "short": (mlp, {"d0": [0, 1]}),
    "repeated": (mlp, {"d0": [0, 0, 2, 3, 4, 5, 6, 7]}),
    "two_orders": (cnn, {"conv0": [1, 0, 2, 3], "conv1": [0, 1, 3, 2]}),
    "of_another": (wide, {"d": [4, 1, 2, 3, 0, 5, 6, 7, 8, 9]}),
    "twice": (doubled, {"b": [1, 0, 2, 3, 4, 5, 6, 7]}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, golden: Golden) -> None:
    make, orders = REFUSED[name]
    with pytest.raises(Problem) as found:
        PermuteChannels(orders)(make())
    golden(f"problems/permute_{name}", f"{found.value}\n")

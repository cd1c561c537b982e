"""Sets of channels: each next one is the one that brute force finds, on sums of the reference simulator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import log_softmax

from bnnflow.models.data.load import load_dataset
from bnnflow.models.networks.network import NetworkSpec
from bnnflow.sim import reconstruction, reference
from bnnflow.sim.reconstruction import FLOOR, on_integers, removal_order
from bnnflow.transforms.channels import ChannelGroup, channel_groups
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import Conv, Dense, Flatten, MaxPool, Scale, SumPool, Threshold
from bnnflow.transforms.ir.tensor import TensorType
from tests.sim.test_norms import CNN, NETWORKS, exported, lively

MULTI_BIT = replace(CNN, activation="unit", act_bits=2)


def graph_of(spec: NetworkSpec, folder: Path) -> tuple[Graph, np.ndarray, np.ndarray]:
    """A drawn network, images and labels."""
    digits = load_dataset("digits")
    network = lively(spec, digits.train_images[:200])
    return exported(network, folder), digits.train_images[:20], digits.train_labels[:20]


def without(graph: Graph, group: ChannelGroup, gone: list[int]) -> Graph:
    """The graph whose layers read 0 in place of some channels."""
    nodes = []
    for node in graph.nodes:
        if node.name in group.columns:
            assert isinstance(node.op, Conv | Dense)
            weight = np.array(node.op.weight)
            weight[..., np.isin(group.columns[node.name], gone)] = 0
            node = replace(node, op=replace(node.op, weight=weight))
        nodes.append(node)
    return graph.with_nodes(tuple(nodes))


def error(graph: Graph, group: ChannelGroup, gone: list[int], images: np.ndarray) -> float:
    """Mean weighted square of what the sums of the one layer that reads the group change by, mean changes apart."""
    (reader,) = group.readers
    whole, less = (reference.run(one, images)[reader].astype(float) for one in (graph, without(graph, group, gone)))
    whole, less = (sums.reshape(-1, sums.shape[-1]) for sums in (whole, less))
    behind = graph.sole_reader(reader)
    turned = np.ones(1)
    while behind is not None and isinstance(behind.op, MaxPool | Scale):
        turned = behind.op.factor if isinstance(behind.op, Scale) else turned
        behind = graph.sole_reader(behind.name)
    assert behind is not None and isinstance(behind.op, Threshold)
    bounds = (behind.op.bounds - 0.5) / turned[:, None]
    bounds = np.broadcast_to(bounds, (whole.shape[1], bounds.shape[1]))
    spread = whole.std(0)
    near = np.abs(whole[:, :, None] - bounds).min(2) / spread
    change = whole - less
    return float(((FLOOR + np.exp(-2 * near**2)) / spread**2 * (change - change.mean(0)) ** 2).sum(1).mean())


def cross_entropy(
    graph: Graph, group: ChannelGroup, gone: list[int], images: np.ndarray, labels: np.ndarray, unit: float = 1.0
) -> float:
    scores = reference.run(without(graph, group, gone), images)[graph.output] / unit
    return float(-log_softmax(scores.reshape(len(images), -1), axis=1)[np.arange(len(images)), labels].mean())


@pytest.mark.parametrize("spec", [CNN, NETWORKS["zero padding"][0], NETWORKS["mlp"][0], MULTI_BIT])
def test_each_next_channel_is_the_one_that_brute_force_finds(spec: NetworkSpec, tmp_path: Path) -> None:
    graph, images, labels = graph_of(spec, tmp_path)
    orders = removal_order(graph, images, labels)
    integer, names = on_integers(graph)
    last = [node.name for node in integer.nodes if isinstance(node.op, Conv | Dense)][-1]
    for group in channel_groups(integer):
        if group.reason:
            continue
        order = orders[names[group.name]]
        assert sorted(order) == list(range(group.width))
        gone: list[int] = []
        for place in range(3):
            left = [c for c in range(group.width) if c not in gone]
            if group.readers == (last,):
                costs = [cross_entropy(integer, group, [*gone, c], images, labels) for c in left]
            else:
                costs = [error(integer, group, [*gone, c], images) for c in left]
            chosen = int(np.flatnonzero(order == place)[0])
            # float32 products may decide between equals.
            assert costs[left.index(chosen)] <= min(costs) * (1 + 1e-4) + 1e-9, (group.name, place)
            gone.append(chosen)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_group_is_ordered(name: str, tmp_path: Path) -> None:
    graph, images, labels = graph_of(NETWORKS[name][0], tmp_path)
    orders = removal_order(graph, images, labels, seed=3)
    assert set(orders) == {group.name for group in channel_groups(graph) if not group.reason}
    for group in channel_groups(graph):
        if not group.reason:
            assert sorted(orders[group.name]) == list(range(group.width))
    again = removal_order(graph, images, labels, seed=3)
    assert all(np.array_equal(orders[one], again[one]) for one in orders)


def test_twins_go_one_by_one(tmp_path: Path) -> None:
    """Of two neurons that cancel each other in all sums behind, neither matters beside the other: both go first."""
    graph, images, _ = graph_of(NETWORKS["mlp"][0], tmp_path)
    integer, _ = on_integers(graph)
    first, second, *_ = (node for node in integer.nodes if isinstance(node.op, Dense))
    threshold = next(node for node in integer.nodes if isinstance(node.op, Threshold) and node.input == first.name)
    assert isinstance(first.op, Dense) and isinstance(second.op, Dense) and isinstance(threshold.op, Threshold)
    weight, bounds, reads = np.array(first.op.weight), np.array(threshold.op.bounds), np.array(second.op.weight)
    weight[7], bounds[7], reads[:, 7] = weight[4], bounds[4], -reads[:, 4]
    changed = {
        first.name: replace(first.op, weight=weight),
        threshold.name: replace(threshold.op, bounds=bounds),
        second.name: replace(second.op, weight=reads),
    }
    twins = integer.with_nodes(tuple(replace(n, op=changed.get(n.name, n.op)) for n in integer.nodes))
    order = removal_order(twins, images)[first.name]
    assert abs(int(order[4]) - int(order[7])) == 1


def test_without_labels_the_answers_of_the_network_stand_in(tmp_path: Path) -> None:
    graph, images, _ = graph_of(CNN, tmp_path)
    integer, _ = on_integers(graph)
    answers = reference.run(integer, images)[integer.output].argmax(-1)
    unsaid, said = removal_order(graph, images), removal_order(graph, images, answers)
    assert all(np.array_equal(unsaid[name], said[name]) for name in said)


def map_graph(behind: tuple[Node, ...], classes: int = 3, size: int = 5) -> Graph:
    """A convolution, its thresholds, a convolution that reads them, and what stands behind."""
    rng = np.random.default_rng(8)
    nodes = (
        Node("first", Conv(rng.choice([-1, 1], (6, 1, 1, 2)).astype(np.int8)), ("image",)),
        Node("bits", Threshold(rng.integers(-1, 2, (6, 1)), -1, 2), ("first",)),
        Node("last", Conv(rng.choice([-1, 1], (classes, 1, 1, 6)).astype(np.int8)), ("bits",)),
        *behind,
    )
    return Graph("map", "image", TensorType((size, size, 2), -3, 3), nodes, nodes[-1].name)


FLAT = (Node("flat", Flatten(), ("pool",)),)
POOLS = {
    "global": (Node("pool", SumPool((5, 5), (1, 1)), ("last",)), *FLAT),
    "cuts the border off": (Node("pool", SumPool((4, 4), (4, 4)), ("last",)), *FLAT),
    "overlap": (
        Node("first pool", SumPool((3, 3), (1, 1)), ("last",)),
        Node("pool", SumPool((3, 3), (1, 1)), ("first pool",)),
        *FLAT,
    ),
    "of some": (
        Node("first pool", SumPool((2, 2), (2, 2)), ("last",)),
        Node("pool", SumPool((2, 2), (1, 1)), ("first pool",)),
        *FLAT,
    ),
}


@pytest.mark.parametrize("name", POOLS)
def test_pools_in_front_of_the_scores_count_places_as_they_do(name: str) -> None:
    graph = map_graph(POOLS[name])
    rng = np.random.default_rng(1)
    images, labels = rng.integers(-3, 4, (40, 5, 5, 2)), rng.integers(0, 3, 40)
    order = removal_order(graph, images, labels)["first"]
    (group,) = (one for one in channel_groups(graph) if not one.reason)
    # As a temperature, what whole sums are divided by: their spread.
    unit = reference.run(graph, images)[graph.output].std()
    gone: list[int] = []
    for place in range(4):
        costs = {
            channel: cross_entropy(graph, group, [*gone, channel], images, labels, unit)
            for channel in range(6)
            if channel not in gone
        }
        chosen = int(np.flatnonzero(order == place)[0])
        assert costs[chosen] <= min(costs.values()) * (1 + 1e-4)
        gone.append(chosen)


def test_places_that_become_scores_each_are_no_sum_of_places() -> None:
    """Each place is a class: no cross entropy of sums over places, but what the sums change by."""
    flat = (Node("flat", Flatten(), ("last",)),)
    graph = map_graph(flat, classes=2, size=2)
    images = np.random.default_rng(2).integers(-3, 4, (60, 2, 2, 2))
    (group,) = (one for one in channel_groups(graph) if not one.reason)
    order = removal_order(graph, images)["first"]
    whole = reference.run(graph, images)["last"].reshape(-1, 2)
    gone: list[int] = []
    for place in range(3):
        costs = {}
        for channel in (one for one in range(6) if one not in gone):
            change = whole - reference.run(without(graph, group, [*gone, channel]), images)["last"].reshape(-1, 2)
            costs[channel] = float(((change - change.mean(0)) ** 2 / whole.var(0)).sum())
        chosen = int(np.flatnonzero(order == place)[0])
        assert costs[chosen] <= min(costs.values()) * (1 + 1e-4)
        gone.append(chosen)


def test_thresholds_behind_a_flattened_map() -> None:
    """Bounds that are one for all places of a channel are those of its sums; others are nobody's."""
    rng = np.random.default_rng(3)
    per_channel, factor = rng.integers(-2, 3, (4, 1)), np.array([1, -2, 1, 3])
    images = rng.integers(-3, 4, (50, 3, 3, 2))

    def graph(bounds: np.ndarray, scaled: np.ndarray, flat: bool) -> Graph:
        parts = [Node("scaled", Scale(factor), ("last",))]
        parts.append(Node("flat", Flatten(), ("scaled",))) if flat else None
        parts.append(Node("again", Scale(scaled), (parts[-1].name,)))
        parts.append(Node("signs", Threshold(bounds, -1, 2), ("again",)))
        parts += [] if flat else [Node("flat", Flatten(), ("signs",))]
        weight = np.random.default_rng(5).choice([-1, 1], (3, 36)).astype(np.int8)
        return map_graph((*parts, Node("scores", Dense(weight), (parts[-1].name,))), classes=4, size=3)

    apart = graph(per_channel, factor, flat=False)
    tiled = graph(np.tile(per_channel, (9, 1)), np.tile(factor, 9), flat=True)
    wanted = removal_order(apart, images)
    assert np.array_equal(removal_order(tiled, images)["first"], wanted["first"])
    # Where only the first place has these bounds, they say nothing of the others.
    differing = np.tile(per_channel, (9, 1))
    differing[4:] += 40
    seen = reconstruction._edges(graph(differing, np.tile(factor, 9), flat=True), "last")
    assert seen is None and reconstruction._edges(tiled, "last") is not None

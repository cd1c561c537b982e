"""Cutting channels: what is left computes what the whole graph computes with the removed channels' weights at 0."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnflow import Problem
from bnnflow.models.files.export import export_qonnx
from bnnflow.models.networks.network import Network, NetworkSpec
from bnnflow.models.training.ensemble import EnsembleNetwork, EnsembleSpec
from bnnflow.sim import reference
from bnnflow.transforms.channels import ChannelGroup, channel_groups, cut
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import (
    Add,
    Affine,
    ChannelsLast,
    Concat,
    Conv,
    Dense,
    Flatten,
    Quantize,
    Stairs,
    SumPool,
    Threshold,
)
from bnnflow.transforms.ir.tensor import TensorType
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.reading.read import read
from tests.drawn_networks import Drawn, networks
from tests.transforms.passes.test_exact import SLOW, pixels

EXAMPLES = [pytest.param(40, id="fast"), pytest.param(1500, id="long", marks=pytest.mark.slow)]


def random_keep(groups: tuple[ChannelGroup, ...], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Some channels of most groups, so that every layer keeps one."""
    keep = {}
    for group in groups:
        if group.reason or rng.random() < 0.2:
            continue
        stays = rng.random(group.width) < rng.uniform(0.2, 0.9)
        for rows in group.rows.values():
            stays[rng.choice(rows)] = True
        keep[group.name] = np.flatnonzero(stays)
    return keep


def masked(graph: Graph, groups: tuple[ChannelGroup, ...], keep: dict[str, np.ndarray]) -> Graph:
    """The graph with weight 0 wherever a layer reads a removed channel."""
    weights = {node.name: node.op.weight.copy() for node in graph.nodes if isinstance(node.op, Conv | Dense)}
    for group in groups:
        gone = np.setdiff1d(np.arange(group.width), keep.get(group.name, np.arange(group.width)))
        for layer, columns in group.columns.items():
            weights[layer][..., np.isin(columns, gone)] = 0
    nodes = (
        replace(n, op=replace(n.op, weight=weights[n.name])) if isinstance(n.op, Conv | Dense) else n
        for n in graph.nodes
    )
    return graph.with_nodes(tuple(nodes))


def assert_equal(found: np.ndarray, wanted: np.ndarray) -> None:
    """Integers are the same; sums of an average's floats differ by the order in which float64 adds them."""
    if found.dtype.kind == "i":
        assert np.array_equal(found, wanted)
    else:
        np.testing.assert_allclose(found, wanted, rtol=1e-12, atol=1e-12)


def assert_cut_is_masked(graph: Graph, rng: np.random.Generator) -> int:
    """Compare every layer's result and the output; the number of channels that were cut."""
    groups = channel_groups(graph)
    keep = random_keep(groups, rng)
    images = pixels(graph)
    small = cut(graph, keep)
    found, wanted = reference.run(small, images), reference.run(masked(graph, groups, keep), images)
    for group in groups:
        for layer, rows in group.rows.items():
            stays = np.isin(rows, keep.get(group.name, rows))
            assert_equal(found[layer], wanted[layer][..., stays])
    assert_equal(found[graph.output], wanted[graph.output])
    return sum(group.width - len(keep.get(group.name, range(group.width))) for group in groups)


@pytest.mark.parametrize("examples", EXAMPLES)
def test_a_cut_graph_equals_the_masked_one(examples: int) -> None:
    """Drawn networks at the integer level, and at the network level where ties are exact in floats."""
    cuts: list[int] = []

    @settings(max_examples=examples, deadline=None, suppress_health_check=SLOW)
    @given(networks(), st.integers(0, 2**20))
    def judge(net: Drawn, seed: int) -> None:
        network, integer = (stage.graph for stage in stages(read(net.model))[:2])
        for graph in (network, integer) if net.exact else (integer,):
            cuts.append(assert_cut_is_masked(graph, np.random.default_rng(seed)))

    judge()
    assert np.mean(np.array(cuts) > 0) > 0.5, "many networks are cut"


@settings(max_examples=40, deadline=None, suppress_health_check=SLOW)
@given(networks())
def test_groups_hold_every_layer_once(net: Drawn) -> None:
    graph = read(net.model)
    groups = channel_groups(graph)
    layers = [node.name for node in graph.nodes if isinstance(node.op, Conv | Dense)]
    assert sorted(name for group in groups for name in group.producers) == sorted(layers)
    for layer in layers:
        columns = np.array([group.columns[layer] for group in groups if layer in group.columns])
        assert ((columns >= 0).sum(axis=0) == 1).all(), "every input of a layer is of one group"
    assert {group.reason for group in groups} >= {"they are the image's", "they are the class scores"}
    assert cut(graph, {group.name: range(group.width) for group in groups}) == graph == cut(graph, {})
    narrow = cut(graph, random_keep(groups, np.random.default_rng(0)))
    for node in narrow.nodes:
        values = {Affine: "scale", Quantize: "scale", Stairs: "bounds", Threshold: "bounds"}.get(type(node.op))
        if values:
            assert len(getattr(node.op, values)) in (1, narrow.types[node.name].channels)


def zoo_graph(spec: NetworkSpec, folder: Path) -> Graph:
    path = folder / "network.onnx"
    export_qonnx(Network(spec).eval(), path)
    return read(path)


def test_a_dense_layer_behind_a_map_reads_blocks_of_features(tmp_path: Path) -> None:
    """A channel of a 2x2 map is four features of the dense layer, and its own row everywhere else."""
    graph = zoo_graph(
        NetworkSpec("cnn", (1, 8, 8), 10, (12,), (8, 6), (3, 3), (1, 2), weight_scale="channel"), tmp_path
    )
    image, first, second, hidden, scores = channel_groups(graph)
    assert [group.name for group in (image, first, second, hidden, scores)] == [
        "image",
        "conv0",
        "conv1",
        "dense0",
        "dense1",
    ]
    assert second.columns["dense0"].tolist() == [*range(6)] * 4
    small = cut(graph, {"conv1": [1, 4], "conv0": [7]})
    assert [small.types[name].shape for name in ("conv0", "conv1", "flatten0")] == [(6, 6, 1), (4, 4, 2), (8,)]
    assert image.reason
    assert scores.reason


def test_repeated_channels_go_together(tmp_path: Path) -> None:
    """Where maps shrink, a shortcut repeats channels: those of all stages are linked."""
    graph = zoo_graph(NetworkSpec("resnet", (3, 8, 8), 10, (), (4, 8), padding=-1, depths=(1, 1)), tmp_path)
    _, first, linked, scores = channel_groups(graph)
    assert first.producers == ("conv0",)
    assert (linked.name, linked.producers) == ("conv1", ("conv1", "conv2", "conv3", "conv4"))
    assert (linked.width, linked.multiple) == (4, 2)
    assert linked.rows["conv3"].tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    assert scores.producers == ("dense0",)
    small = cut(graph, {"conv1": [1, 2, 3]})
    assert [small.types[name].channels for name in linked.producers] == [3, 3, 6, 6]


def test_shortcuts_with_weights_leave_each_stage_its_own_group(tmp_path: Path) -> None:
    spec = NetworkSpec("resnet", (3, 8, 8), 10, (), (4, 6), padding=-1, depths=(1, 1), shortcut="conv")
    groups = channel_groups(zoo_graph(replace(spec, join="thresholded", head="average"), tmp_path))
    made = {group.name: group.producers for group in groups if not group.reason}
    assert made == {"conv0": ("conv0", "conv2"), "conv1": ("conv1",), "conv3": ("conv3",), "conv4": ("conv4", "conv5")}


def test_members_of_an_ensemble_are_cut_on_their_own(tmp_path: Path) -> None:
    """Members share the image and, added, the scores; their hidden layers are groups of their own."""
    member = NetworkSpec("cnn", (1, 8, 8), 4, (6,), (5,), (3,))
    export_qonnx(EnsembleNetwork(EnsembleSpec(member, (1, 2))).eval(), tmp_path / "network.onnx", member.input_shape)
    graph = read(tmp_path / "network.onnx")
    groups = channel_groups(graph)
    assert [group.width for group in groups if not group.reason] == [5, 6, 5, 6]
    assert [len(group.producers) for group in groups if group.reason] == [0, 2]
    assert assert_cut_is_masked(graph, np.random.default_rng(0)) > 0


def test_impossible_cuts_are_refused(tmp_path: Path) -> None:
    graph = zoo_graph(NetworkSpec("cnn", (1, 8, 8), 10, (12,), (8,), (3,)), tmp_path)
    cases: list[tuple[dict[str, object], str, str]] = [
        ({"conv9": [0]}, "conv9", "no such group"),
        ({"conv0": []}, "conv0", "ascending"),
        ({"conv0": [2, 1]}, "conv0", "ascending"),
        ({"conv0": [1, 1]}, "conv0", "ascending"),
        ({"conv0": [8]}, "conv0", "from 0 to 7"),
        ({"conv0": [-1, 2]}, "conv0", "ascending"),
        ({"conv0": [0.5]}, "conv0", "ascending"),
        ({"conv0": [[1]]}, "conv0", "ascending"),
        ({"dense1": [0]}, "dense1", "class scores"),
    ]
    for keep, where, what in cases:
        with pytest.raises(Problem, match=what) as caught:
            cut(graph, keep)  # type: ignore[arg-type]
        assert caught.value.where == where
    with pytest.raises(Problem, match="the image's"):
        cut(zoo_graph(NetworkSpec("cnn", (3, 8, 8), 10, (), (8,), (3,)), tmp_path), {"image": [0, 2]})
    with pytest.raises(Problem, match="not followed through"):
        channel_groups(stages(graph)[-1].graph)


def test_a_branch_of_a_concatenation_keeps_a_channel() -> None:
    """Two branches side by side, added to a third layer, are one group; none may lose all its channels."""
    branch, both, last = Conv(np.ones((2, 1, 1, 2), np.int8)), np.ones((4, 1, 1, 2), np.int8), np.ones((3, 4), np.int8)
    nodes = (
        Node("x", ChannelsLast(), ("image",)),
        Node("a", branch, ("x",)),
        Node("b", branch, ("x",)),
        Node("both", Concat(), ("a", "b")),
        Node("c", Conv(both), ("x",)),
        Node("sum", Add(), ("c", "both")),
        Node("pool", SumPool((1, 6), (1, 1)), ("sum",)),
        Node("flat", Flatten(), ("pool",)),
        Node("scores", Dense(last), ("flat",)),
    )
    graph = Graph("branches", "image", TensorType((2, 6), -3, 3), nodes, "scores")
    group = channel_groups(graph)[1]
    assert {name: rows.tolist() for name, rows in group.rows.items()} == {"a": [0, 1], "b": [2, 3], "c": [0, 1, 2, 3]}
    assert cut(graph, {"a": [1, 2]}).types["both"].channels == 2
    with pytest.raises(Problem, match="nothing would be left of 'b'"):
        cut(graph, {"a": [0, 1]})

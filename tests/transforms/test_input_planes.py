"""Bit planes of an image in any graph: known by what they compute, and dropped without a change of any other sum."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bnnflow import Problem
from bnnflow.models.data.load import load_dataset
from bnnflow.models.files.export import export_qonnx
from bnnflow.models.networks.spec import NetworkSpec
from bnnflow.models.prune.planes import drop_planes
from bnnflow.models.training.ensemble import EnsembleNetwork, EnsembleSpec
from bnnflow.sim import reference
from bnnflow.transforms.input_planes import columns_left, input_planes, with_planes_at_zero, without_planes
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import Concat, Conv, Dense, Flatten, Pad, Threshold
from bnnflow.transforms.ir.tensor import TensorType
from bnnflow.transforms.passes.accept import AcceptInput
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.reading.read import read
from tests.sim.test_norms import CNN, exported, lively, same

IMAGES = load_dataset("digits").test_images[:20]
SPECS = {
    "borders": replace(CNN, input="planes", planes=4, padding=-1),
    "colours": replace(CNN, input="planes", planes=3, input_shape=(3, 8, 8)),
    "joins": NetworkSpec("resnet", (1, 8, 8), 10, (6,), (4, 8), padding=-1, depths=(1, 1), input="planes", planes=2),
}


def images_for(spec: NetworkSpec) -> np.ndarray:
    return np.repeat(IMAGES, spec.input_shape[0], 1) ^ np.arange(spec.input_shape[0], dtype=np.uint8)[:, None, None]


@pytest.mark.parametrize("name", SPECS)
def test_dropping_them_is_what_torch_drops(name: str, tmp_path: Path) -> None:
    """Operation by operation, of our own export; at the level of integers, every sum is that with weights of 0."""
    spec = SPECS[name]
    images, network = images_for(spec), lively(spec, images_for(spec))
    graph = AcceptInput()(exported(network, tmp_path)).graph
    (planes,) = input_planes(graph)
    assert len(planes.parts) == spec.planes
    for left in range(1, spec.planes):
        wanted = AcceptInput()(exported(drop_planes(network, spec.planes - left), tmp_path)).graph
        found = without_planes(graph, left)
        assert [type(node.op) for node in found.nodes] == [type(node.op) for node in wanted.nodes]
        assert all(same(one.op, other.op) for one, other in zip(found.nodes, wanted.nodes, strict=True))
        assert [len(one.parts) for one in input_planes(found)] == ([left] if left > 1 else [])
        whole = stages(graph)[1].graph
        zeroed, cut = with_planes_at_zero(whole, left), without_planes(whole, left)
        ours, theirs = reference.run(cut, images), reference.run(zeroed, images)
        layers = [node.name for node in cut.nodes if isinstance(node.op, Conv | Dense)]
        assert layers and all(np.array_equal(ours[layer], theirs[layer]) for layer in layers)


def graph_of(*bounds: list[int], high: int = 255) -> Graph:
    """Thresholds of an image of one row side by side, and a layer on all of them."""
    nodes = [Node(f"bit{i}", Threshold(np.array([each]), -1, 2), ("x",)) for i, each in enumerate(bounds)]
    nodes += [
        Node("both", Concat(), tuple(node.name for node in nodes)),
        Node("around", Pad((1, 1, 1, 1), -1), ("both",)),
        Node("flat", Flatten(), ("around",)),
        Node("scores", Dense(np.ones((2, 12 * len(bounds)), np.int8)), ("flat",)),
    ]
    return Graph("bits", "x", TensorType((1, 2, 1), 0, high), tuple(nodes), "scores")


def test_what_is_no_bit_is_no_plane() -> None:
    """Thermometers: the lower bit of 2 is 0, of 128 it is 0, too; more planes than an image has bits; floats."""
    graph = graph_of([2], [1], high=3)
    assert not input_planes(graph) and not input_planes(graph_of([128], [64]))
    assert not input_planes(graph_of([1], [1], high=1))
    assert not input_planes(replace(graph, input_type=replace(graph.input_type, low=-3)))


def test_what_cannot_be_dropped_is_refused(tmp_path: Path) -> None:
    graph = AcceptInput()(exported(lively(SPECS["borders"], IMAGES), tmp_path)).graph
    (planes,) = input_planes(graph)
    for left in (0, 4):
        with pytest.raises(Problem, match="cannot be what is left"):
            without_planes(graph, left)
    at = next(index for index, node in enumerate(graph.nodes) if node.name == planes.join) + 1
    beside = Node("beside", Concat(), (planes.join, planes.join))
    twice = graph.with_nodes((*graph.nodes[:at], beside, *graph.nodes[at:]))
    with pytest.raises(Problem, match="read by Concat"):
        columns_left(twice, 1)


def test_members_of_an_ensemble_lose_the_same(tmp_path: Path) -> None:
    """Each takes the image apart by itself."""
    ensemble = EnsembleNetwork(EnsembleSpec(SPECS["borders"], (1, 1)))
    export_qonnx(ensemble.eval(), tmp_path / "net.onnx", (1, 8, 8))
    graph = stages(read(tmp_path / "net.onnx"))[1].graph
    assert [len(one.parts) for one in input_planes(graph)] == [4, 4]
    cut = without_planes(graph, 2)
    assert [len(one.parts) for one in input_planes(cut)] == [2, 2] and len(columns_left(graph, 2)) == 2
    ours, theirs = reference.run(cut, IMAGES), reference.run(with_planes_at_zero(graph, 2), IMAGES)
    assert np.array_equal(ours[cut.output], theirs[cut.output])

"""Batch norms measured on a graph are those that torch measures on the same network with the same filters removed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bnnflow.models.files.export import export_qonnx
from bnnflow.models.networks.network import Network, NetworkSpec
from bnnflow.models.prune.surgery import remove
from bnnflow.models.training.batchnorm import reestimate as reestimate_in_torch
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.sim.norms import graph_norms, reestimate_graph
from bnnflow.transforms.channels import channel_groups, cut
from bnnflow.transforms.ir.graph import Graph
from bnnflow.transforms.ir.ops import Affine, AnyOp
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.reading.read import read

CNN = NetworkSpec("cnn", (1, 8, 8), 10, hidden=(12,), channels=(8, 6), kernels=(3, 3), pools=(1, 2))
NETWORKS = {
    "pool before norm": (CNN, {"conv0": [0, 1, 5], "dense0": [0, 3, 4, 11]}),
    "pool after sign": (replace(CNN, pool_order="after-sign"), {"conv1": [1, 2, 3]}),
    "zero padding": (replace(CNN, padding=0), {"conv0": [0, 1, 5], "conv1": [0, 4]}),
    "scores a class": (replace(CNN, scores="class"), {"dense0": [0, 1]}),
    "mlp": (NetworkSpec("mlp", (1, 8, 8), 10, hidden=(16, 12)), {"dense0": [0, 15], "dense1": [2, 3, 9]}),
    "joins": (
        NetworkSpec("resnet", (1, 8, 8), 10, (6,), (4, 8), padding=-1, depths=(1, 1)),
        {"conv0": [0, 2, 3], "dense0": [1, 2, 4]},
    ),
}


def lively(spec: NetworkSpec, images: np.ndarray) -> Network:
    network = Network(spec)
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, -1.5, 1.5, generator=generator)
            torch.nn.init.uniform_(module.bias, -0.5, 0.5, generator=generator)
    reestimate_in_torch(network, images)
    return network


def exported(network: Network, folder: Path) -> Graph:
    path = folder / "network.onnx"
    export_qonnx(network, path)
    return read(path)


def same(one: AnyOp, other: AnyOp) -> bool:
    """Equal, where one number for all channels is equal to as many equal ones."""
    if isinstance(one, Affine) and isinstance(other, Affine):
        pairs = ((one.scale, other.scale), (one.shift, other.shift), (one.divisor, other.divisor))
        return all(bool(np.all(a == b)) for a, b in pairs)
    return one == other


@pytest.mark.parametrize("name", NETWORKS)
def test_the_cut_graph_is_the_exported_small_network(name: str, tmp_path: Path) -> None:
    """Every operation is equal, bit for bit, but one score norm for all classes, which moves no class."""
    spec, keep = NETWORKS[name]
    images = np.random.default_rng(0).integers(0, 256, (80, *spec.input_shape)).astype(np.uint8)
    network = lively(spec, images)
    graph = exported(network, tmp_path)
    kept = {group: np.array(indices) for group, indices in keep.items()}
    groups = {group.name: group for group in channel_groups(graph)}
    found = reestimate_graph(cut(graph, kept), images, {layer for group in kept for layer in groups[group].readers})
    small = remove(network, kept)
    reestimate_in_torch(small, images)
    wanted = exported(small, tmp_path)
    assert [node.name for node in found.nodes] == [node.name for node in wanted.nodes]
    for node in found.nodes:
        if node.name != found.output or spec.scores == "class":
            assert same(node.op, wanted.node(node.name).op), node.name
    ours, theirs = (Simulator.of(stages(one)[-1].graph).classes(images) for one in (found, wanted))
    assert np.array_equal(ours, theirs)


def test_only_norms_behind_the_named_layers_are_measured(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (80, 1, 8, 8)).astype(np.uint8)
    graph = exported(lively(CNN, images), tmp_path)
    found = reestimate_graph(graph, images[:40], {"conv1"})
    changed = {node.name for node in graph.nodes if found.node(node.name).op != node.op}
    behind = graph_norms(graph)[1:]
    assert [norm.source for norm in graph_norms(graph)] == ["conv0", "conv1", "dense0"]
    assert changed == {name for norm in behind for name in (norm.centre, norm.spread)}


def test_a_prefix_goes_on(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (80, 1, 8, 8)).astype(np.uint8)
    graph = stages(exported(lively(CNN, images), tmp_path))[1].graph
    simulator = Simulator.of(graph)
    early = simulator.prefix(images, "conv1")
    late = simulator.resume(early, "dense0")
    assert np.array_equal(simulator.finish(late), simulator.scores(images))
    sums = np.concatenate(list(simulator.blocks(late, "dense0")))
    assert np.array_equal(sums, simulator.tensors(images, ["dense0"])["dense0"])

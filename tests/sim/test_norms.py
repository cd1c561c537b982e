"""Batch norms measured on a graph are those that torch measures on the same network with the same filters removed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from bnnflow.models.files.export import export_qonnx
from bnnflow.models.networks.network import Network, NetworkSpec
from bnnflow.models.prune.surgery import remove
from bnnflow.models.training.batchnorm import reestimate as reestimate_in_torch
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.sim.norms import can_have_norms, graph_norms, reestimate_graph, with_norms, without_norms
from bnnflow.sim.reconstruction import on_integers
from bnnflow.sim.refit import refit
from bnnflow.transforms.channels import channel_groups, cut, staying
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import Affine, AnyOp, Concat, Conv, Dense, Sign, Threshold
from bnnflow.transforms.ir.tensor import TensorType
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.reading.read import read
from bnnflow.transforms.writing.network import write_network
from tests.transforms.onnx_files import Net

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


def bare(graph: Graph, source: str) -> Graph:
    """The graph without the norm behind one layer; thresholds there lie at the mean that it had."""
    norm = next(norm for norm in graph_norms(graph) if norm.source == source)
    nodes = []
    for node in graph.nodes:
        if node.name == norm.spread:
            continue
        if node.name != norm.centre:
            node = replace(node, inputs=tuple(norm.centre if name == norm.spread else name for name in node.inputs))
        nodes.append(node)
    return graph.with_nodes(tuple(nodes))


@pytest.mark.parametrize(
    ("name", "source"), [("mlp", "dense1"), ("zero padding", "conv1"), ("pool after sign", "conv1")]
)
def test_a_norm_that_is_put_in_changes_nothing_and_is_measured_as_thresholds_are_fitted(
    name: str, source: str, tmp_path: Path
) -> None:
    spec, keep = NETWORKS[name]
    images = np.random.default_rng(0).integers(0, 256, (120, *spec.input_shape)).astype(np.uint8)
    graph = bare(exported(lively(spec, images), tmp_path), source)
    (quantizer,) = without_norms(graph)
    assert can_have_norms(graph) and not without_norms(graph, {"dense2", "dense0"} - {source} if name != "mlp" else ())
    normed = with_norms(graph, [quantizer], images)
    assert not without_norms(normed)
    (old, names), (new, _) = on_integers(graph), on_integers(normed)
    assert np.array_equal(Simulator.of(old).scores(images), Simulator.of(new).scores(images))
    # Only what stands in front of the bare layer is cut, so that its threshold alone has to move.
    front = {group.name: group for group in channel_groups(graph) if source in group.columns}
    kept = {group: np.array(channels) for group, channels in keep.items() if group in front}
    kept = kept or {group: np.arange(front[group].width // 2) for group in front}
    measured = reestimate_graph(cut(normed, kept), images, {source})
    ours, _ = on_integers(measured)
    back = {name: new for new, name in names.items()}
    here = {back[group]: channels for group, channels in kept.items()}
    fitted = refit(old, cut(old, here), staying(old, here), images, {back[source]})
    behind_it = next(n.name for n in fitted.nodes if isinstance(n.op, Threshold) and back[source] in _back(fitted, n))
    one, other = (graph.node(behind_it).op.bounds for graph in (ours, fitted))
    low, high = fitted.types[fitted.node(behind_it).input].range
    one, other = (np.clip(bounds, low, high + 1) for bounds in (one, other))
    # Bounds between two sums that can occur are the same; eps in norms and rounding move some by one such gap.
    assert (np.abs(one - other) <= fitted.types[fitted.node(behind_it).input].step).all()
    assert not np.array_equal(other, old.node(behind_it).op.bounds[staying(old, here)[behind_it]])


def _back(graph: Graph, node: Node) -> set[str]:
    """What a threshold sees, through pools and factors."""
    found, tensor = set(), node.input
    while tensor != graph.input:
        found.add(tensor)
        if isinstance(graph.maker(tensor), Conv | Dense):
            break
        tensor = graph.node(tensor).input
    return found


def test_norms_in_front_of_joins_are_norms(tmp_path: Path) -> None:
    """Branches that are measured need no further norm behind their sum."""
    images = np.random.default_rng(0).integers(0, 256, (80, 1, 8, 8)).astype(np.uint8)
    for spec, _ in NETWORKS.values():
        assert without_norms(exported(lively(spec, images), tmp_path)) == ()


NORM = ("Sub", "Div", "Mul", "Add")
CHAINS = {
    "a norm": (("BatchNormalization",), True),
    "a norm without gain and bias": (("BatchNormalization plain",), True),
    "a norm written out": (NORM, True),
    "a norm written out without gain": (("Sub", "Div", "Add"), True),
    "a bias": (("Add",), False),
    "a bias and a temperature": (("Add", "Div by one"), False),
    "a bias, scales and a temperature": (("Add", "Mul", "Div by one"), False),
    "scales": (("Mul",), False),
}


@pytest.mark.parametrize("name", CHAINS)
def test_a_division_that_someone_fixed_is_no_norm(name: str) -> None:
    """Behind a layer; in the file that we write of it, too."""
    chain, is_norm = CHAINS[name]
    net = Net((6,), "INT4")
    net.add("MatMul", net.weight(6, 5))
    for kind in chain:
        operator, _, how = kind.partition(" ")
        if operator == "BatchNormalization":
            gains, biases = (np.ones(5), np.zeros(5)) if how else (net.rng.uniform(0.5, 2, 5), net.rng.normal(0, 1, 5))
            moments = net.rng.normal(0, 1, 5), net.rng.uniform(1, 9, 5)
            net.add(operator, *map(net.c, (gains, biases, *moments)))
        else:
            net.add(operator, net.c(4.0 if how else net.rng.uniform(1, 3, 5)))
    net.quant(4, 0.25)
    net.add("MatMul", net.weight(5, 3))
    graph = read(net.model())
    again = read(onnx.ModelProto.FromString(write_network(graph).SerializeToString()))
    for each in (graph, again):
        sources = [norm.source for norm in graph_norms(each)]
        assert sources == [next(node.name for node in each.nodes if isinstance(node.op, Dense))] * is_norm


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_norms_may_stand_in_any_order(order: tuple[str, str]) -> None:
    """Of layers side by side; with and without norms of their own."""
    rng = np.random.default_rng(2)
    weights = {name: rng.choice([-1, 1], (4, 6)).astype(np.int8) for name in "ab"}
    ones, images = np.ones(4), rng.integers(0, 256, (50, 6)).astype(np.uint8)

    def graph(norms: bool) -> Graph:
        nodes = [Node(name, Dense(weights[name]), ("x",)) for name in "ab"]
        for name in order:
            if norms:
                nodes.append(Node(f"{name}_mean", Affine(ones, 0 * ones), (name,)))
                nodes.append(Node(f"{name}_norm", Affine(ones, 0 * ones, np.arange(2.0, 6.0)), (f"{name}_mean",)))
            nodes.append(Node(f"{name}_sign", Sign(), (nodes[-1].name if norms else name,)))
        nodes.append(Node("both", Concat(), ("a_sign", "b_sign")))
        nodes.append(Node("scores", Dense(rng.choice([-1, 1], (3, 8)).astype(np.int8)), ("both",)))
        return Graph("branches", "x", TensorType((6,), 0, 255), tuple(nodes), "scores")

    found = reestimate_graph(graph(True), images)
    put_in = with_norms(graph(False), without_norms(graph(False)), images)
    for name in "ab":
        sums = images.astype(np.int64) @ weights[name].T
        for made, centre in ((found, f"{name}_mean"), (put_in, f"{name}_sign_mean")):
            op = made.node(centre).op
            assert isinstance(op, Affine) and np.array_equal(-op.shift, sums.mean(0).astype(np.float32))

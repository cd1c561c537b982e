"""Removal judged by the graph: what is removed in torch and exported is what is cut out of the exported graph."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bnnflow import Problem
from bnnflow.models.files.export import export_qonnx
from bnnflow.models.files.saved import load_network, save_network
from bnnflow.models.networks.layers import MapNorm, RowNorm
from bnnflow.models.networks.network import Network, NetworkSpec
from bnnflow.models.prune.groups import group_scores, groups
from bnnflow.models.prune.surgery import drop_blocks, remove, remove_inputs
from bnnflow.models.training.ensemble import EnsembleNetwork, EnsembleSpec
from bnnflow.models.training.evaluate import digest, predict
from bnnflow.sim import reference
from bnnflow.transforms.channels import channel_groups, cut
from bnnflow.transforms.ir.graph import Graph
from bnnflow.transforms.ir.ops import Threshold
from bnnflow.transforms.passes import rewrite as passes
from bnnflow.transforms.passes.accept import AcceptInput
from bnnflow.transforms.passes.streamline import Streamline
from bnnflow.transforms.reading.read import read
from tests.models.conftest import CNN, MLP, lively

INTEGER = NetworkSpec("resnet", (3, 8, 8), 5, (), (4, 8, 8), padding=0, depths=(2, 1, 1), head="average")
THRESHOLDED = replace(INTEGER, join="thresholded", padding=-1)
SPECS = {
    "cnn": CNN,
    "mlp": MLP,
    "planes": NetworkSpec("cnn", (2, 8, 8), 5, (6,), (5, 4), (3, 3), (1, 2), input="planes", planes=3, padding=-1),
    "map": NetworkSpec("cnn", (3, 8, 8), 5, (), (6, 7, 5), (3, 1, 3), head="map", padding=0, scores="class"),
    "average": NetworkSpec("cnn", (1, 9, 9), 5, (7, 6), (6, 4), (3, 3), strides=(2, 1), head="average", scores="none"),
    "integer pool": INTEGER,
    "integer conv": replace(INTEGER, channels=(4, 6, 10), shortcut="conv", hidden=(6,)),
    "integer inner": replace(INTEGER, inner=(7,), units=(0, 1, 3), head="dense"),
    "thresholded pool": THRESHOLDED,
    "thresholded conv": replace(THRESHOLDED, channels=(4, 6, 10), shortcut="conv", scores="class"),
    "thresholded inner": replace(THRESHOLDED, inner=(3, 5, 2, 9), hidden=(6,)),
}


def images_of(spec: NetworkSpec, count: int = 40) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *spec.input_shape)).astype(np.uint8)


def graph_of(network: nn.Module, folder: Path) -> Graph:
    export_qonnx(network, folder / "network.onnx")
    return read(folder / "network.onnx")


def some(spec: NetworkSpec, seed: int = 1) -> dict[str, np.ndarray]:
    """About two thirds of the channels of every group."""
    rng = np.random.default_rng(seed)
    return {g.name: np.sort(rng.permutation(g.width)[: max(1, 2 * g.width // 3)]) for g in groups(spec)}


@pytest.mark.parametrize("name", SPECS)
def test_groups_and_removal_are_those_of_the_exported_graph(name: str, tmp_path: Path) -> None:
    """The same layers are linked, row by row, and the smaller network exports the very operations of the cut graph."""
    spec = SPECS[name]
    network = lively(spec, images_of(spec))
    before, keep = digest(network), some(spec)
    graph = graph_of(network, tmp_path)
    theirs = {group.name: group for group in channel_groups(graph)}
    made = [layer for group in theirs.values() for layer in group.producers]
    names = dict(zip((layer.name for layer in spec.layers()), sorted(made, key=list(graph.types).index), strict=True))
    for group in groups(spec):
        linked = theirs[names[group.name]]
        assert [names[layer] for layer in group.layers] == list(linked.producers)
        assert not linked.reason
        for layer in group.layers:
            kept = group.rows(layer, keep[group.name])
            assert np.array_equal(kept, np.flatnonzero(np.isin(linked.rows[names[layer]], keep[group.name])))
    small = remove(network, keep)
    assert digest(network) == before
    wanted = cut(graph, {names[group]: kept for group, kept in keep.items()})
    assert [node.op for node in graph_of(small, tmp_path).nodes] == [node.op for node in wanted.nodes]
    assert small.spec.macs() < spec.macs()


@pytest.mark.parametrize("name", SPECS)
def test_removing_nothing_changes_nothing(name: str, tmp_path: Path) -> None:
    network = lively(SPECS[name], images_of(SPECS[name]))
    same = remove(network, {group.name: np.arange(group.width) for group in groups(network.spec)})
    assert digest(same) == digest(network)
    assert same.spec == network.spec
    save_network(remove(network, some(network.spec)), tmp_path / "small.pt")
    assert digest(load_network(tmp_path / "small.pt")) == digest(remove(network, some(network.spec)))


def test_shapes_without_the_newer_fields_are_read() -> None:
    fields = {key: value for key, value in INTEGER.to_dict().items() if key not in ("inner", "units")}
    assert NetworkSpec.from_dict(fields) == INTEGER


def test_scores_of_a_group_are_summed_over_its_filters() -> None:
    spec = replace(INTEGER, depths=(1, 1, 1))
    scores = {layer.name: np.arange(layer.outputs) + 10.0 * index for index, layer in enumerate(spec.layers()[:-1])}
    found = group_scores(spec, scores)
    assert list(found) == ["conv0", "conv1"]
    # conv1 and conv2 have each channel once, conv3 to conv6 twice: channel c is filters c and c + 4.
    wanted = [sum((1 + (i > 2)) * (c + 10 * i) + 4 * (i > 2) for i in range(1, 7)) for c in range(4)]
    assert found["conv1"].tolist() == wanted
    with pytest.raises(Problem, match="8 scores for 4"):
        group_scores(spec, scores | {"conv2": np.zeros(8)})
    with pytest.raises(Problem, match="filter 2 is not a number"):
        group_scores(spec, scores | {"conv2": np.array([0, 1, np.nan, 3])})


def constant_signs(network: Network, keep: dict[str, np.ndarray], constants: dict[str, np.ndarray]) -> Network:
    """A copy whose norms make the removed channels' signs constant: gain 0 and the constant as bias."""
    copy = Network(network.spec)
    copy.load_state_dict(network.state_dict())
    index = {layer.name: number for number, layer in enumerate(network.spec.layers())}
    norms: list[Any] = [module for module in copy.modules() if isinstance(module, MapNorm | RowNorm)]
    with torch.no_grad():
        for name, values in constants.items():
            norm = norms[index[name]]
            gone = np.setdiff1d(np.arange(norm.num_features), keep[name])
            norm.weight[gone] = 0.0
            norm.bias[gone] = torch.from_numpy(values).float()
    return copy.eval()


def integers(network: Network, folder: Path) -> Graph:
    """The network with integer thresholds in place of its norms, every channel still there."""
    return passes.run_passes((AcceptInput(), Streamline()), graph_of(network, folder)).graph


CONSTANTS = {
    "no padding": (CNN, ("conv0", "conv1")),
    "dense": (MLP, ("dense0",)),
    "class scores": (replace(CNN, scores="class"), ("conv0", "conv1", "dense0")),
    "pool behind the sign": (replace(CNN, pool_order="after-sign"), ("conv0", "conv1")),
    "average": (NetworkSpec("cnn", (1, 9, 9), 5, (7,), (6, 4), (3, 3), (1, 1), head="average"), ("conv0", "conv1")),
    "map": (NetworkSpec("cnn", (3, 8, 8), 5, (), (6, 7, 5), (3, 3, 3), head="map", scores="class"), ("conv0", "conv1")),
    "integer join": (replace(INTEGER, padding=-1, inner=(9,)), ("conv0",)),
    "integer join, shortcuts with weights": (
        replace(INTEGER, padding=1, inner=(6,), shortcut="conv", channels=(4, 6, 10)),
        ("conv0",),
    ),
    "thresholded join": (replace(THRESHOLDED, inner=(6, 6, 5, 9)), ("conv1", "conv3", "conv5", "conv7")),
}


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))])
@pytest.mark.parametrize("name", CONSTANTS)
def test_constants_in_place_of_channels_change_no_threshold(name: str, seed: int, tmp_path: Path) -> None:
    """Against the network with constant signs: sums differ by a constant a channel, and thresholds by the same."""
    spec, chosen = CONSTANTS[name]
    rng, images = np.random.default_rng(seed), images_of(spec)
    network = lively(spec, images, seed)
    every = {group.name: group.width for group in groups(spec)}
    keep = {layer: np.sort(rng.permutation(every[layer])[: every[layer] // 2]) for layer in chosen}
    around = spec.padding or 0
    constants = {
        layer: rng.choice([around] if around else [-1, 1], every[layer] - len(kept)) for layer, kept in keep.items()
    }
    small = integers(remove(network, keep, constants), tmp_path)
    large = integers(constant_signs(network, keep, constants), tmp_path)
    found, wanted = reference.run(small, images), reference.run(large, images)
    pairs = [[node for node in graph.nodes if isinstance(node.op, Threshold)] for graph in (small, large)]
    cut_ones, moved = iter(chosen), 0
    for mine, theirs in zip(*pairs, strict=True):
        assert isinstance(mine.op, Threshold)
        assert isinstance(theirs.op, Threshold)
        same = small.types[mine.name].channels == large.types[theirs.name].channels
        kept = np.arange(small.types[mine.name].channels) if same else keep[next(cut_ones)]
        assert np.array_equal(found[mine.name], wanted[theirs.name][..., kept])
        sums = [values.reshape(-1, len(kept)) for values in (found[mine.input], wanted[theirs.input][..., kept])]
        shift = (sums[1] - sums[0])[0]
        assert np.array_equal(sums[1] - sums[0], np.broadcast_to(shift, sums[0].shape))
        bounds = np.broadcast_to(theirs.op.bounds, (large.types[theirs.name].channels, theirs.op.bounds.shape[1]))
        low, high = small.types[mine.input].range
        wanted_bounds = np.clip(bounds[kept] - shift[:, None], low, high + 1)
        assert np.array_equal(np.broadcast_to(mine.op.bounds, wanted_bounds.shape), wanted_bounds)
        moved += int(shift.any())
    assert not list(cut_ones)
    assert moved
    np.testing.assert_allclose(found[small.output], wanted[large.output], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "group", "what"),
    [
        (replace(CNN, padding=0), "conv0", "padded with 0"),
        (replace(CNN, padding=-1), "conv0", "padded with -1"),
        (CNN, "dense0", "different amounts"),
        (replace(CNN, scores="none"), "dense0", "different amounts"),
        (replace(CNN, weight_scale="channel"), "conv0", "scale"),
        (replace(CNN, weight_bits=3), "conv0", "scale"),
        (replace(CNN, activation="unit"), "conv0", "stand for signs"),
        (INTEGER, "conv1", "residual joins"),
        (CNN, "conv7", "no such group"),
    ],
)
def test_constants_that_cannot_be_taken_up_are_refused(spec: NetworkSpec, group: str, what: str) -> None:
    with pytest.raises(Problem, match=what):
        remove(
            Network(spec),
            {group: np.arange(1, 4)} if group != "conv7" else {},
            {group: np.ones(100)[: _left(spec, group)]},
        )


def _left(spec: NetworkSpec, group: str) -> int:
    return {g.name: g.width - 3 for g in groups(spec)}.get(group, 0)


@pytest.mark.parametrize(("scores", "values"), [("one", [1, 1]), ("one", [-1, 1]), ("none", [1, -1])])
def test_constants_that_move_all_scores_alike_go_into_their_shift(scores: Any, values: list[int]) -> None:
    spec = replace(CNN, scores=scores)
    images = images_of(spec)
    network = lively(spec, images)
    with torch.no_grad():
        network.layers["dense1"].weight[:, [2, 5]] = 0.25
    keep, constants = {"dense0": np.setdiff1d(np.arange(12), [2, 5])}, {"dense0": np.array(values)}
    found = predict(remove(network, keep, constants), images)
    wanted = predict(constant_signs(network, keep, constants), images)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-5)
    assert np.array_equal(found.argmax(axis=1), wanted.argmax(axis=1))


def test_constants_are_signs_one_a_removed_channel() -> None:
    for values in (np.ones(2), np.zeros(5), np.full(5, 0.5)):
        with pytest.raises(Problem, match="5 constants are needed"):
            remove(Network(CNN), {"conv0": np.arange(3)}, {"conv0": values})


def silenced(network: Network, blocks: list[str], images: np.ndarray) -> np.ndarray:
    """Scores with the branches of some residual units at 0."""
    hooks = []
    for name in blocks:
        unit: Any = network.layers[name]
        *_, last = unit.layers.values()
        hooks.append(last.register_forward_hook(lambda _module, _inputs, output: output * 0))
    scores = predict(network, images)
    for hook in hooks:
        hook.remove()
    return scores


@pytest.mark.parametrize(
    ("spec", "blocks", "depths", "units"),
    [
        (replace(INTEGER, depths=(2, 2, 1)), ["block0", "block2"], (2, 2, 1), (1, 4, 2)),
        (replace(INTEGER, depths=(1, 2, 1)), ["block0", "block2", "block6"], (1, 2, 1), (0, 3, 1)),
        (replace(THRESHOLDED, depths=(2, 2, 1), inner=(3, 5, 2, 9, 4)), ["block0", "block3"], (1, 1, 1), ()),
        (replace(THRESHOLDED, depths=(2, 1, 3), shortcut="conv"), ["block1", "block4", "block5"], (1, 1, 1), ()),
    ],
)
def test_a_network_without_units_is_the_one_where_they_add_nothing(
    spec: NetworkSpec, blocks: list[str], depths: tuple[int, ...], units: tuple[int, ...]
) -> None:
    images = images_of(spec)
    network = lively(spec, images)
    small = drop_blocks(network, blocks)
    assert np.array_equal(predict(small, images), silenced(network, blocks, images))
    assert not np.array_equal(predict(small, images), predict(network, images))
    assert (small.spec.depths, small.spec.units) == (depths, units)
    if spec.inner:
        assert small.spec.inner == (5, 2, 4)
    again = drop_blocks(small, [])
    assert again.spec == small.spec
    assert digest(again) == digest(small)


def test_units_that_cannot_be_dropped_are_refused() -> None:
    for spec, blocks, what in (
        (CNN, ["block0"], "without residual joins"),
        (INTEGER, ["block9"], "no such residual unit"),
        (INTEGER, ["block3"], "shrinks the map"),
        (THRESHOLDED, ["block2"], "shrinks the map"),
        (THRESHOLDED, ["block0", "block1"], "keeps one block"),
    ):
        with pytest.raises(Problem, match=what):
            drop_blocks(Network(spec), blocks)


def test_the_lowest_bit_planes_go() -> None:
    spec = SPECS["planes"]
    images = images_of(spec)
    network = lively(spec, images)
    small = remove_inputs(network, np.arange(4))
    assert (small.spec.planes, small.spec.layers()[0].inputs) == (2, 4)
    blind = Network(replace(spec, planes=3))
    blind.load_state_dict(network.state_dict())
    convolution: Any = blind.layers["conv0"]

    def unseen(module: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> Tensor:
        weight = convolution.quant_weight().value.clone()
        weight[:, 4:] = 0
        return nn.functional.conv2d(inputs[0], weight)

    convolution.register_forward_hook(unseen)
    assert np.array_equal(predict(small, images), predict(blind.eval(), images))
    for keep in ([0, 1, 2], [0, 1, 4, 5], [], [[0, 1]], [2, 3], [*range(8)]):
        with pytest.raises(Problem, match="highest bit planes"):
            remove_inputs(network, np.array(keep))
    with pytest.raises(Problem, match="whole pixels"):
        remove_inputs(Network(CNN), np.arange(1))


def test_networks_that_keep_their_shape_are_refused() -> None:
    spec = EnsembleSpec(CNN, (1, 1))
    for work in (
        lambda net: remove(net, {}),
        lambda net: drop_blocks(net, []),
        lambda net: remove_inputs(net, np.arange(1)),
    ):
        with pytest.raises(Problem, match="filters of EnsembleNetwork cannot be removed"):
            work(EnsembleNetwork(spec))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"inner": (3,), "join": "thresholded"}, "inner"),
        ({"inner": (0,)}, "inner[0]"),
        ({"units": (1, 1)}, "units"),
        ({"units": (1, 0, 1)}, "units"),
        ({"units": (-1, 1, 1)}, "units"),
        ({"units": (1, 1, 1), "join": "thresholded"}, "units"),
    ],
)
def test_impossible_widths_and_units_are_refused(fields: dict[str, Any], where: str) -> None:
    with pytest.raises(Problem) as caught:
        replace(INTEGER, **fields)
    assert caught.value.where == where
    with pytest.raises(Problem, match="no residual joins"):
        replace(CNN, inner=(3,))

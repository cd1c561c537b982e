"""Filters of a user's own module are removed without touching its code: readers take them for 0, its graph is cut."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from bnnflow.flow.cli import app as cli
from bnnflow.flow.pruning.structure import graph_and_structure, graph_of, structure_of, synapse_layers
from bnnflow.flow.pruning.units import units_of
from bnnflow.models.files.pack import pack_network, unpack_network
from bnnflow.models.files.packed_file import Provenance
from bnnflow.models.files.saved import load_network, save_network
from bnnflow.models.networks.network import NetworkSpec
from bnnflow.models.networks.own import OwnNetwork, OwnSpec
from bnnflow.models.networks.twin import twin
from bnnflow.models.prune.blocks import reduce_blocks
from bnnflow.models.prune.masks import MaskSpec, learn_masks
from bnnflow.models.prune.synapses import SynapseSpec, masked, present, prunable_layers, prune_synapses
from bnnflow.models.training.batchnorm import reestimate
from bnnflow.models.training.ensemble import EnsembleNetwork, EnsembleSpec, joined
from bnnflow.models.training.evaluate import digest, predict
from bnnflow.models.training.train_spec import TrainSpec
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.sim.verify import images_with_float_ties, sums_of_scores
from bnnflow.transforms.ir.contract_text import parse_contract
from bnnflow.transforms.passes.accept import with_contract
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.synapses import synapses

Golden = Callable[[str, str], None]
NETS = '''
import torch
from brevitas.nn import QuantConv2d, QuantIdentity, QuantLinear
from brevitas.quant import SignedBinaryActPerTensorConst as Act, SignedBinaryWeightPerTensorConst as Weight
from torch import nn


def conv(inputs, outputs, size=3, stride=1):
    return QuantConv2d(inputs, outputs, size, stride, size // 2, bias=False, weight_quant=Weight)


def sign():
    return QuantIdentity(act_quant=Act)


def few_bits(**more):
    return QuantIdentity(bit_width=4, signed=True, scaling_impl_type="const", scaling_init=8.0, **more)


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride=1):
        super().__init__()
        self.body = nn.Sequential(
            sign(), conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs),
            sign(), conv(outputs, outputs), nn.BatchNorm2d(outputs), few_bits())
        self.short = None
        if inputs != outputs:
            self.short = nn.Sequential(sign(), conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs), few_bits())

    def forward(self, x):
        return self.body(x) + (x if self.short is None else self.short(x))


class Residual(nn.Module):
    """Joined channels, a map that becomes features, and a dense layer that reads several places of a channel."""

    def __init__(self, width=8):
        super().__init__()
        self.image = QuantIdentity(bit_width=8, signed=False, scaling_impl_type="const", scaling_init=255.0)
        self.stem = nn.Sequential(conv(1, width), nn.BatchNorm2d(width), few_bits())
        self.first, self.second = Block(width, width), Block(width, 2 * width, 2)
        self.pool = nn.MaxPool2d(2)
        self.hidden = nn.Sequential(QuantLinear(8 * width, 16, bias=False, weight_quant=Weight), nn.BatchNorm1d(16))
        self.scores = QuantLinear(16, 10, bias=False, weight_quant=Weight)
        self.signs = nn.ModuleList([sign(), sign()])

    def forward(self, x):
        x = self.second(self.first(self.stem(self.image(x))))
        x = self.signs[0](self.pool(x)).view(-1, self.hidden[0].in_features)
        return self.scores(self.signs[1](self.hidden(x)))


class Wider(nn.Module):
    """Quant tensors between the layers, several bits, a bias that needs their scale, another output and no norm."""

    def __init__(self):
        super().__init__()
        from brevitas.nn import QuantReLU
        from brevitas.quant import Int32Bias
        bits = {"weight_bit_width": 3, "bias_quant": Int32Bias}
        self.image = QuantIdentity(bit_width=8, signed=False, return_quant_tensor=True)
        self.a = QuantConv2d(1, 6, 3, **bits)
        self.act = QuantReLU(bit_width=3, return_quant_tensor=True)
        self.b = QuantConv2d(6, 5, 3, **bits)
        self.c = QuantLinear(80, 10, **bits)

    def forward(self, x):
        x = self.act(self.b(self.act(self.a(self.image(x)))))
        return self.c(x.flatten(1))


class Twice(nn.Module):
    """One layer that runs twice, in front of the scores."""

    def __init__(self):
        super().__init__()
        self.layer = QuantLinear(64, 64, bias=False, weight_quant=Weight)
        self.image = QuantIdentity(bit_width=8, signed=False, scaling_impl_type="const", scaling_init=255.0)
        self.norm, self.sign = nn.BatchNorm1d(64), sign()
        self.scores = QuantLinear(64, 10, bias=False, weight_quant=Weight)

    def forward(self, x):
        x = self.layer(self.image(x).flatten(1))
        return self.scores(self.sign(self.norm(self.layer(self.sign(x)))))


class NoNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.image = QuantIdentity(bit_width=8, signed=False, scaling_impl_type="const", scaling_init=255.0)
        self.hidden = QuantLinear(64, 16, bias=False, weight_quant=Weight)
        self.sign = sign()
        self.scores = QuantLinear(16, 10, bias=False, weight_quant=Weight)

    def forward(self, x):
        return self.scores(self.sign(self.hidden(self.image(x).flatten(1))))


class OneLayer(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.sign = nn.BatchNorm1d(64), sign()
        self.scores = QuantLinear(64, 10, bias=False, weight_quant=Weight)

    def forward(self, x):
        return self.scores(self.sign(self.norm(x.flatten(1))))
'''
RECIPE = """\
data: {{name: digits, train_images: 300, test_images: 60}}
model: {{arch: "nets:{name}"}}
train: {{epochs: 1, batch: 50, threads: 1, device: cpu}}
prune: {prune}
faults: {{enabled: false}}
speed: {{enabled: false}}
verify: {{images: 6}}
rtl: {{enabled: false}}
"""
MEMBER = NetworkSpec("mlp", (1, 8, 8), 10, hidden=(12, 8))
PRUNE = "{amount: 0.5, steps: 2, unit: 2, epochs: 1, batch: 50, images: 40}"


@pytest.fixture(autouse=True)
def nets(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    (tmp_path / "nets.py").write_text(NETS)


def ran(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    capsys.readouterr()
    assert cli.run(list(arguments)) == status, capsys.readouterr().err
    said = capsys.readouterr()
    return said.err if status else said.out


def recipe(tmp_path: Path, name: str, prune: str = PRUNE) -> str:
    (tmp_path / "net.yaml").write_text(RECIPE.format(name=name, prune=prune))
    return str(tmp_path / "net.yaml")


def network_of(tmp_path: Path, name: str) -> OwnNetwork:
    """With norms and scales that were measured on images."""
    made = OwnNetwork(OwnSpec(f"nets:{name}", {}, (1, 8, 8), 10, str(tmp_path)), seed=3)
    made.train()
    for seed in range(3):
        made(torch.randint(0, 256, (64, 1, 8, 8), generator=torch.Generator().manual_seed(seed)).float())
    return made.eval()


def assert_cut(network: OwnNetwork, widths: dict[str, int], images: np.ndarray) -> None:
    """The module as it is and the compiled graph, which has channels of these numbers, give the same integers."""
    graph = with_contract(graph_of(network), parse_contract("uint8, partial"))
    assert {group: graph.types[group].channels for group in widths} == widths
    compiled = stages(graph)
    found = Simulator.of(compiled[-1].graph).scores(images)
    float_ties = [each for stage in compiled for each in stage.float_ties]
    sure = ~images_with_float_ties(compiled[0].graph, float_ties, images)
    assert sure.any()
    one, other = (sums_of_scores(compiled[-1].graph, scores)[sure] for scores in (predict(network, images), found))
    assert np.array_equal(one, other)


@pytest.mark.parametrize("name", ["Residual", "Wider"])
def test_what_readers_leave_unread_is_what_the_graph_loses(name: str, tmp_path: Path) -> None:
    """Drawn channels: the module as it is, its plain copy, and the compiled cut graph give the same integers."""
    network = network_of(tmp_path, name)
    once, structure = graph_and_structure(network)
    assert once.nodes == graph_of(network).nodes and structure.widths == structure_of(network).widths
    whole = structure.macs(network)
    images = np.random.default_rng(5).integers(0, 256, (40, 1, 8, 8), np.uint8)
    for seed in range(4):
        rng = np.random.default_rng(seed)
        keep = {
            group: np.sort(rng.permutation(width)[: rng.integers(1, width + 1)])
            for group, width in structure.widths.items()
        }
        small = structure.remove(network, keep)
        assert structure.macs(small) < whole
        if name == "Residual":
            np.testing.assert_allclose(predict(twin(small), images), predict(small, images), rtol=1e-4, atol=1e-4)
        assert_cut(small, {group: len(kept) for group, kept in keep.items()}, images)
        # Twice is as once: what is left of what was left.
        again = structure.remove(small, {group: np.arange(len(kept)) for group, kept in keep.items()})
        assert again.spec == small.spec
    assert network.spec.unread == {}


def test_macs_are_those_of_the_smaller_layers(tmp_path: Path) -> None:
    network = network_of(tmp_path, "Residual")
    structure = structure_of(network)
    # stem 1 to 8, blocks 8 to 8 and 8 to 16 with a shortcut, 64 to 16, 16 to 10
    whole = 64 * 9 * (8 + 64 + 64) + 16 * (9 * 128 + 9 * 256 + 128) + 64 * 16 + 160
    assert structure.macs(network) == whole
    half = {group: np.arange(width // 2) for group, width in structure.widths.items()}
    less = 64 * 9 * (4 + 16 + 16) + 16 * (9 * 32 + 9 * 64 + 32) + 32 * 8 + 80
    assert structure.macs(structure.remove(network, half)) == less


def test_a_residual_network_of_the_users_is_pruned_and_resumes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, run = recipe(tmp_path, "Residual"), tmp_path / "run"
    verified = json.loads(ran(capsys, "build", path, "--run", str(run), "--to", "verify", "--json"))
    for network in ("base", "pruned"):
        rows = verified[network]["stages"]
        assert rows[0]["stage"] == "torch (Brevitas)" and all(row["differences"] == 0 for row in rows)
    pruning = json.loads((run / "manifest.json").read_text())["stages"]["prune"]["facts"]
    assert pruning["kept"] == {"conv0": 4, "conv1": 4, "conv3": 8, "conv4": 8, "dense0": 8}
    names = {node.op_type for node in onnx.load(run / "pruned/network.onnx").graph.node}
    assert "Conv" in names and "Im2Col" not in names
    saved = load_network(run / "pruned/weights.pt", str(tmp_path))
    assert isinstance(saved, OwnNetwork) and saved.spec.unread["second.body.1"]
    # From its last step on, with the same result.
    wanted = (run / "pruned/weights.pt").read_bytes()
    (run / "pruned/weights.pt").unlink()
    ran(capsys, "build", path, "--run", str(run), "--to", "prune")
    assert (run / "pruned/weights.pt").read_bytes() == wanted
    assert json.loads(ran(capsys, "rank", str(run), "--network", "pruned", "--images", "20", "--json"))


def test_sensitivity_decides_about_a_network_of_the_users(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prune = (
        "{amount: 0.3, steps: 1, unit: 2, epochs: 0, allocation: sensitivity, validation: 100, calibration: 60, "
        "levels: [0.5], explore: 1, images: 40}"
    )
    path, run = recipe(tmp_path, "Residual", prune), tmp_path / "run"
    pruning = json.loads(ran(capsys, "build", path, "--run", str(run), "--to", "prune", "--json"))
    (step,) = pruning["steps"]
    assert step["allocation"]["left"] <= 0.7
    table = json.loads(ran(capsys, "sensitivity", str(run), "--json"))
    assert {row["group"] for row in table["groups"]} == set(step["kept"])


def ensemble_on(images: np.ndarray, shape: NetworkSpec = MEMBER) -> OwnNetwork:
    """Two members of unequal votes, as one module, with norms that were measured."""
    made = joined(EnsembleNetwork(EnsembleSpec(shape, (3, 1))))
    assert isinstance(made, OwnNetwork)
    reestimate(made, images)
    return made


@pytest.mark.parametrize("name", [pytest.param("Residual", marks=pytest.mark.slow), "Wider", "ensemble"])
def test_what_trained_masks_leave_out_is_what_the_graph_loses(name: str, tmp_path: Path) -> None:
    """Of joins, of Brevitas' quant tensors, and of joined members: found in the graph, masked in the module."""
    images = np.random.default_rng(5).integers(0, 256, (100, 1, 8, 8), np.uint8)
    network = ensemble_on(images) if name == "ensemble" else network_of(tmp_path, name)
    structure, before = structure_of(network), digest(network)
    data = (images, np.arange(100) % 10, (images, np.arange(100) % 10))
    spec, training = MaskSpec(100.0), TrainSpec(4, 20, 0.02, 1)
    found = learn_masks(network, *data, spec, training, structure=structure)
    assert digest(network) == before and {group: was for group, (was, _) in found.widths.items()} == structure.widths
    kept = {group: now for group, (_, now) in found.widths.items()}
    assert sum(kept.values()) < sum(structure.widths.values())
    assert_cut(found.network, kept, images[:40])
    # What is gone stays gone where masks are trained again.
    again = learn_masks(found.network, *data, spec, training, structure=structure_of(found.network))
    assert {group: was for group, (was, _) in again.widths.items()} == kept


@pytest.mark.parametrize("name", [pytest.param("Residual", marks=pytest.mark.slow), "ensemble"])
def test_synapses_that_are_gone_are_those_that_the_graph_lacks(name: str, tmp_path: Path) -> None:
    """Trained on, saved, and with channels gone, too: quantizers of the module and weights of the graph agree."""
    images = np.random.default_rng(5).integers(0, 256, (100, 1, 8, 8), np.uint8)
    network = ensemble_on(images) if name == "ensemble" else network_of(tmp_path, name)
    graph = graph_of(network)
    before, names, structure = digest(network), synapse_layers(network, graph), structure_of(network, graph)
    assert names == tuple(found for found, _ in prunable_layers(network))
    data = (images, np.arange(100) % 10, (images, np.arange(100) % 10))
    spec = SynapseSpec(dict.fromkeys(names, 0.6), 2, "taylor")
    small, steps = prune_synapses(network, *data, spec, TrainSpec(1, 20, 0.02, 1))
    assert digest(network) == before and network.spec.sparse == () and len(steps) == 2
    left = {layer: int(there.sum()) for layer, there in present(small).items()}
    whole = {layer: there.size for layer, there in present(network).items()}
    assert left == steps[-1].kept and left == {layer: size - round(0.6 * size) for layer, size in whole.items()}
    graph = graph_of(small)
    assert sorted(int(there.sum()) for there in synapses(graph).values()) == sorted(left.values())
    # Channels, too: what is gone stays gone.
    keep = {group: np.arange(width)[::2] for group, width in structure.widths.items()}
    both = masked(
        structure.remove(small, keep), {names[0]: np.ones(dict(small.weight_layers())[names[0]].weight.shape, bool)}
    )
    assert {layer: int(there.sum()) for layer, there in present(both).items()} == left
    assert_cut(both, {group: len(kept) for group, kept in keep.items()}, images[:40])
    save_network(both, tmp_path / "both.pt")
    again = load_network(tmp_path / "both.pt", str(tmp_path))
    assert again.spec == both.spec and np.array_equal(predict(again, images), predict(both, images))
    if name == "ensemble":
        packed = pack_network(both, Provenance("", "", 0, 1, 0.0, "", 0.0, 1))
        assert np.array_equal(predict(unpack_network(packed), images), predict(both, images))


@pytest.mark.parametrize("name", ["Residual", pytest.param("ensemble", marks=pytest.mark.slow)])
def test_units_that_are_left_out_are_those_that_the_graph_lacks(name: str, tmp_path: Path) -> None:
    """Found by what modules compute; trained on, saved, and with channels and synapses gone, too."""
    images = np.random.default_rng(5).integers(0, 256, (60, 1, 8, 8), np.uint8)
    if name == "ensemble":
        shape = NetworkSpec("resnet", (1, 8, 8), 10, (), (4, 8), padding=0, depths=(1, 1), head="average")
        network = ensemble_on(images, shape)
        # The first unit of the second stage, block1, shrinks the map.
        blocks = {0: 2, 2: 4}
        wanted = {f"members.{one}.layers.block{b}.layers.conv{c}" for one in range(2) for b, c in blocks.items()}
    else:
        network, wanted = network_of(tmp_path, name), {"first.body.6"}
    graph = with_contract(graph_of(network), parse_contract("uint8, partial"))
    units = units_of(network, graph=graph)
    assert {unit.last for unit in units.units.values()} == wanted
    before, macs = digest(network), units.macs(network)
    data = (images, np.arange(60) % 10, (images, np.arange(60) % 10))
    made, steps = reduce_blocks(network, *data, TrainSpec(1, 20, 0.01, 1), 1, units=units)
    assert digest(network) == before and len(made.spec.dropped) == len(steps) == 1
    assert steps[0].left == len(wanted) - 1 and steps[0].macs == units.macs(made) < macs
    small = graph_of(made)
    assert len(small.nodes) < len(graph.nodes)
    structure = structure_of(made, small)
    keep = {group: np.arange(width)[::2] for group, width in structure.widths.items()}
    first = synapse_layers(made, small)[0]
    there = np.arange(dict(made.weight_layers())[first].weight.numel()) % 3 > 0
    less = masked(structure.remove(made, keep), {first: there.reshape(dict(made.weight_layers())[first].weight.shape)})
    assert_cut(less, {group: len(kept) for group, kept in keep.items()}, images[:40])
    save_network(less, tmp_path / "less.pt")
    again = load_network(tmp_path / "less.pt", str(tmp_path))
    assert again.spec == less.spec and np.array_equal(predict(again, images), predict(less, images))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["synapses", "balanced"])
def test_synapses_of_a_network_of_the_users(method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, run = recipe(tmp_path, "Residual", f"{{method: {method}, epochs: 1}}"), tmp_path / "run"
    summary = json.loads(ran(capsys, "build", path, "--run", str(run), "--json"))
    assert all(row["differences"] == 0 for row in summary["verify"]["pruned"]["stages"])
    pruned = summary["networks"]["pruned"]
    assert pruned["synapses"] == sum(summary["pruning"]["kept"].values()) < summary["networks"]["base"]["synapses"]
    wanted = (run / "pruned/weights.pt").read_bytes()
    (run / "pruned/weights.pt").unlink()
    ran(capsys, "build", path, "--run", str(run), "--to", "prune")
    assert (run / "pruned/weights.pt").read_bytes() == wanted


def test_synapses_go_where_no_channel_can(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of one layer behind the image: nothing to narrow, but synapses."""
    path = recipe(tmp_path, "OneLayer", "{method: synapses, epochs: 1}")
    said = json.loads(ran(capsys, "build", path, "--run", str(tmp_path / "run"), "--to", "verify", "--json"))
    assert all(row["differences"] == 0 for row in said["pruned"]["stages"])


@pytest.mark.slow
def test_units_of_a_network_of_the_users(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = recipe(tmp_path, "Residual", "{method: blocks, epochs: 1, blocks: {drop: 1}}")
    run = tmp_path / "run"
    found = json.loads(ran(capsys, "build", path, "--run", str(run), "--to", "verify", "--json"))
    assert all(row["differences"] == 0 for row in found["pruned"]["stages"])
    wanted = (run / "pruned/weights.pt").read_bytes()
    (run / "pruned/weights.pt").unlink()
    ran(capsys, "build", path, "--run", str(run), "--to", "prune")
    assert (run / "pruned/weights.pt").read_bytes() == wanted
    measured = json.loads(ran(capsys, "sensitivity", str(run), "--method", "blocks", "--json"))
    assert [one["name"] for one in measured["blocks"]] == ["conv1"]


@pytest.mark.slow
def test_masks_of_a_network_of_the_users_resume(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    masks = "{strength: 20, order: layers, mask_epochs: 1, mask_rate: 0.05}"
    path, run = recipe(tmp_path, "Residual", f"{{method: masks, epochs: 1, masks: {masks}}}"), tmp_path / "run"
    ran(capsys, "build", path, "--run", str(run), "--to", "prune")
    found = json.loads((run / "manifest.json").read_text())["stages"]["prune"]["facts"]
    assert found["kept"].keys() == {"conv0", "conv1", "conv3", "conv4", "dense0"} and sum(found["kept"].values()) < 56
    small = load_network(run / "pruned/weights.pt", str(tmp_path))
    assert isinstance(small, OwnNetwork)
    structure = structure_of(small.without({}))
    assert found["steps"][0]["macs"] == structure.macs(small)
    wanted = (run / "pruned/weights.pt").read_bytes()
    (run / "pruned/weights.pt").unlink()
    ran(capsys, "build", path, "--run", str(run), "--to", "prune")
    assert (run / "pruned/weights.pt").read_bytes() == wanted


REFUSED = {
    "own_twice": ("Twice", PRUNE),
    "own_no_norm": ("NoNorm", "{criterion: norm-gain, unit: 4}"),
    "own_grow": ("NoNorm", "{method: masks, masks: {grow: 2}}"),
    "own_synapses": ("Wider", "{method: synapses}"),
    "own_layers": ("NoNorm", "{method: synapses, synapses: {layers: [conv0]}}"),
    "own_blocks": ("NoNorm", "{method: blocks, blocks: {drop: 1}}"),
    "own_fewer": ("Residual", "{method: blocks, blocks: {drop: 2}}"),
    "own_ecqx": ("NoNorm", "{method: ecqx}"),
    "own_one_layer": ("OneLayer", "{method: masks}"),
    "own_unit": ("NoNorm", "{unit: 32}"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_pruned_is_said_before_training(
    name: str, tmp_path: Path, golden: Golden, capsys: pytest.CaptureFixture[str]
) -> None:
    golden(f"problems/pruned_{name}", ran(capsys, "check", recipe(tmp_path, *REFUSED[name]), status=2))

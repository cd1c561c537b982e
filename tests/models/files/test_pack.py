"""Packed networks: the same integers come out, and nothing but a whole file is read."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bnnflow import Problem
from bnnflow.models.data.load import Dataset
from bnnflow.models.files.export import export_qonnx
from bnnflow.models.files.pack import pack_network, unpack_network
from bnnflow.models.files.packed_file import Provenance, read_packed, write_packed
from bnnflow.models.files.saved import Trained, load_network
from bnnflow.models.files.trained_names import trained_files
from bnnflow.models.networks.network import Network, NetworkSpec
from bnnflow.models.networks.own import OwnNetwork, OwnSpec
from bnnflow.models.training.ensemble import EnsembleNetwork, EnsembleSpec
from bnnflow.models.training.evaluate import predict
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.reading.read import read
from tests.models.conftest import CNN, MLP, lively

PROVENANCE = Provenance("data: {name: digits}", "digits", 3, 2, 1.5, "a processor", 0.75, 360)
RESNET = NetworkSpec("resnet", (1, 8, 8), 10, (), (8, 16), depths=(1, 1), padding=0, head="average", shortcut="conv")
SHAPES = {
    "cnn": CNN,
    "planes": replace(CNN, input="planes", planes=2, scores="class"),
    "scaled": replace(CNN, weight_scale="channel"),
    "bits": replace(MLP, weight_bits=3),
    "resnet": RESNET,
}


def through_a_file(network: Trained, tmp_path: Path) -> Trained:
    write_packed(pack_network(network, PROVENANCE), tmp_path / "net.bnn")
    return load_network(tmp_path / "net.bnn")


def compiled(network: Trained, path: Path) -> list[str]:
    export_qonnx(network, path, network.spec.input_shape)
    return [str(stage.graph) for stage in stages(read(path))]


@pytest.mark.parametrize("name", SHAPES)
def test_a_packed_network_compiles_to_the_same_integers(name: str, digits: Dataset, tmp_path: Path) -> None:
    network = lively(SHAPES[name], digits.train_images[:100])
    again = through_a_file(network, tmp_path)
    assert again.spec == network.spec and not again.training
    np.testing.assert_array_equal(predict(again, digits.test_images[:50]), predict(network, digits.test_images[:50]))
    graphs = compiled(network, tmp_path / "net.onnx")
    assert compiled(again, tmp_path / "net.onnx") == graphs


def test_members_of_an_ensemble_are_packed(digits: Dataset, tmp_path: Path) -> None:
    network = EnsembleNetwork(EnsembleSpec(MLP, (1, 3))).eval()
    again = through_a_file(network, tmp_path)
    assert again.spec == network.spec
    np.testing.assert_array_equal(predict(again, digits.test_images[:9]), predict(network, digits.test_images[:9]))


def test_a_weight_takes_a_bit_and_keeps_its_layers_magnitude(tmp_path: Path) -> None:
    network = Network(NetworkSpec("mlp", (1, 28, 28), 10, (512,)), 1).eval()
    again = through_a_file(network, tmp_path)
    assert (tmp_path / "net.bnn").stat().st_size < 794 * 512 / 8 + 20_000
    for (_, before), (_, after) in zip(network.weight_layers(), again.weight_layers(), strict=True):
        torch.testing.assert_close(after.weight.abs().max(), before.weight.abs().mean())
        assert after.weight.abs().unique().numel() == 1
    assert read_packed(tmp_path / "net.bnn").provenance == PROVENANCE
    first = (tmp_path / "net.bnn").read_bytes()
    write_packed(pack_network(network, PROVENANCE), tmp_path / "net.bnn")
    assert (tmp_path / "net.bnn").read_bytes() == first


def test_damaged_and_foreign_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.bnn"
    write_packed(pack_network(Network(MLP).eval(), PROVENANCE), path)
    whole = path.read_bytes()
    for place in range(0, len(whole), 97):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(Problem, match="not a packed network, or damaged"):
            read_packed(path)
    for content in (b"", whole[:-1], whole + b"x", b"bnnpack1"):
        path.write_bytes(content)
        with pytest.raises(Problem):
            load_network(path)
    np.savez(tmp_path / "other.npz", about=np.zeros(3))
    for other in (tmp_path / "other.npz", tmp_path / "absent.bnn"):
        with pytest.raises(Problem):
            read_packed(other)


def test_arrays_of_another_shape_and_classes_of_the_users_are_refused(tmp_path: Path) -> None:
    packed = pack_network(Network(MLP).eval(), PROVENANCE)
    wrong = replace(packed, spec={**packed.spec, "hidden": [16, 20]})
    with pytest.raises(Problem, match="do not fit"):
        unpack_network(wrong)
    with pytest.raises(Problem, match="do not fit"):
        unpack_network(replace(packed, bits={}))
    (tmp_path / "packed_own.py").write_text(
        "from torch import nn\nclass Net(nn.Sequential):\n"
        "    def __init__(self):\n        super().__init__(nn.Flatten(), nn.Linear(64, 10))\n"
    )
    own = OwnNetwork(OwnSpec("packed_own:Net", {}, (1, 8, 8), 10, str(tmp_path)))
    with pytest.raises(Problem, match="class of your own"):
        pack_network(own, PROVENANCE)


def test_files_that_come_with_the_package_are_small_and_whole() -> None:
    assert "tfc-mnist" in trained_files()
    for path in trained_files().values():
        assert path.stat().st_size <= 2_000_000
        packed = read_packed(path)
        unpack_network(packed)
        said = packed.provenance
        assert 0.5 < said.accuracy <= 1 and said.machine and said.epochs > 0 and said.data in said.recipe
        assert "/" not in json.dumps([said.machine, said.versions])
        assert "\n  dir: null" in said.recipe

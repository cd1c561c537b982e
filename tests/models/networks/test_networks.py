"""Networks compute with +1 and -1 alone, and impossible shapes are refused by the name of the layer."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from bnnflow import Problem
from bnnflow.models.data.load import Dataset
from bnnflow.models.networks.network import Network, NetworkSpec
from tests.models.conftest import CNN, MLP, lively

SHAPE: dict[str, Any] = {
    "arch": "cnn",
    "input_shape": (1, 8, 8),
    "classes": 10,
    "hidden": (),
    "channels": (4, 4),
    "kernels": (3, 3),
    "pools": (2, 1),
}


@pytest.mark.parametrize(
    ("change", "where", "message"),
    [
        ({"kernels": (3, 4)}, "conv1", "a 4x4 filter does not fit into a map of 3x3"),
        ({"kernels": (4, 2)}, "conv0", "needs a map of even size, this one is 5x5"),
        ({"channels": (4, 0)}, "channels[1]", "0 is not a width"),
        ({"hidden": (-3,)}, "hidden[0]", "-3 is not a width"),
        ({"kernels": (3,)}, "kernels", "1 kernels for 2 channels"),
        ({"pools": (2,)}, "pools", "1 pools for 2 channels"),
        ({"pools": (3, 1)}, "pools[0]", "a pool of 3"),
        ({"channels": (), "kernels": (), "pools": ()}, "channels", "a cnn needs one convolution"),
        ({"arch": "mlp"}, "channels, kernels, pools", "an mlp has no convolutions"),
        ({"arch": "mlp", "channels": (), "kernels": (), "pools": ()}, "hidden", "an mlp needs one hidden layer"),
        ({"arch": "rnn"}, "arch", "'rnn' is not one of mlp, cnn, resnet"),
        ({"input": "bits4"}, "input", "'bits4' is not one of bits8, binary, planes"),
        ({"classes": 1}, "classes", "1 classes"),
        ({"input_shape": (8, 8)}, "input_shape", "is not channels, height, width"),
    ],
)
def test_impossible_shapes_are_refused(change: dict[str, Any], where: str, message: str) -> None:
    with pytest.raises(Problem) as caught:
        NetworkSpec(**{**SHAPE, **change})
    assert message in caught.value.what
    assert caught.value.where == where


def test_a_spec_survives_json_and_a_strange_one_is_refused() -> None:
    assert NetworkSpec.from_dict(json.loads(json.dumps(CNN.to_dict()))) == CNN
    with pytest.raises(Problem, match="not a description of a network"):
        NetworkSpec.from_dict({**CNN.to_dict(), "dropout": 0.5})


def test_layers_and_operations_are_counted() -> None:
    assert [(layer.name, layer.inputs, layer.outputs, layer.macs) for layer in CNN.layers()] == [
        ("conv0", 1, 8, 8 * 9 * 36),
        ("conv1", 8, 6, 6 * 8 * 9 * 16),
        ("dense0", 24, 12, 24 * 12),
        ("dense1", 12, 10, 120),
    ]
    assert [name for name, _ in Network(MLP).weight_layers()] == ["dense0", "dense1", "dense2"]


@pytest.mark.parametrize("kind", ["bits8", "binary"])
def test_every_sum_behind_the_input_is_an_integer_of_binary_products(kind: Any, digits: Dataset) -> None:
    spec = NetworkSpec("cnn", (1, 8, 8), 10, (12,), (8, 6), (3, 3), (1, 2), input=kind)
    network = lively(spec, digits.train_images[:100])
    seen: dict[str, np.ndarray] = {}
    for name, module in network.layers.items():
        module.register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out.detach().numpy()}))
    pixels = torch.arange(256, dtype=torch.float32).repeat(2)[:448].reshape(7, 1, 8, 8)
    network(pixels)
    for name, module in network.weight_layers():
        assert set(module.quant_weight().value.unique().tolist()) == {-1.0, 1.0}
        assert module.quant_weight().scale.item() == 1.0
        step = 128 if (name, kind) == ("conv0", "bits8") else 1
        np.testing.assert_array_equal(seen[name] * step, np.round(seen[name] * step))
    for name in ("sign0", "sign1", "sign2"):
        assert set(np.unique(seen[name])) == {-1.0, 1.0}
    if kind == "bits8":
        np.testing.assert_array_equal(seen["input"] * 128, pixels.numpy() - 128)
    else:
        np.testing.assert_array_equal(seen["input"], np.where(pixels.numpy() >= 128, 1, -1))


def test_the_sign_of_zero_is_plus_one() -> None:
    sign = Network(MLP).eval().layers["sign0"]
    assert sign(torch.tensor([[0.0, -0.0, -1e-30, 1e-30]])).tolist() == [[1.0, 1.0, -1.0, 1.0]]


def test_scores_keep_the_order_of_the_sums() -> None:
    score = Network(MLP).eval().layers["score"]
    with torch.no_grad():
        score.log_gain.fill_(-3.0)
        score.bias.fill_(5.0)
        score.running_mean.fill_(7.0)
    sums = torch.tensor([[-4.0, 8.0, 2.0, 6.0]])
    assert score(sums).argsort().tolist() == sums.argsort().tolist()
    assert score.affine()[0] > 0


def test_the_seed_decides_the_weights() -> None:
    first, again, other = (Network(MLP, seed).layers["dense0"].weight for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_pools_stand_where_the_spec_says() -> None:
    """Before the batch norm, or after the sign, in the order in which the layers are applied."""
    for pool_order, wanted in (
        ("before-norm", ["conv0", "pool0", "norm0", "sign0"]),
        ("after-sign", ["conv0", "norm0", "sign0", "pool0"]),
    ):
        spec = NetworkSpec("cnn", (1, 8, 8), 3, (8,), (4,), (3,), (2,), pool_order)  # type: ignore[arg-type]
        names = [name for name in Network(spec).layers if name in wanted]
        assert names == wanted

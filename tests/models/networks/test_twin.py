"""The plain copy of a network computes what its Brevitas modules compute."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from brevitas.nn import QuantConv2d
from brevitas.quant import Int8ActPerTensorFloat
from torch import nn

from bnnflow import Problem
from bnnflow.models.networks import zoo
from bnnflow.models.networks.network import Network, NetworkSpec
from bnnflow.models.networks.own import OwnNetwork, OwnSpec
from bnnflow.models.networks.twin import PlainQuantize, PlainSign, twin
from bnnflow.models.relevance.sample import Sample
from bnnflow.models.relevance.scores import score
from bnnflow.models.training.batchnorm import reestimate
from tests.models.conftest import CNN, MLP, RESIDUAL, lively

OWN = '''
import torch
from brevitas.nn import QuantConv2d, QuantIdentity, QuantLinear, QuantReLU
from torch import nn


class Net(nn.Module):
    """Two-bit weights and activations; one activation module is used twice, and a sum is made in `forward`."""

    def __init__(self, width=4, functional=False):
        super().__init__()
        kind = {"bias": False, "weight_bit_width": 2}
        self.functional = functional
        self.image = QuantIdentity(bit_width=8, return_quant_tensor=True)
        self.first = QuantConv2d(1, width, 3, padding=1, stride=2, **kind)
        self.norm = nn.BatchNorm2d(width)
        self.act = QuantReLU(bit_width=2, return_quant_tensor=True)
        self.second = QuantConv2d(width, width, 3, padding=1, **kind)
        self.scores = QuantLinear(width * 16, 10, **kind)

    def forward(self, x):
        x = self.act(self.norm(self.first(self.image(x))))
        x = self.act(self.second(x)) + x
        x = torch.flatten(getattr(x, "value", x), 1)
        return self.scores(torch.sin(x) if self.functional else x)
'''


def own(folder: Path, **args: Any) -> OwnNetwork:
    """The network above with its quantizers' ranges set by some images."""
    (folder / "twin_nets.py").write_text(OWN)
    network = OwnNetwork(OwnSpec("twin_nets:Net", args, (1, 8, 8), 10, str(folder)))
    rng = np.random.default_rng(0)
    for _ in range(3):
        network.train()(torch.tensor(rng.integers(0, 256, (32, 1, 8, 8)), dtype=torch.float32))
    return network.eval()


def specs() -> list[Any]:
    small = [pytest.param(zoo.zoo_spec(row.name, row.shape, 10, 0.01), id=row.name) for row in zoo.ROWS]
    unit = replace(CNN, activation="unit")
    options = {
        "chain-border": replace(CNN, padding=-1, pool_order="after-sign", pools=(2, 2)),
        "planes": replace(CNN, input="planes", planes=3, padding=1),
        "unit-1": unit,
        "unit-3": replace(unit, act_bits=3, weight_bits=4),
        "scales": replace(CNN, weight_scale="channel", scores="class", estimator="swish"),
        "raw": replace(MLP, scores="none", stochastic=True),
        **{f"residual-{name}": spec for name, spec in RESIDUAL.items()},
    }
    return small + [pytest.param(spec, id=name) for name, spec in options.items()]


@pytest.mark.parametrize("spec", specs())
def test_the_twin_computes_the_same_scores(spec: NetworkSpec) -> None:
    rng = np.random.default_rng(3)
    network = lively(spec, rng.integers(0, 256, (12, *spec.input_shape)).astype(np.uint8))
    copy = twin(network)
    assert [name for name, _ in copy.weight_layers()] == [layer.name for layer in spec.layers()]
    for (_, plain), (_, quantized) in zip(copy.weight_layers(), network.weight_layers(), strict=True):
        assert type(plain) in (nn.Conv2d, nn.Linear)
        assert torch.equal(plain.weight, quantized.quant_weight().value)
    assert not any(type(module).__module__.startswith("brevitas") for module in copy.modules())
    x = torch.tensor(rng.integers(0, 256, (6, *spec.input_shape)), dtype=torch.float32)
    wanted, found = network(x).detach(), copy(x)
    assert (found - wanted).abs().max() <= 1e-5 * max(1.0, float(wanted.abs().max()))
    exact = copy.double()(x.double())
    if spec.weight_scale == "none" and spec.weight_bits == 1:
        assert torch.equal(exact.argmax(1), wanted.argmax(1))
        assert (exact - wanted).abs().max() <= 1e-5 * max(1.0, float(wanted.abs().max()))


def test_the_network_itself_stays_as_it_is() -> None:
    network = Network(CNN)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    made = twin(network.train())
    made.weight_layers()[0][1].weight.zero_()
    assert network.training and not made.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_a_network_of_the_users_own(tmp_path: Path) -> None:
    network = own(tmp_path)
    copy = twin(network)
    x = torch.tensor(np.random.default_rng(3).integers(0, 256, (64, 1, 8, 8)), dtype=torch.float32)
    assert (network(x) - copy(x)).abs().max() <= 1e-5
    assert [name for name, _ in copy.weight_layers()] == ["first", "second", "scores"]
    assert isinstance(copy.body.body.act, PlainQuantize)


SHARED = '''
import torch
from brevitas.nn import QuantConv2d, QuantIdentity, QuantLinear
from brevitas.quant import SignedBinaryActPerTensorConst, SignedBinaryWeightPerTensorConst
from torch import nn


class Net(nn.Module):
    """`middle` runs `times` times, under two names; `spare` does not run; one sign is used by all."""

    def __init__(self, times=2):
        super().__init__()
        kind = {"bias": False, "weight_quant": SignedBinaryWeightPerTensorConst}
        self.times = times
        self.first = QuantConv2d(1, 4, 3, **kind)
        self.sign = QuantIdentity(act_quant=SignedBinaryActPerTensorConst)
        self.middle = QuantConv2d(4, 4, 3, padding=1, **kind)
        self.again = self.middle
        self.inner = nn.Sequential(self.sign)
        if times == 0:
            self.spare = QuantConv2d(4, 4, 3, **kind)
        self.scores = QuantLinear(4 * 36, 10, **kind)

    def forward(self, x):
        x = self.sign(self.first(x / 128 - 1))
        for module in (self.middle, self.again)[: max(1, self.times)]:
            x = self.inner(module(x) + 0.5)
        return self.scores(torch.flatten(x, 1))
'''


@pytest.mark.parametrize("times", [0, 1, 2])
def test_modules_that_run_twice_or_not_at_all(tmp_path: Path, times: int) -> None:
    """The copy computes the same; filters whose layer has no one output are not scored by their outputs."""
    (tmp_path / f"shared{times}.py").write_text(SHARED)
    network = OwnNetwork(OwnSpec(f"shared{times}:Net", {"times": times}, (1, 8, 8), 10, str(tmp_path))).eval()
    copy = twin(network)
    rng = np.random.default_rng(3)
    images = rng.integers(0, 256, (20, 1, 8, 8)).astype(np.uint8)
    x = torch.tensor(images, dtype=torch.float32)
    assert torch.equal(network(x), copy(x))
    assert not any(type(module).__module__.startswith("brevitas") for module in copy.modules())
    body = copy.body.body
    assert body.middle is body.again and body.inner[0] is body.sign and type(body.sign) is PlainSign
    some = Sample(images, rng.integers(0, 10, 20), images[::-1].copy())
    for criterion in ("deeplift", "lrp", "ablation", "entropy"):
        if times == 1:
            found = score(network, criterion, some).scores
            assert {name: len(values) for name, values in found.items()} == {"first": 4, "middle": 4}
        else:
            with pytest.raises(Problem, match=f"this layer runs {times} times a pass") as caught:
                score(network, criterion, some)
            assert caught.value.where == ("spare" if times == 0 else "middle")
    assert len(score(network, "latent", some).scores["middle"]) == 4
    if times == 1:
        check = score(network, "deeplift", some).check
        assert check is not None and check <= 1e-9


def test_what_has_no_counterpart_is_named(tmp_path: Path) -> None:
    network = own(tmp_path)
    network.body.second = QuantConv2d(4, 4, 3, padding=1, bias=False, input_quant=Int8ActPerTensorFloat)
    with pytest.raises(Problem, match="input_quant") as caught:
        twin(network)
    assert caught.value.where == "body.second"


def test_a_copy_that_differs_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bnnflow.models.networks.twin.binary_weights", lambda module: -module.quant_weight().value)
    network = Network(CNN)
    reestimate(network, np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8)).astype(np.uint8))
    with pytest.raises(Problem, match="other scores"):
        twin(network)


def test_sign_passes_the_gradient_between_minus_one_and_one() -> None:
    x = torch.tensor([-2.0, -1.0, 0.0, 1.0, 1.5], requires_grad=True)
    PlainSign()(x).backward(torch.arange(1.0, 6.0))
    assert x.grad is not None and x.grad.tolist() == [0.0, 2.0, 3.0, 4.0, 0.0]
    assert PlainSign()(torch.tensor([0.0, -0.0, -1e-30])).tolist() == [1.0, 1.0, -1.0]
    assert PlainSign(0.5, 0.0, 1.0)(torch.tensor([0.5, 0.49, 1.0])).tolist() == [1.0, 0.0, 1.0]


def test_quantize_rounds_halves_to_even_and_clips() -> None:
    module = PlainQuantize(torch.tensor(0.5), torch.tensor(0.0), -2.0, 1.0)
    x = torch.tensor([-9.0, -1.0, -0.25, 0.25, 0.75, 0.4, 7.0], requires_grad=True)
    made = module(x)
    assert made.tolist() == [-1.0, -1.0, 0.0, 0.0, 0.5, 0.5, 0.5]
    made.sum().backward()
    assert x.grad is not None and x.grad.tolist() == [0.0, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0]

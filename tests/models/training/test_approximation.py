"""Training with approximate sums: what it changes, what the gradient knows of it, and what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bnnflow import Problem
from bnnflow.models.data.load import Dataset
from bnnflow.models.networks.network import Network
from bnnflow.models.training.approximation import approximated
from bnnflow.models.training.approximation_spec import EXACT, Approximation
from bnnflow.models.training.bit_errors import BitErrors, ErrorRates
from bnnflow.models.training.evaluate import digest, predict
from bnnflow.models.training.train import train
from bnnflow.models.training.train_spec import TrainSpec
from tests.models.conftest import CNN, MLP, RESIDUAL, lively

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 1, 8, 8), dtype=np.uint8)
ERRORS = BitErrors(ErrorRates(0.1, 0.1))
PLAN = TrainSpec(2, 50, 0.01, 0)


def trained(digits: Dataset, plan: TrainSpec) -> str:
    network = Network(MLP, 0)
    train(network, digits.train_images[:200], digits.train_labels[:200], plan)
    return digest(network)


def test_training_computes_with_it(digits: Dataset) -> None:
    hows = (EXACT, Approximation(lta=5), Approximation(capmin=2))
    plans = [replace(PLAN, approximation=how) for how in hows]
    found = [trained(digits, plan) for plan in plans]
    assert len(set(found)) == 3
    assert trained(digits, plans[1]) == found[1]
    assert trained(digits, replace(PLAN, approximation=EXACT)) == found[0]


def test_hooks_are_gone_afterwards() -> None:
    network = lively(CNN, IMAGES)
    before = predict(network, IMAGES)
    with approximated(network, Approximation(lta=5)) as taken:
        assert taken == ["conv1", "dense0"]
        assert not np.array_equal(predict(network, IMAGES), before)
    assert np.array_equal(predict(network, IMAGES), before)


@pytest.mark.parametrize("how", [Approximation(lta=5), Approximation(capmin=3, array=8)])
def test_gradients_are_those_of_exact_sums(how: Approximation) -> None:
    """Of the layer in front of the scores, whose inputs are the same; batch statistics of lta are of exact sums."""
    network = lively(replace(MLP, hidden=(12,), input="binary"), IMAGES).train()
    x = torch.from_numpy(IMAGES).float()
    weight = dict(network.weight_layers())["dense0"].weight

    def gradient() -> torch.Tensor:
        network.zero_grad()
        # A loss that is linear in the bits.
        seen: list[torch.Tensor] = []
        hook = network.layers["sign0"].register_forward_hook(lambda _m, _in, out: seen.append(out))
        network(x)
        hook.remove()
        (seen[0] * torch.linspace(-1, 1, 12)).sum().backward()
        assert weight.grad is not None
        return weight.grad.clone()

    exact = gradient()
    with approximated(network, how):
        near = gradient()
    if how.lta:
        assert torch.equal(near, exact)
    else:
        assert near.abs().sum() > 0


def test_levels_lie_around_half() -> None:
    assert Approximation(capmin=3).levels == (15, 17)
    assert Approximation(capmin=2).levels == (15, 16)
    assert Approximation(capmin=33).levels == (0, 32)
    assert Approximation(capmin=1, array=5).levels == (2, 2)


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: Approximation(lta=8, capmin=3), "capmin"),
        (lambda: Approximation(lta=-1), "lta"),
        (lambda: Approximation(capmin=34), "capmin"),
        (lambda: Approximation(capmin=1, array=0), "array"),
        (lambda: replace(PLAN, approximation=Approximation(lta=8), bit_errors=ERRORS), "approximation"),
        (lambda: entered(MLP, Approximation(lta=16)), "lta"),
        (lambda: entered(replace(MLP, hidden=(16,)), Approximation(capmin=3)), "capmin"),
        (lambda: entered(RESIDUAL["integer-pool"], Approximation(lta=4)), "approximation"),
        (lambda: entered(replace(MLP, weight_scale="tensor"), Approximation(lta=4)), "approximation"),
        (lambda: entered(replace(CNN, padding=-1), Approximation(lta=4)), "approximation"),
    ],
)  # fmt: skip
def test_what_is_refused(make: object, key: str) -> None:
    with pytest.raises(Problem) as caught:
        make()  # type: ignore[operator]
    assert caught.value.key == key


def entered(spec: object, how: Approximation) -> None:
    with approximated(Network(spec), how):  # type: ignore[arg-type]
        pass

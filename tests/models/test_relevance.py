"""The twin computes the same numbers, and DeepLift on it accounts for every logit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from bnnflow import Problem
from bnnflow.models.data.load import Dataset
from bnnflow.models.networks import NetworkSpec
from bnnflow.models.relevance import deep_lift, deeplift, random_scores
from bnnflow.models.twin import Sign, twin

from .conftest import CNN, MLP, lively


def spec(arch: str, order: Any, kind: Any) -> NetworkSpec:
    if arch == "mlp":
        return NetworkSpec("mlp", (1, 8, 8), 10, (16, 12), input=kind)
    return NetworkSpec("cnn", (1, 8, 8), 10, (12,), (8, 6), (3, 3), (2, 1), order, kind)


KINDS = [
    ("cnn", "before-norm", "bits8"),
    ("cnn", "after-sign", "bits8"),
    ("cnn", "before-norm", "binary"),
    ("cnn", "after-sign", "binary"),
    ("mlp", "before-norm", "bits8"),
    ("mlp", "before-norm", "binary"),
]


@pytest.mark.parametrize("kind", KINDS)
def test_the_twin_computes_the_same_numbers(kind: tuple[str, Any, Any], digits: Dataset) -> None:
    network = lively(spec(*kind), digits.train_images[:200])
    copy = twin(network)
    assert [name for name, _ in copy.weight_layers()] == [name for name, _ in network.weight_layers()]
    x = y = torch.tensor(np.random.default_rng(3).integers(0, 256, (64, 1, 8, 8)), dtype=torch.float32)
    for name in network.layers:
        x, y = network.layers[name](x), copy.layers[name](y)
        if name.startswith("sign"):
            assert torch.equal(x, y), name
    assert (x - y).abs().max() <= 1e-4


def test_sign_passes_the_gradient_between_minus_one_and_one() -> None:
    x = torch.tensor([-2.0, -1.0, 0.0, 1.0, 1.5], requires_grad=True)
    Sign()(x).backward(torch.arange(1.0, 6.0))
    assert x.grad is not None and x.grad.tolist() == [0.0, 2.0, 3.0, 4.0, 0.0]
    assert Sign()(torch.tensor([0.0, -0.0, -1e-30])).tolist() == [1.0, 1.0, -1.0]


@pytest.mark.parametrize("kind", KINDS)
def test_deeplift_is_complete_at_every_layer(kind: tuple[str, Any, Any], digits: Dataset) -> None:
    network = lively(spec(*kind), digits.train_images[:200])
    found = deeplift(network, digits.test_images[:40], digits.test_labels[:40], digits.train_images[:30], batch=16)
    assert found.completeness_error <= 1e-6
    assert found.images == 40
    for layer in network.spec.layers()[:-1]:
        assert found.scores[layer.name].shape == (layer.outputs,)
        assert found.scores[layer.name].max() > 0


def test_scores_are_exact_where_they_can_be_known(digits: Dataset) -> None:
    """At the last sign the logit is linear: the attribution is weight times change, whatever lies before."""
    network = lively(MLP, digits.train_images[:200])
    images, labels, baselines = digits.test_images[:20], digits.test_labels[:20], digits.test_images[20:40]
    copy = twin(network)
    seen: list[torch.Tensor] = []
    copy.layers["sign1"].register_forward_hook(lambda _m, _i, out: seen.append(out))
    for pixels in (images, baselines):
        copy(torch.tensor(pixels, dtype=torch.float32))
    weights = copy.layers["dense2"].weight[torch.tensor(labels)]
    wanted = (weights * (seen[0] - seen[1])).abs().mean(0).detach().numpy()
    np.testing.assert_allclose(deeplift(network, images, labels, baselines).scores["dense1"], wanted, atol=1e-9)


def test_a_filter_that_nothing_listens_to_scores_zero(digits: Dataset) -> None:
    """Filter 2's gain is 0, so that its sign is constant."""
    network = lively(CNN, digits.train_images[:200])
    with torch.no_grad():
        network.layers["norm0"].weight[2] = 0.0
    scores = deeplift(network, digits.test_images[:40], digits.test_labels[:40], digits.test_images[40:80]).scores
    assert scores["conv0"][2] == 0.0
    assert (scores["conv0"] > 0).sum() >= 5


def test_missed_completeness_is_reported(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a rule for Sign, Captum falls back to gradients without a word."""
    network = lively(CNN, digits.train_images[:200])
    monkeypatch.delitem(deep_lift.SUPPORTED_NON_LINEAR, Sign)
    with pytest.raises(Problem, match="attributions add up to") as caught:
        deeplift(network, digits.test_images[:40], digits.test_labels[:40], digits.test_images[40:80])
    assert caught.value.where == "conv0"


def test_random_scores_depend_on_the_seed(digits: Dataset) -> None:
    network = lively(CNN, digits.train_images[:50])
    first, again, other = (random_scores(network, seed).scores for seed in (1, 1, 2))
    assert set(first) == {"conv0", "conv1", "dense0"}
    np.testing.assert_array_equal(first["conv1"], again["conv1"])
    assert (first["conv1"] != other["conv1"]).all()

"""Assigned weights: entropy makes zeros, relevance keeps what matters, and the coded size says what it was worth."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bnnflow import Problem
from bnnflow.models.data.load import Dataset
from bnnflow.models.networks.network import Network, NetworkSpec
from bnnflow.models.prune.coding import coded_sizes
from bnnflow.models.prune.ecqx import EcqxSpec, _in_steps, assign, ecqx, relevance_factor, shares_of
from bnnflow.models.relevance.lrp import weight_lrp
from bnnflow.models.relevance.sample import Sample
from bnnflow.models.relevance.scores import attributions
from bnnflow.models.relevance.taps import Probe, captured
from bnnflow.models.training.batchnorm import reestimate
from bnnflow.models.training.evaluate import accuracy, digest
from bnnflow.models.training.train import TrainSpec, train
from tests.models.conftest import CNN, MLP, lively

NONE = TrainSpec(0, 50, 0.01, 1)


def drawn(seed: int = 0) -> torch.Tensor:
    return (torch.randn(4000, generator=torch.Generator().manual_seed(seed)) * 0.4).clamp(-1, 1)


@pytest.mark.parametrize("bits", [2, 3, 5])
def test_without_strength_the_nearest_level_is_taken(bits: int) -> None:
    top = 2 ** (bits - 1) - 1
    weights = drawn()
    levels = assign(weights, torch.full((2 * top + 1,), 1 / (2 * top + 1)), 0.0)
    assert torch.equal(levels, (weights * top).round())
    shares = shares_of(levels, top)
    assert float(shares.sum()) == pytest.approx(1.0)
    assert shares.argmax() == top


def test_each_weight_is_assigned_where_the_formula_is_least() -> None:
    weights, shares = drawn()[:50], torch.tensor([0.05, 0.15, 0.5, 0.2, 0.1, 0.0625, 0.0375])
    relevance = torch.rand(50, generator=torch.Generator().manual_seed(1))
    found = assign(weights, shares, 0.3, relevance)
    for weight, factor, level in zip(weights.tolist(), relevance.tolist(), found.tolist(), strict=True):
        costs = {}
        for index, share in enumerate(shares.tolist()):
            cost = (weight * 3 - (index - 3)) ** 2 - 0.3 * np.log2(share)
            costs[index - 3] = cost * factor if index == 3 else cost
        assert costs[level] == pytest.approx(min(costs.values()), abs=1e-5)


def test_relevance_keeps_what_matters_and_adds_at_most_p_zeros() -> None:
    weights, shares = drawn(), torch.tensor([0.2, 0.6, 0.2])
    relevance = torch.rand(4000, generator=torch.Generator().manual_seed(1)) ** 4
    plain = assign(weights, shares, 0.2) == 0
    for extra in (0.0, 0.05, 0.2, 1.0):
        factor = relevance_factor(weights, shares, 0.2, relevance, extra)
        zero = assign(weights, shares, 0.2, factor) == 0
        assert float(zero.float().mean() - plain.float().mean()) <= extra + 1e-6
    high = relevance > relevance.quantile(0.9)
    low = relevance < relevance.quantile(0.5)
    assert zero[high].sum() < plain[high].sum()
    assert zero[low].sum() > plain[low].sum()
    assert torch.equal(relevance_factor(weights, shares, 0.2, relevance * 0, 0.5), torch.ones(4000))


@pytest.mark.parametrize("bits", [2, 4])
def test_more_strength_is_less_entropy(digits: Dataset, bits: int) -> None:
    images, labels = digits.train_images[:100], digits.train_labels[:100]
    network = lively(CNN, images)
    with torch.no_grad():
        for index, (_, module) in enumerate(network.weight_layers()):
            module.weight.copy_(drawn(index)[: module.weight.numel()].view_as(module.weight))
    before = digest(network)
    entropies, zeros = [], []
    for strength in (0.0, 0.4, 2.0):
        made = ecqx(network, images, labels, EcqxSpec(bits, strength, extra=0.0), NONE)
        sizes = coded_sizes(made).values()
        entropies.append(sum(size.entropy_bits for size in sizes))
        zeros.append(np.mean([size.zeros for size in sizes]))
        top = 2 ** (bits - 1) - 1
        for _, module in made.weight_layers():
            torch.testing.assert_close(module.quant_weight().value, module.weight.data, atol=1e-6, rtol=0)
            assert torch.allclose(module.weight * top, (module.weight * top).round(), atol=1e-5)
    assert digest(network) == before
    assert entropies[0] > entropies[1] > entropies[2]
    assert bits > 2 or zeros[0] < zeros[1] < zeros[2]  # of many levels others fill up first


def test_training_recovers_with_assigned_weights(digits: Dataset) -> None:
    images, labels = digits.train_images, digits.train_labels
    network = Network(CNN, 1)
    train(network, images, labels, TrainSpec(4, 50, 0.01, 1))
    spec = EcqxSpec(2, 0.1, extra=0.05, images=100)
    once = ecqx(network, images, labels, spec, NONE)
    made, again = (ecqx(network, images, labels, spec, TrainSpec(3, 50, 0.01, 1)) for _ in range(2))
    assert digest(made) == digest(again)
    test = digits.test_images, digits.test_labels
    assert accuracy(made, *test) > accuracy(once, *test)
    assert accuracy(made, *test) > 0.4
    assert made.spec.weight_kind == "steps"
    values = torch.cat([module.quant_weight().value.flatten() for _, module in made.weight_layers()])
    assert set(values.unique().tolist()) == {-1.0, 0.0, 1.0}


@pytest.mark.parametrize("spec", [MLP, replace(CNN, pools=(1, 1), hidden=())], ids=["mlp", "cnn"])
def test_lrp_of_weights_by_hand(spec: NetworkSpec, digits: Dataset) -> None:
    """Every weight's share of each sum that it is in, from the relevance of the sums, in numpy."""
    images, labels = digits.train_images[:20], digits.train_labels[:20]
    network = lively(spec, digits.train_images[:200])
    found = weight_lrp(network, images, labels, batch=7)
    outputs = next(attributions(network, "lrp", Sample(images, labels, images)))[0]
    *_, before, layer, last = (name for name, _ in network.weight_layers())
    signs = {name: np.where(module.weight.detach().numpy() >= 0, 1.0, -1.0) for name, module in network.weight_layers()}
    probe = Probe.of(network)
    with captured(probe.model, probe.taps) as kept:
        sums = probe.model(probe.tensor(images)).numpy()
    x, weight = kept[before].numpy(), signs[layer]
    if weight.ndim == 4:
        windows = np.lib.stride_tricks.sliding_window_view(x, weight.shape[2:], (2, 3))
    else:
        windows, weight = x[:, :, None, None, None, None], weight[:, :, None, None]
    z = np.einsum("nchwij,fcij->nfhw", windows, weight)
    shares = outputs[layer].numpy().reshape(z.shape) / (z + np.where(z >= 0, 1.0, -1.0))  # binary: the stabiliser is 1
    wanted = np.abs(weight * np.einsum("nchwij,nfhw->fcij", windows, shares)) / len(images)
    np.testing.assert_allclose(found[layer], wanted.reshape(found[layer].shape), atol=1e-12)
    flat = kept[layer].numpy().reshape(len(x), -1)
    top = sums[np.arange(len(x)), labels]
    start = np.eye(10)[labels] * (top / (top + np.where(top >= 0, 1.0, -1.0)))[:, None]
    np.testing.assert_allclose(found[last], np.abs(signs[last] * (start.T @ flat)) / len(images), atol=1e-12)
    latent = weight_lrp(network, images, labels, latent=True)
    sizes = dict(network.weight_layers())[layer].weight.detach().double().abs().numpy()
    np.testing.assert_allclose(latent[layer], found[layer] * sizes, atol=1e-12)


def test_either_relevance_is_what_assignment_keeps(digits: Dataset) -> None:
    """Relevant weights become 0 less often than the others, and the two relevances choose differently."""
    images, labels = digits.train_images[:200], digits.train_labels[:200]
    network = lively(CNN, images)
    levels = {}
    for relevance in ("taylor", "lrp"):
        made = ecqx(network, images, labels, EcqxSpec(2, 0.1, 0.5, relevance, 200), NONE)
        levels[relevance] = dict(made.weight_layers())["dense0"].weight.detach()
    plain = dict(ecqx(network, images, labels, EcqxSpec(2, 0.1, 0.0), NONE).weight_layers())["dense0"].weight.detach()
    assert not any(torch.equal(one, plain) for one in levels.values())
    assert not torch.equal(levels["taylor"], levels["lrp"])
    stepped = _in_steps(network, EcqxSpec(2))
    reestimate(stepped, images)
    score = torch.from_numpy(weight_lrp(stepped, images, labels, latent=True)["dense0"])
    zero = {name: (level == 0).double() for name, level in {**levels, "plain": plain}.items()}
    high, low = score > score.mean(), score < score.mean()
    assert (zero["lrp"][high] <= zero["plain"][high]).all()
    assert (zero["lrp"][low] >= zero["plain"][low]).all()


def test_sizes_are_those_of_the_weights() -> None:
    network = Network(replace(CNN, weight_bits=2, weight_kind="steps"))
    weight = dict(network.weight_layers())["dense0"].weight
    with torch.no_grad():
        weight.zero_()
        weight.view(-1)[: weight.numel() // 2] = 1.0
    size = coded_sizes(network)["dense0"]
    assert (size.weights, size.zeros) == (weight.numel(), 0.5)
    assert size.entropy_bits == pytest.approx(weight.numel())
    assert size.plain_bits == 2 * weight.numel()
    assert size.lzma_bytes < 100  # two runs
    drawn_size = coded_sizes(Network(CNN))["dense0"]
    assert drawn_size.lzma_bytes * 8 >= drawn_size.entropy_bits


def test_values_out_of_range_are_refused() -> None:
    for fields in ({"bits": 6}, {"strength": -1.0}, {"extra": 1.5}, {"images": 0}, {"relevance": "magic"}):
        with pytest.raises(Problem):
            EcqxSpec(**fields)  # type: ignore[arg-type]

"""Trained masks: what they leave out can be cut without a change, a penalty cuts more, and networks grow by them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bnnflow import Problem
from bnnflow.models.data.load import Dataset
from bnnflow.models.networks.network import Network
from bnnflow.models.prune.masks import ChannelMask, MaskSpec, learn_masks, masked_signs, widened
from bnnflow.models.prune.surgery import remove
from bnnflow.models.training.evaluate import digest, predict
from bnnflow.models.training.train import TrainSpec, train
from tests.models.conftest import CNN, MLP, lively

QUICK = TrainSpec(1, 50, 0.01, 1)


@pytest.mark.parametrize(
    "spec",
    [
        CNN,
        MLP,
        replace(CNN, pool_order="after-sign"),
        replace(CNN, hidden=(), channels=(8, 6, 10), kernels=(3, 3, 1), pools=(1, 2, 1), head="map"),
    ],
)
def test_cutting_what_is_masked_changes_nothing(spec: object, digits: Dataset) -> None:
    images = digits.test_images[:40]
    network = lively(spec, images)  # type: ignore[arg-type]
    rng = np.random.default_rng(0)
    masks, keep = {}, {}
    for layer in network.spec.layers()[:-1]:
        logits = torch.from_numpy(rng.normal(size=layer.outputs)).float()
        masks[layer.name] = ChannelMask(logits, noise=True, seed=0)
        keep[layer.name] = np.flatnonzero(logits.numpy() > 0)
    before = digest(network)
    with masked_signs(network, masks):
        network.eval()
        wanted = predict(network, images)
    assert digest(network) == before
    np.testing.assert_allclose(predict(remove(network, keep), images), wanted, atol=1e-4)


def test_new_channels_that_are_off_change_nothing(digits: Dataset) -> None:
    images = digits.test_images[:40]
    for spec in (CNN, MLP):
        network = lively(spec, images)
        wide = widened(network, 1.5, seed=3)
        layers = spec.layers()[:-1]
        assert [layer.outputs for layer in wide.spec.layers()[:-1]] == [round(layer.outputs * 1.5) for layer in layers]
        cut = remove(wide, {layer.name: np.arange(layer.outputs) for layer in layers})
        np.testing.assert_allclose(predict(cut, images), predict(network, images), atol=1e-4)


def test_masks_are_steps_with_the_gradient_of_a_sigmoid() -> None:
    mask = ChannelMask(torch.tensor([2.0, -0.5, 0.1]), noise=False, seed=0)
    made = mask(torch.ones(1, 3, 2, 2))
    assert made[0, :, 0, 0].tolist() == [1.0, 0.0, 1.0]
    made.sum().backward()
    slope = mask.chances().detach() * (1 - mask.chances().detach())
    torch.testing.assert_close(mask.scaled.grad, 4 * slope * 20.0)
    assert ChannelMask(torch.tensor([-2.0, -1.0]), False, 0).keeps().tolist() == [False, True]


def test_noise_switches_channels_as_often_as_the_sigmoid_says() -> None:
    mask = ChannelMask(torch.tensor([1.0, -1.0, 0.0, 4.0]), noise=True, seed=0)
    mask.train()
    drawn = torch.stack([mask(torch.ones(1, 4)).detach()[0].round() for _ in range(2000)]).mean(0)
    torch.testing.assert_close(drawn, mask.chances().detach(), atol=0.04, rtol=0)
    mask.eval()
    assert mask(torch.ones(1, 4)).tolist() == [[1.0, 0.0, 0.0, 1.0]]


@pytest.fixture(scope="module")
def trained(digits: Dataset) -> Network:
    network = Network(CNN, 1)
    train(network, digits.train_images, digits.train_labels, TrainSpec(3, 50, 0.01, 1))
    return network.eval()


@pytest.mark.parametrize("order", ["joint", "layers"])
def test_more_penalty_leaves_fewer_channels(digits: Dataset, trained: Network, order: str) -> None:
    images, labels = digits.train_images[:500], digits.train_labels[:500]
    before = digest(trained)
    left = []
    for strength in (0.0, 1.0, 10.0):
        spec = MaskSpec(strength, order)  # type: ignore[arg-type]
        found = learn_masks(trained, images, labels, (images, labels), spec, QUICK)
        left.append(sum(now for _, now in found.widths.values()))
        assert [layer.outputs for layer in found.network.spec.layers()[:-1]] == [n for _, n in found.widths.values()]
    assert digest(trained) == before
    assert left[0] > left[2]
    assert left == sorted(left, reverse=True)


def test_networks_grow_and_repeat_under_a_seed(digits: Dataset) -> None:
    images, labels = digits.train_images[:700], digits.train_labels[:700]
    start, how = Network(CNN, 1), replace(QUICK, epochs=4)
    spec = MaskSpec(0.0, noise=True, grow=2.0)
    found, again, other = (
        learn_masks(start, images, labels, (images, labels), replace(spec, seed=seed), how) for seed in (0, 0, 1)
    )
    assert digest(found.network) == digest(again.network) != digest(other.network)
    assert found.whole.spec.channels == (16, 12)
    assert sum(now for _, now in found.widths.values()) > sum(was for was, _ in found.widths.values())
    assert found.network.spec.channels == (found.widths["conv0"][1], found.widths["conv1"][1])
    cut = remove(found.whole, found.keep)
    assert cut.spec == found.network.spec


def test_what_cannot_be_learnt_is_refused() -> None:
    for fields in ({"strength": -1.0}, {"order": "random"}, {"grow": 0.5}):
        with pytest.raises(Problem):
            MaskSpec(**fields)  # type: ignore[arg-type]

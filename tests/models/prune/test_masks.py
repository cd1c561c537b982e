"""Trained masks: what they leave out can be cut without a change, a penalty cuts more, and networks grow by them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bnnflow import Problem
from bnnflow.models.data.load import Dataset
from bnnflow.models.networks.network import Network
from bnnflow.models.prune.groups import groups
from bnnflow.models.prune.masks import ChannelMask, InputMasks, MaskSpec, learn_masks, widened
from bnnflow.models.prune.structure import SpecStructure
from bnnflow.models.prune.surgery import remove
from bnnflow.models.training.evaluate import digest, predict
from bnnflow.models.training.train import TrainSpec, train
from tests.models.conftest import CNN, MLP, RESIDUAL, lively

QUICK = TrainSpec(1, 50, 0.01, 1)


SHAPES = {
    "convolutions": CNN,
    "dense": MLP,
    "pools behind signs": replace(CNN, pool_order="after-sign"),
    "head of maps": replace(CNN, hidden=(), channels=(8, 6, 10), kernels=(3, 3, 1), pools=(1, 2, 1), head="map"),
    "joins": replace(RESIDUAL["thresholded-conv"], hidden=(8,), padding=-1, head="dense"),
    **RESIDUAL,
}


@pytest.mark.parametrize("name", SHAPES)
def test_cutting_what_is_masked_changes_nothing(name: str, digits: Dataset) -> None:
    images = digits.test_images[:40]
    network = lively(SHAPES[name], images)
    structure = SpecStructure(network.spec)
    masks, rng = InputMasks(structure.groups, MaskSpec(noise=True)), np.random.default_rng(0)
    with torch.no_grad():
        for mask in masks.by_group().values():
            mask.scaled.copy_(torch.from_numpy(rng.normal(size=len(mask.scaled))))
    keep, before = masks.keep(), digest(network)
    assert any(len(kept) < structure.widths[group] for group, kept in keep.items())
    with masks.within(network, dict(network.weight_layers())):
        network.eval()
        wanted = predict(network, images)
    assert digest(network) == before
    np.testing.assert_allclose(predict(structure.remove(network, keep), images), wanted, atol=1e-4)


def test_layers_that_read_a_channel_see_one_draw(digits: Dataset) -> None:
    network = lively(SHAPES["joins"], digits.test_images[:40])
    structure = SpecStructure(network.spec)
    masks = InputMasks(structure.groups, MaskSpec(noise=True))
    group = max(structure.groups, key=lambda one: len(one.columns))
    layers, seen = dict(network.weight_layers()), dict[str, np.ndarray]()
    assert len(group.columns) > 1
    with masks.within(network, layers):
        network.train()
        for name in group.columns:
            layers[name].register_forward_pre_hook(
                lambda layer, given, name=name: seen.update({name: given[0].detach().abs().amax((0, 2, 3)).numpy()})
            )
        for _ in range(6):
            network(torch.from_numpy(np.array(digits.test_images[:40])).float())
            drawn = [values > 0 for values in seen.values()]
            assert all(np.array_equal(one, drawn[0]) for one in drawn)


def test_every_layer_of_a_group_keeps_a_channel() -> None:
    sides = [np.arange(3), np.arange(3, 6), np.array([5, -1])]
    mask = ChannelMask(torch.tensor([2.0, -1.0, 1.0, -3.0, -2.0, -4.0]), False, 0, sides)
    assert mask.keeps().tolist() == [True, False, True, False, True, True]


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
    made = mask()
    assert made.tolist() == [1.0, 0.0, 1.0]
    (4 * made).sum().backward()
    slope = mask.chances().detach() * (1 - mask.chances().detach())
    torch.testing.assert_close(mask.scaled.grad, 4 * slope * 20.0)
    assert ChannelMask(torch.tensor([-2.0, -1.0]), False, 0).keeps().tolist() == [False, True]


def test_noise_switches_channels_as_often_as_the_sigmoid_says() -> None:
    mask = ChannelMask(torch.tensor([1.0, -1.0, 0.0, 4.0]), noise=True, seed=0)
    mask.train()
    drawn = torch.stack([mask().detach().round() for _ in range(2000)]).mean(0)
    torch.testing.assert_close(drawn, mask.chances().detach(), atol=0.04, rtol=0)
    mask.eval()
    assert mask().tolist() == [1.0, 0.0, 0.0, 1.0]


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


def test_joins_are_learnt_and_do_not_grow(digits: Dataset) -> None:
    images, labels = digits.train_images[:300], digits.train_labels[:300]
    network = lively(SHAPES["joins"], images)
    found = learn_masks(network, images, labels, (images, labels), MaskSpec(30.0), replace(QUICK, epochs=2))
    assert sum(now for _, now in found.widths.values()) < sum(was for was, _ in found.widths.values())
    assert {group.name: group.width for group in groups(found.network.spec)} == {
        name: now for name, (_, now) in found.widths.items()
    }
    with pytest.raises(Problem, match="without residual joins grow"):
        learn_masks(network, images, labels, (images, labels), MaskSpec(grow=2.0), QUICK)


def test_what_cannot_be_learnt_is_refused() -> None:
    for fields in ({"strength": -1.0}, {"order": "random"}, {"grow": 0.5}):
        with pytest.raises(Problem):
            MaskSpec(**fields)  # type: ignore[arg-type]

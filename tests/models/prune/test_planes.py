"""Input planes: each is measured on its own, low ones go, and what is left reads the high bits alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bnnflow import Problem
from bnnflow.models.data.load import Dataset
from bnnflow.models.networks.network import Network
from bnnflow.models.prune.planes import drop_planes, plane_losses, reduce_planes
from bnnflow.models.training.evaluate import accuracy, digest, predict
from bnnflow.models.training.train import TrainSpec, train
from tests.models.conftest import CNN, lively

PLANES = replace(CNN, input="planes")


@pytest.fixture(scope="module")
def trained(digits: Dataset) -> Network:
    network = Network(PLANES, 1)
    train(network, digits.train_images, digits.train_labels, TrainSpec(6, 50, 0.01, 1))
    return network.eval()


def test_dropped_planes_are_inputs_of_weight_zero(digits: Dataset) -> None:
    images = digits.test_images[:50]
    for spec in (
        PLANES,
        replace(PLANES, arch="resnet", channels=(4, 8), depths=(1, 1), kernels=(), pools=(), padding=0),
        replace(PLANES, arch="mlp", channels=(), kernels=(), pools=(), hidden=(16,)),
    ):
        network = lively(spec, images)
        small = drop_planes(network, 3)
        assert small.spec.planes == 5
        assert small.spec.layers()[0].inputs == (5 * images[0].size if spec.arch == "mlp" else 5)
        pixels = torch.from_numpy(images.copy()).float()
        torch.testing.assert_close(small.layers["input"](pixels), network.layers["input"](pixels)[:, :5])
        # A layer whose last three planes are 0 is the small one.
        network.layers["input"].register_forward_hook(lambda _m, _i, bits: torch.cat([bits[:, :5], bits[:, 5:] * 0], 1))
        np.testing.assert_allclose(predict(network, images), predict(small, images), atol=1e-5)


def test_planes_of_colour_images_go_with_all_their_colours() -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 3, 8, 8)).astype(np.uint8)
    network = lively(replace(PLANES, input_shape=(3, 8, 8)), images)
    small = drop_planes(network, 6)
    kept = dict(network.weight_layers())["conv0"].weight[:, :6]
    assert torch.equal(dict(small.weight_layers())["conv0"].weight, kept)
    assert len(plane_losses(network, images, np.zeros(20, np.int64), images, draws=1)[0].ones) == 3


def test_a_plane_that_never_changes_costs_nothing(digits: Dataset, trained: Network) -> None:
    images, labels = digits.test_images[:200] & 0b11110111, digits.test_labels[:200]
    whole = accuracy(trained, images, labels)
    losses = plane_losses(trained, images, labels, digits.train_images[:300])
    assert losses[4].ones == (0.0,)
    assert losses[4].noise == losses[4].constant == whole
    assert losses[4].noise_spread == 0.0
    assert losses[0].dropped is None
    assert [loss.value for loss in losses] == [128, 64, 32, 16, 8, 4, 2, 1]
    assert min(losses[0].noise, losses[1].noise) < whole


def test_three_of_eight_planes_go_at_a_point(digits: Dataset, trained: Network) -> None:
    before = digest(trained)
    test = digits.test_images, digits.test_labels
    small, steps = reduce_planes(
        trained, digits.train_images, digits.train_labels, test, TrainSpec(2, 50, 0.005, 1), count=3
    )
    assert digest(trained) == before
    assert [step.planes for step in steps] == [5]
    assert steps[0].after == accuracy(small, *test) >= accuracy(trained, *test) - 0.01


def test_planes_go_one_by_one_as_long_as_the_loss_is_allowed(digits: Dataset, trained: Network) -> None:
    images, labels = digits.train_images[:100], digits.train_labels[:100]
    none = TrainSpec(0, 50, 0.005, 1)
    for most, left in ((1.0, 1), (-1.0, 8)):
        small, steps = reduce_planes(trained, images, labels, (images, labels), none, most=most)
        assert small.spec.planes == left
        assert [step.planes for step in steps] == (list(range(7, 0, -1)) if most > 0 else [7])
        assert all(step.before == step.after for step in steps)


def test_noise_repeats_under_its_seed(digits: Dataset, trained: Network) -> None:
    images, labels = digits.test_images[:20], digits.test_labels[:20]
    first, again, other = (plane_losses(trained, images, labels, images[:20], 2, seed) for seed in (0, 0, 1))
    assert first == again != other


def test_what_cannot_be_dropped_is_refused() -> None:
    with pytest.raises(Problem, match="not bit planes"):
        drop_planes(Network(CNN), 1)
    for count in (-1, 8):
        with pytest.raises(Problem, match="of 8 planes"):
            drop_planes(Network(PLANES), count)

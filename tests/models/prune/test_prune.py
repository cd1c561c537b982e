"""Removing filters is surgery: the small network is the large one without the removed inputs, and pruning resumes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bnnflow import Problem
from bnnflow.models.data.load import Dataset
from bnnflow.models.networks.network import Network, NetworkSpec
from bnnflow.models.networks.twin import twin
from bnnflow.models.prune.groups import group_scores, groups
from bnnflow.models.prune.schedule import prune
from bnnflow.models.prune.spec import PruneResult, PruneSpec
from bnnflow.models.prune.surgery import remove
from bnnflow.models.training.evaluate import digest, predict
from bnnflow.models.training.train import TrainSpec, train
from tests.models.conftest import CNN, MLP, lively

RECOVERY = TrainSpec(epochs=2, batch=32, learning_rate=0.003, seed=0)
SPEC = PruneSpec(amount=0.5, steps=2, unit=2, images=30, recovery=RECOVERY, seed=4)
NONE = replace(RECOVERY, epochs=0)
ONCE = replace(RECOVERY, epochs=1)
COLOUR = NetworkSpec("cnn", (3, 10, 8), 5, (9, 7), (6, 8), (3, 3), (2, 1))


@pytest.mark.parametrize(
    ("spec", "keep"),
    [
        (CNN, {"conv0": [1, 2, 7], "conv1": [0, 5], "dense0": [3, 4, 5, 11]}),
        (CNN, {"conv1": [4]}),
        (COLOUR, {"conv0": [0, 3, 5], "conv1": [1, 2, 6], "dense0": [8], "dense1": [0, 1, 6]}),
        (replace(CNN, pool_order="after-sign"), {"conv0": [0, 6], "conv1": [1, 2, 3]}),
        (MLP, {"dense0": [0, 15], "dense1": [2, 3, 9]}),
    ],
)
def test_the_small_network_is_the_large_one_without_the_removed_inputs(
    spec: NetworkSpec, keep: dict[str, list[int]]
) -> None:
    images = np.random.default_rng(0).integers(0, 256, (80, *spec.input_shape)).astype(np.uint8)
    network = lively(spec, images)
    before = digest(network)
    small = remove(network, {name: np.array(indices) for name, indices in keep.items()})
    assert digest(network) == before
    masked = twin(network)
    layers = dict(masked.weight_layers())
    following = dict(zip(layers, list(layers.values())[1:], strict=False))
    for name, indices in keep.items():
        gone = [index for index in range(len(layers[name].weight)) if index not in indices]
        weight = following[name].weight
        with torch.no_grad():
            weight.view(len(weight), len(layers[name].weight), -1)[:, gone] = 0.0
    np.testing.assert_allclose(predict(small, images), predict(masked, images), atol=1e-5)
    widths = {layer.name: layer.outputs for layer in small.spec.layers()}
    assert {name: widths[name] for name in keep} == {name: len(indices) for name, indices in keep.items()}


@pytest.mark.parametrize(
    ("keep", "where"),
    [
        ({"dense1": [0]}, "dense1"),
        ({"conv9": [0]}, "conv9"),
        ({"conv0": []}, "conv0"),
        ({"conv0": [2, 1]}, "conv0"),
        ({"conv0": [1, 1]}, "conv0"),
        ({"conv0": [8]}, "conv0"),
        ({"conv0": [-1, 2]}, "conv0"),
    ],
)
def test_impossible_removals_are_refused(keep: dict[str, list[int]], where: str) -> None:
    with pytest.raises(Problem) as caught:
        remove(Network(CNN), {name: np.array(indices, dtype=np.int64) for name, indices in keep.items()})
    assert caught.value.where == where


@pytest.mark.parametrize("criterion", ["deeplift", "random"])
def test_pruning_keeps_whole_units_and_drops_the_lowest_scores(digits: Dataset, criterion: Any) -> None:
    images, labels = digits.train_images[:200], digits.train_labels[:200]
    network = lively(CNN, images)
    before = digest(network)
    result = prune(network, images, labels, replace(SPEC, criterion=criterion, recovery=NONE))
    assert digest(network) == before
    assert [step["kept"] for step in result.steps] == [
        {"conv0": 6, "conv1": 4, "dense0": 10},
        {"conv0": 4, "conv1": 4, "dense0": 6},
    ]
    first = result.steps[0]
    for name, kept in first["filters"].items():
        scores = np.array(first["scores"][name])
        gone = np.setdiff1d(np.arange(len(scores)), kept)
        assert scores[gone].max() <= scores[kept].min()
    assert set(result.steps[1]["filters"]["conv0"]) < set(first["filters"]["conv0"])
    assert result.network.spec.channels == (4, 4)
    assert result.steps[1]["macs"] == result.network.spec.macs() < first["macs"] < CNN.macs()


def test_the_filters_named_in_the_record_are_the_ones_that_are_left(digits: Dataset) -> None:
    images, labels = digits.train_images[:200], digits.train_labels[:200]
    network = lively(CNN, images)
    result = prune(network, images, labels, replace(SPEC, recovery=NONE))
    filters = result.steps[-1]["filters"]["conv0"]
    assert torch.equal(result.network.layers["conv0"].weight, network.layers["conv0"].weight[filters])


@pytest.mark.parametrize("join", ["integer", "thresholded"])
def test_layers_that_joins_add_lose_the_same_channels(join: Any, digits: Dataset) -> None:
    """A residual network is pruned by groups; the record names what is left of each."""
    images, labels = digits.train_images[:100], digits.train_labels[:100]
    spec = NetworkSpec("resnet", (1, 8, 8), 10, (6,), (4, 8), padding=-1, depths=(1, 1), join=join)
    network = lively(spec, images)
    result = prune(network, images, labels, replace(SPEC, criterion="random", recovery=ONCE))
    assert [step["kept"] for step in result.steps] == [
        {group.name: wanted for group in groups(spec) for wanted in [_left(group.width, share)]}
        for share in (0.75, 0.5)
    ]
    small = result.network.spec
    assert small.channels == (2, 4)
    for layer in (layer for layer in small.layers() if layer.stage >= 0):
        assert layer.outputs == small.channels[layer.stage]
    first = result.steps[0]
    scores = group_scores(spec, {name: np.array(values) for name, values in first["scores"].items()})
    for name, kept in first["filters"].items():
        gone = np.setdiff1d(np.arange(len(scores[name])), kept)
        assert not len(gone) or scores[name][gone].max() <= scores[name][kept].min()
    assert result.steps[1]["macs"] == small.macs() < first["macs"]


def _left(width: int, share: float) -> int:
    return min(width, max(SPEC.unit, int(width * share / SPEC.unit + 0.5) * SPEC.unit))


def test_a_smaller_network_trains_on_with_bop(digits: Dataset) -> None:
    """Binary weights stay binary, and the optimizer finds a state for every weight that is left."""
    images, labels = digits.train_images[:64], digits.train_labels[:64]
    spec = NetworkSpec("resnet", (1, 8, 8), 10, (), (4, 8), padding=-1, depths=(1, 1))
    bop = TrainSpec(1, 32, 0.001, 0, optimizer="bop")
    network = Network(spec)
    train(network, images, labels, bop)
    small = remove(network, {"conv0": np.array([0, 2]), "conv1": np.array([1, 3])})
    train(small, images, labels, bop)
    for name, module in small.weight_layers():
        assert set(module.weight.detach().unique().tolist()) <= {-1.0, 1.0}, name


@pytest.fixture(scope="module")
def uninterrupted(digits: Dataset) -> PruneResult:
    images, labels = digits.train_images[:200], digits.train_labels[:200]
    return prune(lively(CNN, images), images, labels, SPEC)


@pytest.mark.parametrize("stop", [(1, 2), (2, 1), (2, 2)])
def test_a_resumed_pruning_has_the_same_bits(
    digits: Dataset, tmp_path: Path, stop: tuple[int, int], uninterrupted: PruneResult
) -> None:
    images, labels = digits.train_images[:200], digits.train_labels[:200]
    network = lively(CNN, images)
    checkpoint = tmp_path / "prune.pt"

    class Stop(Exception):
        pass

    def interrupt(_step: int, _total: int, metrics: dict[str, float]) -> None:
        if (metrics["prune_step"], metrics["epoch"]) == stop:
            raise Stop

    with pytest.raises(Stop):
        prune(network, images, labels, SPEC, checkpoint, interrupt)
    steps: list[int] = []
    resumed = prune(network, images, labels, SPEC, checkpoint, lambda step, _total, _m: steps.append(step))
    assert digest(resumed.network) == digest(uninterrupted.network)
    assert resumed.steps == uninterrupted.steps
    batches = 6
    assert steps[0] == 1 + batches * ((stop[0] - 1) * RECOVERY.epochs + stop[1] - 1)
    assert steps[-1] == batches * SPEC.steps * RECOVERY.epochs


def test_a_checkpoint_of_other_images_held_out_is_not_taken(digits: Dataset, tmp_path: Path) -> None:
    images, labels = digits.train_images[:200], digits.train_labels[:200]
    network, once = lively(CNN, images), replace(SPEC, steps=1, recovery=ONCE)
    found = []
    for first in (0, 20):
        out = np.arange(first, first + 20)
        made = prune(network, images, labels, once, tmp_path / "prune.pt", held_out=out)
        assert digest(made.network) == digest(prune(network, images, labels, once, held_out=out).network)
        found.append(digest(made.network))
    assert found[0] != found[1]


def test_impossible_amounts_are_refused() -> None:
    for change, where in (
        ({"amount": 0.95}, "amount"),
        ({"unit": 0}, "unit"),
        ({"max_loss": 1.5}, "max_loss"),
    ):
        with pytest.raises(Problem) as caught:
            replace(SPEC, **change)
        assert caught.value.where == where


def test_the_unpruned_network_teaches_when_asked(digits: Dataset, tmp_path: Path) -> None:
    """With labels that say nothing, a network that the unpruned one teaches still learns what that one answers."""
    images = digits.train_images[:300]
    network = Network(MLP.__class__.from_dict({**MLP.to_dict(), "hidden": [32, 32]}), 0)
    train(network, images, digits.train_labels[:300], replace(RECOVERY, epochs=8))
    network.eval()
    before, answers = digest(network), predict(network, images).argmax(1)
    noise = np.random.default_rng(0).permutation(digits.train_labels[:300])
    agree = {}
    for weight in (0.0, 1.0):
        spec = replace(SPEC, steps=1, recovery=replace(RECOVERY, epochs=8, distill=weight))
        checkpoint = tmp_path / f"{weight}.pt"
        made = prune(network, images, noise, spec, checkpoint).network
        agree[weight] = float((predict(made, images).argmax(1) == answers).mean())
        assert digest(prune(network, images, noise, spec, checkpoint).network) == digest(made)
    assert digest(network) == before
    assert agree[1.0] > agree[0.0] + 0.2

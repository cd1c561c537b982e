"""Training clips, resumes to the same bits, trusts no damaged or foreign file; norms are measured as documented."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bnnflow import Problem
from bnnflow.models import store
from bnnflow.models.data.load import Dataset
from bnnflow.models.files.saved import load_network, save_network
from bnnflow.models.networks.network import Network
from bnnflow.models.training.batchnorm import reestimate
from bnnflow.models.training.evaluate import accuracy, digest, predict
from bnnflow.models.training.train import TrainSpec, held_out, train
from tests.models.conftest import CNN, MLP, lively

SPEC = TrainSpec(epochs=3, batch=32, learning_rate=0.01, seed=5)


class Stop(Exception):
    pass


def trained(
    digits: Dataset,
    checkpoint: Path | None = None,
    stop_in_epoch: int = 0,
    count: int = 300,
    seed: int = 1,
    rate: float = SPEC.learning_rate,
) -> Network:
    network = Network(CNN, seed)
    spec = replace(SPEC, learning_rate=rate)

    def progress(_step: int, _total: int, metrics: dict[str, float]) -> None:
        if metrics["epoch"] == stop_in_epoch:
            raise Stop

    try:
        train(network, digits.train_images[:count], digits.train_labels[:count], spec, checkpoint, progress)
    except Stop:
        assert stop_in_epoch
    return network


def test_training_learns_digits(digits: Dataset) -> None:
    network = Network(MLP)
    history = train(network, digits.train_images, digits.train_labels, TrainSpec(8, 32, 0.01, 0))
    reestimate(network, digits.train_images)
    assert history[-1]["loss"] < 0.6 * history[0]["loss"]
    assert accuracy(network, digits.test_images, digits.test_labels) > 0.75


def test_latent_weights_stay_clipped(digits: Dataset) -> None:
    network = Network(CNN)
    spec = TrainSpec(1, 32, 2.0, 0)
    train(network, digits.train_images[:64], digits.train_labels[:64], spec)
    for _, module in network.weight_layers():
        assert module.weight.abs().max() == 1.0


def test_progress_counts_every_batch(digits: Dataset) -> None:
    calls: list[tuple[int, int]] = []
    images, labels = digits.train_images[:70], digits.train_labels[:70]
    train(Network(MLP), images, labels, SPEC, progress=lambda step, total, _metrics: calls.append((step, total)))
    assert calls == [(step, 9) for step in range(1, 10)]


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(digits: Dataset, tmp_path: Path, stop: int) -> None:
    checkpoint = tmp_path / "train.pt"
    whole = trained(digits)
    trained(digits, checkpoint, stop_in_epoch=stop)
    assert checkpoint.exists() == (stop > 1)
    assert digest(trained(digits, checkpoint)) == digest(whole)
    state = store.load_stored(checkpoint)
    assert state is not None and len(state["history"]) == 3


def test_a_finished_run_is_not_trained_again(digits: Dataset, tmp_path: Path) -> None:
    checkpoint = tmp_path / "train.pt"
    whole = trained(digits, checkpoint)
    assert digest(trained(digits, checkpoint, stop_in_epoch=1)) == digest(whole)


def test_damaged_and_foreign_checkpoints_are_ignored(digits: Dataset, tmp_path: Path) -> None:
    checkpoint = tmp_path / "train.pt"
    whole = trained(digits, checkpoint)
    good = checkpoint.read_bytes()
    for damaged in (b"", good[:1000], good[:2000] + bytes([good[2000] ^ 1]) + good[2001:], b"x" * 5000):
        checkpoint.write_bytes(damaged)
        assert digest(trained(digits, checkpoint)) == digest(whole)
    others: list[dict[str, Any]] = [{"count": 200}, {"seed": 2}, {"rate": 0.02}]
    for other in others:
        checkpoint.write_bytes(good)
        assert digest(trained(digits, checkpoint, **other)) == digest(trained(digits, **other)) != digest(whole)
    assert [path.name for path in tmp_path.iterdir()] == ["train.pt"]


def test_data_that_do_not_fit_are_refused(digits: Dataset) -> None:
    images, labels = digits.train_images[:10], digits.train_labels[:10]
    with pytest.raises(Problem, match=r"images of \(1, 4, 8\)"):
        train(Network(MLP), images[:, :, ::2], labels, SPEC)
    with pytest.raises(Problem, match="10 images and 9 labels"):
        train(Network(MLP), images, labels[1:], SPEC)
    with pytest.raises(Problem, match="labels 10 to 19"):
        train(Network(MLP), images, labels * 0 + np.arange(10, 20), SPEC)
    with pytest.raises(Problem, match="a batch of 1"):
        TrainSpec(1, 1, 0.1, 0)


def test_a_saved_network_comes_back_whole(digits: Dataset, tmp_path: Path) -> None:
    network = lively(CNN, digits.train_images[:100])
    save_network(network, tmp_path / "a" / "network.pt")
    again = load_network(tmp_path / "a" / "network.pt")
    assert digest(again) == digest(network)
    np.testing.assert_array_equal(predict(again, digits.test_images), predict(network, digits.test_images))


def test_a_damaged_network_is_refused(digits: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "network.pt"
    with pytest.raises(Problem, match="no such file"):
        load_network(path)
    save_network(Network(MLP), path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Problem, match="damaged"):
        load_network(path)
    store.save({"spec": CNN.to_dict(), "network": Network(MLP).state_dict()}, path)
    with pytest.raises(Problem, match="do not fit"):
        load_network(path)


def test_predicting_keeps_the_mode_and_ignores_the_batch(digits: Dataset) -> None:
    network = lively(CNN, digits.train_images[:100]).train()
    scores = predict(network, digits.test_images[:50], batch=50)
    np.testing.assert_array_equal(scores, predict(network, digits.test_images[:50], batch=7))
    assert network.training and scores.dtype == np.float32


@pytest.mark.parametrize("batch", [500, 37])
def test_reestimated_norms_make_their_outputs_zero_mean_and_unit_variance(digits: Dataset, batch: int) -> None:
    network = Network(CNN)
    images = digits.train_images[:200]
    reestimate(network, images, batch=batch)
    assert not network.training
    x = torch.tensor(images, dtype=torch.float32)
    norms = 0
    for name, module in network.layers.items():
        x = module(x)
        if name.startswith("norm") or name == "score":
            norms += 1
            y = x.detach().transpose(0, 1).flatten(1) if name != "score" else x.detach().reshape(1, -1)
            live = module.running_var.reshape(-1) > 0.01
            assert live.any()
            torch.testing.assert_close(y.mean(1), torch.zeros(len(y)), atol=1e-3, rtol=0)
            torch.testing.assert_close(y[live].var(1, correction=0), torch.ones(int(live.sum())), atol=5e-3, rtol=0)
    assert norms == 4


def test_norms_are_measured_on_images_moved_as_in_training(digits: Dataset) -> None:
    def mean(*how: str | int) -> torch.Tensor:
        network = Network(CNN)
        reestimate(network, digits.train_images[:200], *how)
        return network.layers["norm0"].running_mean.clone()

    moved = mean("crop", 1)
    assert torch.equal(moved, mean("crop", 1))
    assert not torch.equal(moved, mean("crop", 2)) and not torch.equal(moved, mean())


def test_of_every_class_the_same_share_is_held_out() -> None:
    labels = np.repeat(np.arange(4), [100, 50, 30, 20])
    out = held_out(labels, replace(SPEC, validation=0.1))
    assert np.bincount(labels[out]).tolist() == [10, 5, 3, 2]
    assert (np.diff(out) > 0).all()
    assert len(held_out(labels, replace(SPEC, validation=0.123))) == round(200 * 0.123)
    assert not np.array_equal(out, held_out(labels, replace(SPEC, validation=0.1, seed=6)))

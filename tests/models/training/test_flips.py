"""Flips that training counts are those of a replay, also when it was interrupted."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bnnflow import Problem
from bnnflow.models.data.load import Dataset
from bnnflow.models.networks.network import Network
from bnnflow.models.relevance.sample import Sample
from bnnflow.models.relevance.scores import score
from bnnflow.models.training.flips import FlipCounts
from bnnflow.models.training.train import TrainSpec, train
from tests.models.conftest import MLP

SPEC = TrainSpec(5, 50, 0.05, 3)
BATCHES = 4


def counted(digits: Dataset, spec: TrainSpec = SPEC, window: int = 2, **options: Any) -> tuple[FlipCounts, Network]:
    network, flips = Network(MLP), FlipCounts(window)
    train(network, digits.train_images[:200], digits.train_labels[:200], spec, flips=flips, **options)
    return flips, network


def signs(network: Network) -> dict[str, np.ndarray]:
    return {name: module.weight.detach().numpy() >= 0 for name, module in network.weight_layers()}


@pytest.mark.parametrize("optimizer", ["adam", "bop"])
def test_counts_equal_a_replay(optimizer: Any, digits: Dataset) -> None:
    spec = replace(SPEC, optimizer=optimizer, bop_rate=0.01)
    flips, _ = counted(digits, spec)
    network = Network(MLP)
    seen: list[dict[str, np.ndarray]] = [signs(network)]
    # progress comes after each update
    report = lambda *_: seen.append(signs(network))  # noqa: E731
    train(network, digits.train_images[:200], digits.train_labels[:200], spec, progress=report)
    assert len(seen) == 1 + BATCHES * spec.epochs
    for name, counts in flips.last["step"].items():
        steps = np.array([a[name] != b[name] for a, b in itertools.pairwise(seen)])
        ends = [each[name] for each in seen[::BATCHES]]
        epochs = np.array([a != b for a, b in itertools.pairwise(ends)])
        # windows of 2 that end with epoch 5: 1, 2-3, 4-5
        np.testing.assert_array_equal(counts, steps[3 * BATCHES :].sum(0))
        np.testing.assert_array_equal(flips.last["epoch"][name], epochs[3:].sum(0))
        windows = [steps[:BATCHES], steps[BATCHES : 3 * BATCHES]]
        np.testing.assert_array_equal(flips.earlier["step"][name], [part.sum((0, 2)) for part in windows])
        np.testing.assert_array_equal(flips.earlier["epoch"][name], [epochs[:1].sum((0, 2)), epochs[1:3].sum((0, 2))])
    assert sum(int(counts.sum()) for counts in flips.last["epoch"].values()) > 0


@pytest.mark.parametrize("after", [2, 4])
def test_an_interrupted_training_counts_the_same(after: int, digits: Dataset, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def interrupt(done: int, *_: Any) -> None:
        if done == after * BATCHES + 2:
            raise Stop

    checkpoint = tmp_path / "train.pt"
    with pytest.raises(Stop):
        counted(digits, checkpoint=checkpoint, progress=interrupt)
    steps: list[int] = []
    resumed, _ = counted(digits, checkpoint=checkpoint, progress=lambda done, *_: steps.append(done))
    assert steps[0] == after * BATCHES + 1
    whole, _ = counted(digits)
    for kind in ("epoch", "step"):
        for name in whole.last[kind]:
            assert torch.equal(resumed.last[kind][name], whole.last[kind][name])
            assert torch.equal(resumed.earlier[kind][name], whole.earlier[kind][name])


def test_a_checkpoint_of_another_window_is_not_gone_on_from(digits: Dataset, tmp_path: Path) -> None:
    checkpoint = tmp_path / "train.pt"
    train(Network(MLP), digits.train_images[:200], digits.train_labels[:200], SPEC, checkpoint)
    for window in (2, 3):
        steps: list[int] = []
        counted(digits, window=window, checkpoint=checkpoint, progress=lambda done, *_, steps=steps: steps.append(done))
        assert len(steps) == SPEC.epochs * BATCHES


def test_counting_changes_no_bit(digits: Dataset) -> None:
    _, network = counted(digits)
    plain = Network(MLP)
    train(plain, digits.train_images[:200], digits.train_labels[:200], SPEC)
    for one, other in zip(network.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, other)


def test_files_scores_and_cuts(digits: Dataset, tmp_path: Path) -> None:
    flips, network = counted(digits)
    flips.save(tmp_path / "flips.npz")
    again = FlipCounts.load(tmp_path / "flips.npz")
    some = Sample(digits.test_images[:3], digits.test_labels[:3], digits.test_images[3:6])
    for kind, method in (("epoch", "flips"), ("step", "flips-step")):
        for name in flips.last[kind]:
            assert torch.equal(flips.last[kind][name], again.last[kind][name])
            assert torch.equal(flips.earlier[kind][name], again.earlier[kind][name])
        scores = score(network, method, some, flips=again).scores
        mean = flips.last[kind]["dense0"].double().mean(1).numpy()
        np.testing.assert_allclose(scores["dense0"], 1 / (1 + mean))
    cut = flips.cut({"dense0": np.array([1, 4])})
    np.testing.assert_array_equal(cut.rates("step")["dense0"], flips.rates("step")["dense0"][[1, 4]])
    assert cut.earlier["step"]["dense0"].shape == (2, 2)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(Problem, match="not counted"):
        FlipCounts.load(tmp_path / "flips.npz")
    (tmp_path / "flips.npz").write_bytes(b"PK nothing")
    with pytest.raises(Problem, match="not a file of counted flips"):
        FlipCounts.load(tmp_path / "flips.npz")
    with pytest.raises(Problem, match="window of 0"):
        FlipCounts(0)

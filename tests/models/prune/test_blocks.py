"""Residual units: each is measured by dropping it, the least important go first, and names are those of the start."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from bnnflow import Problem
from bnnflow.models.data.load import Dataset
from bnnflow.models.networks.network import Network, NetworkSpec
from bnnflow.models.prune.blocks import block_losses, reduce_blocks
from bnnflow.models.prune.surgery import drop_blocks, most_removable, removable, stages_of_blocks
from bnnflow.models.training.batchnorm import reestimate
from bnnflow.models.training.evaluate import accuracy, digest
from bnnflow.models.training.train import TrainSpec, train
from tests.models.conftest import CNN

INTEGER = NetworkSpec("resnet", (1, 8, 8), 10, (), (4, 8), depths=(2, 1), padding=0)
THRESHOLDED = replace(INTEGER, depths=(3, 2), join="thresholded")


@pytest.fixture(scope="module")
def trained(digits: Dataset) -> Network:
    network = Network(INTEGER, 1)
    train(network, digits.train_images, digits.train_labels, TrainSpec(4, 50, 0.01, 1))
    reestimate(network, digits.train_images)
    return network


@pytest.mark.parametrize(
    "spec", [INTEGER, THRESHOLDED, replace(INTEGER, units=(0, 3)), replace(THRESHOLDED, depths=(1, 2))]
)
def test_what_can_go_is_what_drop_blocks_takes(spec: NetworkSpec) -> None:
    network, taken = Network(spec), []
    for name in stages_of_blocks(spec):
        try:
            drop_blocks(network, [name])
        except Problem:
            continue
        taken.append(name)
    assert removable(spec) == tuple(taken)
    left, count = network, 0
    while removable(left.spec):
        left, count = drop_blocks(left, removable(left.spec)[:1]), count + 1
    assert count == most_removable(spec)


def test_a_units_worth_is_accuracy_without_it(digits: Dataset, trained: Network) -> None:
    held, norm_images = (digits.test_images[:120], digits.test_labels[:120]), digits.train_images[:100]
    before = digest(trained)
    losses = block_losses(trained, *held, norm_images)
    assert [loss.name for loss in losses] == ["block0", "block1", "block2", "block4"]
    small = drop_blocks(trained, ["block2"])
    reestimate(small, norm_images)
    assert losses[2].without == accuracy(small, *held)
    assert losses[2].macs == trained.spec.macs() - small.spec.macs() == 8 * 8 * 4 * 4 * 9
    assert losses[2].weights == 4 * 4 * 9
    assert digest(trained) == before


def test_units_go_by_their_first_names(digits: Dataset, trained: Network) -> None:
    """Each step drops the unit that was measured as least important in the network as it is then."""
    held, images = (digits.test_images[:120], digits.test_labels[:120]), digits.train_images[:100]
    labels = digits.train_labels[:100]
    made, steps = reduce_blocks(trained, images, labels, held, TrainSpec(0, 50, 0.01, 0), 4)
    assert sorted(step.dropped for step in steps) == ["block0", "block1", "block2", "block4"]
    assert made.spec.units == (0, 1)
    left = trained
    names = list(stages_of_blocks(trained.spec))
    for step in steps:
        worth = {loss.name: loss.without for loss in block_losses(left, *held, images)}
        here = f"block{names.index(step.dropped)}"
        assert worth[here] == max(worth.values()) == step.before == step.after
        left = drop_blocks(left, [here])
        names.remove(step.dropped)
        assert (step.left, step.macs) == (len(names), left.spec.macs())
    with pytest.raises(Problem, match="5 residual units, of which 4 can go"):
        reduce_blocks(trained, images, labels, held, TrainSpec(0, 50, 0.01, 0), 5)
    with pytest.raises(Problem, match="no units to drop"):
        block_losses(Network(CNN), *held, images)


def test_a_step_that_loses_too_much_is_undone(digits: Dataset, trained: Network, tmp_path: Path) -> None:
    held, images = (digits.test_images, digits.test_labels), digits.train_images[:400]
    labels = digits.train_labels[:400]
    recovery = TrainSpec(1, 50, 0.003, 0)
    most = 0.02
    made, steps = reduce_blocks(trained, images, labels, held, recovery, most=most, checkpoint=tmp_path / "b.pt")
    floor = accuracy(trained, *held) - most
    assert steps[-1].undone and len(steps) < 4
    assert all(step.after >= floor for step in steps if not step.undone)
    assert all(step.after < floor for step in steps if step.undone)
    assert len(stages_of_blocks(made.spec)) == 5 - sum(not step.undone for step in steps)
    assert accuracy(made, *held) >= floor
    assert [step.undone for step in steps[:-1]] == [False] * (len(steps) - 1)
    allowed, all_steps = reduce_blocks(trained, images[:50], labels[:50], held, TrainSpec(0, 50, 0.003, 0), most=1.0)
    assert len(all_steps) == most_removable(INTEGER) and allowed.spec.units == (0, 1)

"""Method balanced: N of every M synapses of every neuron, in one file; in a build it is exact and costs less."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bnnflow.flow.cli import app as cli
from bnnflow.flow.recipe.methods.balanced import highest
from bnnflow.models.files.saved import load_network
from bnnflow.models.networks.network import Network

RECIPE = """\
data: {name: digits, train_images: 400, test_images: 60}
model: {arch: cnn, channels: [8, 8], pools: [1, 2], hidden: [18]}
train: {epochs: 2, learning_rate: 0.01, batch: 50, threads: 1}
prune: {method: balanced, epochs: 1, batch: 50, balanced: {keep: 1, of: 4, steps: 2, criterion: random}}
target: {fps: 20000}
verify: {images: 6}
"""


@settings(max_examples=50)
@given(st.data(), st.integers(1, 7))
def test_the_highest_of_every_group_stay(data: st.DataObject, keep: int) -> None:
    of = data.draw(st.integers(keep, 8))
    shape = data.draw(st.sampled_from([(3, 17), (2, 8), (2, 5, 3, 3)]))
    scores = data.draw(arrays.arrays(np.float64, shape, elements=st.floats(-4, 4)))
    stays = highest(scores, keep, of)
    rows, marks = (np.moveaxis(one, 1, -1).reshape(len(scores), -1) for one in (scores, stays))
    for row, mark in zip(rows, marks, strict=True):
        for start in range(0, len(row), of):
            values, kept = row[start : start + of], mark[start : start + of]
            assert kept.sum() == -(-keep * len(values) // of)
            assert values[kept].min() >= values[~kept].max(initial=-np.inf)


def test_a_build_is_exact_and_every_neuron_is_as_large(tmp_path: Path) -> None:
    (tmp_path / "net.yaml").write_text(RECIPE)
    run = tmp_path / "run"
    assert cli.run(["build", str(tmp_path / "net.yaml"), "--run", str(run), "--to", "cost"]) == 0
    found = {name: one["facts"] for name, one in json.loads((run / "manifest.json").read_text())["stages"].items()}
    assert all(row["differences"] == 0 for row in found["verify"]["pruned"]["stages"])
    # Three quarters of the synapses are gone, not of the thresholds and FIFOs.
    assert found["cost"]["pruned"]["unrolled_lut"] < 0.7 * found["cost"]["base"]["unrolled_lut"]
    assert found["prune"]["unit"] == "synapses" and len(found["prune"]["steps"]) == 2
    network = load_network(run / "pruned" / "weights.pt")
    assert isinstance(network, Network)
    for name, module in network.weight_layers():
        left = (module.weight != 0).flatten(1).sum(1)
        assert len(set(left.tolist())) == 1
        assert int(left.sum()) == found["prune"]["kept"][name]
        assert int(left[0]) == -(-module.weight[0].numel() // 4)


def test_keeping_all_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], golden: Callable[[str, str], None]
) -> None:
    (tmp_path / "net.yaml").write_text(RECIPE)
    assert cli.run(["check", str(tmp_path / "net.yaml"), "-s", "prune.balanced.keep=4"]) == 2
    golden("problems/method_balanced_all", capsys.readouterr().err)

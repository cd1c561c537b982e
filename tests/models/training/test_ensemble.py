"""Ensembles vote as their integers say, resume, and come back from a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bnnflow import Problem
from bnnflow.flow.cli import app as cli
from bnnflow.models.data.load import Dataset
from bnnflow.models.files.pack import pack_network, unpack_network
from bnnflow.models.files.packed_file import Provenance
from bnnflow.models.files.saved import load_network, save_network
from bnnflow.models.networks.network import Network
from bnnflow.models.training import ensemble
from bnnflow.models.training.batchnorm import reestimate
from bnnflow.models.training.ensemble import EnsembleNetwork, EnsembleSpec, train_ensemble, whole_votes
from bnnflow.models.training.evaluate import accuracy, predict
from bnnflow.models.training.train import TrainSpec, held_out, train
from tests.models.conftest import MLP

SPEC = TrainSpec(epochs=3, batch=32, learning_rate=0.01, seed=5)


def sums(network: Network, images: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        x = torch.tensor(images, dtype=torch.float32)
        for name, module in network.eval().layers.items():
            x = x if name == "score" else module(x)
    return x.numpy()


def test_boosting_beats_its_members_and_votes_in_integers(digits: Dataset, tmp_path: Path) -> None:
    images, labels = digits.train_images[:600], digits.train_labels[:600]
    made, history = train_ensemble(MLP, 3, "boosting", images, labels, SPEC, tmp_path / "train.pt")
    assert [row["member"] for row in history] == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert max(made.spec.votes) == 15 and min(made.spec.votes) >= 1
    reestimate(made, images)
    total = sum(
        vote * sums(member, digits.test_images) for vote, member in zip(made.spec.votes, made.members, strict=True)
    )
    assert (total == np.round(total)).all()
    np.testing.assert_array_equal(predict(made, digits.test_images).argmax(1), total.argmax(1))
    alone = [accuracy(member, digits.test_images, digits.test_labels) for member in made.members]
    assert accuracy(made, digits.test_images, digits.test_labels) > np.mean(alone)
    again, _ = train_ensemble(MLP, 3, "boosting", images, labels, SPEC, tmp_path / "train.pt")
    reestimate(again, images)
    np.testing.assert_array_equal(predict(again, images), predict(made, images))
    save_network(made, tmp_path / "whole.pt")
    loaded = load_network(tmp_path / "whole.pt")
    np.testing.assert_array_equal(predict(loaded, images), predict(made, images))


def test_votes_are_whole_numbers_in_proportion() -> None:
    assert whole_votes([1.0, 1.0]) == (1, 1)
    assert whole_votes([3.0, 1.0, 0.0]) == (15, 5, 1)
    assert whole_votes([0.0]) == (1,)
    with pytest.raises(Problem, match="votes of"):
        EnsembleSpec(MLP, ())
    with pytest.raises(Problem, match="no scale"):
        EnsembleNetwork(EnsembleSpec(replace(MLP, weight_scale="tensor"), (1,)))


RECIPE = """\
data: {name: digits, train_images: 200, test_images: 40}
model: {arch: mlp, hidden: [16], input: binary%s}
ensemble: {members: 3, method: %s}
train: {epochs: 2, batch: 50, threads: 1, device: cpu}
prune: {enabled: %s}
verify: {images: 4}
"""


@pytest.mark.parametrize("method", ["bagging", "boosting"])
def test_an_ensemble_builds_to_one_graph(method: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "net.yaml").write_text(RECIPE % ("", method, "false"))
    arguments = ["build", str(tmp_path / "net.yaml"), "--run", str(tmp_path / "run"), "--to", "verify", "--json"]
    assert cli.run(arguments) == 0
    found = json.loads(capsys.readouterr().out)
    assert all(row["differences"] == 0 for row in found["base"]["stages"])
    text = (tmp_path / "run/base/intermediate_models/3_dataflow.txt").read_text()
    assert text.count("AddStreams(") == 2


def test_the_file_of_an_ensemble_is_ranked_pruned_and_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each member's hidden layer is a group of its own, votes included; what is left is an ensemble still."""
    (tmp_path / "net.yaml").write_text(RECIPE % ("", "boosting", "false"))
    run, smaller = tmp_path / "run", tmp_path / "smaller.onnx"
    assert cli.run(["build", str(tmp_path / "net.yaml"), "--run", str(run), "--to", "verify", "--json"]) == 0
    capsys.readouterr()
    words = [str(run / "base/network.onnx"), "--data", "digits", "--images", "40", "--seed", "1", "--json"]
    assert cli.run(["rank", *words, "--criterion", "deeplift", "--criterion", "taylor-weight"]) == 0
    scored, weighed = json.loads(capsys.readouterr().out)["criteria"]
    assert [len(one) for one in scored["scores"].values()] == [16, 16, 16] and scored["check"] <= 1e-9
    assert scored["captum"]["completeness"] <= 1e-9 and list(weighed["scores"]) == list(scored["scores"])
    how = [
        "--criterion",
        "deeplift",
        "--amount",
        "0.5",
        "--unit",
        "2",
        "--epochs",
        "2",
        "--learning-rate",
        "0.01",
        "-o",
        str(smaller),
    ]
    assert cli.run(["prune", *words, *how]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["criterion"] == "deeplift:absmean" and list(found["kept"]) == list(scored["scores"])
    assert list(found["widths"].values()) == [16, 16, 16] and list(found["kept"].values()) == [8, 8, 8]
    assert found["different"] == 0 < found["compared"] and found["tuning"]["compared"] > 0
    assert cli.run(["compile", str(smaller), "-o", str(tmp_path / "compiled"), "--check"]) == 0
    assert (tmp_path / "compiled/3_dataflow.txt").read_text().count("AddStreams(") == 2


def test_an_ensemble_is_pruned_in_its_run_and_its_file_comes_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, run, out = tmp_path / "net.yaml", str(tmp_path / "run"), str(tmp_path / "o")
    recipe.write_text(RECIPE % ("", "boosting", "true, amount: 0.5, unit: 2, epochs: 1, criterion: deeplift"))
    assert cli.run(["build", str(recipe), "--run", run, "--to", "prune", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["kept"].values()) == [8, 8, 8]
    assert cli.run(["build", str(recipe), "--run", run, "--to", "verify", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert all(row["differences"] == 0 for row in found["pruned"]["stages"])
    assert (tmp_path / "run/pruned/intermediate_models/3_dataflow.txt").read_text().count("AddStreams(") == 2
    assert cli.run(["rank", run, "--criterion", "latent", "--images", "20", "--json"]) == 0
    names = [f"members.{index}.layers.dense0" for index in range(3)]
    assert set(json.loads(capsys.readouterr().out)["criteria"][0]["scores"]) >= set(names)
    # What was removed is gone: a share is one of what is left.
    again = ["prune", run, "--network", "pruned", "--amount", "0.5", "--epochs", "0", "--steps", "1", "-o", out]
    assert cli.run([*again, "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["kept"].values()) == [4, 4, 4]
    network = load_network(tmp_path / "o/weights.pt")
    packed = pack_network(network, Provenance("", "digits", 0, 1, 0.0, "", 0.0, 1))
    digits = np.random.default_rng(0).integers(0, 256, (50, 1, 8, 8)).astype(np.uint8)
    np.testing.assert_array_equal(predict(unpack_network(packed), digits), predict(network, digits))


def test_no_member_sees_what_is_held_out(digits: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels, spec = digits.train_images[:400], digits.train_labels[:400], replace(SPEC, validation=0.25)
    seen: list[np.ndarray] = []

    def watched(network: Network, given: np.ndarray, *rest: Any, **more: Any) -> list[dict[str, float]]:
        seen.append(given)
        return train(network, given, *rest, **more)

    monkeypatch.setattr(ensemble, "train", watched)
    made, history = train_ensemble(MLP, 2, "bagging", images, labels, spec)
    out = held_out(labels, spec)
    kept = {image.tobytes() for image in images[out]} - {image.tobytes() for image in np.delete(images, out, 0)}
    assert len(kept) > 90 and not any(image.tobytes() in kept for given in seen for image in given)
    assert len(history) == 6 and all(0 < row["validation"] < 1 for row in history)
    last = history[-1]["validation"]
    assert accuracy(made.members[1], images[out], labels[out]) == last


@pytest.mark.parametrize(
    ("option", "prune", "name"),
    [("", "true, method: ecqx", "method"), (", scores: class", "false", "scale")],
)
def test_ensembles_that_do_not_fit_are_refused(
    option: str,
    prune: str,
    name: str,
    tmp_path: Path,
    golden: Callable[[str, str], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "net.yaml").write_text(RECIPE % (option, "bagging", prune))
    assert cli.run(["check", str(tmp_path / "net.yaml")]) == 2
    golden(f"problems/ensemble_{name}", capsys.readouterr().err)

"""`approximation` of a recipe: a run states the accuracy that `flow approximate` finds; what cannot be is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import bnnflow as bf
from bnnflow import Problem

RECIPE = """
data: {name: digits, train_images: 300, test_images: 200}
model: {arch: mlp, hidden: [32, 24]}
train: {epochs: 2}
prune: {enabled: false}
faults: {enabled: false}
speed: {enabled: false}
"""


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("model.yaml").write_text(RECIPE)
    return tmp_path


@pytest.mark.usefixtures("recipe")
@pytest.mark.parametrize(
    ("changes", "asked"),
    [
        (["approximation.lta=8", "approximation.balanced=true"], {"lta": [8], "balanced": True}),
        (["approximation.capmin=3", "approximation.array=8"], {"levels": (3, 5), "array": 8}),
    ],
)
def test_a_run_is_trained_with_it(changes: list[str], asked: dict[str, object]) -> None:
    """The accuracy that training states is that of the simulated network with approximate sums."""
    bf.build("model.yaml", changes=changes, last="export")
    stage = json.loads(Path("runs/model/manifest.json").read_text())["stages"]["train"]
    assert stage["facts"]["sums"] == ("lta 8, balanced" if "lta" in asked else "capmin 3 of segments of 8")
    found = bf.approximate("runs/model/base/network.onnx", **asked)  # type: ignore[arg-type]
    assert found.images == 200 and found.sums[0].accuracy == pytest.approx(stage["facts"]["accuracy"], abs=1e-9)


@pytest.mark.usefixtures("recipe")
@pytest.mark.parametrize(
    ("changes", "key", "said"),
    [
        (["approximation.lta=8", "approximation.capmin=3"], "approximation.capmin", "read no levels"),
        (["approximation.capmin=40"], "approximation.capmin", "40 levels"),
        (["approximation.lta=-1"], "approximation.lta", "out of range"),
        (["approximation.lta=64"], "approximation.lta", "no hidden layer"),
        (["approximation.lta=8", "approximation.array=8"], "approximation.array", "it is of capmin"),
        (["approximation.capmin=3", "approximation.balanced=true"], "approximation.balanced", "it is of lta"),
        (["approximation.lta=8", "train.epochs=0"], "approximation.lta", "nothing is trained"),
        (["approximation.lta=8", "prune.enabled=true"], "approximation.lta", "exact sums"),
        (["approximation.lta=8", "fault_training.weights=0.1"], "approximation.lta", "not trained for at once"),
        (["approximation.lta=8", "ensemble.members=2"], "approximation.lta", "ensemble"),
        (["approximation.lta=8", "model.weight_bits=2"], "approximation.lta", "not known"),
    ],
)
def test_what_is_refused(changes: list[str], key: str, said: str) -> None:
    with pytest.raises(Problem, match=said) as caught:
        bf.build("model.yaml", changes=changes, last="export")
    assert key in f"{caught.value.key} {caught.value.where}"

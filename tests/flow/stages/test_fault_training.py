"""`fault_training` of a recipe: training and every method's fine-tuning have the errors; what cannot be is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from bnnflow import Problem
from bnnflow.flow.cli import app as cli
from bnnflow.flow.recipe.file import load_recipe
from bnnflow.flow.stages.validate import validate
from bnnflow.models.training import train as training
from bnnflow.models.training.bit_errors import BitErrors, ErrorRates

RECIPE = """\
name: tiny
data: {name: digits, train_images: 120, test_images: 40}
model: {arch: cnn, channels: [8, 8], pools: [1, 2], hidden: [16], input: planes, planes: 3}
train: {epochs: 1, learning_rate: 0.01, batch: 40, threads: 1}
prune: {epochs: 1, batch: 40}
faults: {enabled: false}
rtl: {enabled: false}
speed: {enabled: false}
"""
RESIDUAL = ["model.arch=resnet", "model.pools=[]", "model.hidden=[]", "model.depths=[2, 1]"]
DIRECTED = ["fault_training.p01=0.1", "fault_training.p10=0.01"]
METHODS = {
    "filters": ["prune.unit=4", "prune.steps=1", *DIRECTED],
    "masks": ["fault_training.weights=0.1", "prune.masks.mask_epochs=1"],
    "ecqx": ["fault_training.p01=0.1", "fault_training.p10=0.0"],
    "synapses": ["fault_training.weights=0.1", "fault_training.guide=random", "prune.synapses.steps=1"],
    "planes": ["fault_training.weights=0.1", "prune.planes.drop=1"],
    "blocks": ["fault_training.weights=0.1", "prune.blocks.drop=1", *RESIDUAL],
}


def words(changes: list[str]) -> list[str]:
    return [word for change in changes for word in ("-s", change)]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(RECIPE)
    return path


@pytest.mark.parametrize("method", METHODS)
def test_training_and_fine_tuning_have_errors(
    method: str, recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[BitErrors, bool]] = []
    whole = training.injected

    @contextmanager
    def injected(network: Any, spec: BitErrors, seed: int, importance: Any, memories: Any) -> Iterator[Any]:
        seen.append((spec, memories is not None))
        with whole(network, spec, seed, importance, memories) as made:
            yield made

    monkeypatch.setattr(training, "injected", injected)
    torch.set_num_threads(1)
    changes = [f"prune.method={method}", *METHODS[method]]
    assert cli.run(["build", str(recipe), "--run", str(tmp_path / "run"), "--to", "prune", *words(changes)]) == 0
    assert len(seen) == (3 if method == "masks" else 2)
    wanted = ErrorRates(0.1, {"filters": 0.01, "ecqx": 0.0}.get(method, 0.1))
    assert all(spec.weights == wanted for spec, _ in seen)
    # while masks are trained nobody knows the memories
    assert [known for _, known in seen] == ([True, False, True] if method == "masks" else [True, True])


@pytest.mark.parametrize(
    ("changes", "key", "what"),
    [
        (["fault_training.p01=0.1"], "fault_training.p01", "p10 is missing"),
        (["fault_training.p10=0.1"], "fault_training.p10", "p01 is missing"),
        (["fault_training.weights=0.1", *DIRECTED], "fault_training.weights", "say the rates"),
        (["fault_training.weights=1.1"], "fault_training.weights", "1.1"),
        (["fault_training.weights=0.1", "fault_training.map=m.npz"], "fault_training.weights", "the map says"),
        (["fault_training.weights=0.1", "fault_training.guide=flips"], "fault_training.guide", "in training"),
        (["fault_training.weights=0.1", "fault_training.guide=deplift"], "fault_training.guide", "unknown criterion"),
        (["fault_training.weights=0.6", "fault_training.guide=latent"], "fault_training.weights", "above 0.5"),
        (
            [
                *("fault_training.weights=0.4", "fault_training.guide=random"),
                *("fault_training.assignment=protect", "fault_training.protected=0.5"),
            ],
            "fault_training.weights",
            "0.25 on average at most",
        ),
        (
            ["fault_training.weights=0.1", "train.epochs=2", "fault_training.ramp_epochs=2"],
            "fault_training.ramp_epochs",
            "not reached in 2 of training",
        ),
        (["fault_training.guide=latent"], "fault_training.guide", "no weight is wrong"),
        (["fault_training.weights=0.1", "fault_training.temperature=2"], "fault_training.temperature", "softmax"),
        (["fault_training.weights=0.1", "fault_training.assignment=rank"], "fault_training.assignment", "guided"),
        (["fault_training.ramp_epochs=2"], "fault_training.ramp_epochs", "no rate"),
        (["fault_training.map=m.npz"], "fault_training.map", "other memories"),
        (["fault_training.map=m.npz", "prune.enabled=false"], "fault_training.map", "cannot be read"),
        (
            ["fault_training.thresholds=0.1", "prune.method=masks"],
            "fault_training.thresholds",
            "while masks are trained",
        ),
        (
            ["fault_training.thresholds=0.1", *RESIDUAL, "prune.enabled=false"],
            "fault_training.thresholds",
            "is not known",
        ),
        (["fault_training.thresholds=0.1", "fault_training.map=m.npz"], "fault_training.thresholds", "the map says"),
        ([*DIRECTED, "prune.method=masks"], "fault_training.p01", "while masks are trained"),
        ([*DIRECTED, "ensemble.members=2", "prune.enabled=false"], "fault_training.p01", "ensemble"),
        (
            ["fault_training.weights=0.1", "train.epochs=0", "prune.epochs=0"],
            "fault_training.weights",
            "nothing is trained",
        ),
    ],
)
def test_what_cannot_be_is_refused_at_its_key(changes: list[str], key: str, what: str, recipe: Path) -> None:
    with pytest.raises(Problem, match=what) as caught:
        validate(load_recipe(recipe, changes))
    assert key in str(caught.value)

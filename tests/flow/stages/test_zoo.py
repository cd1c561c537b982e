"""Every network of the zoo, and every option of networks, builds end to end: trained, exported, compiled, verified."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bnnflow.flow.cli import app as cli
from bnnflow.models.networks import zoo

FAST = ("tfc", "cnv")
RECIPE = """\
data: {{name: npz, dir: {data}}}
model: {model}
train: {{epochs: 1, batch: 16, learning_rate: 0.01, threads: 1, device: cpu{train}}}
prune: {{enabled: {prune}, amount: 0.5, steps: 1, unit: 4, epochs: 0, images: 10}}
verify: {{images: 3}}
target: {{fps: 1000}}
"""
OPTIONS: dict[str, dict[str, Any]] = {
    "resnet20-thresholded": {"arch": "resnet20", "join": "thresholded", "padding": -1},
    "resnet20-thresholded-conv": {
        "arch": "resnet20", "join": "thresholded", "shortcut": "conv", "weight_scale": "channel"
    },
    "fashcnn-minus-one": {"arch": "fashcnn", "padding": -1, "pool_order": "after-sign"},
    "fashcnn-planes": {"arch": "fashcnn", "input": "planes", "planes": 4, "padding": 1},
    "fashcnn-unit": {"arch": "fashcnn", "activation": "unit", "act_bits": 2, "weight_bits": 4},
    "fashcnn-dorefa": {"arch": "fashcnn", "activation": "unit", "weight_scale": "tensor", "scores": "class"},
    "fashcnn-ternary": {"arch": "fashcnn", "weight_kind": "ternary", "weight_bits": 2},
    "resnet20-ternary": {"arch": "resnet20", "weight_kind": "ternary", "weight_bits": 2},
    "tfc-steps": {"arch": "tfc", "weight_kind": "steps", "weight_bits": 3},
    "tfc-planes": {"arch": "tfc", "input": "planes", "planes": 2},
    "tfc-raw-scores": {"arch": "tfc", "scores": "none", "estimator": "polynomial", "stochastic": True},
}  # fmt: skip


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def images(folder: Path, shape: tuple[int, int, int]) -> Path:
    """Random images of ten classes, each with a brightness of its own so that there is something to learn."""
    rng = np.random.default_rng(0)
    made = {}
    for part, count in (("train", 48), ("test", 20)):
        labels = np.arange(count) % 10
        pixels = rng.integers(0, 156, (count, *shape)) + 10 * labels[:, None, None, None]
        made |= {f"{part}_images": pixels.astype(np.uint8), f"{part}_labels": labels}
    path = folder / "images.npz"
    np.savez(path, **made)
    return path


def build(tmp_path: Path, capsys: pytest.CaptureFixture[str], model: dict[str, Any], train: str = "") -> dict[str, Any]:
    row = next((row for row in zoo.ROWS if row.name == model["arch"]), None)
    data = images(tmp_path, row.shape if row else (1, 8, 8))
    text = RECIPE.format(data=data, model=json.dumps(model), train=train, prune=str(row is not None).lower())
    (tmp_path / "net.yaml").write_text(text)
    capsys.readouterr()
    arguments = ["build", str(tmp_path / "net.yaml"), "--run", str(tmp_path / "run"), "--to", "verify", "--json"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        status = cli.run(arguments)
    said = capsys.readouterr()
    assert status == 0, said.err
    found: dict[str, Any] = json.loads(said.out)
    return found


def row_marks() -> list[Any]:
    return [pytest.param(row.name, marks=[] if row.name in FAST else pytest.mark.slow, id=row.name) for row in zoo.ROWS]


@pytest.mark.parametrize("name", row_marks())
def test_every_network_of_the_zoo_builds(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = build(tmp_path, capsys, {"arch": name, "width": 0.0625})
    for network in facts.values():
        assert network["images"] == 3
        assert all(row["differences"] == 0 for row in network["stages"])
        assert "torch (Brevitas)" in {row["stage"] for row in network["stages"]}


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_builds(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts = build(tmp_path, capsys, {"width": 0.0625, **OPTIONS[name]})
    for network in facts.values():
        assert all(row["differences"] == 0 for row in network["stages"])

"""What commands on graphs take of a run: its networks, its part and clock, as the run wrote them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import bnnflow as bf
from bnnflow.flow.cli import app as cli

RECIPE = """
data: {name: digits, train_images: 200, test_images: 100}
model: {arch: mlp, hidden: [16]}
train: {epochs: 1, device: cpu, threads: 1}
prune: {amount: 0.5, steps: 1, unit: 4, epochs: 0}
target: {fps: 1000, clock_mhz: 50, part: xc7z010clg400-1}
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("of_runs")
    (folder / "model.yaml").write_text(RECIPE)
    bf.build(folder / "model.yaml", folder / "run", last="schedule")
    return folder / "run"


@pytest.fixture
def run(built: Path, tmp_path: Path) -> Path:
    shutil.copytree(built, tmp_path / "run")
    return tmp_path / "run"


def test_part_and_clock_are_the_runs(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def told(command: str, *words: str) -> dict[str, object]:
        capsys.readouterr()
        assert cli.run([command, str(run), "--json", *words]) == 0
        found: dict[str, object] = json.loads(capsys.readouterr().out)
        return found

    target = told("estimate")["target"]
    assert isinstance(target, dict) and (target["part"], target["clock_mhz"]) == ("xc7z010", 50)
    assert told("cycles")["clock_mhz"] == told("rtl", "-o", str(run.parent / "rtl"))["clock_mhz"] == 50
    assert told("cycles", "--clock-mhz", "100")["clock_mhz"] == 100


def test_a_network_that_is_gone_is_no_reason_to_take_the_other(run: Path) -> None:
    shutil.rmtree(run / "pruned")
    with pytest.raises(bf.Problem, match=r"pruned/.* is missing") as caught:
        bf.load(run)
    assert caught.value.status == 1
    assert bf.load(run / "base").estimate().target.part == "xc7z010"


def test_a_recipe_that_was_changed_says_nothing_of_the_run(run: Path) -> None:
    recipe, network = run / "model.yaml", run / "base" / "network.onnx"
    text = recipe.read_text()
    assert "clock_mhz: 50" in text and "test_images: 100" in text
    recipe.write_text(text.replace("clock_mhz: 50", "clock_mhz: 100").replace("test_images: 100", "test_images: 50"))
    for asked in (
        lambda: bf.load(run),
        lambda: bf.faults(network, rates=[0.1], maps=1),
        lambda: bf.rank(run, "latent"),
    ):
        with pytest.raises(bf.Problem, match=r"model\.yaml was changed") as caught:
            asked()
        assert caught.value.status == 1
    recipe.write_text(text)
    assert bf.faults(network, rates=[0.1], maps=1).images == 100

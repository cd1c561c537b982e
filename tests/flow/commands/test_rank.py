"""`flow rank` on a small run: what it says, writes and refuses."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bnnflow import Problem
from bnnflow.flow.cli import app as cli
from bnnflow.flow.commands.rank import spearman
from bnnflow.flow.recipe.file import load_recipe

Golden = Callable[[str, str], None]
RECIPE = """\
data: {name: digits, train_images: 300, test_images: 50}
model: {arch: cnn, channels: [6, 5], kernels: [3, 3], pools: [1, 2], hidden: [12], input: bits8}
train: {epochs: 2, batch: 50, threads: 1, device: cpu, flip_window: 1}
prune: {criterion: "borda(flips, deeplift:l2)", amount: 0.5, steps: 2, unit: 1, epochs: 0, images: 32}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("rank")
    (folder / "net.yaml").write_text(RECIPE)
    arguments = ["build", str(folder / "net.yaml"), "--run", str(folder / "run"), "--to", "prune", "--json"]
    assert cli.run(arguments) == 0
    return folder / "run"


def ranked(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    capsys.readouterr()
    status = cli.run(["rank", *map(str, arguments), "--json"])
    said = capsys.readouterr()
    assert status == 0, said.err
    found: dict[str, Any] = json.loads(said.out)
    return found


def test_scores_correlations_table_and_pictures(run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    names = ("deeplift", "flips", "flips-step", "latent", "random")
    wanted = [word for name in names for word in ("--criterion", name)]
    table, picture = tmp_path / "scores.csv", tmp_path / "scores.svg"
    found = ranked(capsys, run, *wanted, "--ablation", "--images", 20, "--csv", table, "--plot", picture)
    assert [row["criterion"] for row in found["criteria"]] == ["deeplift:absmean", *names[1:], "ablation"]
    captum = found["criteria"][0]["captum"]
    assert captum["images"] == 4 and captum["completeness"] <= 1e-9 and captum["difference"] <= 1e-9
    assert captum["layers"] == ["conv1", "dense0"] and found["criteria"][1]["captum"] is None
    assert found["criteria"][0]["check"] <= 1e-9 and found["criteria"][3]["check"] is None
    widths = {"conv0": 6, "conv1": 5, "dense0": 12}
    for row in found["criteria"]:
        assert {layer: len(scores) for layer, scores in row["scores"].items()} == widths
    for matrix in found["spearman"].values():
        values = np.array(matrix, float)
        assert np.allclose(values, values.T, equal_nan=True)
        assert all(np.isnan(one) or one == pytest.approx(1.0) for one in np.diag(values))
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 * sum(widths.values())
    score = found["criteria"][0]["scores"]["conv1"][3]
    line = next(r for r in rows if (r["layer"], r["filter"], r["criterion"]) == ("conv1", "3", "deeplift:absmean"))
    assert float(line["score"]) == score
    assert float(line["rank"]) == sum(one < score for one in found["criteria"][0]["scores"]["conv1"])
    assert picture.read_text().count("<image") == 2 * 6  # two layers of six images, each with its map


def test_the_pruned_network_and_the_words(run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.run(["rank", str(run), "--network", "pruned", "--images", "20", "--criterion", "lrp"]) == 0
    said = capsys.readouterr().out
    assert "lrp:possum: relevance" in said and "conv1" in said
    kept = json.loads((run / "manifest.json").read_text())["stages"]["prune"]["facts"]["steps"][-1]["kept"]
    found = ranked(capsys, run, "--network", "pruned", "--images", "20", "--plot", tmp_path / "p.png")
    assert {name: len(scores) for name, scores in found["criteria"][0]["scores"].items()} == kept
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["--criterion", "deeplit"], "unknown"),
        (["--criterion", "lrp:mean"], "reduction"),
        (["--images", "9"], "images"),
        (["--network", "small"], "network"),
        (["--plot", "scores.bmp"], "picture"),
    ],
)
def test_what_is_refused(
    run: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], name: str, golden: Golden
) -> None:
    capsys.readouterr()
    assert cli.run(["rank", str(run), *arguments]) == 2
    golden(f"problems/rank_{name}", capsys.readouterr().err)


def test_a_recipe_without_a_run_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.yaml").write_text(RECIPE)
    assert cli.run(["rank", "net.yaml"]) == 2
    assert "flow build net.yaml --to train" in capsys.readouterr().err


def test_an_unknown_criterion_is_found_in_the_recipe(tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(RECIPE.replace("borda(flips, deeplift:l2)", "deeplit"))
    with pytest.raises(Problem, match="did you mean 'deeplift'") as caught:
        load_recipe(path)
    assert "net.yaml:4:" in str(caught.value)


@pytest.mark.parametrize(
    ("criterion", "train", "name"),
    [("flips", "flip_window: 0", "flips"), ("latent", "optimizer: bop", "latent")],
)
def test_criteria_that_the_training_does_not_serve(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], criterion: str, train: str, name: str, golden: Golden
) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(RECIPE.replace("borda(flips, deeplift:l2)", criterion).replace("flip_window: 1", train))
    assert cli.run(["build", str(path), "--run", str(tmp_path / "run"), "--to", "train", "--json"]) == 2
    golden(f"problems/rank_recipe_{name}", capsys.readouterr().err)


def test_spearman_by_hand() -> None:
    a = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    assert spearman(a, a**3) == pytest.approx(1.0)
    assert spearman(a, np.array([5.0, 6.0, 7.0, 8.0, 7.0])) == pytest.approx(0.8207826816681233)  # scipy's figure
    assert spearman(a, np.ones(5)) is None


def test_the_list_of_criteria_needs_no_run(capsys: pytest.CaptureFixture[str]) -> None:
    from bnnflow.models.relevance.criteria import CRITERIA, REDUCTIONS

    assert cli.run(["rank", "--list"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in (*CRITERIA, *REDUCTIONS))
    assert cli.run(["rank", "--list", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["reductions"] == REDUCTIONS and found["criteria"].keys() == CRITERIA.keys()

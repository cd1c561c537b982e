"""`flow rank NET.onnx`: anyone's network scored by the criteria of runs."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import bnnflow as bf
from bnnflow import Problem
from bnnflow.flow.cli import app as cli
from bnnflow.flow.pruning.sensitivity import Candidates
from bnnflow.models.data.load import load_dataset
from bnnflow.models.prune.widths import highest
from bnnflow.sim.inputs import image_inputs
from bnnflow.transforms.passes.accept import AcceptInput
from bnnflow.transforms.reading.read import read

from .answer import answer

Golden = Callable[[str, str], None]
DIGITS = load_dataset("digits")
WIDTHS = {"conv0": 8, "conv1": 6, "dense0": 12}


@pytest.mark.parametrize("level", ["network", "3_dataflow"])
def test_every_filter_by_several_criteria(
    level: str, network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = network
    if level != "network":
        assert cli.run(["compile", str(network), "-o", str(tmp_path)]) == 0
        source = tmp_path / f"{level}.onnx"
    names = ["deeplift", "reconstruction", "entropy"]
    wanted = [word for name in names for word in ("--criterion", name)]
    table = tmp_path / "scores.csv"
    found = answer(capsys, "rank", source, "--data", "digits", "--images", 20, *wanted, "--csv", table)
    assert (found["run"], found["network"], found["images"]) == (str(source), "file", 20)
    assert [row["criterion"] for row in found["criteria"]] == ["deeplift:absmean", *names[1:]]
    first = found["criteria"][0]
    assert first["check"] <= 1e-9 and first["captum"]["images"] == 4 and first["captum"]["completeness"] <= 1e-9
    layers = list(first["scores"])
    for row in found["criteria"]:
        assert [len(row["scores"][layer]) for layer in layers] == list(WIDTHS.values())
    assert set(found["spearman"]) == set(layers)
    with table.open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * sum(WIDTHS.values())
    assert float(rows[1]["score"]) == first["scores"][layers[0]][1]


def test_chance_counts_what_candidates_count(network: Path) -> None:
    """One cell by hand: the channels that score highest stay, norms measured anew, the test images judge."""
    graph = bf.load(network)
    found = graph.rank("entropy", data="digits", count=20, chance=2, shares=[0.5])
    table = found.chance
    assert table is not None and (table.images, table.judged_on, table.draws) == (360, "test images", 2)
    assert [cell.group for cell in table.cells] == ["all", *WIDTHS]
    whole = AcceptInput()(read(network)).graph
    order = np.random.default_rng([found.seed, 43]).permutation(len(DIGITS.train_images))
    candidates = Candidates.of(
        whole,
        image_inputs(whole, DIGITS.train_images[order[40:1040]]),
        image_inputs(whole, DIGITS.test_images),
        DIGITS.test_labels,
    )
    kept = {name: highest(np.array(found.criteria[0].scores[name]), width // 2) for name, width in WIDTHS.items()}
    assert table.cells[0].accuracy["entropy"] == candidates(kept)


def test_images_without_labels(network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The network's own answers are explained, and are what is right beside chance."""
    np.save(tmp_path / "x.npy", DIGITS.test_images[:80])
    words = [network, "--input", tmp_path / "x.npy", "--criterion", "gradient-activation", "--chance", 2]
    found = answer(capsys, "rank", *words, "--shares", "0.5")
    assert found["images"] == 40 and found["chance"]["judged_on"] == "other images"
    assert cli.run(["rank", str(network), "--input", str(tmp_path / "x.npy"), "--criterion", "deeplift"]) == 0
    said = capsys.readouterr().out
    assert "deeplift:absmean: share of the change" in said and "Captum's DeepLift on 4 images" in said


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ([], "images"),
        (["--data", "digits", "--criterion", "latent"], "latent"),
        (["--data", "digits", "--network", "pruned"], "network"),
        (["--data", "digits", "--plot", "p.svg"], "plot"),
        (["--data", "digits", "--chance", "1"], "draw"),
        (["--data", "digits", "--chance", "2", "--shares", "1.5"], "share"),
        (["--data", "digits", "--labels", "y.npy"], "labels"),
    ],
)
def test_what_is_refused(
    arguments: list[str], name: str, network: Path, capsys: pytest.CaptureFixture[str], golden: Golden
) -> None:
    capsys.readouterr()
    assert cli.run(["rank", str(network), *arguments]) == 2
    golden(f"problems/rank_file_{name}", capsys.readouterr().err)


@pytest.mark.parametrize("command", ["rank", "prune"])
def test_images_of_another_shape(command: str, network: Path, tmp_path: Path) -> None:
    """They are refused as by every other command, before torch sees them."""
    graph, images = bf.load(network), np.zeros((40, 1, 7, 9), np.uint8)
    look = {
        "rank": lambda: graph.rank("deeplift", images),
        "prune": lambda: graph.prune(tmp_path / "o.onnx", images, amount=0.5, criterion="deeplift"),
    }[command]
    with pytest.raises(Problem, match=r"images have the shape \(1, 7, 9\)"):
        look()


def test_chance_needs_norms(network: Path, tmp_path: Path) -> None:
    assert cli.run(["compile", str(network), "-o", str(tmp_path)]) == 0
    with pytest.raises(Problem, match="batch norms"):
        bf.load(tmp_path / "1_integer.onnx").rank("entropy", data="digits", count=20, chance=2)


def test_options_of_files_change_nothing_for_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], golden: Golden
) -> None:
    capsys.readouterr()
    assert cli.run(["rank", str(tmp_path), "--data", "digits"]) == 2
    golden("problems/rank_run_data", capsys.readouterr().err)

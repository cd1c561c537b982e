"""`flow study`: criteria against chance on a small network, and the intervals that it says so by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bnnflow.flow.cli import app as cli
from bnnflow.flow.pruning.statistics import RANDOM, StudyCell, comparison, conclusion, study_tables
from bnnflow.flow.results.rankings import ComparedRow, Comparison, StudyAmount, StudyRow

RECIPE = """\
name: small
data: {name: digits, train_images: 300, test_images: 100}
model: {arch: mlp, hidden: [32, 32]}
train: {epochs: 2, threads: 1}
prune: {amount: 0.5, steps: 1, epochs: 1, images: 20}
"""


def cells(
    rng: np.random.Generator,
    better: float,
    spread: float = 0.01,
    images: int = 2000,
    names: tuple[str, ...] = ("mine",),
) -> list[StudyCell]:
    """Three networks, five draws and criteria, the first of which is so much better than they are on average."""
    made = []
    hard = rng.random(images)
    for seed in range(3):
        level = 0.9 + 0.02 * rng.standard_normal()
        for name, draw in [*((RANDOM, draw) for draw in range(5)), *((name, 0) for name in names)]:
            truth = level + spread * rng.standard_normal() + (better if name == names[0] else 0.0)
            # easy images are right in all networks, the others by luck: pairs of networks err alike
            right = hard + 0.1 * rng.standard_normal(images) < np.quantile(hard, min(truth, 1.0))
            made.append(StudyCell(seed, name, draw, 0.5, right, (), 100, 40, 0.0))
    return made


def mine(found: Comparison) -> ComparedRow:
    (row,) = (row for row in found.amounts[0].rows if row.criterion == "mine")
    assert isinstance(row, ComparedRow)
    return row


def test_a_criterion_that_is_chance_is_told_apart_in_about_one_study_of_twenty() -> None:
    rng = np.random.default_rng(0)
    verdicts = [mine(comparison(cells(rng, 0.0), [0.9] * 3)).verdict for _ in range(300)]
    told = sum(verdict != "-" for verdict in verdicts)
    assert 3 <= told <= 24  # 5 % of 300 is 15; the two parts of the interval make it somewhat wide


def test_of_many_criteria_that_are_chance_any_is_told_apart_in_about_one_study_of_twenty() -> None:
    """Uncorrected, some of ten would be in every third study."""
    rng = np.random.default_rng(3)
    names = tuple(f"c{place}" for place in range(10))
    told = 0
    for _ in range(100):
        (at,) = comparison(cells(rng, 0.0, images=1000, names=names), [0.9] * 3).amounts
        rows = [row for row in at.rows if isinstance(row, ComparedRow)]
        assert len(rows) == 10 and at.confidence == 0.995
        told += any(row.verdict != "-" for row in rows)
    assert told <= 10


def test_a_criterion_that_is_better_by_more_than_the_spread_is_told_apart() -> None:
    rng = np.random.default_rng(1)
    rows = [mine(comparison(cells(rng, 0.03), [0.9] * 3)) for _ in range(50)]
    assert sum(row.verdict == "better" for row in rows) >= 45
    assert all(abs(row.gap - 0.03) < 2.5 * row.half_width for row in rows)
    assert {mine(comparison(cells(rng, -0.05), [0.9] * 3)).verdict for _ in range(10)} == {"worse"}


def test_differences_are_to_the_draws_of_the_same_network() -> None:
    """A criterion that repeats a draw of each network is within the draws, though networks differ by far more."""
    rng = np.random.default_rng(2)
    made = []
    for seed, level in enumerate((0.5, 0.7, 0.9)):
        draws = [rng.random(1000) < level for _ in range(5)]
        made += [StudyCell(seed, RANDOM, draw, 0.5, right, (), 100, 40, 0.0) for draw, right in enumerate(draws)]
        best = max(draws, key=lambda right: right.mean())
        made.append(StudyCell(seed, "mine", 0, 0.5, best, (), 100, 40, 0.0))
    found = comparison(made, [0.5, 0.7, 0.9])
    row, chance = mine(found), found.amounts[0].rows[1]
    assert chance.criterion == RANDOM and len(chance.accuracies) == 15
    assert row.beaten == 12 and row.gap == pytest.approx(row.mean - chance.mean)
    assert found.amounts[0].fewer == 0.6
    assert "| mine |" in study_tables(found)


def test_what_a_table_does_not_show_is_said() -> None:
    def amount(*verdicts: str) -> StudyAmount:
        figures = {"accuracies": [0.5], "mean": 0.5, "against_unpruned": 0.0}
        compared = (
            ComparedRow(criterion=name, **figures, gap=0.0, half_width=0.0, beaten=0, verdict=verdict)  # type: ignore[arg-type]
            for name, verdict in zip("ab", verdicts, strict=True)
        )
        return StudyAmount(
            amount=0.5, fewer=0.5, confidence=0.975, rows=[StudyRow(criterion=RANDOM, **figures), *compared]
        )  # type: ignore[arg-type]

    assert conclusion(amount("-", "-")) == "No criterion is told apart from chance."
    assert (
        conclusion(amount("better", "-"))
        == "Better than chance: a. The 2 intervals hold together with a probability of at least 95 %."
    )


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study") / "small.yaml"
    path.write_text(RECIPE)
    return path


def studied(capsys: pytest.CaptureFixture[str], recipe: Path, *more: str) -> dict[str, Any]:
    capsys.readouterr()
    folder = str(recipe.parent / "study")
    words = ["--seeds", "2", "--criterion", "latent", "--criterion", "flips", "--json", *more]
    assert cli.run(["study", str(recipe), "--folder", folder, *words]) == 0, capsys.readouterr().err
    return dict(json.loads(capsys.readouterr().out))


def test_a_study_goes_on_and_does_not_depend_on_processes(capsys: pytest.CaptureFixture[str], recipe: Path) -> None:
    plot, table = recipe.parent / "study.svg", recipe.parent / "table.md"
    found = studied(capsys, recipe, "--plot", str(plot), "--markdown", str(table))
    kept = recipe.parent / "study" / "cells"
    files = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert len(files) == 2 * (5 + 2) and found["draws"] == 5 and found["seeds"] == [0, 1]
    rows = found["amounts"][0]["rows"]
    assert {row["criterion"] for row in rows} == {RANDOM, "latent", "flips"}
    assert found["amounts"][0]["fewer"] > 0.5
    assert plot.read_text().startswith("<?xml") and "| latent |" in table.read_text()
    # an amount that is given twice is one
    assert studied(capsys, recipe, "--amount", "0.5", "--amount", "0.5") == found
    # a cell that is gone or damaged is made anew, and is the same; the others stay as they are
    gone, damaged = sorted(files)[:2]
    gone.unlink()
    damaged.write_text(damaged.read_text()[:40])
    assert studied(capsys, recipe, "--jobs", "2") == found
    again = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert set(again) == set(files)
    assert {path for path in files if again[path] != files[path]} == {gone, damaged}


def test_cells_of_other_counts_of_flips_are_not_taken(capsys: pytest.CaptureFixture[str], recipe: Path) -> None:
    """The window changes what is counted, and no weight."""
    studied(capsys, recipe)
    kept = recipe.parent / "study" / "cells"
    before = set(kept.iterdir())
    studied(capsys, recipe, "-s", "train.flip_window=1")
    made = [json.loads(path.read_text())["criterion"] for path in set(kept.iterdir()) - before]
    assert made == ["flips", "flips"]


def test_usual_criteria_that_a_packed_network_cannot_give_are_left_out(
    capsys: pytest.CaptureFixture[str], recipe: Path
) -> None:
    studied(capsys, recipe)
    packed = recipe.with_name("small.bnn")
    text = RECIPE.replace("{arch: mlp, hidden: [32, 32]}", f"{{trained: {packed}}}")
    assert cli.run(["pack", str(recipe.parent / "study" / "base-0"), "-o", str(packed)]) == 0
    other = recipe.with_name("packed.yaml")
    other.write_text(text.replace("epochs: 2, ", "").replace("name: small", "name: packed"))
    capsys.readouterr()
    words = ["study", str(other), "--folder", str(recipe.parent / "packed"), "--seeds", "1", "--json"]
    assert cli.run(words) == 0, capsys.readouterr().err
    found = json.loads(capsys.readouterr().out)
    assert set(found["left_out"]) == {"flips", "latent", "borda(deeplift,taylor-activation,latent)"}
    assert len(found["amounts"][0]["rows"]) == 1 + 9


def test_what_cannot_be_compared_is_refused_before_training(capsys: pytest.CaptureFixture[str], recipe: Path) -> None:
    words = ["study", str(recipe), "--folder", str(recipe.parent / "none")]
    for wrong, said in (
        (["--criterion", "latent", "-s", "train.optimizer=bop"], "bop has none"),
        (["--amount", "1"], "1 is out of range"),
        (["--criterion", "random"], "nothing to compare with chance"),
        (["--criterion", "deeplfit"], "did you mean 'deeplift'"),
        (["-s", "prune.max_loss=1"], "a study prunes with prune.max_loss=null"),
        (["-s", "prune.allocation=sensitivity"], "a study prunes with prune.allocation=uniform"),
        (["-s", "prune.method=masks"], "a study prunes with prune.method=filters"),
        (["--plot", "x.gif"], "no format that can be written: '.gif'"),
    ):
        assert cli.run([*words, *wrong]) == 2
        assert said in capsys.readouterr().err
    assert not (recipe.parent / "none").exists()

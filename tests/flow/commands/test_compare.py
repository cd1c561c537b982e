"""`flow compare`: runs side by side, pruned hardware beside unpruned, and networks of equal accuracy."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from bnnflow.build.calibrated.table import table
from bnnflow.build.parts import Part, part
from bnnflow.flow.cli import app as cli
from bnnflow.flow.commands import compare as work
from bnnflow.flow.results.comparison import Compared, HardwareComparison
from bnnflow.flow.results.stages import PruneStep
from bnnflow.flow.results.summary import Summary
from bnnflow.flow.show import report
from bnnflow.flow.show.comparison import accuracy_said
from bnnflow.flow.stages.summary import read_summary

RECIPE = """\
name: {name}
data: {{name: digits, train_images: 200, test_images: 100}}
model: {{arch: mlp, hidden: {hidden}}}
train: {{epochs: 1, threads: 1}}
prune: {{enabled: {prune}, criterion: latent, amount: 0.5, steps: 2, unit: 4, epochs: 0}}
verify: {{images: 2}}
target: {{fps: {fps}}}
faults: {{enabled: false}}
speed: {{enabled: false}}
cosim: {{when: never}}
synth: {{when: never}}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three runs: of a rate, of another one, and one that is not pruned, of widths that divide badly."""
    made = tmp_path_factory.mktemp("runs")
    with contextlib.redirect_stdout(io.StringIO()):
        for name, prune, fps, hidden in (
            ("one", "true", 1_000_000, [16, 16]),
            ("fast", "true", 2_000_000, [16, 16]),
            ("whole", "false", 2_000_000, [61, 53]),
        ):
            (made / f"{name}.yaml").write_text(RECIPE.format(name=name, prune=prune, fps=fps, hidden=hidden))
            assert cli.run(["build", str(made / f"{name}.yaml"), "--run", str(made / name)]) == 0
    return made


def said(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    capsys.readouterr()
    assert cli.run(["compare", *map(str, arguments)]) == 0
    return capsys.readouterr().out


def test_a_run_holds_its_comparison_and_the_report_shows_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summary = read_summary(folder / "one")
    found = summary.comparison
    assert found is not None and isinstance(found.rate, Compared) and isinstance(found.resources, Compared)
    assert found.rate.cycles_asked == 100
    for name, one in (("base", found.rate.base), ("pruned", found.rate.pruned)):
        network = summary.networks[name]
        assert one.cycles == network.cycles and one.interval_cycles is not None and one.interval_cycles <= 100
    page, text = report.render(summary), said(capsys, folder / "one")
    for shown in (page, text):
        assert "Equal rate" in shown and "Equal resources" in shown
        assert f"of {len(table('xc7').held_out)} units" in " ".join(shown.split())
    assert json.loads(said(capsys, folder / "one", "--json"))["hardware"][0]["rate"]["cycles_asked"] == 100
    assert read_summary(folder / "whole").comparison is None


def test_a_report_names_widths_that_divide_badly(folder: Path) -> None:
    summary = read_summary(folder / "whole")
    (note,) = (note for note in summary.notes["base"] if note.startswith("widths that divide badly"))
    assert "dense1 (53 x 61)" in note and "inputs 50 or 68 (now 61)" in note
    assert note in report.render(summary).replace("&#39;", "'")
    alike = read_summary(folder / "one").notes
    assert not any("divide badly" in note for notes in alike.values() for note in notes)


def test_a_rate_and_a_part_are_folded_for(folder: Path) -> None:
    (found,) = work.compare([folder / "one"], work.Asked(fps=500_000)).hardware
    assert isinstance(found.rate, Compared) and found.rate.cycles_asked == 200
    assert found.rate.base.interval_cycles is not None and found.rate.base.interval_cycles <= 200
    chip = part("lfe5u-25f")
    (found,) = work.compare([folder / "one"], work.Asked(part=chip)).hardware
    assert (found.part, found.family) == ("lfe5u-25f", "ecp5") and isinstance(found.resources, Compared)
    assert (found.resources.lut_allowed, found.resources.bram18_allowed) == (chip.lut, chip.block_rams)
    assert found.resources.pruned.cycles <= found.resources.base.cycles


def test_accuracies_of_other_targets_are_not_mixed(folder: Path) -> None:
    runs = [folder / name for name in ("one", "fast", "whole")]
    found = work.compare(runs, work.Asked(loss=1.0))
    assert [len(each.candidates) for each in found.accuracy] == [1, 2, 2]
    assert any("accuracies are not compared" in note and "fast" in note for note in found.notes)
    assert any("no network is pruned here" in note and "whole" in note for note in found.notes)
    alike = work.compare(runs, work.Asked(loss=1.0, fps=1_000_000)).accuracy[0]
    assert [one.run for one in alike.candidates] == [str(folder / "one"), str(folder / "fast")]
    shares = [one.share for one in alike.candidates]
    assert alike.smallest is not None and alike.candidates[alike.smallest].share == min(shares)


def test_shares_are_of_the_part_that_costs_are_of(folder: Path) -> None:
    """Costs of rounds are the run's, whatever part is asked for; blocks count as the cost model counts them."""
    own = work.compare([folder / "one"], work.Asked()).accuracy
    other = work.compare([folder / "one"], work.Asked(part=part("lfe5u-25f"))).accuracy
    assert own[1:] == other[1:] and own[0].unpruned.share != other[0].unpruned.share
    summary, chip = read_summary(folder / "one"), part("ice40up5k")
    assert summary.comparison is not None and chip.block_rams != chip.bram18
    for model in ("exact", "bnnflow"):
        run = run_of(summary, replace(summary.comparison, cost_model=model), chip)
        found = work._among_runs([run], 0.02, [])[0].unpruned
        blocks = chip.bram18 if model == "exact" else chip.block_rams
        assert found.share == round(found.lut / chip.lut + found.bram18 / blocks, 6)


def run_of(summary: Summary, found: HardwareComparison, chip: Part | None = None) -> work._Compared:
    built = part("xc7z020")
    return work._Compared(summary, built, "bnnflow", chip or built, found)


@pytest.mark.parametrize(
    ("losses", "undone", "smallest"),
    [((0.0, 0.02, 0.5), (), 1), ((0.02, 0.021, 0.03), (), 0), ((0.3, 0.3, 0.3), (), None), ((0, 0, 0), (2,), 1)],
)
def test_the_smallest_round_within_the_tolerance(
    folder: Path, losses: tuple[float, ...], undone: tuple[int, ...], smallest: int | None
) -> None:
    """Rounds get smaller; one that was undone is no network of the run."""
    summary = read_summary(folder / "one")
    assert summary.pruning is not None and summary.comparison is not None
    steps = [
        PruneStep(
            step=place + 1,
            kept={},
            macs=1,
            accuracy_before=None,
            accuracy_after=0.9 - loss,
            rolled_back=place in undone,
            cost={"lut": 900.0 - 100 * place, "bram18": 0.0, "cycles": 64.0},
        )
        for place, loss in enumerate(losses)
    ]
    unpruned = {"lut": 1000.0, "bram18": 0.0, "cycles": 64.0}
    pruning = replace(summary.pruning, steps=steps, held_out_accuracy=0.9, unpruned=unpruned)
    compared = run_of(replace(summary, pruning=pruning), summary.comparison)
    notes: list[str] = []
    (found,) = work._among_rounds([compared], 0.02, notes)
    assert found.smallest == smallest and not notes
    assert found.judged_on == pruning.judged_on and all(one.half_width is None for one in found.candidates)
    assert ("No pruned network is as accurate" in accuracy_said(found)) == (smallest is None)
    assert [one.within for one in found.candidates] == [
        loss <= 0.02 for place, loss in enumerate(losses) if place not in undone
    ]


def test_rounds_without_costs_are_said(folder: Path) -> None:
    summary = read_summary(folder / "one")
    assert summary.pruning is not None and summary.comparison is not None
    bare = replace(summary, pruning=replace(summary.pruning, unpruned=None))
    notes: list[str] = []
    assert work._among_rounds([run_of(bare, summary.comparison)], 0.02, notes) == []
    assert "costs of its rounds are not known" in notes[0]


@pytest.mark.parametrize(
    ("name", "arguments", "status"),
    [
        ("loss", ["--loss", "101"], 2),
        ("rate", ["--fps", "1e9"], 1),
        ("no_rate", ["--fps", "0"], 2),
        ("jobs", ["--jobs", "2"], 2),
        ("part", ["--part", "xc9z999"], 2),
        ("small", ["--part", "ice40hx1k", "--fps", "50000000"], 1),
    ],
)
def test_bad_input(
    name: str,
    arguments: list[str],
    status: int,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    golden: Callable[[str, str], None],
) -> None:
    capsys.readouterr()
    assert cli.run(["compare", str(folder / "one"), *arguments]) == status
    golden(f"problems/{name}", capsys.readouterr().err)


def test_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["compare", str(tmp_path)]) == 2
    assert "this is not a run folder" in capsys.readouterr().err

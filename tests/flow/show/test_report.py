"""The report and the tables of a run, made of the summary of a real build."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from bnnflow import Problem
from bnnflow.flow.cli import app as cli
from bnnflow.flow.graphs import finn_base, speed
from bnnflow.flow.results.stages import NoResult, PruneStep
from bnnflow.flow.results.summary import PruningSummary, Summary
from bnnflow.flow.run.files import sha256_of
from bnnflow.flow.run.folder import Run
from bnnflow.flow.show import plots
from bnnflow.flow.show.pruning_plots import costs
from bnnflow.flow.show.report import change, headline, number, removed_by, render
from bnnflow.flow.show.rivals import of_run
from bnnflow.flow.show.tables import tables
from bnnflow.flow.show.terminal import terminal
from bnnflow.flow.stages.summary import read_summary

RECIPE = """\
name: tiny
data: {name: digits, train_images: 300, test_images: 60}
model: {arch: cnn, channels: [8, 16], kernels: [3, 3], pools: [1, 2], hidden: [16]}
train: {epochs: 3, learning_rate: 0.01, threads: 1}
prune: {criterion: deeplift, amount: 0.5, steps: 2, epochs: 1, images: 20}
verify: {images: 2}
target: {fps: 20000}
faults: {rates: [0.01, 0.1], maps: 2, images: 20, metrics: [changed, classes, margin], layers: [all, each],
  equal: [faults], certify: 10}
speed: {images: 10}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    made = tmp_path_factory.mktemp("report")
    (made / "tiny.yaml").write_text(RECIPE)
    with contextlib.redirect_stdout(io.StringIO()), pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed, "PASS", 0.02)
        patch.setattr(finn_base, "version", lambda: None)
        assert cli.run(["build", str(made / "tiny.yaml"), "--run", str(made / "run")]) == 0
    return made / "run"


@pytest.fixture
def summary(folder: Path) -> Summary:
    return read_summary(folder)


@pytest.fixture
def plain(summary: Summary) -> Summary:
    """The same with fewer plots, for tests of texts."""
    return replace(summary, faults=None, training=replace(summary.training, base=[]))


def pruning_of(summary: Summary) -> PruningSummary:
    assert summary.pruning is not None
    return summary.pruning


def without_pruned(summary: Summary) -> Summary:
    assert summary.faults is not None
    curves = {"base": summary.faults.networks["base"]}
    return replace(
        summary,
        pruning=None,
        comparison=None,
        networks={"base": summary.base},
        verify={"base": summary.verify["base"]},
        notes={"base": summary.notes["base"]},
        finn={"base": summary.finn["base"]},
        faults=replace(summary.faults, networks=curves, series={"base": summary.faults.series["base"]}, paired=[]),
    )


def said(summary: Summary) -> str:
    """The tables as commands print them."""
    console = terminal()
    with console.capture() as captured:
        for table in tables(summary):
            console.print(table)
    return captured.get()


def test_tables_show_no_markup_and_a_terminal_has_colours(summary: Summary) -> None:
    assert "[/]" not in said(summary) and "[green" not in said(summary)
    console = Console(width=100, force_terminal=True, color_system="standard")
    with console.capture() as captured:
        console.print(tables(summary)[0])
    fewer = next(row.change for row in headline(summary) if row.label == "binary operations (MAC)")
    assert re.search(rf"\x1b\[32m\s*{re.escape(fewer.split(chr(160))[0])}", captured.get()), "better is green"


def test_change_has_a_sign_and_a_meaning() -> None:
    assert change(200, 100) == "−50.0\u00a0%"
    assert change(100, 150) == "+50.0\u00a0%"
    assert change(100, 100) == "±0.0\u00a0%"
    assert change(0, 3) == change(None, 3) == "–"
    assert number(-1234567.0) == "−1,234,567"


def test_headline_knows_better_from_worse(summary: Summary) -> None:
    base = replace(summary.base, accuracy=0.9639, lut=200, fps=1000.0)
    pruned = replace(base, accuracy=0.9583, lut=100, fps=2000.0)
    rows = {row.label: row for row in headline(replace(summary, networks={"base": base, "pruned": pruned}))}
    assert rows["test accuracy"].change == "−0.56\u00a0points"
    assert rows["LUT"].change == "−50.0\u00a0%"
    assert (rows["test accuracy"].better, rows["LUT"].better, rows["throughput"].better) == (-1, 1, 1)
    assert all(row.source for row in rows.values())


def test_the_page_is_one_file_without_links_or_scripts(folder: Path, summary: Summary) -> None:
    pictures = [(folder / "base/relevance.png").read_bytes()]
    page = render(summary, *pictures)
    assert page == render(summary, *pictures)
    # What the build wrote differs in its wall times alone.
    times = re.compile(r'<td class="n">[\d.,]+</td><td class="soft">(?:up to date)?</td>')
    assert times.sub("", page) == times.sub("", (folder / "report.html").read_text())
    assert not re.search(r"<script|<link|@import|https?:|url\((?!#)", page)
    assert page.count("<svg") == 6
    assert "data:image/png;base64,iVBORw" in page and "deeplift finds relevance" in page
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="|url\()#([^")]*)', page)) <= set(ids)
    for text in (f"{100 * summary.base.accuracy:.2f}", "xc7z020clg400-1", summary.sources["cost"]):
        assert text in page
    assert "None" not in page


@pytest.mark.parametrize("undone", [[False, False], [False, True], [True, True]])
def test_the_points_are_the_rounds(undone: list[bool], summary: Summary) -> None:
    pruning = pruning_of(summary)
    steps = [replace(step, rolled_back=one) for step, one in zip(pruning.steps, undone, strict=True)]
    drawn = costs(replace(pruning, steps=steps))
    expected = (not all(undone) and not any(undone), not all(undone), any(undone))
    assert (">round<" in drawn, ">pruned<" in drawn, ">undone<" in drawn) == expected
    assert costs(replace(pruning, unpruned=None)) == costs(None) == ""


def test_rounds_that_were_undone_and_other_methods(plain: Summary) -> None:
    step = PruneStep(
        step=1, kept={"conv1": 1200}, macs=1, accuracy_before=None, accuracy_after=0.9, rolled_back=True, cost={}
    )
    other = replace(
        pruning_of(plain), method="synapses", criterion="latent", allocation=None, relevance=NoResult(), steps=[step]
    )
    page = render(replace(plain, pruning=replace(other, unit="synapses", unpruned=None)))
    assert "ranked by latent" in page
    assert "conv1 1,200 (undone)" in page
    assert "Self-check" not in page
    assert "None" not in page


@pytest.mark.parametrize(
    ("method", "words"),
    [("masks", "masks trained"), ("ecqx", "assigned"), ("synapses", "ranked by latent"), ("planes", "bit planes")],
)
def test_what_a_method_removed(method: str, words: str, summary: Summary) -> None:
    assert words in removed_by(replace(pruning_of(summary), method=method, criterion="latent"))


def test_what_users_wrote_is_escaped(plain: Summary) -> None:
    first, *rest = plain.base.layers
    evil = replace(first, name="<script>alert(1)</script> $x$ & y")
    base = replace(plain.base, layers=[evil, *rest])
    assert "<script" not in render(replace(plain, pruning=None, networks={"base": base}))


@pytest.mark.parametrize("keys", [("pruned", "speed"), ("pruned", "faults", "speed", "rest")])
def test_parts_may_be_missing(keys: tuple[str, ...], summary: Summary) -> None:
    left = without_pruned(summary) if "pruned" in keys else summary
    for key in {"faults", "speed"} & set(keys):
        left = replace(left, **{key: None})
    if "rest" in keys:
        training = replace(summary.training, base=[], accuracy_before_reestimation=None)
        left = replace(left, training=training, stages=[], sources={}, versions={}, input=None, finn={}, verify={})
    page, text = render(left), said(left)
    assert ("bit error rate" in text) == ("bit error rate" in page) == ("faults" not in keys)
    assert ("<h2>Speed</h2>" in page) == ("speed" not in keys)
    assert ("layers, pruned" in text) == ('<th class="n">pruned</th>' in page) == ("pruned" not in keys)
    assert "None" not in page


def test_rivals_of_the_data_set_stand_beside_the_run(plain: Summary) -> None:
    assert not of_run(plain) and "<h2>Rivals" not in render(plain), "nothing is known of digits"
    shown = replace(plain, data=replace(plain.data, name="mnist"))
    designs, page = of_run(shown), render(shown)
    assert "<h2>Rivals on mnist</h2>" in page and "DWN sm" in page and "BNN-PYNQ cnvW1A1" not in page
    own = {(one.name, one.level): one for one in designs if one.ours}
    levels = ["estimated", *(["synthesized"] if plain.synthesis else [])]
    assert list(own) == [(f"tiny, {title}", level) for title in ("unpruned", "pruned") for level in levels]
    mine = own["tiny, pruned", "estimated"]
    assert plain.pruned is not None and (mine.lut, mine.cycles) == (plain.pruned.lut, plain.pruned.cycles)
    assert "no like for like" in page and "None" not in page


def test_the_terminal_tables_fit_and_mark_the_bottleneck(summary: Summary) -> None:
    text = said(summary)
    assert max(map(len, text.splitlines())) <= 100
    slowest = [next(layer.name for layer in one.layers if layer.bottleneck) for one in summary.networks.values()]
    marked = [line for line in text.splitlines() if "▶" in line and "slowest" not in line]
    assert [line.split()[0] for line in marked] == slowest
    assert "◀" not in text
    luts = [number(one.lut) for one in summary.networks.values()]
    assert re.search(rf"LUT +{luts[0]} +{luts[1]} +−[\d.]+\u00a0% +estimated", text)


def test_metrics_of_faults_are_shown_where_they_were_asked_for(summary: Summary) -> None:
    """Each class of each series is a row of the page; the terminal has the worst class and the margin's unit."""
    assert summary.faults is not None
    page, text = render(summary), said(summary)
    series = [one for each in summary.faults.series.values() for one in each]
    rows = page.partition("Every class under faults")[2].partition("</tbody>")[0].count("<tr><td>")
    assert rows == sum(len(one.classes or ()) for one in series) == 10 * len(series)
    for one in series:
        assert one.margin is not None and f"{one.margin.loss:.4g}" in page
    assert "silent data corruption" in page and "beyond accuracy" in text and "worst class" in text
    bare = replace(summary, faults=replace(summary.faults, metrics=None, certified=None))
    assert "silent data corruption" not in render(bare) and "beyond accuracy" not in said(bare)


def test_certificates_curves_and_pairs_are_parts_of_the_page(summary: Summary) -> None:
    """What `flow margins` shows, of both networks; a curve a layer; the pruned network beside the other."""
    assert summary.faults is not None and summary.faults.certified is not None
    page = render(summary)
    assert set(summary.faults.certified) == {"base", "pruned"}
    for found in summary.faults.certified.values():
        assert found.images == 10
        for name in (found.last, *(one.layer for one in found.layers)):
            assert f"weights of {name}" in page
    assert page.count("Flips that provably change no class") == 2
    picture = plots.fault_curves(summary)
    assert (
        picture.startswith("<svg")
        and "unpruned" in picture
        and all(one.layers[0] in picture for one in summary.faults.series["base"])
    )
    pairs = [gap for gap in summary.faults.paired if gap.equal == "faults"]
    sizes = [(gap.bits or 0, gap.second_bits or 0) for gap in pairs]
    assert any(first > second for first, second in sizes) and all(first >= second > 0 for first, second in sizes)
    assert page.count("<tr><td>faults</td><td>weights</td>") == len(pairs)
    assert page.count("<tr><td>rate</td><td>weights</td>") == len(summary.faults.paired) - len(pairs)
    one = replace(summary.faults, series={key: each[:2] for key, each in summary.faults.series.items()})
    assert not plots.fault_curves(replace(summary, faults=one))


def test_rates_of_zero(summary: Summary) -> None:
    assert summary.faults is not None
    some = replace(summary, faults=replace(summary.faults, rates=[0, 0.1]))
    none = replace(summary, faults=replace(summary.faults, rates=[0, 0]))
    assert plots.faults(some).startswith("<svg") and not plots.faults(none)


def resaved(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a run's manifest and seal it again, as another version might have left it."""
    run = Run.find(folder)
    assert run is not None
    change(run.manifest)
    run._save()


def test_a_summary_of_another_version_is_refused(
    folder: Path, tmp_path: Path, golden: Callable[[str, str], None]
) -> None:
    shutil.copytree(folder, tmp_path / "run")
    path = tmp_path / "run" / "summary.json"
    said = json.loads(path.read_text())
    del said["version"]
    path.write_text(json.dumps(said))
    resaved(tmp_path / "run", lambda kept: kept["stages"]["report"]["files"].update({path.name: sha256_of(path)}))
    with pytest.raises(Problem) as caught:
        read_summary(tmp_path / "run")
    golden("problems/summary_of_another_version", str(caught.value))


def test_a_stage_whose_record_does_not_fit_runs_again_and_says_why(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(folder, tmp_path / "run")
    before = (tmp_path / "run" / "summary.json").read_text()
    resaved(tmp_path / "run", lambda kept: kept["stages"]["cost"]["facts"]["base"].pop("uram"))
    assert cli.run(["build", str(folder.parent / "tiny.yaml"), "--run", str(tmp_path / "run"), "--to", "cost"]) == 0
    printed = capsys.readouterr().out
    assert "note: cost runs again: its record is of another version of bnnflow: base.uram is missing" in printed
    assert "schedule    up to date" in printed and "cost        up to date" not in printed
    assert (tmp_path / "run" / "summary.json").read_text() == before

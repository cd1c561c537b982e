"""`flow build` end to end on a small recipe: what it leaves, how it resumes, how it fails."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from bnnflow import USER_INPUT
from bnnflow.build import cost
from bnnflow.build.calibrated import table as calibration
from bnnflow.build.calibrated.table import table
from bnnflow.build.cost import estimate
from bnnflow.build.finn_reports import unit_names
from bnnflow.build.folding_file import apply_folding
from bnnflow.flow.cli import app as cli
from bnnflow.flow.graphs import finn_base
from bnnflow.flow.run.folder import Run
from bnnflow.flow.stages import all as stages
from bnnflow.flow.stages import build as context
from bnnflow.sim.verify import class_sums, sums_of_scores
from bnnflow.transforms.reading.read import read
from tests.flow.killed import killed
from tests.places import ROOT

RECIPE = """\
name: tiny
data: {name: digits, train_images: 400, test_images: 60}
model: {arch: cnn, channels: [8, 16], kernels: [3, 3], pools: [1, 2], hidden: [16]}
train: {epochs: 16, learning_rate: 0.01, threads: 1}
prune: {amount: 0.5, steps: 1, epochs: 3, images: 20, learning_rate: 0.005}
verify: {images: 6}
target: {fps: 20000}
faults: {rates: [0.01, 0.1], maps: 2, images: 60}
speed: {images: 20}
"""
# The simulation of the hardware is off unless a recipe asks for it (test_hardware_stages.py).
NAMES = [name for name in stages.STAGES if name not in ("cosim", "synth", "route")]


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def finished(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert cli.run(["build", str(recipe), "--run", str(folder)]) == 0
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a run that must not depend on when and how often it was interrupted."""
    timed = {"manifest.json", "summary.json", "report.html"}
    files = (p for p in folder.rglob("*") if p.is_file() and "work" not in p.parts and p.name not in timed)
    return {str(p.relative_to(folder)): p.read_bytes() for p in files if p.name != ".lock"}


def test_what_a_build_leaves(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    base, pruned = summary["networks"]["base"], summary["networks"]["pruned"]
    assert pruned["binary_macs"] < 0.6 * base["binary_macs"]
    assert pruned["lut"] < base["lut"]
    for network in (base, pruned):
        assert network["accuracy"] == network["accuracy_hw"] > 0.4
        assert network["fps"] >= 20000
        assert network["weight_bits"] == network["weights"]
        assert sum(layer["bottleneck"] for layer in network["layers"]) == 1
    for name in ("base", "pruned"):
        rows = {row["stage"]: row for row in summary["verify"][name]["stages"]}
        everything = {"torch (Brevitas)", "onnxruntime on QONNX", "integer", "xnor", "dataflow"}
        if finn_base.version() is not None:
            everything |= {"finn-base on integer", "finn-base on xnor"}
        assert everything | {"qonnx on network", "qonnx on integer", "qonnx on xnor"} == set(rows)
        assert all(row["differences"] == 0 and row["values"] > 0 for row in rows.values())
        cycles = json.loads((finished / name / "report/estimate_layer_cycles.json").read_text())
        # FINN's sliding windows take some cycles more.
        assert max(cycles.values()) >= summary["networks"][name]["cycles"]
        folding = json.loads((finished / name / "auto_folding_config.json").read_text())
        assert set(folding) - {"Defaults"} == {key for key in cycles if not key.startswith("StreamingMaxPool")}
        _check_handed(finished / name / "finn", summary["finn"][name])
    page = (finished / "report.html").read_text()
    assert "<svg" in page
    assert "http" not in page.replace("http://www.w3.org", "").replace("https://www.w3.org", "")


def test_summaries_are_as_the_published_schema_says(finished: Path) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((ROOT / "docs" / "summary.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    judge = jsonschema.Draft202012Validator(schema)
    summary = json.loads((finished / "summary.json").read_text())
    judge.validate(summary)
    for other in ({"version": 0}, {"lut": 3}, {"networks": {"base": {}}}):
        assert not judge.is_valid(summary | other)


def _check_handed(folder: Path, said: dict[str, Any]) -> None:
    """Graph, folding file, reports and headline of the hand-over are of one graph; finn-plus judges them in oracles."""
    graph = read(folder / "dataflow.onnx")
    made, names = estimate(graph, "finn"), unit_names(graph, finn_plus=True)
    assert (said["lut"], said["bram18"], said["cycles"]) == (made.lut, made.bram18, made.cycles)
    cycles = json.loads((folder / "report/estimate_layer_cycles.json").read_text())
    assert cycles == {names[unit.name]: unit.cycles for unit in made.units}
    config = json.loads((folder / "auto_folding_config.json").read_text())
    assert apply_folding(graph, config, finn_plus=True) == graph
    assert json.loads((folder / "input.json").read_text())["datatype"] == "UINT8"


def test_every_onnx_file_is_valid_and_simulates_to_the_same_integers(finished: Path, tmp_path: Path) -> None:
    """A file's float scores are its integers times a float32 scale, and a float32 shift (docs/exactness.md)."""
    images = np.random.default_rng(0).integers(0, 241, (20, 1, 8, 8)).astype(np.uint8)
    np.save(tmp_path / "x.npy", images)
    np.save(tmp_path / "floats.npy", images.astype(np.float32))
    files = sorted((finished / "pruned").rglob("*.onnx"))
    assert len(files) == 6
    graphs, scores, sums = [read(path) for path in files], [], []
    for number, (path, graph) in enumerate(zip(files, graphs, strict=True)):
        onnx.checker.check_model(onnx.load(path))
        given, tap = "floats" if number % 2 else "x", class_sums(graph)[0]
        arguments = ["simulate", str(path), "--input", str(tmp_path / f"{given}.npy"), "--tap", tap]
        assert cli.run([*arguments, "--output", str(tmp_path / "y.npy")]) == 0
        scores.append(np.load(tmp_path / "y.npy"))
        sums.append(np.load(tmp_path / f"y.{tap}.npy"))
    affine = [class_sums(graph)[1:] for graph in graphs]
    rounding = [np.abs(scale * made) + np.abs(shift) for (scale, shift), made in zip(affine, sums, strict=True)]
    for graph, wanted, own in zip(graphs, sums, rounding, strict=True):
        assert np.array_equal(wanted, np.rint(wanted)) and len(np.unique(wanted)) > 5
        _, scale, shift = class_sums(graph)
        for made, its in zip(scores, rounding, strict=True):
            assert np.array_equal(sums_of_scores(graph, made), wanted), "each file's scores are every file's integers"
            assert np.array_equal(made.argmax(axis=1), wanted.argmax(axis=1)), "one scale for all classes"
            assert np.all(np.abs(made - scale * wanted - shift) <= 2.0**-23 * np.maximum(own, its))


def test_a_second_build_does_nothing(recipe: Path, finished: Path) -> None:
    before = contents(finished)
    with Run.open(finished, before["model.yaml"].decode()) as run:
        seconds = {name: stage["seconds"] for name, stage in run.manifest["stages"].items()}
    assert cli.run(["build", str(recipe), "--run", str(finished)]) == 0
    assert contents(finished) == before
    after = json.loads((finished / "manifest.json").read_text())["stages"]
    assert {name: after[name]["seconds"] for name in NAMES[:-1]} == {name: seconds[name] for name in NAMES[:-1]}


def rerun(recipe: Path, finished: Path, folder: Path, *changes: str) -> tuple[dict[str, Any], list[str]]:
    """The summary of a finished run that is built again, and the stages that ran."""
    shutil.copytree(finished, folder)
    given = [word for change in changes for word in ("-s", change)]
    assert cli.run(["build", str(recipe), "--run", str(folder), *given]) == 0
    summary = json.loads((folder / "summary.json").read_text())
    return summary, [row["name"] for row in summary["stages"] if not row["skipped"]]


def test_a_changed_target_trains_nothing_again(recipe: Path, finished: Path, tmp_path: Path) -> None:
    _, again = rerun(recipe, finished, tmp_path / "run", "target.fps=40000")
    assert again == ["schedule", "cost", "rtl", "faults", "speed"]  # the speed table holds the accelerator's estimate


def test_what_bears_the_runs_name_or_rate_is_made_anew(recipe: Path, finished: Path, tmp_path: Path) -> None:
    """Though the folded networks are the same."""
    before = json.loads((finished / "summary.json").read_text())
    summary, again = rerun(recipe, finished, tmp_path / "renamed", "name=another")
    assert again == ["cost", "rtl"]
    assert summary["rtl"]["base"]["top"] == "bnn_another_base"
    assert summary["comparison"]["run"] == "another"
    fps = before["target"]["fps"]
    summary, again = rerun(recipe, finished, tmp_path / "slower", f"target.fps={fps - 1}")
    assert "speed" in again
    assert f"{fps - 1:,.0f} images/s" in json.dumps(summary["speed"])


def test_what_a_run_says_is_not_older_than_what_it_holds(
    recipe: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Pruned otherwise by `flow prune`, a run has the figures of another network in its summary."""
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    assert cli.run(["prune", str(folder), "-s", "prune.amount=0.5", "-s", "prune.epochs=1"]) == 0
    capsys.readouterr()
    for command in ("show", "estimate"):
        assert cli.run([command, str(folder)]) == USER_INPUT
        said = capsys.readouterr().err
        assert "of this run" in said and "older than its prune" in said
    again = ["build", str(recipe), "--run", str(folder)]
    assert cli.run(again) == 0 and cli.run(["show", str(folder)]) == 0
    # A stage that is left out takes its part of the summary along.
    assert cli.run([*again, "-s", "prune.enabled=false", "--to", "export"]) == 0
    capsys.readouterr()
    assert cli.run(["show", str(folder)]) == USER_INPUT
    assert "older than its" in capsys.readouterr().err


def test_the_cost_model_that_chose_is_said_and_another_one_folds_anew(
    recipe: Path, finished: Path, tmp_path: Path
) -> None:
    before = json.loads((finished / "summary.json").read_text())
    after, again = rerun(recipe, finished, tmp_path / "run", "target.cost_model=exact")
    assert again[:2] == ["schedule", "cost"] and "train" not in again
    for summary, by, words in ((before, "bnnflow", "our own hardware"), (after, "exact", "FINN formulas")):
        found = summary["target"]["folded_by"]
        assert found.keys() == {"base", "pruned"}
        assert all(one["cost_model"] == by and one["why"] == "" for one in found.values())
        assert words in summary["sources"]["cost"]
    assert (found["base"].get("lut_error"), before["target"]["folded_by"]["base"]["lut_error"] > 0) == (None, True)
    assert before["networks"]["base"]["lut"] < after["networks"]["base"]["lut"]


def test_another_calibration_folds_anew(
    recipe: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = table("xc7")
    dearer = replace(usual, terms={name: 2 * weight for name, weight in usual.terms.items()})
    for module in (calibration, cost):
        monkeypatch.setattr(module, "table", lambda family: dearer)
    after, again = rerun(recipe, finished, tmp_path / "run")
    assert again[:2] == ["schedule", "cost"] and "train" not in again
    before = json.loads((finished / "summary.json").read_text())
    assert after["networks"]["base"]["lut"] > 1.2 * before["networks"]["base"]["lut"]


def test_stages_can_be_turned_off(recipe: Path, finished: Path, tmp_path: Path) -> None:
    """Without pruning, faults and speed the build ends well, and what earlier runs left of them goes."""

    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    off = [word for key in ("prune", "faults", "speed") for word in ("-s", f"{key}.enabled=false")]
    assert cli.run(["build", str(recipe), "--run", str(folder), *off]) == 0
    summary = json.loads((folder / "summary.json").read_text())
    assert list(summary["networks"]) == ["base"]
    assert summary["faults"] is None
    assert summary["speed"] is None
    assert not list((folder / "pruned").rglob("*.onnx"))
    assert cli.run(["show", str(folder)]) == 0
    assert cli.run(["build", str(recipe), "--run", str(folder)]) == 0
    assert contents(folder) == contents(finished)


def test_pruning_that_removes_nothing_says_so(
    recipe: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before any work where it is known; else first in what is printed."""

    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    before = contents(folder)
    assert cli.run(["build", str(recipe), "--run", str(folder), "-s", "prune.unit=16"]) == 2
    assert contents(folder) == before
    undone = ["-s", "prune.max_loss=0", "-s", "prune.amount=0.9", "-s", "prune.unit=1", "-s", "prune.epochs=0"]
    assert cli.run(["build", str(recipe), "--run", str(folder), *undone]) == 0
    assert json.loads((folder / "summary.json").read_text())["notes"]["pruned"][0].startswith("nothing was removed")
    capsys.readouterr()
    assert cli.run(["show", str(folder)]) == 0
    assert capsys.readouterr().out.startswith(
        "THE PRUNED NETWORK IS THE UNPRUNED ONE: nothing was removed: step 1 lost"
    )


def test_interrupted_stages_resume_to_the_same_files(
    recipe: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C within every stage, one a build: exit status 130 each time; the last build ends with the same bytes."""

    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    original, done = Run.stage, []

    def interrupted(self: Run, name: str, inputs: object, work: Callable[[], object], kind: type) -> object:
        def stopped() -> object:
            work()
            done.append(name)
            raise KeyboardInterrupt

        return original(self, name, inputs, work if name in done else stopped, kind)  # type: ignore[arg-type]

    arguments = ["build", str(recipe), "--run", str(folder)]
    with monkeypatch.context() as patch:
        patch.setattr(Run, "stage", interrupted)
        for stage in NAMES[1:]:
            assert cli.run([*arguments, "--from", stage]) == 130
            assert done[-1] == stage
    assert done == NAMES[1:]
    assert cli.run(arguments) == 0
    assert contents(folder) == contents(finished)


def test_killed_builds_resume_to_the_same_files(recipe: Path, finished: Path, tmp_path: Path) -> None:
    """kill -9 just before a file is moved into place; nothing is half-written, the next build goes on."""
    killed_and_resumed({4: "prune", 19: "report"}, recipe, finished, tmp_path)


@pytest.mark.slow
def test_a_build_killed_anywhere_resumes(recipe: Path, finished: Path, tmp_path: Path) -> None:
    killed_and_resumed(dict.fromkeys(range(1, 60, 3), "report"), recipe, finished, tmp_path)


def killed_and_resumed(moments: dict[int, str], recipe: Path, finished: Path, tmp_path: Path) -> None:
    """Builds that are killed at a moment, and go on to a stage."""
    folders = {moment: tmp_path / str(moment) / "run" for moment in moments}
    assert set(killed(recipe, folders)) <= {-9, 0}
    for moment, folder in folders.items():
        assert cli.run(["build", str(recipe), "--run", str(folder), "--to", moments[moment]]) == 0
        made = contents(folder)
        assert made.items() <= contents(finished).items() and "pruned/weights.pt" in made
        assert moments[moment] != "report" or made == contents(finished)
        assert not list(folder.rglob(".tmp-*"))


@pytest.mark.parametrize(
    ("stage", "file"),
    [
        ("train", "work/train.pt"),
        ("train", "base/weights.pt"),
        ("prune", "work/filters.pt"),
        ("export", "pruned/network.onnx"),
        ("lower", "pruned/intermediate_models/3_dataflow.txt"),
        ("report", "report.html"),
    ],
)
def test_a_full_disk_is_a_problem_and_the_build_goes_on_later(
    stage: str,
    file: str,
    recipe: Path,
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    golden: Callable[[str, str], None],
) -> None:
    """The disk is full just when `file` is written: status 2, a hint, and nothing half-written."""

    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    shutil.rmtree(folder / "work")
    arguments = ["build", str(recipe), "--run", str(folder)]
    replace = os.replace

    def full(source: str | Path, target: str | Path) -> None:
        if Path(target) == folder / file:
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        assert cli.run([*arguments, "--from", stage]) == 2
    golden(f"problems/disk_full_{file.replace('/', '_').replace('.', '_')}", capsys.readouterr().err.strip())
    assert cli.run([*arguments, "--to", stage]) == 0, "what lies behind the stage is as it was"
    assert contents(folder) == contents(finished)
    assert not list(folder.rglob("*.tmp")) + list(folder.rglob(".tmp-*"))


@pytest.mark.parametrize("seed", range(12))
def test_any_flipped_bit_of_a_graph_is_refused(
    seed: int, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The ONNX checker misses most of them; the run's sha256 misses none."""

    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    rng = np.random.default_rng(seed)
    path = folder / "base" / ["network.onnx", "intermediate_models/2_xnor.onnx"][seed % 2]
    damaged = bytearray(path.read_bytes())
    damaged[rng.integers(len(damaged))] ^= 1 << int(rng.integers(8))
    path.write_bytes(damaged)
    assert cli.run(["simulate", str(path), "--data", "digits"]) == 1
    assert "was changed or damaged" in capsys.readouterr().err
    assert cli.run(["show", str(folder)]) == 1


def test_a_wrong_graph_fails_verification_with_status_1(
    recipe: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A compiler that makes one threshold wrong is caught before anything is built on it."""
    from dataclasses import replace

    from bnnflow.transforms.ir.graph import Graph
    from bnnflow.transforms.ir.ops import Mvau
    from bnnflow.transforms.writing.write import write

    folder = tmp_path / "run"
    shutil.copytree(finished, folder)

    def wrong(graph: Graph) -> onnx.ModelProto:
        nodes = [
            replace(n, op=replace(n.op, bounds=n.op.bounds + 1)) if isinstance(n.op, Mvau) and n.op.has_bounds else n
            for n in graph.nodes
        ]
        return write(graph.with_nodes(tuple(nodes)))

    monkeypatch.setattr(context, "write", wrong)
    assert cli.run(["build", str(recipe), "--run", str(folder), "--from", "lower"]) == 1
    assert "verification failed" in capsys.readouterr().err


def test_commands_on_finished_runs(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = str(finished / "base" / "network.onnx")
    for arguments in (
        ["show", str(finished), "--json"],
        ["compare", str(finished), str(finished), "--json"],
        ["check", graph, "--json"],
        ["estimate", graph, "--fps", "1000", "--json"],
        ["faults", graph, "--rates", "0.01", "--maps", "2", "--images", "50", "--json"],
        ["speed", graph, "--images", "64", "--json"],
        ["simulate", graph, "--data", "digits", "--json"],
        ["schema"],
    ):
        capsys.readouterr()
        assert cli.run(arguments) == 0, arguments
        assert json.loads(capsys.readouterr().out), arguments
    for arguments in (["show", str(finished)], ["compare", str(finished)], ["check", graph], ["estimate", graph]):
        assert cli.run(arguments) == 0
        assert len(capsys.readouterr().out) > 100


def test_what_finn_plus_cannot_fold_is_said_and_stops_no_build(tmp_path: Path) -> None:
    """Its max pool reads windows, two cycles per image slower than ours: a rate that ours just reaches is too much."""
    recipe, run = tmp_path / "fast.yaml", tmp_path / "run"
    recipe.write_text(
        "data: {name: digits, train_images: 50, test_images: 10}\n"
        "model: {arch: cnn, channels: [64, 8], kernels: [1, 3], pools: [2, 1], hidden: [16]}\n"
        "train: {epochs: 0}\nprune: {enabled: false}\nfaults: {enabled: false}\nspeed: {enabled: false}\n"
        "target: {fps: 1250000, part: xczu9eg-ffvb1156-2-e}\n"
    )
    assert cli.run(["check", str(recipe)]) == 0
    assert cli.run(["build", str(recipe), "--run", str(run), "-s", "target.fps=1000"]) == 0
    assert (run / "base/finn/dataflow.onnx").is_file()
    assert cli.run(["build", str(recipe), "--run", str(run)]) == 0
    said = json.loads((run / "summary.json").read_text())["finn"]["base"]
    assert "82" in said["reason"], said
    assert not (run / "base/finn/dataflow.onnx").exists(), "nothing is left of another rate"
    assert "not written: " in (run / "report.html").read_text()

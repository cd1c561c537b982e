"""`flow sensitivity`, `flow prune` and the stage `prune` with allocation by sensitivity, on a small network."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bnnflow.flow.cli import app as cli
from bnnflow.flow.pruning.allocator import objective_of
from bnnflow.flow.pruning.graph_scores import Scored
from bnnflow.flow.pruning.held_out import HeldOut
from bnnflow.flow.pruning.sensitivity import Candidates, subsets
from bnnflow.flow.recipe import file as recipe_file
from bnnflow.flow.recipe.file import load_recipe
from bnnflow.flow.results.stages import SEEN, UNKNOWN, UNSEEN
from bnnflow.models.data.load import load_dataset
from bnnflow.models.files.saved import load_network, save_network
from bnnflow.models.networks.network import Network
from bnnflow.models.prune.allocation.greedy import Objective
from bnnflow.models.prune.groups import groups
from bnnflow.models.prune.surgery import remove
from bnnflow.models.prune.widths import highest
from bnnflow.models.training.evaluate import accuracy
from bnnflow.sim.inputs import image_inputs
from bnnflow.transforms.passes.accept import AcceptInput
from bnnflow.transforms.reading.read import read
from tests.flow.killed import killed
from tests.flow.stages.test_build import contents

Golden = Callable[[str, str], None]
RECIPE = """\
name: tiny
data: {name: digits, train_images: 600, test_images: 60}
model: {arch: cnn, channels: [16, 16], kernels: [3, 3], pools: [1, 2], hidden: [24]}
train: {epochs: 10, learning_rate: 0.01, threads: 1, validation: 0.3}
prune: {allocation: sensitivity, amount: 0.5, steps: 2, epochs: 1, images: 40, validation: 150, calibration: 100}
verify: {images: 6}
target: {fps: 20000}
faults: {enabled: false}
speed: {enabled: false}
"""


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def finished(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert cli.run(["build", str(recipe), "--run", str(folder)]) == 0
    return folder


def said(capsys: pytest.CaptureFixture[str], arguments: list[str], status: int = 0) -> str:
    capsys.readouterr()
    assert cli.run(arguments) == status, capsys.readouterr().err
    out = capsys.readouterr()
    return out.out if status == 0 else out.err


def found(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> dict[str, Any]:
    return dict(json.loads(said(capsys, [*arguments, "--json"])))


def test_allocation_halves_the_operations(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    base, pruned = summary["networks"]["base"], summary["networks"]["pruned"]
    assert pruned["binary_macs"] <= 0.5 * base["binary_macs"]
    steps = summary["pruning"]["steps"]
    assert [step["allocation"]["left"] <= goal for step, goal in zip(steps, (0.75, 0.5), strict=True)] == [True, True]
    # What was costed cheaply is what the last stage costs; only constant channels could make it less.
    for key in ("lut", "bram18", "cycles"):
        assert pruned[key] <= steps[-1]["allocation"]["cost"][key]
    curves = steps[0]["allocation"]["curves"]
    assert [row["group"] for row in curves] == ["conv0", "conv1", "dense0"]
    assert "curves" not in steps[1]["allocation"]
    page = (finished / "report.html").read_text()
    assert "Sensitivity: accuracy" in page
    assert page.count("<svg") >= 3


def test_residual_networks_are_allocated_by_groups(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Channels that joins link go together, and what was costed is what the smaller network costs."""
    text = RECIPE.replace("cnn, channels: [16, 16], kernels: [3, 3], pools: [1, 2], hidden: [24]", "resnet, depths: 1")
    text = text.replace("depths: 1", "channels: [16, 32], depths: [1, 1]").replace("epochs: 10", "epochs: 1")
    path = tmp_path / "residual.yaml"
    path.write_text(text)
    folder = tmp_path / "run"
    made = found(capsys, ["prune", str(path), "--run", str(folder), "--objective", "ops=1", "-s", "prune.epochs=0"])
    small = load_network(folder / "pruned/weights.pt")
    assert isinstance(small, Network)
    weights = {name: tuple(module.weight.shape[:2]) for name, module in small.weight_layers()}
    for group in (g for g in groups(small.spec) if g.name in made["kept"]):
        assert group.width == made["kept"][group.name]
        rows = {layer: len(group.rows(layer, np.arange(group.width))) for layer in group.layers}
        assert rows == {layer: weights[layer][0] for layer in group.layers}
    assert made["steps"][-1]["cost"]["ops"] <= 0.5 * made["unpruned"]["cost"]["ops"]
    assert any(len(group.layers) > 1 for group in groups(small.spec))
    assert made["unpruned"]["kept"] != made["kept"]


def test_killed_allocations_resume_to_the_same_files(recipe: Path, finished: Path, tmp_path: Path) -> None:
    """kill -9 just before a cell, a checkpoint or a network is moved into place."""
    folders = {moment: tmp_path / str(moment) / "run" for moment in (9, 16, 20)}
    assert killed(recipe, folders) == [-9, -9, -9]
    for folder in folders.values():
        assert cli.run(["build", str(recipe), "--run", str(folder), "--to", "prune"]) == 0
        made = contents(folder)
        assert made.items() <= contents(finished).items() and "pruned/weights.pt" in made


def test_a_table_is_that_of_torch(finished: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """The table by given scores, judged by removal and measuring in torch."""
    from bnnflow.models.training.batchnorm import reestimate

    scores = {"conv1": np.random.default_rng(2).random(16).tolist()}
    (tmp_path / "scores.json").write_text(json.dumps(scores))
    arguments = ["sensitivity", str(finished), "--scores", str(tmp_path / "scores.json"), "--images", "120"]
    made = found(capsys, [*arguments, "--store", str(tmp_path / "cells")])
    data = load_dataset("digits")
    out = HeldOut.of(load_recipe(finished / "model.yaml"), data.train_labels[:600])
    assert out.called == UNSEEN
    images, labels, calibration = subsets(data.train_images[:600], data.train_labels[:600], 120, 100, 0, out.images)
    network = load_network(finished / "base/weights.pt")
    (row,) = made["groups"]
    assert row["removed"] == [0, 8]
    for count, value in zip(row["removed"], row["accuracy"], strict=True):
        kept = highest(np.array(scores["conv1"]), len(scores["conv1"]) - count)
        small = remove(network, {"conv1": kept})  # type: ignore[arg-type]
        reestimate(small, calibration)
        assert value == accuracy(small, images, labels)


def test_a_qonnx_file_needs_no_torch(finished: Path, tmp_path: Path) -> None:
    data = load_dataset("digits")
    np.save(tmp_path / "x.npy", data.train_images[:400])
    np.save(tmp_path / "y.npy", data.train_labels[:400])
    script = (
        "import sys; from bnnflow.flow.cli import app as cli; status = cli.run(sys.argv[1:]); "
        "assert 'torch' not in sys.modules, 'torch'; raise SystemExit(status)"
    )
    arguments = ["sensitivity", str(finished / "base/network.onnx"), "--input", str(tmp_path / "x.npy")]
    arguments += ["--labels", str(tmp_path / "y.npy"), "--levels", "0.5", "--json"]
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert [(row["group"], row["removed"]) for row in made["groups"]] == [
        ("conv0", [0, 8]),
        ("conv1", [0, 8]),
        ("dense0", [0, 16]),
    ]
    assert made["accuracy"] > 0.5


def test_a_qonnx_file_is_scored_on_images_that_do_not_judge(finished: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its table is that of the same scores, on the images that are left."""
    data, path = load_dataset("digits"), finished / "base/network.onnx"
    arguments = ["sensitivity", str(path), "--data", "digits", "--levels", "0.5", "--images", "100"]
    made = found(capsys, [*arguments, "--calibration", "100", "--criterion", "entropy"])
    assert made["criterion"] == "entropy"
    graph = AcceptInput()(read(path)).graph
    order = np.random.default_rng([made["seed"], 43]).permutation(len(data.train_images))
    seen, left = order[:512], np.sort(order[512:])
    images = image_inputs(graph, data.train_images)
    scored = Scored(graph, images, data.train_labels, seen, 256).by("entropy", made["seed"])
    judged, truth, measured_on = subsets(images[left], data.train_labels[left], 100, 100, made["seed"])
    candidates = Candidates.of(graph, measured_on, judged, truth)
    for row in made["groups"]:
        scores = scored.scores[row["group"]]
        kept = highest(scores, len(scores) - row["removed"][1])
        assert row["accuracy"][1] == candidates({row["group"]: kept})


def test_table_plot_and_csv(finished: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    arguments = ["sensitivity", str(finished), "--levels", "0.5", "--csv", str(tmp_path / "t.csv")]
    text = said(capsys, [*arguments, "--plot", str(tmp_path / "t.png")])
    assert "conv0" in text
    assert (tmp_path / "t.csv").read_text().splitlines()[0] == "group,width,removed,accuracy,loss"
    assert (tmp_path / "t.png").read_bytes().startswith(b"\x89PNG")


def test_prune_undoes_what_loses_too_much(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    made = found(capsys, ["prune", str(folder), "--objective", "all", "--max-loss", "0", "--amount", "0.8"])
    *good, last = made["steps"]
    assert last["rolled_back"] and not any(step["rolled_back"] for step in good)
    assert "was undone" in made["stop"]
    network = load_network(folder / "pruned/weights.pt")
    widths = {layer.name: layer.outputs for layer in network.spec.layers()[:-1]}  # type: ignore[union-attr]
    assert widths == made["kept"] == (good[-1]["kept"] if good else made["unpruned"]["kept"])
    assert "undone" in said(capsys, ["prune", str(folder), "--objective", "all", "--max-loss", "0", "--amount", "0.8"])


def test_energy_may_be_an_objective_or_a_budget(
    finished: Path, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def objective(*changes: str) -> Objective:
        return objective_of(recipe_file.load_recipe(recipe, changes))

    everything = {"lut": 3, "bram18": 1, "cycles": 1, "energy": 1}
    assert objective("prune.objective={all: 1, lut: 2}").weights == everything
    assert objective("prune.budget.energy=5").budget == {"energy": 5}
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    whole = json.loads((folder / "summary.json").read_text())["networks"]["base"]
    made = found(capsys, ["prune", str(folder), "--objective", "energy", "--amount", "0.3", "--steps", "1"])
    cost = made["steps"][0]["cost"]
    assert made["steps"][0]["allocation"]["left"] == cost["energy"] / made["unpruned"]["cost"]["energy"] <= 0.7
    # What was costed with one shift per batch norm is what the whole compilation costs.
    assert made["unpruned"]["cost"]["energy"] == pytest.approx(whole["energy_nj"], rel=1e-12)


CASES = {
    "budget": (["prune", "RUN", "--budget", "lut=100"], 1),
    "part": (["prune", "RUN", "--objective", "luts=1"], 2),
    "criterion": (["prune", "RUN", "--criterion", "magic"], 2),
    "parts": (["prune", "RUN", "--budget", "lut"], 2),
    "few_validation": (["prune", "RUN", "-s", "prune.validation=5"], 2),
    "few_images": (["prune", "RUN", "-s", "prune.images=9"], 2),
    "nan": (["build", "nan.yaml", "--run", "nan", "--to", "prune"], 2),
    "no_run": (["prune", "."], 2),
    "sensitivity_subset": (["sensitivity", "RUN", "--images", "9"], 2),
    "sensitivity_images": (["sensitivity", "RUN", "--images", "300"], 2),
    "sensitivity_levels": (["sensitivity", "RUN", "--levels", "half"], 2),
    "sensitivity_level": (["sensitivity", "ONNX", "--data", "digits", "--levels", "1.5"], 2),
    "sensitivity_no_images": (["sensitivity", "ONNX"], 2),
    "sensitivity_criterion": (["sensitivity", "ONNX", "--data", "digits", "--criterion", "flips"], 2),
    "sensitivity_group": (["sensitivity", "RUN", "--scores", "last.json"], 2),
    "sensitivity_nan": (["sensitivity", "RUN", "--scores", "nan.json"], 2),
    "sensitivity_level_of_graph": (["sensitivity", "LATE", "--data", "digits"], 2),
    "sensitivity_plot": (["sensitivity", "RUN", "--levels", "0.5", "--plot", "x.txt"], 2),
    "sensitivity_untrained": (["sensitivity", "r.yaml"], 2),
}


@pytest.mark.parametrize("name", CASES)
def test_bad_input(
    name: str,
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    golden: Golden,
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(finished, "run")
    Path("r.yaml").write_text(RECIPE.replace("tiny", "other"))
    damaged = load_network(Path("run/base/weights.pt"))
    with torch.no_grad():
        damaged.layers["norm1"].weight[3] = torch.nan  # type: ignore[index, union-attr]
    save_network(damaged, Path("nan.pt"))
    changed = [("{arch: cnn, channels: [16, 16], kernels: [3, 3], pools: [1, 2], hidden: [24]}", "{trained: nan.pt}")]
    changed += [("epochs: 10, learning_rate: 0.01, ", ""), ("allocation: sensitivity, ", "")]
    changed += [(", validation: 150, calibration: 100", "")]
    text = RECIPE
    for old, new in changed:
        assert old in text
        text = text.replace(old, new)
    Path("nan.yaml").write_text(text)
    Path("last.json").write_text(json.dumps({"dense1": [0.0] * 10}))
    Path("nan.json").write_text('{"conv1": [NaN' + ", 1" * 15 + "]}")
    places = {"RUN": "run", "ONNX": "run/base/network.onnx", "LATE": "run/base/intermediate_models/2_xnor.onnx"}
    arguments, status = CASES[name]
    text = said(capsys, [places.get(word, word) for word in arguments], status)
    golden(f"problems/prune_{name}", text)


def test_what_training_held_out_stays_that_of_the_run(finished: Path, tmp_path: Path) -> None:
    """A limit of loss that comes later does not train the network anew; a recipe that has one holds images out."""
    from bnnflow.flow.commands.trained_runs import opened
    from bnnflow.flow.recipe.objects import held_out_share

    own = held_out_share(load_recipe(finished / "model.yaml"))
    for changes in (["prune.max_loss=1"], ["prune.allocation=uniform"], ["prune.enabled=false"]):
        assert held_out_share(opened(finished, None, changes).recipe) == own
    path = tmp_path / "model.yaml"
    for section, share in (
        ("prune: {max_loss: 1}", 0.1),
        ("prune: {allocation: sensitivity}", 0.1),
        ("prune: {max_loss: 1, enabled: false}", 0.0),
        ("prune: {amount: 0.5}", 0.0),
        ("prune: {max_loss: 1}\ntrain: {validation: 0}", 0.0),
        ("prune: {max_loss: 1}\ntrain: {validation: 0.2}", 0.2),
    ):
        path.write_text(f"data: {{name: digits}}\nmodel: {{arch: tfc}}\n{section}\n")
        assert held_out_share(load_recipe(path)) == share, section


def test_a_seed_of_pruning_judges_on_what_the_run_held_out(finished: Path) -> None:
    """The images that training never saw are a fact of the run: of other images none is known to be unseen."""
    from bnnflow.flow.commands.trained_runs import opened

    made = opened(finished, None, ["seed=5"])
    assert made.recipe.seed == 5
    own = HeldOut.of(load_recipe(finished / "model.yaml"), load_dataset("digits").train_labels[:600])
    assert np.array_equal(made.build.held_out.images, own.images)
    made = opened(finished, None, ["data.train_images=500"])
    assert made.build.held_out.called == SEEN
    made = opened(finished, None, ["data.test_images=30"])
    assert made.build.held_out.called == UNSEEN


@pytest.mark.parametrize(
    ("section", "called"),
    [
        ("model: {arch: tfc}\ntrain: {validation: 0.2}", UNSEEN),
        ("model: {arch: tfc}", SEEN),
        ("model: {arch: tfc}\ntrain: {validation: 0.2, epochs: 0}", UNKNOWN),
        ("model: {trained: tfc-mnist}\ntrain: {validation: 0.2}", UNKNOWN),
        ("model: {trained: tfc-mnist}\ntrain: {validation: 0.2, epochs: 3}", UNKNOWN),
    ],
)
def test_what_given_weights_know_is_not_said_to_be_unseen(section: str, called: str, tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_text(f"data: {{name: digits}}\n{section}\n")
    assert HeldOut.of(load_recipe(path), np.arange(100) % 10).called == called


@pytest.mark.parametrize(
    ("change", "stage"),
    [
        ("seed=5", "train"),
        ("train.epochs=2", "train"),
        ("fault_training.weights=0.1", "train"),
        ("data.train_images=500", "data"),
    ],
)
def test_pruning_a_run_never_trains_its_network_anew(
    finished: Path, capsys: pytest.CaptureFixture[str], change: str, stage: str
) -> None:
    before = contents(finished)
    told = said(capsys, ["prune", str(finished), "-s", change], 2)
    assert f"the stage '{stage}' would be done anew" in told and "of its own" in told
    after = contents(finished)
    assert after["base/weights.pt"] == before["base/weights.pt"] and after["model.yaml"] == before["model.yaml"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--amount", "0", "--allocation", "uniform"], "prune.amount is 0"),
        (["--unit", "64", "--allocation", "uniform"], "prune.unit 64"),
        (["--budget", "cycles=100000"], "meets the budget"),
    ],
)
def test_a_folder_of_its_own_is_checked_as_a_build_is(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    assert words in said(capsys, ["prune", str(finished), "-o", str(tmp_path / "out"), *options], 2)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("objective", "status", "words"),
    [("ops", 2, "such as lut"), ("lut", 0, ""), ("weight_bits", 0, "")],
)
def test_networks_without_binary_products_are_allocated_by_what_they_have(
    objective: str, status: int, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "two_bits.yaml"
    text = RECIPE.replace("hidden: [24]}", "hidden: [24], weight_bits: 2}").replace("epochs: 10", "epochs: 1")
    path.write_text(text.replace("steps: 2, epochs: 1", f"steps: 1, epochs: 0, objective: {{{objective}: 1}}"))
    made = said(capsys, ["prune", str(path), "--run", str(tmp_path / "run")], status)
    assert words in made


def test_an_amount_out_of_reach_is_said(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["-o", str(tmp_path / "out"), "--amount", "0.9", "--unit", "8", "--steps", "1", "--epochs", "0"]
    assert "ended: no group can lose more: " in said(capsys, ["prune", str(finished), *options])


def test_likelihood_has_a_unit_where_all_images_are_right(finished: Path) -> None:
    from bnnflow.flow.pruning.sensitivity import Candidates
    from bnnflow.models.data.load import load_dataset
    from bnnflow.transforms.reading.read import read

    digits = load_dataset("digits")
    images, graph = digits.train_images[:100], read(finished / "base" / "network.onnx")
    plain = Candidates.of(graph, digits.train_images[150:300], images, digits.train_labels[:100])
    answers = plain._simulator({}).classes(images)
    right = Candidates.of(graph, digits.train_images[150:300], images, answers).by_likelihood()
    assert right({}) < 0.9999 and right.unit > plain._simulator({}).scores(images).std() / 100


def test_likelihood_falls_where_accuracy_stands(finished: Path) -> None:
    """Against scipy's softmax on scores of the whole network, in the unit that makes them most likely."""
    from scipy.special import softmax

    from bnnflow.flow.pruning.sensitivity import Candidates
    from bnnflow.models.data.load import load_dataset
    from bnnflow.sim.engine.simulator import Simulator
    from bnnflow.transforms.passes.compile import stages
    from bnnflow.transforms.reading.read import read

    digits = load_dataset("digits")
    images, labels = digits.train_images[:150], digits.train_labels[:150]
    graph = read(finished / "base" / "network.onnx")
    candidates = Candidates.of(graph, digits.train_images[150:300], images, labels).by_likelihood()
    assert candidates.measure == "likelihood"
    lowered = next(one.graph for one in stages(candidates.graph) if one.level == "xnor")
    scores = Simulator.of(lowered).scores(images)

    def likelihood(unit: float) -> float:
        return float(np.exp(np.log(softmax(scores / unit, axis=1)[np.arange(150), labels]).mean()))

    assert candidates({}) == pytest.approx(likelihood(candidates.unit), rel=1e-9)
    assert all(candidates({}) >= likelihood(candidates.unit * factor) for factor in (0.5, 2.0))
    name, group = next(iter(candidates.groups.items()))
    assert candidates({name: np.arange(group.width // 2)}) < candidates({})

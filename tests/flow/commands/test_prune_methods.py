"""`flow prune --method` and `flow sensitivity --method`, from a run folder to a network that simulates."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bnnflow.flow.cli import app as cli
from bnnflow.flow.recipe.file import load_recipe
from bnnflow.flow.recipe.objects import dataset
from bnnflow.models.data.load import load_dataset as load_data
from bnnflow.models.files.saved import load_network
from bnnflow.models.training.evaluate import accuracy, predict
from bnnflow.sim.verify import class_sums, images_with_float_ties, sums_of_scores
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.reading.read import read

RECIPE = """
data: {name: digits, train_images: 400, test_images: 100}
model: {arch: cnn, channels: [8, 8], pools: [1, 2], hidden: [16], input: planes}
train: {epochs: 4, learning_rate: 0.01, batch: 50, threads: 1}
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("finer")
    return trained(folder, RECIPE)


def trained(folder: Path, recipe: str) -> Path:
    (folder / "model.yaml").write_text(recipe)
    assert cli.run(["build", str(folder / "model.yaml"), "--run", str(folder / "run"), "--to", "train", "--json"]) == 0
    return folder / "run"


def found(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:  # type: ignore[type-arg]
    """What a command prints with --json."""
    capsys.readouterr()
    assert cli.run([*arguments, "--json"]) == 0
    made: dict = json.loads(capsys.readouterr().out)  # type: ignore[type-arg]
    return made


def exact(capsys: pytest.CaptureFixture[str], made: dict[str, Any], folder: Path) -> None:
    """What a command says is what it wrote: in torch, and compiled on the same test images.

    The class of an image that ties may be another in float32 than in integers; the integers may not, but where the
    compiler says that float32 rounds a quantizer's input to the other side.
    """
    network, data = load_network(folder / "weights.pt"), load_data("digits")
    images, labels = data.test_images[:100], data.test_labels[:100]
    assert accuracy(network, images, labels) == made["accuracy"]
    levels = stages(read(folder / "network.onnx"))
    sure = ~images_with_float_ties(levels[0].graph, [each for level in levels for each in level.float_ties], images)
    assert cli.run(["compile", str(folder / "network.onnx"), "-o", str(folder / "compiled"), "--check"]) == 0
    last = folder / "compiled" / "3_dataflow.onnx"
    tap = class_sums(read(last))[0]
    arguments = ["--data", "digits", "--images", "100", "--tap", tap, "--output", str(folder / "y.npy")]
    said = found(capsys, "simulate", str(last), *arguments)["accuracy"]
    sums = np.load(folder / f"y.{tap}.npy")
    assert sure.any() and np.array_equal(sums_of_scores(read(last), predict(network, images))[sure], sums[sure])
    assert said == np.mean(np.load(folder / "y.npy").argmax(axis=1) == labels)
    assert np.array_equal(sums_of_scores(read(last), np.load(folder / "y.npy")), sums)


def test_planes_are_dropped_and_the_rest_compiles(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    arguments = ("prune", str(run), "--method", "planes", "--drop", "4", "--epochs", "1")
    made = found(capsys, *arguments, "-o", str(tmp_path / "p"))
    assert made["kept"] == {"planes": 4}
    assert made["first_layer_weights"] == [8 * 8 * 9, 4 * 8 * 9]
    exact(capsys, made, tmp_path / "p")
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    assert cli.run(["sensitivity", str(run), "--method", "planes", "--draws", "1"]) == 0
    shown = capsys.readouterr().out
    assert "7 (bit of 1)" in shown and "no fine-tuning" in shown
    rows = found(capsys, "sensitivity", str(run), "--method", "planes", "--draws", "2")["planes"]
    assert [row["value"] for row in rows] == [128, 64, 32, 16, 8, 4, 2, 1]


def built(capsys: pytest.CaptureFixture[str], tmp_path: Path, network: Path) -> None:
    """Build from a QONNX file: torch, onnxruntime, qonnx and every level agree bit for bit, or the build fails."""
    recipe = f"data: {{name: digits, test_images: 40}}\nmodel: {{onnx: {network}}}\nverify: {{images: 6}}\n"
    (tmp_path / "from.yaml").write_text(recipe)
    facts = found(capsys, "build", str(tmp_path / "from.yaml"), "--run", str(tmp_path / "from"), "--to", "verify")
    assert all(row["differences"] == 0 for row in facts["base"]["stages"])
    assert {"onnxruntime on QONNX", "qonnx on xnor"} <= {row["stage"] for row in facts["base"]["stages"]}


def test_masked_synapses_are_exact_and_cost_less_unrolled(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("prune", str(run), "--method", "synapses", "--share", "0.6", "--steps", "2", "--epochs", "1")
    made = found(capsys, *arguments, "-o", str(tmp_path / "s"))
    network = tmp_path / "s" / "network.onnx"
    assert sum(made["steps"][-1]["kept"].values()) == pytest.approx(0.4 * sum(made["whole"].values()), abs=4)
    exact(capsys, made, tmp_path / "s")
    built(capsys, tmp_path, network)
    cost = found(capsys, "estimate", str(network), "--unrolled", "--fps", "1000")
    layers = cost["unrolled"]["layers"]
    assert [layer["synapses"] for layer in layers] == list(made["steps"][-1]["kept"].values())
    assert all(layer["lut"] < 0.6 * layer["dense_lut"] for layer in layers[:-1])
    assert cli.run(["estimate", str(network), "--unrolled", "--fps", "1000"]) == 0
    assert "fitted to synthesis" in capsys.readouterr().out


def test_assigned_weights_are_exact(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("prune", str(run), "--method", "ecqx", "-o", str(tmp_path / "e"))
    made = found(capsys, *arguments, "--bits", "3", "--relevance", "lrp", "--epochs", "1")
    network = tmp_path / "e" / "network.onnx"
    exact(capsys, made, tmp_path / "e")
    built(capsys, tmp_path, network)
    assert all(row["entropy_bits"] < row["plain_bits"] for row in made["after"].values())
    assert cli.run([*arguments, "--epochs", "0"]) == 0
    assert "times less than float32" in capsys.readouterr().out


def test_masks_leave_a_smaller_network(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ("prune", str(run), "--method", "masks", "-o", str(tmp_path / "m"))
    made = found(capsys, *arguments, "--strength", "8", "--mask-rate", "0.02", "--epochs", "1")
    whole = load_network(run / "base" / "weights.pt")
    assert made["steps"][0]["macs"] < whole.spec.macs()  # type: ignore[union-attr]
    assert {name: len(left) for name, left in made["steps"][0]["filters"].items()} == made["kept"]
    exact(capsys, made, tmp_path / "m")
    assert cli.run([*arguments, "--grow", "1.5", "--mask-epochs", "1", "--epochs", "0"]) == 0
    assert "conv0 8 to " in capsys.readouterr().out


def test_filters_and_a_pruned_network_go_to_a_folder_of_their_own(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twice: of the run's network, and of its pruned one, which the command on the run alone leaves there."""
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    arguments = ("--amount", "0.5", "--steps", "1", "--epochs", "0", "-s", "prune.unit=2")
    of_stage = found(capsys, "prune", str(copy), *arguments)
    made = found(capsys, "prune", str(run), *arguments, "-o", str(tmp_path / "f"))
    assert made["kept"] == of_stage["kept"] == {"conv0": 4, "conv1": 4, "dense0": 8}
    assert load_network(tmp_path / "f" / "weights.pt").spec == load_network(copy / "pruned" / "weights.pt").spec
    exact(capsys, made, tmp_path / "f")
    again = found(capsys, "prune", str(copy), "--network", "pruned", *arguments, "-o", str(tmp_path / "g"))
    assert again["kept"] == {"conv0": 2, "conv1": 2, "dense0": 4}


def test_bop_leaves_no_latent_weights_to_rank_by(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], golden: Callable[[str, str], None]
) -> None:
    (tmp_path / "bop.yaml").write_text(RECIPE.replace("epochs: 4", "epochs: 1, optimizer: bop, flip_window: 1"))
    run = str(tmp_path / "run")
    assert cli.run(["build", str(tmp_path / "bop.yaml"), "--run", run, "--to", "train", "--json"]) == 0
    prune = ["prune", run, "-o", str(tmp_path / "o"), "--method"]
    for name, arguments in {
        "synapses_latent": [*prune, "synapses"],
        "ecqx_latent": [*prune, "ecqx", "--relevance", "lrp"],
        "rank_latent": ["rank", run, "--criterion", "latent"],
        "sensitivity_latent": ["sensitivity", run, "--criterion", "latent", "--images", "50", "--calibration", "50"],
        "synapses_criterion": [*prune, "synapses", "--criterion", "magic"],
        "ecqx_relevance": [*prune, "ecqx", "--relevance", "magic"],
        "no_setting": [*prune, "ecqx", "--drop", "3"],
        "no_method": [*prune, "plane"],
    }.items():
        capsys.readouterr()
        assert cli.run(arguments) == 2
        golden(f"problems/finer_{name}", capsys.readouterr().err)
    made = found(capsys, *prune, "synapses", "--criterion", "flips-step", "--steps", "1", "--epochs", "0")
    assert made["criterion"] == "flips-step" and len(made["steps"]) == 1


def test_units_are_shown_and_dropped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], golden: Callable[[str, str], None]
) -> None:
    model = "{arch: resnet, channels: [4, 8], depths: [2, 1], padding: 0}"
    lines = [f"model: {model}" if line.startswith("model") else line for line in RECIPE.splitlines()]
    run = str(trained(tmp_path, "\n".join(lines)))
    capsys.readouterr()
    assert cli.run(["sensitivity", run, "--method", "blocks"]) == 0
    shown = capsys.readouterr().out
    # Accuracies are this training's; 5.00% and 100.00% are of another width.
    shown = re.sub(r"\d+\.\d\d%( +│)", lambda cell: "xx.xx%".ljust(len(cell[0]) - 1) + "│", shown)
    golden("blocks_shown", re.sub(r"\d+\.\d\d%", "xx.xx%", shown))
    rows = found(capsys, "sensitivity", run, "--method", "blocks")
    assert [row["name"] for row in rows["blocks"]] == ["block0", "block1", "block2", "block4"]
    arguments = ["prune", run, "--method", "blocks", "-o", str(tmp_path / "b")]
    made = found(capsys, *arguments, "--drop", "2", "--epochs", "1")
    assert (len(made["dropped"]), made["kept"]) == (2, {"blocks": 3})
    less = sum(row["macs"] for row in rows["blocks"] if row["name"] in made["dropped"])
    assert rows["macs"][0] - made["steps"][-1]["macs"] == less > 0
    written, digits = load_network(tmp_path / "b" / "weights.pt"), dataset(load_recipe(tmp_path / "model.yaml"))
    assert accuracy(written, digits.test_images, digits.test_labels) == made["accuracy"]
    built(capsys, tmp_path, tmp_path / "b" / "network.onnx")
    arguments[-1] = str(tmp_path / "c")
    assert cli.run([*arguments, "--max-loss", "0", "--epochs", "0"]) == 0
    shown = capsys.readouterr().out
    least = found(capsys, *arguments, "--max-loss", "0", "--epochs", "0")
    assert f"dropped {', '.join(least['dropped']) or 'none'}\n" in shown
    assert ("undone" in shown) == least["steps"][-1]["rolled_back"]
    assert cli.run([*arguments, "--drop", "5"]) == 2
    assert "5 residual units, of which 4 can go\n  at: -s prune.blocks.drop=5" in capsys.readouterr().err


def test_no_run_folder_and_two_goals_are_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    to, planes = ["-o", str(tmp_path / "o")], ["--method", "planes"]
    for arguments, said in (
        (["prune", str(tmp_path), *planes, "--drop", "1", *to], "not a run folder"),
        (["prune", str(run), "--network", "pruned", *planes, "--drop", "1", *to], "no network 'pruned'"),
        (["prune", str(run), *planes, "--drop", "2", "--max-loss", "1"], "prune.max_loss says it, too"),
        (["prune", str(run), *planes, *to], "nothing says how many planes"),
        (["prune", str(run), "--method", "blocks", "--drop", "1", *to], "no units to drop"),
        (["sensitivity", str(run), "--method", "blocks"], "no units to drop"),
        (["sensitivity", str(run), "--method", "masks"], "'masks' is not allowed"),
        (["prune", str(run), "--method", "synapses", "--criterion", "flips", *to], "not counted in training"),
        (["prune", str(run), *planes, "--drop", "1", "-o", str(run / "base")], "base/weights.pt"),
    ):
        assert cli.run(arguments) == 2
        assert said in capsys.readouterr().err, arguments

"""Packing a run, starting from packed weights, and the search for a format of momenta, as a user calls them."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bnnflow.flow.cli import app as cli

Golden = Callable[[str, str], None]
RECIPE = """\
data: {name: digits, train_images: 300, test_images: 60}
model: {arch: mlp, hidden: [16, 16]}
train: {epochs: 2, batch: 50, threads: 1, device: cpu}
prune: {enabled: false}
faults: {enabled: false}
speed: {enabled: false}
verify: {images: 6}
"""


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def ran(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> str:
    capsys.readouterr()
    assert cli.run(list(arguments)) == status, capsys.readouterr().err
    said = capsys.readouterr()
    return said.err if status else said.out


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs in `run`, packed into `net.bnn`."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("packed")
    (folder / "net.yaml").write_text(RECIPE)
    path, run, said = folder / "net.bnn", str(folder / "run"), io.StringIO()
    assert cli.run(["build", str(folder / "net.yaml"), "--run", run, "--to", "export"]) == 0
    with contextlib.redirect_stdout(said):
        assert cli.run(["pack", run, "-o", str(path), "--machine", "a machine", "--json"]) == 0
    found = json.loads(said.getvalue())
    assert found["bytes"] == path.stat().st_size and found["epochs"] == 2 and found["machine"] == "a machine"
    assert found["test_images"] == 60 and found["network"] == "base" and 0 <= found["accuracy"] <= 1
    return folder


@pytest.fixture
def packed(made: Path, tmp_path: Path) -> Path:
    """The same in the test's folder; `start.yaml` starts from it."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    path = tmp_path / "net.bnn"
    text = RECIPE.replace("{arch: mlp, hidden: [16, 16]}", f"{{trained: {path}}}").replace("epochs: 2, ", "")
    (tmp_path / "start.yaml").write_text(text)
    return path


def test_a_build_starts_from_packed_weights(packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, recipe = tmp_path / "second", str(tmp_path / "start.yaml")
    assert '"compiles": true' in ran(capsys, "check", recipe, "--json")
    facts = json.loads(ran(capsys, "build", recipe, "--run", str(run), "--to", "verify", "--json"))
    assert all(row["differences"] == 0 for row in facts["base"]["stages"])
    first = (tmp_path / "run/base/network.onnx").read_bytes()
    assert (run / "base/network.onnx").read_bytes() == first
    trained = json.loads((run / "manifest.json").read_text())["stages"]["train"]["facts"]
    assert trained["history"] == [] and trained["accuracy_before_reestimation"] == trained["accuracy"]
    assert "up to date" in ran(capsys, "build", recipe, "--run", str(run), "--to", "export")
    ran(capsys, "build", recipe, "--run", str(tmp_path / "more"), "--to", "train", "-s", "train.epochs=1")
    assert len(json.loads((tmp_path / "more/manifest.json").read_text())["stages"]["train"]["facts"]["history"]) == 1
    again = f"model.trained={tmp_path / 'more/base/weights.pt'}"
    report = ran(capsys, "build", recipe, "--run", str(tmp_path / "third"), "-s", again)
    assert "of trained weights as they are" in report


def test_packed_weights_can_be_pruned(packed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    changes = ("prune.enabled=true", "prune.epochs=1", "prune.images=20", "prune.amount=0.5")
    options = [word for change in changes for word in ("-s", change)]
    run = str(tmp_path / "pruned")
    ran(capsys, "build", str(tmp_path / "start.yaml"), "--run", run, "--to", "prune", *options)
    said = json.loads(ran(capsys, "pack", run, "--network", "pruned", "-o", str(tmp_path / "p.bnn"), "--json"))
    assert said["spec"]["hidden"] == [8, 8] and "net.bnn" in said["recipe"] and str(tmp_path) not in said["recipe"]


def test_packed_weights_have_no_latent_values(
    packed: Path, tmp_path: Path, golden: Golden, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, latent = str(tmp_path / "start.yaml"), ["-s", "prune.enabled=true", "-s", "prune.criterion=latent"]
    golden("problems/trained_latent", ran(capsys, "check", recipe, *latent, status=2))
    ran(capsys, "check", recipe, *latent, "-s", "train.epochs=1", "-s", "prune.unit=4")
    run = str(tmp_path / "again")
    ran(capsys, "build", recipe, "--run", run, "--to", "train")
    assert "no latent values" in ran(capsys, "rank", run, "--criterion", "latent", status=2)
    for method in ("synapses", "ecqx"):
        arguments = ("prune", run, "--method", method, "-o", str(tmp_path / "o"))
        assert "no latent values" in ran(capsys, *arguments, status=2)


def test_what_cannot_be_packed_or_started_from(
    packed: Path, tmp_path: Path, golden: Golden, capsys: pytest.CaptureFixture[str]
) -> None:
    run, recipe = str(tmp_path / "run"), str(tmp_path / "start.yaml")
    golden("problems/pack_exists", ran(capsys, "pack", run, "-o", str(packed), status=2))
    golden("problems/pack_ending", ran(capsys, "pack", run, "-o", str(tmp_path / "net.npz"), status=2))
    golden("problems/pack_not_pruned", ran(capsys, "pack", run, "--network", "pruned", status=2))
    golden("problems/pack_no_run", ran(capsys, "pack", recipe, status=2))
    golden("problems/trained_ensemble", ran(capsys, "check", recipe, "-s", "ensemble.members=3", status=2))
    golden(
        "problems/trained_other_data", ran(capsys, "check", other(tmp_path), "-s", f"model.trained={packed}", status=2)
    )
    golden("problems/trained_name", ran(capsys, "check", recipe, "-s", "model.trained=tfc_mnist", status=2))
    golden("problems/trained_and_arch", ran(capsys, "check", recipe, "-s", "model.arch=tfc", status=2))
    packed.write_bytes(packed.read_bytes()[:-1])
    golden("problems/trained_damaged", ran(capsys, "check", recipe, "-s", f"model.trained={packed}", status=2))


def other(tmp_path: Path) -> str:
    """A recipe on images of 9x9."""
    import numpy as np

    images, labels = np.zeros((20, 1, 9, 9), np.uint8), np.arange(20) % 10
    np.savez(tmp_path / "i.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    path = tmp_path / "other.yaml"
    path.write_text(f"data: {{name: npz, dir: {tmp_path / 'i.npz'}}}\nmodel: {{trained: tfc-mnist}}\n")
    return str(path)


def test_trained_networks_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["name"]: row for row in json.loads(ran(capsys, "models", "--json"))["trained"]}
    assert rows["tfc-mnist"]["data"] == "mnist" and rows["tfc-mnist"]["accuracy"] > 0.925
    assert "tfc-mnist" in ran(capsys, "models")


def test_the_cheapest_format_is_found(tmp_path: Path, golden: Golden, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "bop.yaml"
    path.write_text(RECIPE.replace("epochs: 2", "epochs: 2, optimizer: bop, bop_rate: 0.01"))
    arguments = ("formats", str(path), "--exponents", "5,3", "--mantissas", "7,2")
    found = json.loads(ran(capsys, *arguments, "--tolerance", "1", "--json"))
    assert found["cheapest"] == "e3m2" and found["images"] == 30
    rows = {row["format"]: row for row in found["rows"]}
    assert [rows[name]["bits"] for name in rows] == [32, 13, 8, 11, 6]
    assert rows["float32"]["lost_updates"] < rows["e5m7"]["lost_updates"] < rows["e5m2"]["lost_updates"]
    assert rows["float32"]["flips"] > 0
    assert "e3m2" in ran(capsys, *arguments, "--tolerance", "1")
    ran(capsys, *arguments, "--lost", "0.00001", status=1)
    golden("problems/formats_adam", ran(capsys, *arguments, "-s", "train.optimizer=adam", status=2))
    golden("problems/formats_bits", ran(capsys, "formats", str(path), "--exponents", "5,9", status=2))
    golden("problems/formats_text", ran(capsys, "formats", str(path), "--exponents", "five", status=2))

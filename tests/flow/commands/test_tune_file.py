"""`flow prune NET.onnx --epochs`: anyone's network, trained again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bnnflow import CHECK_FAILED, Problem
from bnnflow.flow.cli import app as cli
from bnnflow.flow.commands.prune_file import FilePruning, prune_file
from bnnflow.flow.commands.simulation import Images
from bnnflow.models.data.load import load_dataset
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.sim.norms import graph_norms
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.reading.read import read

from .answer import answer

Golden = Callable[[str, str], None]
DIGITS = ["--data", "digits", "--images", "60", "--calibration", "100", "--unit", "2", "--amount", "0.5"]
TRAINED = [*DIGITS, "--epochs", "2", "--learning-rate", "0.01"]


@pytest.mark.parametrize("level", ["network", "3_dataflow"])
def test_what_is_written_is_what_was_judged(
    level: str, network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = network
    if level != "network":
        assert cli.run(["compile", str(network), "-o", str(tmp_path)]) == 0
        source = tmp_path / f"{level}.onnx"
    output = tmp_path / "smaller.onnx"
    found = answer(capsys, "prune", source, *TRAINED, "--criterion", "deeplift", "-o", output)
    tuning = found["tuning"]
    assert isinstance(tuning, dict)
    assert found["criterion"] == "deeplift:absmean"
    assert tuning["images"] == 1437 and found["judged"] == 360 and tuning["labels"] == "given"
    assert len(tuning["loss"]) == len(tuning["accuracy"]) == 2 and tuning["compared"] == 100
    # The same cut, without training, is what it began with.
    plain = answer(capsys, "prune", source, *DIGITS, "--criterion", "deeplift", "-o", tmp_path / "plain.onnx")
    assert plain["tuning"] is None and plain["after"] == tuning["untrained"]
    assert plain["kept"] == found["kept"] and plain["weights_after"] == found["weights_after"]
    graph = read(output)
    assert bool(graph_norms(graph)) == (level == "network")
    digits = load_dataset("digits")
    lowered = next(stage.graph for stage in stages(graph) if stage.level == "xnor")
    right = np.mean(Simulator.of(lowered).classes(digits.test_images) == digits.test_labels)
    assert found["after"]["accuracy"] == right
    if level == "network":
        answer(capsys, "prune", source, *TRAINED, "--criterion", "deeplift", "-o", tmp_path / "again.onnx")
        assert (tmp_path / "again.onnx").read_bytes() == output.read_bytes()


def test_images_without_labels_learn_from_the_whole_network(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "x.npy", load_dataset("digits").train_images[:200])
    words = [network, "--input", tmp_path / "x.npy", "--unit", 2, "--amount", 0.5, "--epochs", 1, "--distill", 1]
    found = answer(capsys, "prune", *words, "-o", tmp_path / "o.onnx")
    tuning = found["tuning"]
    assert isinstance(tuning, dict)
    assert tuning["labels"] == "whole network" and tuning["images"] == found["judged"] == 100
    assert tuning["untrained"]["accuracy"] is None
    assert cli.run(["prune", *map(str, words), "-o", str(tmp_path / "o.onnx")]) == 0
    said = capsys.readouterr().out
    assert "by the answers of the whole network" in said and "no training" not in said


@pytest.mark.parametrize(
    ("arguments", "name", "status"),
    [
        (["--batch", "10"], "batch", 2),
        (["--epochs", "0", "--distill", "0.5"], "distill", 2),
        (["--epochs", "2", "--steps", "3"], "steps", 2),
        (["--epochs", "2", "--criterion", "flips-step"], "criterion", 2),
        (["--epochs", "2", "--learning-rate", "7"], "rate", 2),
        (["--epochs", "2", "-s", "train.augment=crop"], "override", 2),
    ],
)
def test_what_is_refused(
    arguments: list[str],
    name: str,
    status: int,
    network: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    golden: Golden,
) -> None:
    output = tmp_path / "o.onnx"
    capsys.readouterr()
    assert cli.run(["prune", str(network), *DIGITS, *arguments, "-o", str(output)]) == status
    golden(f"problems/tune_file_{name}", capsys.readouterr().err.replace(str(network.parent), "FOLDER"))
    assert not output.exists()


def test_images_without_labels_are_refused(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], golden: Golden
) -> None:
    np.save(tmp_path / "x.npy", load_dataset("digits").train_images[:200])
    words = ["--input", str(tmp_path / "x.npy"), "--epochs", "1", "-o", str(tmp_path / "o.onnx")]
    assert cli.run(["prune", str(network), *words]) == 2
    golden("problems/tune_file_labels", capsys.readouterr().err)


def test_training_that_diverges_writes_nothing(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """At a rate that the command line does not allow: those that it does need many steps to get there."""
    output = tmp_path / "o.onnx"
    output.write_bytes(b"of before")
    how = FilePruning(0.5, 2, 1, "random", 60, 100, 0, 1, 40, 1e6, 0.0)
    with pytest.raises(Problem, match="no longer") as raised:
        prune_file(read(network), network, output, Images(data="digits"), how)
    assert raised.value.status == CHECK_FAILED
    assert output.read_bytes() == b"of before" and sorted(tmp_path.iterdir()) == [output]

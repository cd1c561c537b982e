"""`flow prune NET.onnx`: anyone's network, without training, at every level."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bnnflow.flow.cli import app as cli
from bnnflow.models.data.load import load_dataset
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.sim.norms import graph_norms
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.reading.read import read
from bnnflow.transforms.writing.network import write_network
from tests.sim.test_norms import NETWORKS, bare, exported, lively

from .answer import answer

Golden = Callable[[str, str], None]
DIGITS = ["--data", "digits", "--images", "60", "--calibration", "200", "--unit", "2"]


@pytest.mark.parametrize("criterion", ["reconstruction", "deeplift"])
@pytest.mark.parametrize("level", ["network", "1_integer", "2_xnor", "3_dataflow"])
def test_every_level(
    level: str, criterion: str, network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = network
    if level != "network":
        assert cli.run(["compile", str(network), "-o", str(tmp_path)]) == 0
        source = tmp_path / f"{level}.onnx"
    output = tmp_path / "smaller.onnx"
    words = [source, *DIGITS, "--amount", 0.5, "--criterion", criterion]
    found = answer(capsys, "prune", *words, "-o", output)
    if criterion == "deeplift":
        assert found["criterion"] == "deeplift:absmean" and 0 <= found["check"] <= 1e-9
        captum = found["captum"]
        assert isinstance(captum, dict) and captum["images"] == 4 and captum["completeness"] <= 1e-9
        assert "dense0" in captum["layers"] and captum["difference"] <= 1e-9
    else:
        assert (found["criterion"], found["check"], found["captum"]) == (criterion, None, None)
    assert found["level"] == ("network" if level == "network" else "integer")
    widths, kept = found["widths"], found["kept"]
    assert isinstance(widths, dict) and isinstance(kept, dict)
    assert all(kept[name] == max(2, int(width / 4 + 0.5) * 2) for name, width in widths.items())
    assert found["different"] == 0 and found["compared"] > 0
    # What was written is what was judged: the file is read and compiled again.
    digits = load_dataset("digits")
    lowered = next(stage.graph for stage in stages(read(output)) if stage.level == "xnor")
    right = np.mean(Simulator.of(lowered).classes(digits.test_images) == digits.test_labels)
    assert found["after"]["accuracy"] == right
    again = answer(capsys, "prune", *words, "-o", tmp_path / "again.onnx")
    assert {**again, "output": 0, "seconds": 0} == {**found, "output": 0, "seconds": 0}
    assert (tmp_path / "again.onnx").read_bytes() == output.read_bytes()


def test_it_never_loads_torch(network: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from bnnflow.flow.cli import app as cli; status = cli.run(sys.argv[1:]); "
        "assert 'torch' not in sys.modules, 'torch'; raise SystemExit(status)"
    )
    words = ["prune", str(network), *DIGITS, "--amount", "0.5", "-o", str(tmp_path / "smaller.onnx"), "--json"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_joins_and_arrays_without_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A residual network, images from a file: its own answers stand in for labels."""
    digits = load_dataset("digits")
    exported(lively(NETWORKS["joins"][0], digits.train_images[:300]), tmp_path)
    np.save(tmp_path / "x.npy", digits.test_images[:200])
    arguments = [tmp_path / "network.onnx", "--input", tmp_path / "x.npy", "--unit", 1, "--amount", 0.4]
    found = answer(capsys, "prune", *arguments, "-o", tmp_path / "smaller.onnx")
    assert found["judged"] == 100 and found["images"] == 100
    assert found["before"] == {"accuracy": None, "same": 1.0}
    assert found["after"]["accuracy"] is None and 0 < found["after"]["same"] < 1
    assert read(tmp_path / "smaller.onnx").output_type.shape == (10,)
    assert cli.run(["prune", *map(str, arguments), "-o", str(tmp_path / "words.onnx")]) == 0
    said = capsys.readouterr().out
    assert "same answer as before" in said and "accuracy" not in said


def test_a_file_with_norms_behind_some_layers(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The quantizer that has none gets one; what is written says so, and is what was judged."""
    (tmp_path / "bare.onnx").write_bytes(write_network(bare(read(network), "conv1")).SerializeToString())
    words = [tmp_path / "bare.onnx", *DIGITS, "--amount", 0.5, "-o", tmp_path / "smaller.onnx"]
    found = answer(capsys, "prune", *words)
    assert (found["level"], found["norms_added"], found["different"]) == ("network", 1, 0)
    smaller = read(tmp_path / "smaller.onnx")
    assert [norm.source for norm in graph_norms(smaller)] == ["conv0", "conv1", "dense0"]
    digits = load_dataset("digits")
    lowered = next(stage.graph for stage in stages(smaller) if stage.level == "xnor")
    right = np.mean(Simulator.of(lowered).classes(digits.test_images) == digits.test_labels)
    assert found["after"]["accuracy"] == right
    assert cli.run(["prune", *map(str, words)]) == 0
    assert "1 of them new where a quantizer had none" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ([*DIGITS], "output"),
        (["-o", "OUT"], "images"),
        ([*DIGITS, "-o", "OUT", "--criterion", "flips"], "flips"),
        ([*DIGITS, "-o", "OUT", "--criterion", "borda(deeplift, latent)"], "latent"),
        ([*DIGITS, "-o", "OUT", "--criterion", "deeplit"], "unknown"),
        ([*DIGITS, "-o", "OUT", "--criterion", "lrp:mean"], "reduction"),
        ([*DIGITS, "-o", "OUT", "--steps", "3"], "steps"),
        ([*DIGITS, "-o", "OUT", "--share", "0.5"], "share"),
        ([*DIGITS, "-o", "OUT", "--amount", "0"], "nothing"),
        ([*DIGITS, "-o", "OUT", "--amount", "0.01"], "less"),
        (["--data", "digits", "--labels", "OUT", "-o", "OUT"], "labels"),
        (["--labels", "OUT", "-o", "OUT"], "labels_alone"),
        (["--data-dir", "OUT", "-o", "OUT"], "folder"),
        ([*DIGITS, "-o", "NET"], "itself"),
    ],
)
def test_what_is_refused(
    arguments: list[str], name: str, network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], golden: Golden
) -> None:
    places = {"OUT": str(tmp_path / "out.onnx"), "NET": str(network)}
    capsys.readouterr()
    assert cli.run(["prune", str(network), *(places.get(word, word) for word in arguments)]) == 2
    golden(f"problems/prune_file_{name}", capsys.readouterr().err.replace(str(network.parent), "FOLDER"))


def test_what_a_file_does_not_serve_is_refused(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], golden: Golden
) -> None:
    """Norms of a file that has thresholds, and a second image to compare with."""
    assert cli.run(["compile", str(network), "-o", str(tmp_path)]) == 0
    output = tmp_path / "smaller.onnx"
    capsys.readouterr()
    words = ["prune", str(tmp_path / "1_integer.onnx"), *DIGITS, "--criterion", "norm-gain", "-o", str(output)]
    assert cli.run(words) == 2
    golden("problems/prune_file_norms", capsys.readouterr().err)
    np.save(tmp_path / "x.npy", load_dataset("digits").test_images[:2])
    words = ["prune", str(network), "--input", str(tmp_path / "x.npy"), "--criterion", "deeplift", "-o", str(output)]
    assert cli.run(words) == 2
    golden("problems/prune_file_one_image", capsys.readouterr().err)
    assert not output.exists()


def test_words_of_an_attribution(network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without labels the network's own answers are what is explained."""
    np.save(tmp_path / "x.npy", load_dataset("digits").test_images[:60])
    words = [str(network), "--input", str(tmp_path / "x.npy"), "--unit", "1", "-o", str(tmp_path / "o.onnx")]
    assert cli.run(["prune", *words, "--criterion", "deeplift"]) == 0
    said = capsys.readouterr().out
    assert "deeplift:absmean on 30 images (self-check " in said and "Captum's DeepLift on 4 images" in said
    assert "same answer as before" in said


@pytest.mark.parametrize(("first", "name"), [(1, "classes"), (-1, "negative")])
def test_labels_of_other_classes_are_refused(
    first: int, name: str, network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], golden: Golden
) -> None:
    digits = load_dataset("digits")
    np.save(tmp_path / "x.npy", digits.test_images[:60])
    np.save(tmp_path / "y.npy", digits.test_labels[:60].astype(int) + first)
    words = ["--input", str(tmp_path / "x.npy"), "--labels", str(tmp_path / "y.npy"), "-o", str(tmp_path / "o.onnx")]
    assert cli.run(["prune", str(network), *words]) == 2
    golden(f"problems/prune_file_labels_{name}", capsys.readouterr().err)

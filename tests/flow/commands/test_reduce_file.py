"""`flow prune NET.onnx --method M`: synapses and residual units of anyone's network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bnnflow as bf
from bnnflow import Problem
from bnnflow.flow.cli import app as cli
from bnnflow.flow.pruning.fine_tune import FineTuning, fine_tune
from bnnflow.flow.pruning.synapse_scores import synapse_scores
from bnnflow.models.data.load import load_dataset
from bnnflow.models.files.export import export_qonnx
from bnnflow.models.prune.gradients import weight_relevance
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.transforms.ir.ops import Conv, Dense
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.reading.read import read
from bnnflow.transforms.synapses import products, synapses, without_synapses
from tests.sim.test_norms import CNN, NETWORKS, exported, lively
from tests.transforms.test_residual_units import THRESHOLDED

from .answer import answer

Golden = Callable[[str, str], None]
DIGITS = ["--data", "digits", "--images", "60", "--calibration", "200"]
DATA = load_dataset("digits")


def _right(path: Path) -> float:
    lowered = next(stage.graph for stage in stages(read(path)) if stage.level == "xnor")
    return float(np.mean(Simulator.of(lowered).classes(DATA.test_images) == DATA.test_labels))


@pytest.mark.parametrize("level", ["network", "1_integer", "2_xnor", "3_dataflow"])
@pytest.mark.parametrize(
    ("words", "left"),
    [
        (["--method", "synapses", "--share", "0.5", "--steps", "2"], {"conv0": 36, "conv1": 216, "dense0": 144}),
        (["--method", "balanced", "--keep", "1", "--steps", "1"], {"conv0": 24, "conv1": 108, "dense0": 72}),
    ],
)
def test_every_level_keeps_as_many_synapses_as_asked_for(
    level: str,
    words: list[str],
    left: dict[str, int],
    network: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = network
    if level != "network":
        assert cli.run(["compile", str(network), "-o", str(tmp_path)]) == 0
        source = tmp_path / f"{level}.onnx"
    output = tmp_path / "smaller.onnx"
    found = answer(capsys, "prune", source, *DIGITS, *words, "-o", output)
    assert found["criterion"] == "taylor" and found["counts"] == "synapses" and found["compared"] > 0
    assert {name: count for name, count in found["kept"].items() if name in left} == left
    graph = read(output)
    assert sum(int(held.sum()) for held in synapses(graph).values()) == sum(found["kept"].values())
    assert found["weights_after"] == sum(found["kept"].values()) < found["weights"]
    assert found["operations_after"] == products(graph) == found["steps"][-1]["operations"]
    assert found["after"]["accuracy"] == _right(output)
    again = answer(capsys, "prune", source, *DIGITS, *words, "-o", tmp_path / "again.onnx")
    assert {**again, "output": 0, "seconds": 0} == {**found, "output": 0, "seconds": 0}
    assert (tmp_path / "again.onnx").read_bytes() == output.read_bytes()


def test_training_leaves_removed_synapses_alone(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [network, *DIGITS, "--method", "synapses", "--share", "0.6", "--steps", "1", "--seed", "3"]
    plain = answer(capsys, "prune", *words, "-o", tmp_path / "plain.onnx")
    tuned = answer(capsys, "prune", *words, "--epochs", "4", "--learning-rate", "0.01", "-o", tmp_path / "tuned.onnx")
    assert tuned["trained"] == 1377 and tuned["kept"] == plain["kept"]
    before, after = synapses(read(tmp_path / "plain.onnx")), synapses(read(tmp_path / "tuned.onnx"))
    assert all((before[name] == after[name]).all() for name in before)
    changed = [
        (one.op.weight != other.op.weight).any()
        for one, other in zip(read(tmp_path / "plain.onnx").nodes, read(tmp_path / "tuned.onnx").nodes, strict=True)
        if isinstance(one.op, Conv | Dense) and isinstance(other.op, Conv | Dense)
    ]
    assert all(changed) and tuned["after"]["accuracy"] > plain["after"]["accuracy"]


def test_zeros_of_layers_that_lost_nothing_are_trained_on(network: Path) -> None:
    """Only what is named is sparse: elsewhere a 0 is a level as others."""
    graph = read(network)
    keep = {name: np.arange(held.size).reshape(held.shape) % 3 > 0 for name, held in synapses(graph).items()}
    smaller = without_synapses(graph, keep)
    images, labels = DATA.train_images[:200], DATA.train_labels[:200]
    how = FineTuning(3, 20, 0.01, 0.0, 0)
    made = fine_tune(graph, smaller, images, labels, images, how, sparse=["conv1"]).graph
    zeros = {name: (made.node(name).op.weight == 0).sum() for name in keep}  # type: ignore[union-attr]
    assert zeros["conv1"] == (~keep["conv1"]).sum() and zeros["dense0"] != (~keep["dense0"]).sum()


@pytest.mark.parametrize("name", ["pool before norm", "mlp"])
def test_scores_are_those_of_the_torch_network(name: str, tmp_path: Path) -> None:
    """Of the last layer, which no quantizer follows; stand-in gradients of quantizers differ in width."""
    network = lively(NETWORKS[name][0], DATA.train_images[:300])
    export_qonnx(network, tmp_path / "net.onnx")
    images, labels = DATA.train_images[:150], DATA.train_labels[:150]
    mine = synapse_scores(read(tmp_path / "net.onnx"), images, labels, None)
    theirs = weight_relevance(network, images, labels)
    last = list(theirs)[-1]
    np.testing.assert_allclose(mine[last], theirs[last], rtol=1e-4, atol=1e-7)
    assert set(mine) == set(theirs) and all(mine[one].size == theirs[one].size for one in mine)


def test_residual_units_go_one_by_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exported(lively(THRESHOLDED, DATA.train_images[:300]), tmp_path)
    source = tmp_path / "network.onnx"
    found = answer(capsys, "prune", source, *DIGITS, "--method", "blocks", "--drop", "2", "-o", tmp_path / "two.onnx")
    gone = [name for name, left in found["kept"].items() if not left]
    assert {step["dropped"] for step in found["steps"]} == set(gone) and len(found["steps"]) == 2
    assert len(gone) == 2 and len(found["whole"]) == 3 and found["after"]["accuracy"] == _right(tmp_path / "two.onnx")
    assert found["operations_after"] == found["steps"][-1]["operations"] < found["operations"]
    # Each time the one that leaves most images right: all are tried.
    words = [source, *DIGITS, "--method", "blocks"]
    assert answer(capsys, "prune", *words, "--drop", "1", "-o", tmp_path / "one.onnx")["steps"] == found["steps"][:1]
    some = answer(capsys, "prune", *words, "--max-loss", "0.0001", "-o", tmp_path / "some.onnx")
    assert 3 - sum(some["kept"].values()) == sum(not step["undone"] for step in some["steps"])
    assert (some["stop"] != "") == some["steps"][-1]["undone"]


@pytest.mark.parametrize("level", ["network", "3_dataflow"])
def test_input_planes_go_from_the_lowest(level: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exported(lively(replace(CNN, input="planes", planes=4), DATA.train_images[:300]), tmp_path)
    source = tmp_path / "network.onnx"
    if level != "network":
        assert cli.run(["compile", str(source), "-o", str(tmp_path)]) == 0
        source = tmp_path / f"{level}.onnx"
    words = [source, *DIGITS, "--method", "planes"]
    found = answer(capsys, "prune", *words, "--drop", "3", "-o", tmp_path / "one.onnx")
    assert found["whole"] == {"planes": 4} and found["kept"] == {"planes": 1} and found["cut_compared"] > 0
    first = next(node.op for node in read(tmp_path / "one.onnx").nodes if isinstance(node.op, Conv))
    assert first.weight.shape == (8, 3, 3, 1) and found["after"]["accuracy"] == _right(tmp_path / "one.onnx")
    some = answer(capsys, "prune", *words, "--max-loss", "0.0001", "--epochs", "1", "-o", tmp_path / "some.onnx")
    assert 4 - some["kept"]["planes"] == sum(not step["undone"] for step in some["steps"])
    assert (some["stop"] != "") == some["steps"][-1]["undone"]
    capsys.readouterr()
    assert cli.run([*map(str, ["prune", *words]), "--drop", "4", "-o", str(tmp_path / "none.onnx")]) == 2
    assert "4 of 4 planes cannot be dropped" in capsys.readouterr().err and not (tmp_path / "none.onnx").exists()


MASKS = ["--method", "masks", "--strength", "20", "--mask-epochs", "2", "--mask-rate", "0.02"]


@pytest.mark.parametrize("level", ["network", "2_xnor", "3_dataflow"])
def test_masks_choose_channels_at_every_level(
    level: str, network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = network
    if level != "network":
        assert cli.run(["compile", str(network), "-o", str(tmp_path)]) == 0
        source = tmp_path / f"{level}.onnx"
    output = tmp_path / "smaller.onnx"
    found = answer(capsys, "prune", source, *DIGITS, *MASKS, "-o", output)
    assert found["whole"] == {"conv0": 8, "conv1": 6, "dense0": 12} and found["counts"] == "filters and neurons"
    assert sum(found["kept"].values()) < 26 and found["cut_compared"] > 0 and found["trained"] == 1377
    layers = {node.name: node.op for node in read(output).nodes}
    if level == "network":
        kept = {name: len(layers[name].weight) for name in found["kept"]}  # type: ignore[union-attr]
        assert kept == found["kept"]
    assert found["after"]["accuracy"] == _right(output)
    (step,) = found["steps"]
    assert step["before"] == step["after"] and found["operations_after"] == products(read(output))
    again = answer(capsys, "prune", source, *DIGITS, *MASKS, "--epochs", "0", "-o", tmp_path / "again.onnx")
    assert {**again, "output": 0, "seconds": 0} == {**found, "output": 0, "seconds": 0}
    assert (tmp_path / "again.onnx").read_bytes() == output.read_bytes()


def test_masks_are_learned_from_a_teacher_and_fine_tuned(
    network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "x.npy", DATA.train_images[:400])
    given = ["--input", tmp_path / "x.npy", "--images", "60", "--calibration", "100", "--distill", "1", "--batch", "40"]
    plain = answer(capsys, "prune", network, *given, *MASKS, "-o", tmp_path / "plain.onnx")
    tuned = answer(capsys, "prune", network, *given, *MASKS, "--epochs", "2", "-o", tmp_path / "tuned.onnx")
    assert tuned["kept"] == plain["kept"] and tuned["decided_by"] == "whole network" and tuned["trained"] == 140
    assert tuned["steps"][0]["before"] == plain["steps"][0]["before"]
    assert (tmp_path / "tuned.onnx").read_bytes() != (tmp_path / "plain.onnx").read_bytes()


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["--input", "x.npy"], "mask_labels"),
        (["--input", "x.npy", "--distill", "0.5"], "mask_labels"),
        (["--input", "wrong.npy", "--distill", "1"], "mask_shape"),
    ],
)
def test_masks_need_images_and_something_to_learn(
    words: list[str],
    name: str,
    network: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    golden: Golden,
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", DATA.train_images[:200])
    np.save("wrong.npy", DATA.train_images[:200, :, :5])
    assert cli.run(["prune", str(network), *words, "--images", "60", *MASKS, "-o", "out.onnx"]) == 2
    golden(f"problems/reduce_file_{name}", capsys.readouterr().err.replace(str(network.parent), "FOLDER"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["wrong.npy", "x.npy"]


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (["--method", "masks", "--grow", "2"], "grow"),
        (["--method", "masks", "--criterion", "lrp"], "mask_criterion"),
        (["--method", "masks", "--share", "0.5"], "mask_share"),
        (["--method", "masks", "--amount", "0.5"], "mask_amount"),
        (["--method", "masks", "--learning-rate", "0.01"], "mask_rate"),
        (["--method", "masks", "--max-loss", "1"], "mask_loss"),
        (["--method", "masks", "--mask-epochs", "0"], "mask_epochs"),
        (["--method", "masks", "--strength", "0", "--mask-epochs", "1", "--mask-rate", "1e-9"], "mask_nothing"),
        (["--method", "ecqx"], "ecqx"),
        (["--method", "planes", "--drop", "1"], "planes"),
        (["--method", "synapses", "--criterion", "latent"], "latent"),
        (["--method", "synapses", "--share", "0"], "nothing"),
        (["--method", "synapses", "--share", "1.5"], "range"),
        (["--method", "synapses", "--share", "much"], "word"),
        (["--method", "synapses", "--layers", "conv7"], "layer"),
        (["--method", "synapses", "--amount", "0.5"], "amount"),
        (["--method", "synapses", "--drop", "1"], "other"),
        (["--method", "balanced", "--keep", "4"], "all"),
        (["--method", "blocks", "--drop", "1"], "chain"),
        (["--method", "blocks"], "goal"),
        (["--method", "mask"], "unknown"),
        (["--method", "synapses", "--images", "1437"], "images"),
    ],
)
def test_what_is_refused(
    words: list[str], name: str, network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], golden: Golden
) -> None:
    capsys.readouterr()
    output = tmp_path / "out.onnx"
    given = DIGITS if name != "images" else ["--data", "digits"]
    assert cli.run(["prune", str(network), *given, *words, "-o", str(output)]) == 2
    golden(f"problems/reduce_file_{name}", capsys.readouterr().err.replace(str(network.parent), "FOLDER"))
    assert not output.exists()


def test_borders_that_belong_to_weights_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    exported(lively(NETWORKS["zero padding"][0], DATA.train_images[:300]), tmp_path)
    assert cli.run(["compile", str(tmp_path / "network.onnx"), "-o", str(tmp_path)]) == 0
    graph = bf.load(tmp_path / "2_xnor.onnx")
    with pytest.raises(Problem, match="border depends on weights"):
        graph.prune_by(
            "synapses", tmp_path / "o.onnx", data="digits", settings={"criterion": "random"}, count=50, calibration=100
        )

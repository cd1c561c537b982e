"""What `flow check` accepts, `flow build` builds; what it refuses is refused before any training."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bnnflow import Problem
from bnnflow.flow.cli import app as cli
from bnnflow.flow.recipe.file import dump, load_recipe
from bnnflow.flow.stages.validate import validate
from tests.places import ROOT

Golden = Callable[[str, str], None]
BASE = """\
data: {name: digits, train_images: 300, test_images: 40}
model: {arch: mlp, hidden: [16]}
prune: {unit: 4}
"""


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def test_a_misspelt_key_is_answered_without_anything_heavy(tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text("data: {name: digits}\nmodel: {arch: mlp, hiden: [32]}\n")
    commands = (["check"], ["build"], ["formats"], ["study"], ["prune"], ["sensitivity"])
    code = (
        "import sys\nfrom bnnflow.flow.cli.app import run\n"
        f"assert all(run([*words, {str(path)!r}]) == 2 for words in {commands!r})\n"
        "assert run(['check', sys.argv[1], '-s', 'train.epoch=3']) == 2\nprint(*sys.modules)"
    )
    good = tmp_path / "good.yaml"
    good.write_text(BASE)
    ran = subprocess.run([sys.executable, "-c", code, str(good)], capture_output=True, text=True, check=True)
    assert not {"torch", "brevitas", "onnx", "numpy", "rich"} & set(ran.stdout.split())
    assert ran.stderr.count("did you mean 'hidden'?") == len(commands)


# A base, changes that a key of it does not go with, and where that is said.
REFUSED: dict[str, tuple[str, ...]] = {
    "part": ("target.part=xc9", ),
    "fps": ("target.fps=2e8",),
    "budget_part": ("prune.allocation=sensitivity", "prune.budget={part: xc9}"),
    "budget_key": ("prune.allocation=sensitivity", "prune.budget={luts: 9}"),
    "budget_text": ("prune.allocation=sensitivity", "prune.budget={lut: many}"),
    "budget_twice": ("prune.allocation=sensitivity", "prune.budget={part: xc7z020, lut: 10}"),
    "budget_met": ("prune.allocation=sensitivity", "prune.budget={lut: 50000}"),
    "budget_unmet": ("prune.allocation=sensitivity", "prune.budget={lut: 1}"),
    "budget_uniform": ("prune.budget={lut: 1000}",),
    "budget_and_amount": ("prune.allocation=sensitivity", "prune.budget={weight_bits: 900}", "prune.amount=0.5"),
    "objective_key": ("prune.allocation=sensitivity", "prune.objective={luts: 1}"),
    "objective_uniform": ("prune.objective={lut: 1}",),
    "objective_absent": ("prune.allocation=sensitivity", "prune.objective={bram18: 1}", "prune.budget={}"),
    "validation": ("prune.allocation=sensitivity", "prune.validation=3"),
    "amount": ("prune.amount=0.05",),
    "amount_zero": ("prune.amount=0",),
    "min_width": ("prune.min_width=16",),
    "levels": ("prune.allocation=sensitivity", "prune.levels=[0.01]"),
    "masks": ("prune.masks.order=layers",),
    "share": ("prune.method=synapses", "prune.synapses.share=0"),
    "fault_layer": ("faults.layers=[dense9]",),
    "fault_target": ("faults.targets=[wieghts]",),
    "fault_model": ("faults.models=[flipp]",),
    "fault_protection": ("faults.protections=[secded-8-4]",),
    "fault_memory": ("faults.targets=[streams]", "faults.protections=[tmr]"),
    "fault_table": ("faults.table=absent.csv",),
    "fault_maps": ("faults.max_maps=7",),
    "fault_fifo": ("faults.fifo_depth=7",),
    "fault_cluster": ("faults.cluster=spark:x",),
    "device": ("train.device=cuda",),
    "momentum": ("train.momentum=0.5",),
    "margin": ("train.margin=2",),
    "steps": ("train.schedule=step",),
    "steps_of_pruning": ("prune.schedule=step",),
    "warmup": ("train.warmup_epochs=20",),
    "temperature": ("train.temperature=3",),
    "method": ("ensemble.method=boosting",),
    "planes": ("model.planes=3",),
    "join": ("model.join=integer",),
    "pool_order": ("model.arch=cnn", "model.channels=[8]", "model.pool_order=after-sign"),
    "bop": ("model.weight_scale=tensor", "train.optimizer=bop"),
    "bop_of_pruning": ("model.weight_scale=tensor", "prune.optimizer=bop", "prune.criterion=random"),
    "validation_none": ("train.validation=0.0001",),
    "batches": ("train.batch=8", "train.accumulate=4", "data.train_images=10"),
    "digits_dir": ("data.dir=here",),
    "own_weights": ("model.weights=w.pt",),
}  # fmt: skip


@pytest.mark.skipif(torch.cuda.is_available(), reason="one case is refused only where there is no GPU")
@pytest.mark.parametrize("name", REFUSED)
def test_check_refuses_before_any_work(name: str, tmp_path: Path, golden: Golden) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(BASE)
    with pytest.raises(Problem) as caught:
        validate(load_recipe(path, REFUSED[name]))
    golden(f"problems/check_{name}", str(caught.value).replace(str(Path.cwd()), "HERE"))


def test_build_refuses_the_same_and_leaves_the_folder_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, run = tmp_path / "net.yaml", tmp_path / "run"
    path.write_text(BASE)
    for change in ("target.fps=2e8", "faults.layers=[dense9]", "prune.amount=0.05"):
        assert cli.run(["check", str(path), "-s", change]) == cli.run(
            ["build", str(path), "--run", str(run), "-s", change]
        )
        assert not run.exists()
    assert cli.run(["build", str(path), "--run", str(run), "--to", "train", "-s", "train.epochs=0"]) == 0
    before = {file.name: file.read_bytes() for file in run.iterdir() if file.is_file()}
    assert cli.run(["build", str(path), "--run", str(run), "-s", "target.fps=2e8"]) == 1
    assert cli.run(["prune", str(run), "-s", "prune.amount=0.05"]) == 2
    assert {file.name: file.read_bytes() for file in run.iterdir() if file.is_file()} == before
    # Overrides of a command on a run are of that command alone.
    assert cli.run(["prune", str(run), "--amount", "0.5", "--steps", "1", "-s", "prune.epochs=0"]) == 0
    assert (run / "model.yaml").read_bytes() == before["model.yaml"]


def test_captum_judges_what_is_trained_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its figures decide nothing in a check, at a pass a layer."""

    def asked(*_: object) -> None:
        raise AssertionError("Captum was asked")

    path = tmp_path / "net.yaml"
    path.write_text(BASE)
    monkeypatch.setattr("bnnflow.models.relevance.captum_deeplift.captum_check", asked)
    validate(load_recipe(path, ["prune.criterion=deeplift"]))


def test_an_override_may_make_keys_of_the_file_void_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "net.yaml"
    path.write_text(BASE + "train: {schedule: step, step_epochs: 2}\n")
    found = validate(load_recipe(path, ["prune.method=synapses", "train.schedule=cosine"]))
    assert [note.partition(":")[0] for note in found.notes if "has no effect" in note] == [
        "train.step_epochs has no effect", "prune.unit has no effect"
    ]  # fmt: skip


def test_paths_are_from_the_recipe_s_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "deep" / "er"
    folder.mkdir(parents=True)
    path = folder / "net.yaml"
    path.write_text("data: {name: npz, dir: ../a.npz}\nmodel: {onnx: net.onnx}\nfaults: {table: ./t.csv}\n")
    monkeypatch.chdir(tmp_path)
    for name in ("deep/er/net.yaml", str(path)):
        recipe = load_recipe(Path(name), ["faults.table=t.csv"])
        assert recipe.data.dir == tmp_path / "deep" / "a.npz"
        assert recipe.model.onnx == folder / "net.onnx"
        assert recipe.faults.table == tmp_path / "t.csv"
    again = tmp_path / "again.yaml"
    again.write_text(dump(recipe))
    assert load_recipe(again) == recipe


EXAMPLES = sorted(ROOT.glob("examples/*.yaml"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
@pytest.mark.slow
def test_every_example_passes_the_whole_check(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["check", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["compiles"] and not any("has no effect" in note for note in found["notes"])


def _some(**keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """At most three of the keys."""
    chosen = st.lists(st.sampled_from(sorted(keys)), max_size=3, unique=True)
    return chosen.flatmap(lambda names: st.fixed_dictionaries({name: keys[name] for name in names}))


_WIDTHS = st.sampled_from([4, 8, 12, 16])
_OPTIONS = {
    "input": st.sampled_from(["bits8", "binary", "planes"]),
    "weight_bits": st.integers(1, 3),
    "weight_scale": st.sampled_from(["none", "tensor", "channel"]),
    "weight_kind": st.sampled_from(["levels", "steps", "ternary"]),
    "activation": st.sampled_from(["sign", "unit"]),
    "act_bits": st.integers(1, 2),
    "estimator": st.sampled_from(["clip", "polynomial", "swish"]),
    "stochastic": st.booleans(),
    "scores": st.sampled_from(["one", "class", "none"]),
    "planes": st.integers(2, 8),
    "head": st.sampled_from(["dense", "average", "map"]),
    "padding": st.sampled_from([-1, 0, 1]),
    "pool_order": st.sampled_from(["before-norm", "after-sign"]),
    "join": st.sampled_from(["integer", "thresholded"]),
    "shortcut": st.sampled_from(["pool", "conv"]),
}
_SHAPES = st.one_of(
    st.fixed_dictionaries({"arch": st.just("mlp"), "hidden": st.lists(_WIDTHS, min_size=1, max_size=2)}),
    st.fixed_dictionaries(
        {"arch": st.just("cnn"), "channels": st.lists(_WIDTHS, min_size=2, max_size=2), "hidden": st.just([8])}
    ),
    st.fixed_dictionaries(
        {"arch": st.just("cnn"), "channels": st.just([8, 8]), "pools": st.just([1, 2]), "hidden": st.just([])}
    ),
    st.fixed_dictionaries(
        {"arch": st.just("resnet"), "channels": st.just([8, 8]), "depths": st.just([2, 1]), "padding": st.just(0)}
    ),
)
_SECTIONS = {
    "train": _some(
        optimizer=st.sampled_from(["adam", "sgd", "bop"]), momentum=st.just(0.5), loss=st.sampled_from(["mhl", "mcel"]),
        margin=st.just(2.0), schedule=st.sampled_from(["step", "constant"]), step_epochs=st.integers(1, 20),
        warmup_epochs=st.integers(0, 12), augment=st.just("crop"), validation=st.just(0.2), patience=st.just(2),
        distill=st.just(0.3), temperature=st.just(2.0), weight_sign=st.just("stochastic"), flip_window=st.just(2),
        accumulate=st.sampled_from([1, 50]),
    ),
    "prune": _some(
        enabled=st.booleans(), method=st.sampled_from(["masks", "ecqx", "synapses", "planes", "blocks"]),
        criterion=st.sampled_from(["deeplift", "latent", "flips", "norm-gain", "taylor-weight", "random"]),
        amount=st.sampled_from([0.0, 0.25, 0.5]), unit=st.sampled_from([1, 4]), max_loss=st.just(5.0),
        min_width=st.sampled_from([1, 8]), allocation=st.just("sensitivity"),
        budget=st.sampled_from([{"weight_bits": 500.0}, {"part": "xc7z020"}, {"lut": 10.0}]),
        objective=st.sampled_from([{"lut": 1.0}, {"all": 1.0}, {"luts": 1.0}]), images=st.sampled_from([3, 40]),
        planes=st.just({"drop": 2}), blocks=st.just({"drop": 1}), synapses=st.just({"layers": ["dense0"]}),
        optimizer=st.just("bop"),
    ),
    "target": _some(
        part=st.sampled_from(["xc7z020", "xczu3eg-sbva484-1-e", "xc1"]), fps=st.sampled_from([10.0, 2e4, 1e7]),
        clock_mhz=st.just(200.0),
    ),
    "faults": _some(
        enabled=st.booleans(), targets=st.sampled_from([["weights"], ["fifos"], ["weights+thresholds"], ["sums"]]),
        layers=st.sampled_from([["each"], ["dense0"], ["conv0"]]), models=st.sampled_from([["single"], ["stuck-at-1"]]),
        protections=st.sampled_from([["parity"], ["tmr"]]), fifo_depth=st.just(8), max_maps=st.just(9),
    ),
    "ensemble": _some(members=st.sampled_from([1, 2]), method=st.just("boosting")),
    "speed": st.just({"enabled": False}),
}  # fmt: skip


@st.composite
def recipes(draw: st.DrawFn) -> dict[str, Any]:
    """Legal-looking recipes on few images; about a third makes sense."""
    model = draw(_SHAPES) | draw(_some(**_OPTIONS))
    made: dict[str, Any] = {"data": {"name": "digits", "train_images": 200, "test_images": 20}, "model": model}
    for name in draw(st.lists(st.sampled_from(sorted(_SECTIONS)), max_size=3, unique=True)):
        made[name] = draw(_SECTIONS[name])
    if made.get("ensemble", {}).get("members", 1) > 1:
        made["prune"] = {"enabled": False}
    return made


def _holds(made: dict[str, Any], folder: Path, last: str) -> bool:
    """Whether `check` accepts, and then the build to `last` without epochs must do, too."""
    path, run = folder / "net.yaml", folder / "run"
    path.write_text(json.dumps(made))
    shutil.rmtree(run, ignore_errors=True)
    try:
        found = validate(load_recipe(path))
    except Problem:
        return False
    if found.checked.problem is not None:
        return False
    epochs = ["-strain.epochs=0", "-sprune.epochs=0", "-strain.threads=1"]
    assert cli.run(["build", str(path), "--run", str(run), "--to", last, *epochs]) == 0, path.read_text()
    return True


_KEPT = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@settings(max_examples=6, suppress_health_check=_KEPT)
@given(made=recipes())
def test_what_check_accepts_build_never_refuses(made: dict[str, Any], tmp_path: Path) -> None:
    _holds(made, tmp_path, "lower")


@pytest.mark.slow
@settings(max_examples=40, suppress_health_check=_KEPT)
@given(made=recipes())
def test_what_check_accepts_build_never_refuses_up_to_the_cost(made: dict[str, Any], tmp_path: Path) -> None:
    _holds(made, tmp_path, "faults")

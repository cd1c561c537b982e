"""`prune.method` in a build: every method's network is verified, costed and resumed as any other."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

from bnnflow.flow.cli import app as cli
from bnnflow.flow.recipe.methods.all import METHODS as METHODS_OF_RECIPES
from bnnflow.flow.recipe.methods.method import Method
from bnnflow.flow.recipe.pruning_page import criteria_page, methods_page
from bnnflow.flow.results.stages import PruningResult
from bnnflow.models import store
from tests.places import ROOT

Golden = Callable[[str, str], None]
RECIPE = """\
name: tiny
data: {name: digits, train_images: 400, test_images: 60}
model: {arch: cnn, channels: [8, 8], pools: [1, 2], hidden: [16], input: planes}
train: {epochs: 6, learning_rate: 0.01, batch: 50, threads: 1}
prune: {epochs: 2, learning_rate: 0.003, batch: 50}
target: {fps: 20000}
faults: {rates: [0.01], maps: 1, images: 20}
speed: {images: 20}
verify: {images: 6}
"""
RESIDUAL = ["model.arch=resnet", "model.pools=[]", "model.hidden=[]"]
METHODS = {
    "masks": ["prune.masks.strength=8", "prune.masks.mask_rate=0.02", "prune.masks.grow=1.5"],
    "ecqx": ["prune.ecqx.bits=2", "prune.ecqx.strength=0.3"],
    "synapses": ["prune.synapses.share=0.6", "prune.synapses.steps=2"],
    "planes": ["prune.planes.drop=3"],
    "blocks": ["prune.blocks.drop=2", *RESIDUAL, "model.depths=[2, 1]"],
}


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def trained(recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("trained") / "run"
    assert cli.run(["build", str(recipe), "--run", str(folder), "--to", "train", "--json"]) == 0
    return folder


def arguments(recipe: Path, folder: Path, method: str, last: str) -> list[str]:
    changes = [f"prune.method={method}", *METHODS[method]]
    return ["build", str(recipe), "--run", str(folder), "--to", last, *(f"-s{change}" for change in changes)]


def facts(folder: Path) -> dict[str, Any]:
    stages = json.loads((folder / "manifest.json").read_text())["stages"]
    return {name: stage["facts"] for name, stage in stages.items()}


SLOW = ("masks", "planes", "blocks")


@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else []) for name in METHODS]
)
def test_a_method_is_a_stage_like_any_other(method: str, recipe: Path, trained: Path, tmp_path: Path) -> None:
    """Exact at every level, costed, and the same bytes where it was interrupted in an epoch."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    for folder in (whole, broken):
        shutil.copytree(trained, folder)
    last = "report" if method in ("synapses", "ecqx") else "cost"
    fewer = ["-sfaults.enabled=false", "-sspeed.enabled=false"] if method == "ecqx" else []
    assert cli.run([*arguments(recipe, whole, method, last), *fewer]) == 0
    found = facts(whole)
    assert all(row["differences"] == 0 for row in found["verify"]["pruned"]["stages"])
    assert (found["prune"]["method"], found["prune"]["kept"]) == (method, found["prune"]["steps"][-1]["kept"])
    base, pruned = found["cost"]["base"], found["cost"]["pruned"]
    match method:
        case "masks" | "planes" | "blocks":
            assert pruned["weights"] < base["weights"]
            assert pruned["energy_nj"] < base["energy_nj"]
            assert "synapses" not in pruned
        case _:
            assert pruned["synapses"] == sum(found["prune"]["kept"].values()) < base["synapses"] == base["weights"]
            assert pruned["unrolled_lut"] < base["unrolled_lut"]
            assert pruned["weight_bits"] > base["weight_bits"]
    if last == "report":
        page = (whole / "report.html").read_text()
        assert "LUT, layers unrolled" in page
        assert cli.run(["show", str(whole)]) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "save", interrupting(store.save, 2))
        assert cli.run(arguments(recipe, broken, method, "prune")) == 130
    assert cli.run(arguments(recipe, broken, method, "prune")) == 0
    assert (broken / "pruned/weights.pt").read_bytes() == (whole / "pruned/weights.pt").read_bytes()
    assert facts(broken)["prune"] == found["prune"]


def interrupting(save: Callable[[dict[str, Any], Path], None], after: int) -> Callable[[dict[str, Any], Path], None]:
    """Ctrl-C just after so many checkpoints."""
    count = iter(range(1, after))

    def stopped(state: dict[str, Any], path: Path) -> None:
        save(state, path)
        if next(count, None) is None:
            raise KeyboardInterrupt

    return stopped


def test_an_interrupted_epoch_is_not_trained_again(
    recipe: Path, trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Synapses: two steps of two epochs are four checkpoints; after two of them two more are written."""
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    saved: list[str] = []
    plain = store.save

    def counted(state: dict[str, Any], path: Path) -> None:
        plain(state, path)
        if path.name.startswith("synapses"):
            saved.append(path.name)
        if len(saved) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(store, "save", counted)
    assert cli.run(arguments(recipe, folder, "synapses", "prune")) == 130
    assert cli.run(arguments(recipe, folder, "synapses", "prune")) == 0
    assert saved == ["synapses-step1.pt"] * 2 + ["synapses-step2.pt"] * 2


@pytest.mark.slow
def test_nothing_removed_is_said(recipe: Path, trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(trained, folder)
    changes = ["prune.method=masks", "prune.masks.strength=0", "prune.masks.mask_epochs=1", "speed.enabled=false"]
    command = ["build", str(recipe), "--run", str(folder), "--json", *(f"-s{change}" for change in changes)]
    assert cli.run([*command, "-sfaults.enabled=false"]) == 0
    summary = json.loads((folder / "summary.json").read_text())
    assert any("prune.masks.strength is too low" in note for note in summary["notes"]["pruned"])


CASES = {
    "allocation": ["prune.method=masks", "prune.allocation=sensitivity"],
    "max_loss": ["prune.method=synapses", "prune.max_loss=1"],
    "masks_grow": ["prune.method=masks", "prune.masks.grow=2", *RESIDUAL, "model.depths=[1, 1]"],
    "synapses_weights": ["prune.method=synapses", "model.weight_bits=2"],
    "synapses_bop": ["prune.method=synapses", "train.optimizer=bop"],
    "synapses_layer": ["prune.method=synapses", "prune.synapses.layers=[conv9]"],
    "ecqx_bop": ["prune.method=ecqx", "train.optimizer=bop"],
    "planes_input": ["prune.method=planes", "prune.planes.drop=1", "model.input=bits8"],
    "planes_none": ["prune.method=planes"],
    "planes_both": ["prune.method=planes", "prune.planes.drop=1", "prune.max_loss=1"],
    "planes_all": ["prune.method=planes", "prune.planes.drop=4", "model.planes=4"],
    "blocks_chain": ["prune.method=blocks", "prune.blocks.drop=1"],
    "blocks_none": ["prune.method=blocks", *RESIDUAL, "model.depths=[1, 1]"],
    "blocks_stay": [
        "prune.method=blocks",
        "prune.max_loss=1",
        *RESIDUAL,
        "model.depths=[1, 1]",
        "model.join=thresholded",
    ],
    "blocks_all": ["prune.method=blocks", "prune.blocks.drop=3", *RESIDUAL, "model.depths=[1, 1]"],
    "unknown": ["prune.method=mask"],
}


@pytest.mark.parametrize("name", CASES)
def test_what_does_not_go_together_is_said_before_training(
    name: str, recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], golden: Golden
) -> None:
    here = Path(shutil.copy(recipe, tmp_path))
    command = ["build", str(here), "--run", str(tmp_path / "run"), *(f"-s{change}" for change in CASES[name])]
    assert cli.run(command) == 2
    assert not (tmp_path / "run" / "base").exists()
    golden(f"problems/method_{name}", capsys.readouterr().err)


def test_every_setting_is_an_option_with_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    """Of `flow prune`: by the name of the key, with the words and the default of the recipe."""
    assert cli.run(["prune", "--help"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    for name, method in METHODS_OF_RECIPES.items():
        if method.in_prune:
            continue
        part = text.partition(f"With --method {name}:")[2].partition("With --method")[0]
        for key, field in method.model_fields.items():
            said = re.split(r" --[a-z]", part.partition(f" --{key.replace('_', '-')} ")[2])[0]
            # What null or nothing stands for is said as the default.
            about, _, nothing = re.sub("; (null|empty): ", "; null: ", field.description or "?").partition("; null: ")
            assert about[1:] in said and nothing in said, key
            shown = f"{field.default:g}" if isinstance(field.default, float) else field.default
            assert field.default in (None, ()) or f"default: {shown}]" in said
            assert all(choice in said for choice in get_args(field.annotation) if isinstance(choice, str))


def test_every_method_says_what_it_is() -> None:
    found = PruningResult(
        method="x", criterion="latent", steps=[], held_out_accuracy=1, stop="", kept={}, unit="", accuracy=1
    )
    for name, method in METHODS_OF_RECIPES.items():
        assert method.name() == name and (method.__doc__ or "").startswith(f"Method {name}: ")
        assert method.counts and method.headline(found) != Method.headline(found)


def test_the_page_of_methods_and_criteria_is_the_code(request: pytest.FixtureRequest) -> None:
    """Both tables of docs/pruning.md; --update-golden writes them."""
    path = ROOT / "docs" / "pruning.md"
    text = path.read_text()
    for name, part in (("methods", methods_page()), ("criteria", criteria_page())):
        begin = f"<!-- {name}: made by flow/recipe/pruning_page.py -->\n"
        head, rest = text.split(begin)
        text = f"{head}{begin}\n{part.rstrip()}\n\n<!-- end -->{rest.partition('<!-- end -->')[2]}"
    if request.config.getoption("--update-golden"):
        path.write_text(text)
    assert path.read_text() == text


def test_noise_goes_on_where_a_checkpoint_left_it() -> None:
    """The generator of a mask's noise is a part of what training carries; a fresh one would repeat its draws."""
    from bnnflow.models.prune.masks import ChannelMask, _noise_state

    masks = {"a": ChannelMask(torch.zeros(64), True, 3)}
    kept = _noise_state(masks)
    masks["a"]()
    state = kept["state"]()
    second = masks["a"]()
    kept["restore"](state)
    assert np.array_equal(masks["a"]().detach(), second.detach())


@pytest.mark.parametrize(
    ("method", "bits", "said"), [("ecqx", 1, "have 1"), ("ecqx", 2, ""), ("synapses", 1, "2 bits"), ("filters", 1, "")]
)
def test_what_a_method_cannot_do_is_said_before_it_runs(method: str, bits: int, said: str, tmp_path: Path) -> None:
    from bnnflow.flow.recipe.file import load_recipe
    from bnnflow.flow.stages.validate import validate

    path = tmp_path / "model.yaml"
    weights = f"{{arch: mlp, hidden: [64], weight_bits: {bits}}}"
    path.write_text(
        f"data: {{name: digits}}\nmodel: {weights}\nprune: {{method: {method}}}\nfaults: {{enabled: false}}\n"
    )
    notes = " ".join(validate(load_recipe(path)).notes)
    assert said in notes and (said or "bits" not in notes)

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from bnnflow import Problem
from bnnflow.flow.recipe.file import dump, load_recipe, new_recipe
from bnnflow.flow.recipe.schema import map_sides, schema
from tests.places import ROOT

GOOD = "data: {name: digits}\nmodel: {arch: cnn, channels: [16, 32], pools: [1, 2]}\n"
CNN = "data: {name: digits}\nmodel:\n  arch: cnn\n  channels: [8, 8]\n"
MLP = "data:\n  name: digits\nmodel:\n  arch: mlp\n"

FAULTS = {
    "empty": "",
    "only_comments": "# nothing\n",
    "not_a_mapping": "- data\n- model\n",
    "plain_text": "just words\n",
    "tab": "data:\n\tname: digits\n",
    "duplicate_key": MLP + "seed: 1\nseed: 2\n",
    "unclosed_list": "model:\n  arch: cnn\n  channels: [16, 32\ntrain:\n  epochs: 3\n",
    "unclosed_quote": "name: 'net\ndata:\n  name: digits\n",
    "bad_indentation": "data:\n  name: digits\n dir: x\n",
    "stray_colon": "name: a: b\n",
    "no_colon": "data\nmodel: {arch: mlp}\n",
    "two_documents": MLP + "---\n" + MLP,
    "alias": "data: &d {name: digits}\nmodel: *d\n",
    "tag": MLP + "name: !!python/object/apply:os.system ['true']\n",
    "control_character": "name: a\x00b\n",
    "deep_nesting": "name: " + "[" * 2000 + "]" * 2000 + "\n",
    "missing_sections": "seed: 1\n",
    "missing_key": "data: {}\nmodel: {arch: mlp}\n",
    "unknown_key": MLP + "train:\n  epoch: 3\n",
    "unknown_key_of_another_section": MLP + "epochs: 3\n",
    "unknown_key_no_guess": MLP + "target: {xyzzy: 1}\n",
    "unknown_data_set": "data: {name: fashionmnist}\nmodel: {arch: mlp}\n",
    "whole_number": MLP + "train: {epochs: ten}\n",
    "quoted_number": MLP + "train:\n  batch: '100'\n",
    "fraction": MLP + "train: {batch: 1.5}\n",
    "out_of_range": MLP + "prune: {amount: 0.95}\ntrain: {learning_rate: 0}\n",
    "not_finite": MLP + "target: {fps: .inf}\n",
    "boolean": MLP + "prune: {enabled: yes}\n",
    "list_expected": MLP + "  hidden: 64\n",
    "list_entry": MLP + "  hidden: [64, 0]\n",
    "no_rates": MLP + "faults: {rates: []}\n",
    "section_expected": MLP + "faults: false\n",
    "bad_name": MLP + "name: ../up\n",
    "cnn_without_channels": "data: {name: digits}\nmodel:\n  arch: cnn\n",
    "mlp_with_channels": MLP + "  channels: [8]\n  kernels: 3\n",
    "lengths_differ": CNN + "  kernels: [3]\n  pools: [1, 1, 2]\n",
    "map_too_small": CNN + "  kernels: [5, 5]\n",
    "several": "data: {name: mnst}\nmodel: {arch: mlp, hiden: [64]}\ntrain: {epochs: -1}\nseed: -1\nseed: 3\n",
    "wide_characters": "name: 日本\nmodel: {arch: mlp}\ndata: {dir: 日本, nme: digits}\n",
    "long_line": "data: {name: digits, dir: " + "x" * 150 + ", train_image: 3}\nmodel: {arch: mlp}\n",
}  # fmt: skip
OVERRIDES = {
    "no_equals": ["train.epochs"],
    "no_key": ["train.=3"],
    "unknown": ["train.epoch=3"],
    "range": ["train.batch=1", "seed=-1"],
    "not_yaml": ["model.hidden=[64"],
    "section": ["train=3"],
    "mapping": ["seed={a: 1}"],
    "cross": ["model.arch=mlp", "model.channels=[8]"],
}


def message(path: Path, overrides: list[str] | None = None) -> str:
    with pytest.raises(Problem) as caught:
        load_recipe(path, overrides or ())
    assert caught.value.status == 2
    return str(caught.value)


@pytest.mark.parametrize("name", FAULTS)
def test_faults(name: str, tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    path = tmp_path / "model.yaml"
    path.write_bytes(FAULTS[name].encode())
    golden(f"problems/recipe_{name}", message(path))


@pytest.mark.parametrize("name", OVERRIDES)
def test_override_faults(name: str, tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    path = tmp_path / "model.yaml"
    path.write_text(GOOD)
    golden(f"problems/override_{name}", message(path, OVERRIDES[name]))


def test_unreadable_files(tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    (tmp_path / "model.yaml").write_text(GOOD)
    (tmp_path / "latin1.yaml").write_bytes(b"name: a\ndata: {name: caf\xe9}\n")
    (tmp_path / "huge.yaml").write_bytes(b"#" * (1 << 20) + b"\n")
    golden("problems/recipe_missing_file", message(tmp_path / "modle.yaml"))
    golden("problems/recipe_folder", message(tmp_path))
    golden("problems/recipe_not_utf8", message(tmp_path / "latin1.yaml"))
    golden("problems/recipe_huge", message(tmp_path / "huge.yaml"))


def test_defaults_overrides_and_a_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "My Net.yaml"
    path.write_text("\ufeff" + GOOD + "train:\n")
    changes = ["train.epochs=3", "faults.rates=[1e-5, 0.5]", "name=a.b", "target.fps=1e6", "model.kernels=3"]
    recipe = load_recipe(path, changes)
    assert (recipe.name, load_recipe(path).name) == ("a.b", "my-net")
    assert recipe.train.epochs == 3
    assert recipe.faults.rates == (1e-5, 0.5)
    assert recipe.model.kernels == (3, 3)
    assert map_sides(recipe.model, 8) == [8, 6, 2]
    again = tmp_path / "again.yaml"
    again.write_text(dump(recipe))
    assert load_recipe(again) == recipe
    assert dump(load_recipe(again)) == dump(recipe)


def test_a_later_stage_can_point_at_a_key(tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    path = tmp_path / "model.yaml"
    path.write_text(GOOD + "target:\n  part: xc7z999\n")
    golden("problems/recipe_later_file", str(load_recipe(path).problem("target.part", "unknown part", "try another")))
    overridden = load_recipe(path, ["target.part=xc1"])
    golden("problems/recipe_later_override", str(overridden.problem("target.part", "unknown part", "try another")))


@pytest.mark.parametrize("arch", ["mlp", "cnn"])
def test_new_recipe_loads_and_explains_every_key(arch: str, tmp_path: Path) -> None:
    text = new_recipe(arch)
    path = tmp_path / f"{arch}.yaml"
    path.write_text(text)
    assert load_recipe(path).model.arch == arch
    keys = [line for line in text.splitlines() if re.match(r" *(# )?\w+: ", line)]
    assert all("  # " in line and line.split("  # ")[1].strip() for line in keys)
    assert len(keys) > 30


def test_the_recipes_of_the_repository_load() -> None:
    found = [path for path in (ROOT / "model.yaml", *ROOT.glob("examples/*.yaml")) if path.is_file()]
    if not found:
        pytest.skip("not a checkout: the recipes are not here")
    for path in found:
        load_recipe(path)


def test_schema_describes_every_key_and_accepts_what_load_accepts() -> None:
    made = json.loads(json.dumps(schema()))
    sections = [made, *made["$defs"].values()]
    for section in sections:
        assert section["additionalProperties"] is False
        assert all(key.get("description") for key in section["properties"].values())
    assert [one["type"] for one in made["$defs"]["Model"]["properties"]["kernels"]["anyOf"]] == ["integer", "array"]


def test_reading_a_recipe_imports_nothing_heavy() -> None:
    code = "import sys, bnnflow.flow.recipe.file; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "torch", "onnx", "rich", "matplotlib", "jinja2"} & set(modules)


def test_the_schema_names_what_may_be_written() -> None:
    from bnnflow.build.parts import part

    made = schema()
    assert made["$id"].startswith("urn:bnnflow:recipe:")

    def allowed(section: str, key: str, value: str) -> bool:
        kinds = made["$defs"][section]["properties"][key]["anyOf"]
        return any(
            value in kind.get("enum", ()) or ("pattern" in kind and re.search(kind["pattern"], value)) for kind in kinds
        )

    words = (
        ("Data", "name", ("digits", "my.module:images"), ("digit", "mnst")),
        ("Model", "arch", ("cnn", "resnet20", "nets:Net"), ("resnet-20", "cn", "nets:")),
        ("Model", "trained", ("tfc-mnist", "a/b.pt", "b.bnn"), ("tfc-mnits",)),
        ("Prune", "criterion", ("deeplift", "lrp:l2", "borda(lrp, latent)"), ("deeplft", "lrp:l3", "borda(lrp)")),
        ("Target", "part", ("xc7z020clg400-1", "XCZU3EG"), ("xc9", "zynq")),
    )
    for section, key, right, wrong in words:
        assert all(allowed(section, key, value) for value in right), key
        assert not any(allowed(section, key, value) for value in wrong), key
    assert part("XCZU3EG").name == "xczu3eg"
    assert "lut" in made["$defs"]["Prune"]["properties"]["budget"]["propertyNames"]["enum"]


def test_examples_are_what_trained_the_networks_that_come_with_it() -> None:
    """Apart from threads and the format of products, which are the processor's."""
    from bnnflow.models.files.packed_file import read_about
    from bnnflow.models.files.trained_names import trained_files

    names = {
        "tfc-mnist": "mnist-tfc", "sfc-mnist": "mnist-sfc", "lfc-mnist": "mnist-lfc",
        "kws-cnn-wide-speech-commands": "speech-commands-kws-wide",
        "cnv-cifar10": "cifar10-cnv-short", "cnv-cifar10-gpu": "cifar10-cnv-gpu",
        "fashcnn-fashion-mnist": "fashion-mnist-fashcnn", "kws-cnn-speech-commands": "speech-commands-kws",
        "vgg-small-cifar10": "cifar10-vgg-small-gpu",
    }  # fmt: skip
    assert set(names) == set(trained_files())
    for network, example in names.items():
        path = ROOT / "examples" / f"{example}.yaml"
        if not path.is_file():
            pytest.skip("not a checkout: the recipes are not here")
        _, provenance = read_about(trained_files()[network])
        recipe = load_recipe(path)
        said = YAML(typ="safe").load(provenance.recipe)
        # VGG-small was stopped before its end.
        assert recipe.seed == said["seed"] and recipe.epochs == said["train"]["epochs"] >= provenance.epochs
        mine = recipe.train.model_dump(mode="json")
        for key in ("learning_rate", "batch", "loss", "optimizer", "schedule", "augment", "distill", "norm_images"):
            assert mine[key] == said["train"][key], (example, key)
        model = recipe.model.given()
        assert all(model.get(key, value) == value for key, value in said["model"].items()), example


def test_a_number_or_a_text_that_is_neither_is_told_once(tmp_path: Path) -> None:
    path = tmp_path / "model.yaml"
    path.write_text("data: {name: digits}\nmodel: {arch: mlp, hidden: [16]}\n")
    with pytest.raises(Problem) as raised:
        load_recipe(path, ["prune.budget={lut: -1}"])
    assert raised.value.what == "prune.budget.lut: -1 is out of range"
    assert raised.value.hint == "allowed: a number above 0 or text"

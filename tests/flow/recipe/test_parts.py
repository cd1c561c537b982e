"""Parts of users, in YAML files: read strictly, found from the recipe's folder, and counted by content."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import bnnflow as bf
from bnnflow import Problem
from bnnflow.build.parts import Part
from bnnflow.flow.recipe.file import dump, load_recipe
from bnnflow.flow.recipe.parts import part_content, part_of, target_part
from bnnflow.flow.recipe.schema import schema
from tests.places import ROOT

WHOLE = """\
name: my-fpga
lut: 33280
lut_inputs: 6
ff: 66560
block_rams: 150
block_bits: 18432
uram: 0
dsp: 120
"""
RECIPE = """\
data: {name: digits, train_images: 100, test_images: 50}
model: {arch: mlp, hidden: [16]}
train: {epochs: 1}
prune: {enabled: false}
target: {part: boards/own.yaml, fps: 1000}
faults: {enabled: false}
speed: {enabled: false}
rtl: {enabled: false}
"""


def test_a_whole_file_is_a_part(tmp_path: Path) -> None:
    path = tmp_path / "own.yml"
    path.write_text(WHOLE + "family: xc7\nboards: [mine]\nprice: low\n")
    assert part_of(str(path)) == Part(
        "my-fpga", 33_280, 150, 0, 120, ff=66_560, family="xc7", boards=("mine",), price="low"
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("empty", ""),
        ("list", "- xc7z020\n"),
        ("holes", "name: my-fpga\nlut: 100\n"),
        ("no_lut", WHOLE.replace("lut: 33280\n", "")),
        ("numbers", WHOLE.replace("33280", "0").replace("66560", "2.5").replace("dsp: 120", "dsp: -1")),
        ("kinds", WHOLE.replace("150", "'150'").replace("uram: 0", "uram: true") + "grades: -1\nabout: 7\n"),
        ("unknown", WHOLE.replace("block_rams", "bram18") + "famly: xc7\n"),
        ("words", WHOLE + "family: xc8\nprice: cheap\n"),
        ("other_blocks", WHOLE.replace("18432", "4096") + "family: xc7\n"),
        ("double_blocks", WHOLE.replace("18432", "36864") + "family: xc7\n"),
        ("other_tables", WHOLE + "family: ecp5\n"),
        ("taken", WHOLE.replace("my-fpga", "xc7z020")),
        ("twice", WHOLE + "lut: 5\n"),
        ("no_yaml", "name: [\n"),
    ],
)
def test_files_with_holes(name: str, text: str, tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(Problem) as raised:
        part_of(str(path))
    golden(name, str(raised.value))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(WHOLE)
    with pytest.raises(Problem, match="no such part file") as raised:
        part_of(str(tmp_path / "oown.yaml"))
    assert "own.yaml" in raised.value.hint
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(Problem, match="folder"):
        part_of(str(tmp_path / "folder.yaml"))
    (tmp_path / "binary.yaml").write_bytes(b"name: \xff\n")
    with pytest.raises(Problem, match="not UTF-8"):
        part_of(str(tmp_path / "binary.yaml"))


def test_paths_are_from_the_recipe_and_those_of_overrides_from_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "boards").mkdir()
    (tmp_path / "boards/own.yaml").write_text(WHOLE)
    (tmp_path / "model.yaml").write_text(RECIPE)
    here = tmp_path / "here"
    here.mkdir()
    (here / "other.yaml").write_text(WHOLE.replace("my-fpga", "other"))
    monkeypatch.chdir(here)
    recipe = load_recipe(tmp_path / "model.yaml")
    assert target_part(recipe).name == "my-fpga"
    (here / "again.yaml").write_text(dump(recipe))
    assert target_part(load_recipe(here / "again.yaml")).name == "my-fpga"
    assert target_part(load_recipe(tmp_path / "model.yaml", ["target.part=other.yaml"])).name == "other"
    pruned = ["prune.enabled=true", "prune.allocation=sensitivity", "prune.budget={part: other.yaml}"]
    budget = load_recipe(tmp_path / "model.yaml", pruned).prune.budget
    assert budget == {"part": str(here / "other.yaml")}
    assert target_part(load_recipe(tmp_path / "model.yaml", ["target.part=Pynq-Z2"])).name == "xc7z020"


def test_what_a_part_says_counts_and_not_where_it_lies(tmp_path: Path) -> None:
    one, two, other = (tmp_path / name for name in ("one.yaml", "two.yaml", "other.yaml"))
    one.write_text(WHOLE)
    two.write_text("# the same\n" + WHOLE)
    other.write_text(WHOLE.replace("150", "151"))
    said = [part_content({"prune": {"budget": {"part": str(path)}}, "fps": 1}) for path in (one, two, other)]
    assert said[0] == said[1] != said[2]
    assert part_content({"part": "Pynq-Z2"}) == {"part": "Pynq-Z2"}


def test_a_changed_part_makes_its_stages_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "boards").mkdir()
    own = tmp_path / "boards/own.yaml"
    own.write_text(WHOLE)
    (tmp_path / "model.yaml").write_text(RECIPE)

    def keys() -> dict[str, str]:
        bf.build("model.yaml", last="schedule")
        stages = json.loads((tmp_path / "runs/model/manifest.json").read_text())["stages"]
        assert stages["schedule"]["facts"]["part"] == "my-fpga"
        return {name: stage["key"] for name, stage in stages.items()}

    first = keys()
    own.write_text("# words alone\n" + WHOLE)
    assert keys() == first
    own.write_text(WHOLE.replace("33280", "40000"))
    changed = keys()
    assert {name for name in first if first[name] != changed[name]} == {"schedule"}
    own.write_text(WHOLE.replace("lut: 33280\n", ""))
    with pytest.raises(Problem, match="a part needs lut"):
        keys()


def test_the_page_shows_a_part_that_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text((ROOT / "docs/parts.md").read_text(encoding="utf-8").split("```yaml\n")[1].split("```")[0])
    assert part_of(str(path)) == Part("my-fpga", 33_280, 60, 0, 120, ff=33_280, lut_inputs=4)


def test_the_schema_lets_boards_and_files_stand() -> None:
    kinds = schema()["$defs"]["Target"]["properties"]["part"]["anyOf"]
    for name in ("xc7z020clg400-1", "Pynq-Z2", "ULX3S", "boards/own.yaml", "own.yml", "LFE5U-85F-6BG381C"):
        assert any(re.search(kind["pattern"], name) for kind in kinds), name
    assert not any(re.search(kind["pattern"], "zx81") for kind in kinds)

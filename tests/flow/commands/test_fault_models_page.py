"""docs/fault-models.md: every model has its section, every example runs, and every bad input is refused."""

from __future__ import annotations

import re
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bnnflow.flow.cli import app as cli
from bnnflow.sim.faults import EFFECTS, SHAPES, TARGETS
from bnnflow.sim.reference import run
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import Mvau
from bnnflow.transforms.ir.tensor import TensorType
from bnnflow.transforms.writing.write import write
from tests.places import ROOT

PAGE = (ROOT / "docs" / "fault-models.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`(\w+\.csv)`\n```csv\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
FENCES = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
EXAMPLES = [line for kind, text in FENCES if not kind for line in text.splitlines()]
REFUSED = re.findall(r"^\| `(flow .*?)` \|", PAGE, re.MULTILINE)
SECTIONS = [part for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:] if "**What**" in part]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """net.onnx as the page says, x.npy, y.npy, and the page's tables."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    hidden = Mvau(rng.integers(0, 2, (32, 64)).astype(np.uint8), rng.integers(30, 35, (32, 1)), True, 0, 1, 2)
    hidden = replace(hidden, ram_style="block", ram_style_thresholds="distributed")
    scores = Mvau(rng.integers(0, 2, (4, 32)).astype(np.uint8), np.zeros((0, 0), np.int64), True, 0, 2, 4)
    nodes = (Node("hidden", hidden, ("x",)), Node("scores", scores, ("hidden",)))
    graph = Graph("net", "x", TensorType((64,), 0, 1), nodes, "scores")
    Path("net.onnx").write_bytes(write(graph).SerializeToString())
    images = rng.integers(0, 2, (30, 64)).astype(np.uint8)
    np.save("x.npy", images)
    np.save("y.npy", run(graph, images)["scores"].argmax(axis=1))
    for name, text in FILES.items():
        Path(name).write_text(text)
    return tmp_path


def test_every_shape_and_effect_has_a_section() -> None:
    headings = [part.splitlines()[0] for part in SECTIONS]
    named = [name for line in headings for name in re.findall(r"`([\w-]+)`", line)]
    assert sorted(named) == sorted([*SHAPES, *EFFECTS, "single", "fit"])
    for target in TARGETS:
        assert f"`{target}`" in PAGE.partition("## Bit flips")[0]


def test_every_section_says_the_same_of_its_model() -> None:
    """What, from where, what it changes, own figures, an example, and what is refused."""
    for part in SECTIONS:
        for word in ("**What**", "**From**", "**Changes**", "```\nflow ", "| refused | why |"):
            assert word in part, (part.splitlines()[0], word)
        assert "**Own figures**" in part or part.startswith("One cell at a time")


@pytest.mark.parametrize("line", EXAMPLES)
def test_examples_run(line: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert line.startswith("flow ")
    assert cli.run(shlex.split(line)[1:]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("line", REFUSED)
def test_bad_input_is_refused(line: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(shlex.split(line)[1:]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and "hint" in said and "fault in bnnflow" not in said


def test_the_page_is_whole() -> None:
    """Tables that commands read are on the page, and no others; links lead somewhere; nothing is left out above."""
    read = set(re.findall(r"[\w-]+\.csv", " ".join([*EXAMPLES, *REFUSED])))
    assert read - {"accuracy.csv"} == set(FILES)
    assert PAGE.count("\nflow ") == len(EXAMPLES) and PAGE.count("| `flow ") == len(REFUSED)
    for link in re.findall(r"\]\(([\w./-]+)(?:#[\w-]+)?\)", PAGE):
        assert (ROOT / "docs" / link).resolve().exists(), link

"""What can be chosen by name is documented by itself: in docs/, and by --list."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from bnnflow import CHECK_FAILED, Problem
from bnnflow.build import parts
from bnnflow.flow.cli.app import run
from bnnflow.flow.recipe.schema import schema
from bnnflow.flow.show.entries import Entries, cost_entries, entry_tables, fault_entries
from tests.places import ROOT
from tests.random_qonnx import random_network

DOCS = ROOT / "docs"
MARKS = "<!-- entries -->\n", "<!-- end of entries -->\n"
PAGES: dict[str, Callable[[], Entries]] = {"faults.md": fault_entries, "costs.md": cost_entries}


@pytest.mark.parametrize("page", PAGES)
def test_the_tables_in_docs_are_the_code(page: str, request: pytest.FixtureRequest) -> None:
    """--update-golden writes them."""
    path, made = DOCS / page, entry_tables(PAGES[page]())
    head, rest = path.read_text(encoding="utf-8").split(MARKS[0])
    table, tail = rest.split(MARKS[1])
    if request.config.getoption("--update-golden"):
        path.write_text(f"{head}{MARKS[0]}{made}{MARKS[1]}{tail}", encoding="utf-8")
        return
    assert table == made


@pytest.mark.parametrize(("command", "page"), [("faults", "faults.md"), ("estimate", "costs.md")])
def test_commands_list_them(command: str, page: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--list"]) == 0
    said = re.sub(r"\W+", " ", capsys.readouterr().out)
    for rows in PAGES[page]().values():
        for name, about in rows:
            assert re.sub(r"\W+", " ", name) in said
            assert re.sub(r"\W+", " ", about.split()[0]) in said
    assert run([command, "--json", "--list"]) == 0
    assert json.loads(capsys.readouterr().out) == {kind: dict(rows) for kind, rows in PAGES[page]().items()}


def test_a_new_part_is_one_row(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Named in part numbers, in the schema of recipes, in lists and in hints; the longest beginning counts."""
    row = parts.Part("xc7a35tl", 1, 2, 3, 4, "made up")
    monkeypatch.setitem(parts._PARTS, row.name, row)
    assert parts.part("XC7A35TLcsg324-1") is row and parts.part("xc7a35ticsg324-1L").name == "xc7a35t"
    pattern = schema()["$defs"]["Target"]["properties"]["part"]["anyOf"][0]["pattern"]
    assert re.match(pattern, "xc7a35tlcsg324-1")
    assert dict(cost_entries()["part"])["xc7a35tl"] == "1 LUT, 2 BRAM18, 3 UltraRAM, 4 DSP slices (made up)"
    onnx.save(random_network(0, 1, 1), tmp_path / "net.onnx")
    assert run(["estimate", str(tmp_path / "net.onnx"), "--part", "xc7a35tlcsg324-1", "--fps", "10"]) == CHECK_FAILED
    assert "xc7a35tl has 1 and 2" in capsys.readouterr().err
    with pytest.raises(Problem, match="xc7a35tl"):
        parts.part("xc7b35tl")


def test_a_model_of_bits_is_shown_with_its_own_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(random_network(0, 1, 1), tmp_path / "net.onnx")
    assert run(["estimate", str(tmp_path / "net.onnx"), "--cost-model", "bits"]) == 0
    said = capsys.readouterr().out
    assert "3,989 bit operations, 923 weight bits, 78 threshold bits, 896 cycles per image" in said
    assert "counted; no technology" in said and "LUT" not in said


def test_every_part_says_where_its_figures_are_from() -> None:
    assert all(parts.part(name).about for name in parts.part_names())

"""What can be chosen by name is documented by itself: in docs/, and by --list."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from bnnflow.flow.cli.app import run
from bnnflow.flow.show.entries import Entries, fault_entries, markdown

DOCS = Path(__file__).parents[2] / "docs"
MARKS = "<!-- entries -->\n", "<!-- end of entries -->\n"
PAGES: dict[str, Callable[[], Entries]] = {"faults.md": fault_entries}


@pytest.mark.parametrize("page", PAGES)
def test_the_tables_in_docs_are_the_code(page: str, request: pytest.FixtureRequest) -> None:
    """--update-golden writes them."""
    path, made = DOCS / page, markdown(PAGES[page]())
    head, rest = path.read_text(encoding="utf-8").split(MARKS[0])
    table, tail = rest.split(MARKS[1])
    if request.config.getoption("--update-golden"):
        path.write_text(f"{head}{MARKS[0]}{made}{MARKS[1]}{tail}", encoding="utf-8")
        return
    assert table == made


@pytest.mark.parametrize(("command", "page"), [("faults", "faults.md")])
def test_commands_list_them(command: str, page: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--list"]) == 0
    said = re.sub(r"\W+", " ", capsys.readouterr().out)
    for rows in PAGES[page]().values():
        for name, about in rows:
            assert re.sub(r"\W+", " ", name) in said
            assert re.sub(r"\W+", " ", about.split()[0]) in said

"""Text of files is shown, never obeyed: controls, markup, and what turns the order of characters."""

from __future__ import annotations

import contextlib
import io
import unicodedata
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Environment

from bnnflow import Problem, visible
from bnnflow.flow.cli.app import run
from bnnflow.flow.show.report import _shown
from bnnflow.flow.show.terminal import _Console
from tests.transforms.onnx_files import Net

EVIL = (
    *("\x1b[2J\x1b]0;title\x07", "[bold red]x[/]", "[/]", "[link=http://x]y[/link]", "a\r\nerror: b", "\x9b31m"),
    *("\u202egnp.exe", "\u2066x\u2069", ":boom:", "\x08\x08", "\u2028", "<script>alert(1)</script>"),
)
OBEYED = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def obeyed(text: str) -> list[str]:
    return [one for one in text if unicodedata.category(one) in OBEYED and one not in "\n\t"]


@given(st.text(), st.booleans())
def test_what_is_visible_is_obeyed_by_nothing(text: str, lines: bool) -> None:
    shown = visible(text, lines)
    assert not obeyed(shown)
    assert lines or "\n" not in shown
    if not obeyed(text) and (lines or not set("\n\t") & set(text)):
        assert shown == text
    shown.encode()


def file_of(word: str, broken: bool) -> onnx.ModelProto:
    net = Net((4,), "UINT8")
    net.add("Sub", net.c(np.full(4, 127.5)))
    net.add("BipolarQuant", net.c(1.0), domain="qonnx.custom_op.general")
    net.add("MatMul", net.c(np.ones((4, 3))))
    model = net.model(shape=(1, 3))
    for node in model.graph.node:
        node.name = f"{word}{node.name}{node.op_type}"
        node.doc_string = word
    model.graph.name = word
    model.graph.doc_string = word
    if broken:
        for node in model.graph.node:
            node.output[0] = word + node.output[0]
            node.input[0] = node.input[0] if node.input[0] == "x" else word + node.input[0]
        model.graph.output[0].name = word + model.graph.output[0].name
        model.graph.node[-1].op_type = "Mat" + word
        model.graph.node[-1].domain = "qonnx.custom_op." + word
    return model


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("word", EVIL)
def test_names_of_a_network(
    tmp_path: Path, word: str, broken: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("net.onnx")
    onnx.save(file_of(word, broken), str(path))
    for arguments in (
        ["check", str(path)],
        ["check", str(path), "--json"],
        ["compile", str(path), "-o", str(tmp_path / "o")],
    ):
        status = run(arguments)
        made = capsys.readouterr()
        assert status == (2 if broken else 0), made
        assert not obeyed(made.out + made.err), arguments
        if word.startswith("[") and arguments == ["check", "net.onnx"]:
            # Markup stays what it is, as far as the table's column shows it.
            assert word[:3] in made.out
        assert "\nerror: b" not in made.out + made.err


@pytest.mark.parametrize("word", EVIL)
def test_tables_problems_prints_and_pages(word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from rich.table import Table

    file = io.StringIO()
    table = Table(word, title=word)
    table.add_row(word)
    console = _Console(file=file, width=200)
    console.print(table, word)
    assert not obeyed(file.getvalue())
    assert not obeyed(str(Problem(word, word, word)))
    page = Environment(autoescape=True, finalize=_shown).from_string("{{ word }}").render(word=word)
    assert not obeyed(page)
    assert "<" not in page
    printed = io.StringIO()
    from bnnflow.flow.show.streams import shown

    with contextlib.redirect_stdout(printed), shown():
        print(word)
    assert printed.getvalue() == visible(word) + "\n"


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=12))
def test_arguments_are_answered_in_visible_text(text: str) -> None:
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        run(["check", f"{text}.yaml", "-s", f"model.{text}={text}"])
    assert not obeyed(out.getvalue() + err.getvalue())

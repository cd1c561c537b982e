"""Tools that fail, or take too long: what is said, kept, and left running. The tools are scripts of the shell."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from bnnflow import CHECK_FAILED, TOOL_MISSING, Problem
from bnnflow.build.cosim.verilator import Tools, build
from bnnflow.flow.graphs.hardware import hardware_of

from ...hardware_graphs import winner

# Objects and macros are made; the program is what each test says.
COMPILER = """#!/bin/sh
case " $* " in *" -c "* | *" -dM "*) for last; do :; done; : > "$last"; exit 0 ;; esac
"""


def failed(folder: Path, link: str, seconds: float | None = None) -> Problem:
    """What a build says of a compiler that does `link` when it is to make the program."""
    verilator, compiler = folder / "verilator", folder / "g++"
    verilator.write_text("#!/bin/sh\necho of tests\n")
    compiler.write_text(COMPILER + link)
    for path in (verilator, compiler):
        path.chmod(0o700)
    tools = Tools(verilator, folder, compiler, folder / "cache", os.environ["PATH"])
    made = hardware_of(winner(), 2, {}, 100.0)
    made.design.write(folder / "design")
    with pytest.raises(Problem) as raised:
        build(made.design, folder / "design", tools, seconds)
    assert not list((folder / "cache" / "programs").iterdir())
    return raised.value


def test_a_failing_tool_says_its_last_lines_and_leaves_all(tmp_path: Path) -> None:
    found = failed(tmp_path, "seq 100 200\necho no more memory >&2\nexit 1\n")
    assert found.status == TOOL_MISSING
    assert found.what.startswith("g++ failed with status 1: 190") and found.what.endswith("no more memory")
    log = Path(found.where).read_text().splitlines()
    assert log[0].startswith(str(tmp_path / "g++")) and log[1] == "100" and log[-1] == "no more memory"


def test_a_time_limit_ends_what_a_tool_started_too(tmp_path: Path) -> None:
    began = time.monotonic()
    found = failed(tmp_path, f"sleep 60 &\necho $! > {tmp_path}/pid\nwait\n", seconds=0.5)
    assert (found.what, found.status) == ("g++ took more than 0.5 s", CHECK_FAILED)
    assert time.monotonic() - began < 30
    child = int((tmp_path / "pid").read_text())
    for _ in range(100):
        # Gone, or dead and not yet fetched by whoever took it over.
        try:
            state = Path(f"/proc/{child}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        time.sleep(0.05)
    raise AssertionError("what the compiler started runs on")


def test_a_tool_that_cannot_be_started(tmp_path: Path) -> None:
    tools = Tools(tmp_path / "none", tmp_path, tmp_path / "none", tmp_path / "cache", "")
    with pytest.raises(Problem) as raised:
        build(hardware_of(winner(), 2, {}, 100.0).design, tmp_path, tools)
    assert raised.value.status == TOOL_MISSING and "flow doctor" in raised.value.hint

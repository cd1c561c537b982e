"""`flow route`: a network or its units on a part, on the screen and as JSON, and the stage of the same name.

The programs are stand-ins here: tests/build/route/ has the real ones.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bnnflow import CHECK_FAILED, TOOL_MISSING, USER_INPUT
from bnnflow.flow.cli import app as cli
from bnnflow.flow.run import tools

from ...build.route.test_route import MAPS, REPORT
from ..stages.test_hardware_stages import RECIPE, found_stages
from .answer import answer

Golden = Callable[[str, str], None]
# Faster by 10 MHz with each seed.
SAYS = f"""import json, sys
found = {REPORT!r}
found["fmax"]["slow"]["achieved"] = 90.0 + 10.0 * int(sys.argv[sys.argv.index("--seed") + 1])
open("report.json", "w").write(json.dumps(found))
"""


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    """Stand-ins for yosys and nextpnr, and a cache of the test's own."""
    monkeypatch.setattr(tools, "yosys_command", lambda: ((sys.executable, "-c", MAPS), "yosys of tests"))
    nextpnr = (sys.executable, "-c", SAYS), "nextpnr of tests"
    monkeypatch.setattr(tools, "nextpnr_command", lambda program: nextpnr)
    monkeypatch.setattr(tools, "cache_folder", lambda: tmp_path / "cache")
    return monkeypatch


def test_a_network_on_a_part(
    network: Path, programs: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], golden: Golden
) -> None:
    asked = ("--fps", 1000, "--part", "ULX3S", "--clock-mhz", 105, "--jobs", 1)
    found = answer(capsys, "route", network, *asked, "--seeds", 3)["network"]
    whole: dict[str, Any] = found["whole"]
    assert [one["fmax_mhz"] for one in whole["seeds"]] == [100, 110, 120] and whole["fmax_mhz"] == 120
    assert (found["part"], found["grade"], found["level"]) == ("lfe5u-85f", "6", "placed and routed")
    assert found["tools"] == ["yosys of tests", "nextpnr of tests"] and found["units"] == []
    assert found["fps"] == pytest.approx(120e6 / found["interval_cycles"]) and found["reached"]
    assert whole["path"] == {"start": "conv0", "end": "", "logic_ns": 0.875, "routing_ns": 3.25, "cells": 1}
    # The clock that is asked for is a check; what was done before is not done again.
    assert cli.run(["route", str(network), *map(str, asked)]) == CHECK_FAILED
    said = capsys.readouterr().out
    assert "kept" in said and "the clock of 105 MHz is missed" in said
    golden("screen/route", said)


def test_units_by_themselves(network: Path, programs: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("--fps", 1000, "--part", "ice40hx8k", "--unit", "conv1", "--unit", "conv0")
    found = answer(capsys, "route", network, *asked)["network"]
    # In the order of the graph; without the whole there is no rate.
    assert [one["name"] for one in found["units"]] == ["conv0", "conv1"]
    assert found["whole"] is None and found["fps"] is None and found["reached"] is None and found["grade"] == ""


@pytest.mark.parametrize(
    ("name", "arguments", "status"),
    [
        ("part", ["--part", "xc7z020"], USER_INPUT),
        ("default_part", [], USER_INPUT),
        ("grade", ["--part", "lfe5u-25f", "--grade", "9"], USER_INPUT),
        ("no_grades", ["--part", "ice40hx8k", "--grade", "6"], USER_INPUT),
        ("unit", ["--part", "ice40hx8k", "--unit", "conv9"], USER_INPUT),
        ("seeds", ["--part", "ice40hx8k", "--seeds", "0"], USER_INPUT),
        ("primitives", ["--part", "ice40hx8k", "--primitives", "xc7"], USER_INPUT),
        ("missing", ["--part", "ice40hx8k"], TOOL_MISSING),
    ],
)
def test_what_is_refused(
    name: str,
    arguments: list[str],
    status: int,
    network: Path,
    programs: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    golden: Golden,
) -> None:
    if name == "missing":
        programs.setattr(tools, "nextpnr_command", lambda program: None)
    assert cli.run(["route", str(network), "--fps", "1000", *arguments]) == status
    golden(f"problems/route_{name}", capsys.readouterr().err)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE.replace("cosim: {when: always, images: 10, stalls: 1}", "cosim: {when: never}"))
    return path


def test_a_build_places_both_networks(
    recipe: Path, tmp_path: Path, programs: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bnnflow.flow.stages import hardware

    programs.setattr(hardware, "nextpnr_command", tools.nextpnr_command)
    programs.setattr(hardware, "yosys_command", tools.yosys_command)
    folder = tmp_path / "run"
    changes = ["route.when=auto", "route.part=ice40up5k", "route.seeds=2", "target.clock_mhz=20", "prune.enabled=true"]
    changes += ["prune.steps=1", "prune.epochs=0", "prune.unit=4", "target.fps=1000"]
    build = ["build", str(recipe), "--run", str(folder), *(part for one in changes for part in ("-s", one))]
    assert cli.run(build) == 0
    found = json.loads((folder / "summary.json").read_text())["routing"]
    assert list(found) == ["base", "pruned"]
    assert all(one["whole"]["fmax_mhz"] == 110 and one["reached"] for one in found.values())
    report, said = (folder / "report.html").read_text(), capsys.readouterr().out
    assert "Placed and routed" in report and "41 of 5,280 ICESTORM_LC" in report
    assert "Placed and routed on ice40up5k" in said
    assert cli.run(build) == 0
    assert all(stage["skipped"] for stage in found_stages(folder) if stage["name"] == "route")
    assert cli.run([part.replace("seeds=2", "seeds=3") for part in build]) == 0
    assert not any(stage["skipped"] for stage in found_stages(folder) if stage["name"] == "route")
    # A run says what it was placed on; an option says otherwise.
    capsys.readouterr()
    assert cli.run(["route", str(folder), "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert {name: (one["part"], len(one["whole"]["seeds"])) for name, one in again.items()} == {
        "base": ("ice40up5k", 3),
        "pruned": ("ice40up5k", 3),
    }
    assert cli.run(["route", str(folder / "base"), "--part", "ice40hx8k", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["base"]["part"] == "ice40hx8k"


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        (["route.when=always"], USER_INPUT, "no open tool here places and routes on"),
        (["route.when=auto", "route.part=xc7z020"], USER_INPUT, "no open tool here places and routes on"),
        (["route.when=always", "route.part=ice40up5k", "route.grade=6"], USER_INPUT, "no speed grade"),
        (["route.when=always", "route.part=ice40up5k"], TOOL_MISSING, "nextpnr-ice40 is not installed"),
        (["route.part=ice40up5k"], USER_INPUT, "nothing is placed"),
        (["route.when=always", "rtl.enabled=false"], USER_INPUT, "no hardware is written"),
    ],
)
def test_what_a_recipe_may_not_ask(
    changes: list[str],
    status: int,
    said: str,
    recipe: Path,
    tmp_path: Path,
    programs: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    programs.setattr(tools, "nextpnr_command", lambda program: None)
    given = [part for one in changes for part in ("-s", one)]
    assert cli.run(["build", str(recipe), "--run", str(tmp_path / "run"), *given]) == status
    assert said in capsys.readouterr().err and not (tmp_path / "run").exists()

"""The stages `rtl` and `cosim` of `flow build`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

import bnnflow as bf
from bnnflow import CHECK_FAILED, TOOL_MISSING, USER_INPUT
from bnnflow.flow.cli import app as cli
from bnnflow.flow.run import tools
from bnnflow.flow.run.tools import compiler_place, verilator_place

RECIPE = """\
name: small
data: {name: digits, train_images: 200, test_images: 40}
model: {arch: mlp, hidden: [16]}
train: {epochs: 1, threads: 1}
prune: {enabled: false}
verify: {images: 4}
target: {fps: 100000}
faults: {enabled: false}
speed: {enabled: false}
cosim: {when: always, images: 10, stalls: 1}
"""
TINY = """\
name: tiny
family: xc7
lut: 1000
lut_inputs: 6
ff: 66560
block_rams: 150
block_bits: 18432
uram: 0
dsp: 120
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE)
    return path


def summary(folder: Path) -> dict[str, dict[str, dict[str, object]]]:
    found: dict[str, dict[str, dict[str, object]]] = json.loads((folder / "summary.json").read_text())
    return found


def test_hardware_is_written_simulated_and_told(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if verilator_place() is None or compiler_place() is None:
        pytest.skip("Verilator or a C++ compiler is not installed")
    folder = tmp_path / "run"
    build = ["build", str(recipe), "--run", str(folder)]
    assert cli.run(build) == 0
    found = summary(folder)
    written, simulated = found["rtl"]["base"], found["cosim"]["base"]
    assert written["top"] == simulated["top"] == "bnn_small_base"
    assert written["sha256"] == simulated["sha256"]
    assert (folder / "base/rtl/bnn_small_base.sv").is_file() and (folder / "base/rtl/manifest.json").is_file()
    assert simulated["equal"] is True and simulated["images"] == 10 and simulated["unexpected"] == []
    assert simulated["interval_cycles"] == written["interval_cycles"]
    assert "equal: 10 images, 2 runs" in (folder / "report.html").read_text()
    assert "2 runs, the words of" in capsys.readouterr().out
    # The run is hardware's source, as it stands in it, and never its place.
    assert cli.run(["rtl", str(folder), "-o", str(tmp_path / "again"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sha256"] == written["sha256"]
    for place in (folder, folder / "base" / "rtl"):
        assert cli.run(["rtl", str(folder), "-o", str(place)]) == USER_INPUT
        assert "belongs to a run" in capsys.readouterr().err and (folder / "summary.json").is_file()
    # Nothing is done twice; a changed file of the hardware is found and refused.
    assert cli.run(build) == 0
    assert all(stage["skipped"] for stage in found_stages(folder) if stage["name"] in ("rtl", "cosim"))
    (folder / "base/rtl/bnn_small_base.sv").write_text("module other; endmodule")
    capsys.readouterr()
    # It is not said of other hardware, made anew from the network, that it is equal.
    assert cli.run(["cosim", str(folder)]) == CHECK_FAILED
    assert "bnn_small_base.sv" in capsys.readouterr().err
    assert cli.run([*build, "--from", "cosim"]) in (CHECK_FAILED, USER_INPUT)
    assert "bnn_small_base.sv" in capsys.readouterr().err


def test_costs_are_of_the_hardware_that_is_asked_for(recipe: Path, tmp_path: Path) -> None:
    """Registers and codes of the recipe, and no more of the stages than what they change is done anew."""
    folder = tmp_path / "run"
    build = ["build", str(recipe), "--run", str(folder), "-s", "cosim.when=never", "-s", "synth.when=never"]
    build += ["-s", "route.when=never"]
    assert cli.run(build) == 0
    plain: Any = summary(folder)["networks"]["base"]
    assert cli.run([*build, "-s", "rtl.protect=secded-39-32"]) == 0
    coded: Any = summary(folder)["networks"]["base"]
    assert [one["name"] for one in coded["layers"]][-1] == "(registers)" and coded["lut"] > plain["lut"]
    done = {str(stage["name"]): not stage["skipped"] for stage in found_stages(folder)}
    assert done["cost"] and done["rtl"] and not done["schedule"] and not done["train"]
    assert not summary(folder)["notes"]["base"]
    part = tmp_path / "tiny.yaml"
    part.write_text(TINY)
    assert cli.run([*build, "-s", "rtl.protect=secded-39-32", "-s", f"target.part={part}"]) == 0
    took: Any = summary(folder)["networks"]["base"]
    assert f"more than tiny has: {took['lut']:,} LUT of 1,000" in summary(folder)["notes"]["base"]
    assert cli.run([*build, "-s", "rtl.sets=1", "-s", "target.cost_model=exact"]) == 0
    assert "registers, sets and codes are counted by bnnflow alone" in summary(folder)["notes"]["base"]
    assert cli.run([*build, "-s", "rtl.primitives=xc7"]) == 0
    assert "the run's hardware is of primitives of xc7, which are not counted" in bf.load(folder).estimate().notes


def found_stages(folder: Path) -> list[dict[str, object]]:
    stages: list[dict[str, object]] = json.loads((folder / "summary.json").read_text())["stages"]
    return stages


def test_what_has_no_hardware_does_not_end_a_build(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reason is in the summary and in the report; nothing is simulated."""
    from bnnflow.build.rtl import modules

    monkeypatch.setattr(modules, "MOST_LEVELS", 0)
    folder = tmp_path / "run"
    assert cli.run(["build", str(recipe), "--run", str(folder), "-s", "cosim.when=never"]) == 0
    reason = summary(folder)["rtl"]["base"]["reason"]
    assert "thresholds a channel" in str(reason)
    assert not (folder / "base/rtl").exists()
    assert "not written" in (folder / "report.html").read_text()


def test_without_verilator(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`always` is refused before anything is trained, with status 3; `auto` leaves the stage out."""
    for module in ("flow.run.tools", "flow.stages.hardware"):
        monkeypatch.setattr(f"bnnflow.{module}.verilator_place", lambda: None)
    assert tools.verilator_place() is None
    folder = tmp_path / "run"
    assert cli.run(["build", str(recipe), "--run", str(folder)]) == TOOL_MISSING
    said = capsys.readouterr().err
    assert "Verilator is not installed" in said and "small.yaml:10:" in said and not folder.exists()
    assert cli.run(["build", str(recipe), "--run", str(folder), "-s", "cosim.when=auto"]) == 0
    assert "cosim" not in summary(folder) and summary(folder)["rtl"]["base"]["top"] == "bnn_small_base"


def test_keys_without_effect(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recipe.write_text(RECIPE + "rtl: {enabled: false}\n")
    assert cli.run(["check", str(recipe)]) == USER_INPUT
    assert "no hardware is written" in capsys.readouterr().err
    recipe.write_text(RECIPE.replace("always", "never"))
    assert cli.run(["check", str(recipe)]) == USER_INPUT
    assert "nothing is simulated" in capsys.readouterr().err


# In place of yosys: a netlist of as many LUTs as the unit's text has lines.
COUNTS = """import json
cells = {"LUT6": open("unit.sv").read().count(chr(10)), "RAMB36E1": 1, "FDRE": 5}
open("stat.json", "w").write(json.dumps({"design": {"num_cells_by_type": cells}}))
"""


def test_hardware_is_synthesized_and_told(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Unpruned beside pruned, in summary, report and terminal; with another yosys it is done again."""
    monkeypatch.setattr(tools, "yosys_command", lambda: ((sys.executable, "-c", COUNTS), "yosys of tests"))
    folder = tmp_path / "run"
    changes = ["cosim.when=never", "synth.when=always", "prune.enabled=true", "prune.steps=1"]
    changes += ["prune.epochs=0", "prune.unit=4"]
    build = ["build", str(recipe), "--run", str(folder), *(part for one in changes for part in ("-s", one))]
    assert cli.run(build) == 0
    found = summary(folder)["synthesis"]
    assert list(found) == ["base", "pruned"]
    for network in found.values():
        units: list[dict[str, Any]] = network["units"]  # type: ignore[assignment]
        assert [unit["name"] for unit in units] == ["(input)", *(one["name"] for one in units[1:])]
        total: dict[str, int] = network["total"]  # type: ignore[assignment]
        assert total["lut"] == sum(unit["resources"]["lut"] for unit in units)
        assert total["block_ram"] == 2 * len(units) and total["ff"] == 5 * len(units)
        assert (network["family"], network["tool"], network["level"]) == ("xc7", "yosys of tests", "synthesized")
    report, said = (folder / "report.html").read_text(), capsys.readouterr().out
    assert "mapped to xc7 by yosys of tests" in report and "Synthesized for xc7" in said
    assert cli.run(build) == 0
    assert all(stage["skipped"] for stage in found_stages(folder) if stage["name"] == "synth")
    monkeypatch.setattr(tools, "yosys_command", lambda: ((sys.executable, "-c", COUNTS), "another yosys"))
    assert cli.run(build) == 0
    assert not any(stage["skipped"] for stage in found_stages(folder) if stage["name"] == "synth")


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        (["synth.when=always"], TOOL_MISSING, "yosys is not installed"),
        (["rtl.primitives=xc7", "target.part=xczu3eg"], USER_INPUT, "no primitives of xc7"),
        (["rtl.protect=secdd"], USER_INPUT, "did you mean 'secded"),
        (["rtl.protect=dense9=tmr"], USER_INPUT, "there is no unit or memory 'dense9'"),
        (["rtl.scrub=false"], USER_INPUT, "no memory is in a code"),
        (["synth.family=ecp5"], USER_INPUT, "nothing is synthesized"),
        (["rtl.enabled=false", "synth.when=always"], USER_INPUT, "no hardware is written"),
    ],
)
def test_what_is_refused_before_anything_is_trained(
    changes: list[str],
    status: int,
    said: str,
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(tools, "yosys_command", lambda: None)
    given = [part for one in ("cosim.when=never", *changes) for part in ("-s", one)]
    assert cli.run(["build", str(recipe), "--run", str(tmp_path / "run"), *given]) == status
    assert said in capsys.readouterr().err and not (tmp_path / "run").exists()

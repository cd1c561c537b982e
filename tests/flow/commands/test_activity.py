"""`flow activity`: what it refuses, and what it prints of a network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bnnflow import TOOL_MISSING, USER_INPUT
from bnnflow.flow.cli import app as cli
from bnnflow.flow.graphs import activity
from bnnflow.flow.graphs.hardware import Hardware
from bnnflow.flow.results.activity import Activity, UnitActivity
from bnnflow.flow.run import tools


def test_a_network_is_told(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With what is counted made up: tests/build/cosim/test_activity.py and the API's example have Verilator count."""

    def counted(made: Hardware, images: np.ndarray, tools: object, **options: Any) -> Activity:
        assert len(images) == 3 and options["drawn"]
        unit = UnitActivity(name="conv0", logic=3000.0, memory=500.0, streams=500.0, counted_nj=1.5)
        other = UnitActivity(name="(input)", logic=0.0, memory=0.0, streams=1000.0, counted_nj=None)
        facts = {"name": made.graph.name, "sha256": made.design.digest, "tool": "Verilator of tests"}
        sums = {"units": [other, unit], "changes": 5000.0, "counted_nj": 3.0, "saif": options["saif"]}
        return Activity(**facts, **sums, images=2, drawn=True, interval_cycles=100)

    monkeypatch.setattr(activity, "activity_of", counted)
    monkeypatch.setattr(tools, "simulation_tools", lambda: None)
    asked = ["activity", str(network), "--fps", "1000", "--images", "3"]
    assert cli.run([*asked, "--json", "-o", str(tmp_path / "net.saif")]) == 0
    (found,) = json.loads(capsys.readouterr().out).values()
    assert found["level"] == "simulated" and found["changes"] == 5000
    assert found["saif"] == str(tmp_path / "net.saif")
    assert cli.run(asked) == 0
    said = capsys.readouterr().out
    assert "mean of 2 drawn images" in said
    row = next(line for line in said.splitlines() if "conv0" in line)
    assert row.split()[1::2][1:] == ["3,000", "500", "500", "4,000", "80.0%", "1.50", "50.0%"]


def test_what_is_refused(
    network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for more, said in (
        (["--images", "1"], "--images: 1 is out of range"),
        (["-o", str(tmp_path / "net.txt")], "net.txt"),
        (["-o", str(network)], "network.onnx"),
        (["--data-dir", str(tmp_path)], "without --data"),
    ):
        assert cli.run(["activity", str(network), "--fps", "1000", *more]) == USER_INPUT
        assert said in capsys.readouterr().err
    monkeypatch.setattr(tools, "verilator_place", lambda: None)
    assert cli.run(["activity", str(network), "--fps", "1000"]) == TOOL_MISSING
    assert "Verilator is not installed" in capsys.readouterr().err

"""`flow parts`, and parts where a command takes one."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

import bnnflow as bf
from bnnflow import USER_INPUT
from bnnflow.build.parts import part_names
from bnnflow.flow.cli.app import run
from bnnflow.flow.run.typed_json import to_json
from tests.random_qonnx import random_network


def test_all_of_them_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["parts"]) == 0
    said = capsys.readouterr().out
    assert all(f"\n{name} " in said for name in part_names())
    assert run(["parts", "ecp5", "85f", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == to_json(bf.parts("ecp5", "85f"))


def test_one_is_told_whole(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["parts", "icebreaker"]) == 0
    said = capsys.readouterr().out
    for fact in ("ice40up5k", "5,280 of 4 inputs", "30 of 4 kbit, used as 6 of 18 kbit", "4 of 256 kbit", "Fomu"):
        assert fact in said
    assert run(["parts", "iCE40UP5K-SG48", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == to_json(bf.part("iCEBreaker"))


@pytest.mark.parametrize(
    ("words", "hint"), [(["zcu103"], "did you mean ZCU10"), (["none", "such"], "flow parts"), (["no.yaml"], "docs/")]
)
def test_what_there_is_not(
    words: list[str], hint: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(["parts", *words]) == USER_INPUT
    assert hint in capsys.readouterr().err


def test_commands_take_boards_and_say_what_does_not_hold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(random_network(0, 1, 1), net := str(tmp_path / "net.onnx"))
    assert run(["estimate", net, "--part", "ULX3S", "--fps", "1000"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "LUT RAM) of 83,640" in said
    assert "LUTs are counted" not in said and "clock about" in said, "its own are, and were placed"
    assert run(["estimate", net, "--part", "ULX3S", "--fps", "1000", "--cost-model", "finn"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "LUTs are counted as of 6 inputs; lfe5u-85f has 4" in said and "clock about" not in said
    assert run(["synth", net, "--part", "VCK190", "--fps", "1000"]) == USER_INPUT
    assert "xcvc1902 is of no family that yosys maps to" in capsys.readouterr().err

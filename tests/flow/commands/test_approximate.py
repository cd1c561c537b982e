"""`flow approximate` on a small network in a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import bnnflow as bf
from bnnflow.flow.cli import app as cli
from bnnflow.flow.run.typed_json import to_json
from bnnflow.sim.approximation import CapMin, LocalThresholds, binary_layers, judge
from bnnflow.transforms.reading.read import read
from tests.flow.commands.test_fault_commands import DATA, folder, said

__all__ = ["folder"]  # a fixture

Golden = Callable[[str, str], None]
LEARNED = ["--calibration", "x.npy"]


def files() -> None:
    np.savetxt("read_as.csv", np.eye(5)[[1, 1, 2, 3, 3]], delimiter=",", fmt="%g")
    np.savetxt("errors.csv", [[0.0, 0.1], [0.2, 0.0]], delimiter=",", fmt="%g")
    Path("odd.csv").write_text("1,0\n0.5,0.4\n")


@pytest.mark.usefixtures("folder")
def test_what_is_shown(capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    files()
    asked = ["--lta", "7,8", "--capmin", "3,2", "--array", "4", "--refit", "--xnor-errors", "errors.csv"]
    text = said(capsys, ["approximate", "net.onnx", *DATA, *LEARNED, *asked, "--histogram", "p.csv"])
    golden("approximate", text)
    rows = [line.split(",") for line in Path("p.csv").read_text().splitlines()]
    assert rows[0] == ["popcount", "hidden"] and sum(int(row[1]) for row in rows[1:]) == 50 * 16 * 6
    for name in ("p.json", "p.svg"):
        said(capsys, ["approximate", "net.onnx", *DATA, *LEARNED, "--histogram", name])
        assert Path(name).stat().st_size > 20


@pytest.mark.usefixtures("folder")
def test_json_python_and_the_simulator_say_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["approximate", "net.onnx", *DATA, "--lta", "8,8", "--levels", "1-3", "--array", "4", "--json"]
    found = json.loads(said(capsys, asked))
    same = bf.approximate("net.onnx", "x.npy", "y.npy", lta=[8], levels=(1, 3), array=4)
    assert to_json(same) == found
    graph, x, y = read(Path("net.onnx")), np.load("x.npy"), np.load("y.npy")
    for row, how in zip(found["sums"], (LocalThresholds(8), CapMin.between(1, 3, 4)), strict=True):
        judged = judge(graph, {"hidden": how}, x)
        assert row["accuracy"] == (judged.classes == y).mean() and row["changed"] == judged.changed
    fan_in = binary_layers(graph)["hidden"].fan_in
    assert [row["layers"][0]["readings"] for row in found["sums"]] == [16 * fan_in // 8, 16 * fan_in // 4]
    assert [row["range_ratio"] for row in found["sums"]] == [None, 2.0]


@pytest.mark.usefixtures("folder")
def test_confusions_are_drawn(capsys: pytest.CaptureFixture[str]) -> None:
    files()
    asked = ["approximate", "net.onnx", *DATA, "--confusion", "read_as.csv", "--array", "4", "--draws", "3", "--json"]
    (row,) = json.loads(said(capsys, asked))["sums"]
    assert row["model"] == "confusion" and row["draws"] == 3 and row["low"] == row["high"]  # rows without chance


REFUSED = {
    "nothing": [],
    "words": ["--lta", "many"],
    "zero": ["--capmin", "0,3"],
    "range": ["--levels", "3"],
    "backwards": ["--levels", "17-15"],
    "whole_sums": ["--lta", "24"],
    "scores": ["--lta", "8", "--layers", "scores"],
    "unknown_layer": ["--lta", "8", "--layers", "hiden"],
    "levels": ["--capmin", "34", *LEARNED],
    "no_training_images": ["--capmin", "3"],
    "matrix": ["--confusion", "odd.csv", "--array", "1"],
    "balanced": ["--capmin", "3", "--balanced", *LEARNED],
    "refit": ["--lta", "8", "--refit", *LEARNED],
    "draws": ["--lta", "8", "--draws", "3"],
    "array": ["--lta", "8", "--array", "3"],
    "calibrate": ["--lta", "8", "--calibrate", "3"],
    "calibration": ["--lta", "8", *LEARNED],
    "picture": ["--histogram", "x.txt", *LEARNED],
    "input_file": ["--histogram", "errors.csv", "--xnor-errors", "errors.csv", *LEARNED],
}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    files()
    capsys.readouterr()
    assert cli.run(["approximate", "net.onnx", *DATA, *REFUSED[name]]) == 2
    golden(f"problems/approximate_{name}", capsys.readouterr().err)

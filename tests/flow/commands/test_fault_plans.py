"""`flow tolerance` and `flow protect`: what they plan is read back, and does what they said."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

import bnnflow as bf
from bnnflow.flow.results.faults import FaultSeries
from bnnflow.flow.run.typed_json import to_json
from tests.flow.commands.test_fault_commands import DATA, folder, said

Golden = Callable[[str, str], None]
__all__ = ["folder"]
LONG = ["--maps", "3", "--images", "50"]


def test_rates_by_memory_are_within_the_loss_and_read_back(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        *DATA,
        "--maps",
        "12",
        "--images",
        "50",
        "--grid",
        "0.001,0.01,0.1,0.3",
        "--loss",
        "30",
        "-o",
        "r.csv",
        "--store",
        "s.sqlite",
    ]
    found = json.loads(said(capsys, ["tolerance", "net.onnx", *words, "--json"]))
    assert json.loads(said(capsys, ["tolerance", "net.onnx", *words, "--json"])) == found
    assert found["clean"] == 1.0 and found["floor"] == 0.7 and found["images"] == found["judged"] == 25
    rates = {row["memory"]: row["rate"] for row in found["rates"]}
    assert set(rates) == {"hidden.weights", "scores.weights"} and max(rates.values()) >= found["uniform"] > 0
    assert [row["bits"] for row in found["rates"]] == [16 * 24, 4 * 16]
    # the images that judge, and the next seed's maps, hit by the table that was written
    table = bf.faults("net.onnx", "x.npy", "y.npy", table="r.csv", maps=12, count=50, seed=1)
    (series,) = table.series.values()
    assert isinstance(series[0], FaultSeries) and series[0].injected["memories"].keys() == rates.keys()
    assert to_json(
        bf.tolerance("net.onnx", "x.npy", "y.npy", grid=[0.001, 0.01, 0.1, 0.3], loss=0.3, maps=12, count=50)
    ) == {
        **found,
        "output": None,
    }
    text = said(capsys, ["tolerance", "net.onnx", *words])
    assert "hidden.weights" in text and "r.csv" in text and "25 others" in text


def test_codes_are_a_front_and_read_back(folder: Path, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    words = [*DATA, *LONG, "--rate", "0.02", "--code", "parity", "--code", "tmr", "--code", "tmr", "-o", "p.json"]
    found = json.loads(said(capsys, ["protect", "net.onnx", *words, "--json"]))
    front = found["front"]
    assert front[0]["protect"] == "none" and front[0]["lut"] == front[0]["bram18"] == front[0]["extra_bits"] == 0
    assert len(front) > 1 and all("tmr" in one["protect"] for one in front[1:])
    plan = json.loads(Path("p.json").read_text())
    assert plan["protect"] == front[found["pick"]]["protect"]
    campaign = ["faults", "net.onnx", *DATA, "--rates", "0.02", "--maps", "2", "--protection", "p.json", "--json"]
    (series,) = json.loads(said(capsys, campaign))["series"].values()
    assert series[0]["protection"] == plan["protect"]
    assert plan["protect"] in said(capsys, ["rtl", "net.onnx", "-o", "hw", "--protect", "p.json"])
    api = bf.protect("net.onnx", "x.npy", "y.npy", rate=0.02, codes=["parity", "tmr"], maps=3, count=50)
    assert to_json(api) == {**found, "output": None}
    assert "p.json" in said(capsys, ["protect", "net.onnx", *words])
    refused = said(capsys, ["faults", "other.onnx", *campaign[2:]], 2)
    golden("problems/command_protection_of_another", re.sub("[0-9a-f]{12}", "DIGEST", refused))
    # Nor does the second of two networks take it.
    assert said(capsys, ["faults", "net.onnx", "--against", "other.onnx", *campaign[2:]], 2) == refused
    Path("q.json").write_text('{"protect": "tmr"}')
    golden(
        "problems/command_protection_no_plan", said(capsys, ["rtl", "net.onnx", "-o", "h", "--protect", "q.json"], 2)
    )


REFUSED = {
    "tolerance_descending": (["tolerance", "net.onnx", *DATA, "--grid", "0.1,0.01"], 2),
    "tolerance_zero": (["tolerance", "net.onnx", *DATA, "--grid", "0,0.01"], 2),
    "tolerance_too_much": (["tolerance", "net.onnx", *DATA, "--grid", "0.4,0.5", "--loss", "1"], 1),
    "tolerance_few_images": (["tolerance", "net.onnx", *DATA, "--images", "3"], 2),
    "tolerance_no_labels": (["tolerance", "net.onnx", *DATA[:2]], 2),
    "tolerance_output": (["tolerance", "net.onnx", *DATA, "-o", "r.json"], 2),
    "protect_code_of_a_memory": (
        ["protect", "net.onnx", *DATA, "--pe-simd", "1,1", "--rate", "0.1", "--code", "hidden=tmr"],
        2,
    ),
    "protect_code": (["protect", "net.onnx", *DATA, "--rate", "0.1", "--code", "secdet"], 2),
    "protect_rate": (["protect", "net.onnx", *DATA, "--rate", "0"], 2),
    "protect_plan": (["faults", "net.onnx", *DATA, "--protection", "none.json"], 2),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, folder: Path, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    arguments, status = REFUSED[name]
    golden(f"problems/command_{name}", said(capsys, arguments, status))

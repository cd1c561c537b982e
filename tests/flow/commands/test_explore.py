"""`flow explore`: a front whose designs can be built, and what it refuses."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import bnnflow as bf
from bnnflow.build.calibrated.table import table
from bnnflow.flow.cli import app as cli
from bnnflow.transforms.ir.graph import Node
from bnnflow.transforms.ir.ops import Flatten
from bnnflow.transforms.writing.write import write
from tests.hardware_graphs import residual

from .test_folding_commands import net, ran, refused

__all__ = ["net"]
Golden = Callable[[str, str], None]


def found(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    return ran(capsys, "explore", *arguments)


def test_a_design_that_is_picked_is_what_was_shown(
    net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The written graph and the folding file are that design, by the commands that read them."""
    files = ("--csv", tmp_path / "all.csv", "--plot", tmp_path / "front.svg")
    every = found(capsys, net, "--part", "xc7z020", *files)
    assert every["exact"] and "chosen" not in every
    designs = every["designs"]
    rows = list(csv.DictReader((tmp_path / "all.csv").open(newline="")))
    assert [int(row["number"]) for row in rows] == [each["number"] for each in designs] == list(range(1, len(rows) + 1))
    assert (tmp_path / "front.svg").read_text().startswith("<?xml")
    number = every["shown"][len(every["shown"]) // 2]
    design = designs[number - 1]
    chosen = found(capsys, net, "--part", "xc7z020", "--pick", number, "-o", tmp_path / "made")["chosen"]
    assert (chosen["number"], chosen["interval_cycles"]) == (number, design["cycles"])
    written = bf.load(tmp_path / "made" / "4_folded.onnx").estimate(part="xc7z020")
    by_file = bf.load(net).estimate(part="xc7z020", folding=tmp_path / "made" / "auto_folding_config.json")
    for cost in (written, by_file):
        assert cost.cycles == design["cycles"] and cost.bram18 == chosen["bram18"]
        assert cost.lut + cost.counts["lut_ram"] == chosen["lut"]
    folding = json.loads((tmp_path / "made" / "auto_folding_config.json").read_text())
    for unit, settings in every["foldings"][str(number)].items():
        assert folding[unit].items() >= settings.items()


def test_the_folding_file_holds_the_depths_of_its_fifos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With FIFOs of two words this design loses rate; with those of the file it is the one that was told."""
    file = tmp_path / "branches.onnx"
    graph = residual()
    flat = replace(graph, nodes=(*graph.nodes, Node("flat", Flatten(), (graph.output,))), output="flat")
    file.write_bytes(write(flat).SerializeToString())
    chosen = found(capsys, file, "--fps", 100_000, "-o", tmp_path / "made")["chosen"]
    assert chosen["fifo_depths"]
    folding = tmp_path / "made" / "auto_folding_config.json"
    told = ran(capsys, "cycles", file, "--folding", folding)
    assert told["interval_cycles"] == chosen["interval_cycles"] and told["latency_cycles"] == chosen["latency_cycles"]
    assert {each["name"]: each["depth"] for each in told["fifos"] if each["depth"] != 2} == chosen["fifo_depths"]


def test_the_cheapest_design_that_does_what_is_asked(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    every = found(capsys, net)
    fps = sorted(each["fps"] for each in every["designs"])[len(every["designs"]) // 2]
    fast = found(capsys, net, "--fps", fps)
    assert fast["chosen"]["fps"] >= fps
    doing = [each for each in every["designs"] if each["fps"] >= fps]
    assert fast["designs"][fast["chosen"]["number"] - 1]["share"] == min(each["share"] for each in doing)
    early = found(capsys, net, "--latency-us", 2)
    assert early["chosen"]["latency_us"] <= 2
    none = found(capsys, net, "--bram18", 0)
    assert {each["bram18"] for each in none["designs"]} == {0}


def test_what_is_refused(net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    said = [
        refused(capsys, 1, "explore", net, "--fps", 1e9),
        refused(capsys, 1, "explore", net, "--lut", 20),
        refused(capsys, 1, "explore", net, "--latency-us", 0.01),
        refused(capsys, 2, "explore", net, "--pick", 100_000),
        refused(capsys, 2, "explore", net, "--part", "xcvc1902"),
        refused(capsys, 2, "explore", net, "--plot", tmp_path / "front.txt"),
        refused(capsys, 2, "explore", net, "-o", tmp_path / "made.json"),
    ]
    assert not list(tmp_path.iterdir())
    golden("refused", "\n".join(said).replace(str(tmp_path), "FOLDER"))


def test_a_design_that_is_picked_does_what_else_is_asked(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    designs = found(capsys, net)["designs"]
    small, large = (pick(designs, key=lambda each: each["lut"]) for pick in (min, max))
    budget = ("--lut", large["lut"] - 1)
    text = refused(capsys, 1, "explore", net, *budget, "--pick", large["number"])
    assert f"design {large['number']} takes {large['lut']:,} LUT" in text
    text = refused(capsys, 1, "explore", net, "--latency-us", 0.01, "--pick", small["number"])
    assert f"design {small['number']} does not give the first image within 0.01 us" in text
    chosen = found(capsys, net, *budget, "--latency-us", 1e6, "--pick", small["number"])["chosen"]
    assert chosen["number"] == small["number"]


def test_an_earlier_first_image_than_any_of_the_front_gives(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Units that need not be faster for the rate are, for the latency; what is refused is out of reach of all."""
    every = found(capsys, net)
    fastest = found(capsys, net, "--pick", 1)["chosen"]["latency_us"]
    text = refused(capsys, 1, "explore", net, "--latency-us", 0.01)
    reach = float(text.split("needs ")[1].split(" us")[0])
    assert reach <= fastest
    chosen = found(capsys, net, "--latency-us", reach + 0.02)
    assert chosen["chosen"]["latency_us"] <= reach + 0.02
    number = chosen["chosen"]["number"]
    assert chosen["designs"][number - 1]["number"] == number <= len(every["designs"]) + 1
    said = any("is not of the front" in note for note in chosen["notes"])
    assert said == (number > len(every["designs"]))


def test_what_a_refusal_lacks_is_named(net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = tmp_path / "own.yaml"
    facts = "name: own\nfamily: xc7\nlut: 50000\nlut_inputs: 6\nblock_rams: 90\nblock_bits: 18432\nuram: 0\ndsp: 0\n"
    own.write_text(facts + "ff: 20\n")
    assert " FF of 20" in refused(capsys, 1, "explore", net, "--part", own)


def test_a_table_of_designs_for_people(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["explore", str(net), "--fps", "1000000"]) == 0
    said = capsys.readouterr().out
    assert "no other is as good in all three" in said and "<- chosen" in said and "simulated word by word" in said


def test_block_rams_of_another_size_are_named(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not any("kbit" in note for note in found(capsys, net, "--part", "xc7z020")["notes"])
    notes = found(capsys, net, "--part", "ice40up5k")["notes"]
    assert "BRAM18 counts the block RAMs that ice40up5k has, of 4 kbit each" in notes


def test_a_calibration_of_ones_own(
    net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], golden: Golden
) -> None:
    """A table in which logic costs twice as much gives estimates of twice as much."""
    usual = table("xc7")
    twice = replace(usual, terms={name: 2 * lut for name, lut in usual.terms.items()})
    own = tmp_path / "twice.json"
    own.write_text(twice.text())
    # One folding for both: what logic costs more, another may be cheaper with.
    ones = tmp_path / "ones.json"
    ones.write_text(json.dumps({"Defaults": {"PE": [1, ["all"]], "SIMD": [1, ["all"]]}}))
    one, two = (bf.load(net).estimate(part="xc7z020", calibration=each, folding=ones) for each in (None, own))
    assert two.lut is not None and one.lut is not None and abs(two.lut - 2 * one.lut) <= len(one.layers)
    assert (two.bram18, two.counts) == (one.bram18, one.counts)
    front, other = (found(capsys, net, "--part", "xc7z020", *more) for more in ((), ("--calibration", own)))
    assert min(each["lut"] for each in other["designs"]) > min(each["lut"] for each in front["designs"])
    (tmp_path / "none.json").write_text("{}")
    said = [
        refused(capsys, 2, "estimate", net, "--part", "ULX3S", "--calibration", own),
        refused(capsys, 2, "estimate", net, "--cost-model", "finn", "--calibration", own),
        refused(capsys, 2, "explore", net, "--calibration", tmp_path / "none.json"),
        refused(capsys, 2, "explore", net, "--calibration", tmp_path / "missing.json"),
    ]
    golden("calibration", "\n".join(said).replace(str(tmp_path), "FOLDER"))

"""Folding files of others on the command line, the rate that FIFOs leave, and the folded graph as a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import bnnflow as bf
from bnnflow.flow.cli import app as cli
from bnnflow.flow.recipe.file import load_recipe
from bnnflow.transforms.ir.ops import LabelSelect, Mvau
from bnnflow.transforms.reading.read import read
from tests.places import DATA
from tests.random_qonnx import Builder, random_network

Golden = Callable[[str, str], None]
TFC = DATA / "qonnx_zoo" / "TFC_1W1A.onnx"
needs_zoo = pytest.mark.skipif(not TFC.is_file(), reason="the QONNX zoo's networks are not at hand")

ONES = {"PE": [1, ["all"]], "SIMD": [1, ["all"]]}
# As finn-examples has it for TFC.
OFFICIAL: dict[str, Any] = {
    "Defaults": {},
    "Thresholding_rtl_0": {"PE": 49},
    "MVAU_hls_0": {"PE": 16, "SIMD": 49, "ram_style": "block", "resType": "lut"},
    "MVAU_hls_1": {"PE": 8, "SIMD": 8, "ram_style": "auto", "resType": "lut"},
    "MVAU_hls_2": {"PE": 8, "SIMD": 8, "ram_style": "auto", "resType": "lut"},
    "MVAU_hls_3": {"PE": 10, "SIMD": 8, "ram_style": "distributed", "resType": "lut"},
    "LabelSelect_hls_0": {"PE": 1},
}


def automatic() -> dict[str, Any]:
    """As FINN's build writes it for TFC at 100,000 images/s: every attribute that a node has."""
    config: dict[str, Any] = {"Defaults": {}, "LabelSelect_hls_0": {"PE": 1}}
    threshold = {"runtime_writeable_weights": 0, "depth_trigger_uram": 0, "depth_trigger_bram": 0}
    config["Thresholding_rtl_0"] = {"PE": 1, **threshold}
    memory = {"ram_style": "auto", "resType": "auto", "mem_mode": "internal_decoupled", "runtime_writeable_weights": 0}
    for index, simd in enumerate((28, 4, 4, 1)):
        config[f"MVAU_hls_{index}"] = {"PE": 1, "SIMD": simd, **memory}
    return config


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers of bits, 36 to 8 to 4."""
    build = Builder(np.random.default_rng(0))
    build.add("Sub", build.constant(127.5))
    build.sign()
    build.add("Gemm", build.binary_weight(8, 36), transB=1)
    build.batch_norm()
    build.sign()
    build.add("Gemm", build.binary_weight(4, 8), transB=1)
    path = tmp_path_factory.mktemp("net") / "two.onnx"
    onnx.save(build.model((36,), 4, annotate=True), path)
    return path


@pytest.fixture(scope="module")
def dead(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of 64 hidden neurons, 9 never change."""
    rng = np.random.default_rng(0)
    build = Builder(rng)
    build.add("Sub", build.constant(127.5))
    build.sign()
    build.add("Gemm", build.binary_weight(64, 36), transB=1)
    gain = np.where(np.arange(64) < 9, 0.0, 1.0)
    one = np.ones(64)
    build.add("BatchNormalization", *(build.constant(v) for v in (gain, one * 0.5, build.balance, one)), epsilon=1e-5)
    build.sign()
    build.add("Gemm", build.binary_weight(4, 64), transB=1)
    build.add("Mul", build.constant(0.5))
    path = tmp_path_factory.mktemp("dead") / "dead.onnx"
    onnx.save(build.model((36,), 4, annotate=True), path)
    return path


def ran(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, Any]:
    assert cli.run([*map(str, arguments), "--json"]) == 0, capsys.readouterr().err
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def refused(capsys: pytest.CaptureFixture[str], status: int, *arguments: object) -> str:
    assert cli.run([str(word) for word in arguments]) == status
    shown = capsys.readouterr()
    assert not shown.out
    return shown.err


def written(folder: Path, config: object, name: str = "folding.json") -> Path:
    path = folder / name
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    return path


@needs_zoo
def test_tfc_as_finn_examples_folds_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """FINN's printed figures: 8,502 LUT and 26 BRAM18, 3,125,000 images/s at 200 MHz, 1.13 us."""
    file = written(tmp_path, OFFICIAL)
    options = ("--folding", file, "--cost-model", "finn", "--clock-mhz", 200)
    found = ran(capsys, "estimate", TFC, "--input", "pixels/255", *options, "--top-k", 1)
    assert (found["lut"], found["bram18"], found["fps"], found["latency_us"]) == (8502, 26, 3_125_000, 1.13)
    assert [(u["cycles"], u["lut"], u["bram18"]) for u in found["layers"]][1:5] == [
        (64, 5615, 22),
        (64, 766, 2),
        (64, 766, 2),
        (8, 963, 0),
    ]
    said = refused(capsys, 2, "estimate", TFC, "--input", "pixels/255", *options)
    assert "no unit is named 'LabelSelect_hls_0'" in said and "--top-k 1" in said


@needs_zoo
def test_tfc_as_finn_itself_folds_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """FINN's printed figures: 1,571 LUT, 7 BRAM18, 111,607 images/s at 200 MHz, 5,274 cycles on the longest way."""
    file = written(tmp_path, automatic())
    options = ("--folding", file, "--cost-model", "finn", "--clock-mhz", 200, "--top-k", 1)
    found = ran(capsys, "estimate", TFC, "--input", "pixels/255", *options)
    assert (found["lut"], found["bram18"], found["latency_cycles"]) == (1571, 7, 5274)
    assert round(found["fps"]) == 111_607


P15 = {"PE": 2, "SIMD": 9, "mem_mode": "internal_decoupled"}
# LUTs by hand: 300 + 1.1 * 2 * (products + 2 * 17 + 6) + memory of ceil(16 / 64) words of 18 bits; products 18 or 0.
COSTS = {
    ("block", "dsp"): (300 + 88, 1, 0, 18),
    ("distributed", "dsp"): (300 + 88 + 18, 0, 0, 18),
    ("ultra", "lut"): (300 + 127, 0, 1, 0),
    ("auto", "auto"): (300 + 127, 1, 0, 0),
}


@pytest.mark.parametrize("style", COSTS)
@pytest.mark.parametrize("rest", ["defaults", "empty defaults", "rate"])
def test_memories_and_multipliers_cost_what_finns_formulas_say(
    net: Path, style: tuple[str, str], rest: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stated = {"MVAU_hls_0": P15 | {"ram_style": style[0], "resType": style[1]}}
    file = written(tmp_path, {"Defaults": ONES if rest == "defaults" else {}, **stated})
    more = ["--fps", 1000] if rest == "rate" else []
    found = ran(capsys, "estimate", net, "--folding", file, "--cost-model", "finn", *more)
    unit = found["layers"][1]
    assert (unit["lut"], unit["bram18"], unit["uram"], unit["dsp"]) == COSTS[style]
    assert (unit["pe"], unit["simd"], unit["cycles"]) == (2, 9, 16)
    assert any("UltraRAM" in note for note in found["notes"]) == (style[0] == "ultra")
    said = [note for note in found["notes"] if "leaves out Thresholding_rtl_0 (PE), MVAU_hls_1 (PE, SIMD)" in note]
    assert len(said) == (rest == "empty defaults"), "what FINN leaves at 1 is said"


REFUSED: dict[str, tuple[object, tuple[object, ...]]] = {
    "partial": ({"MVAU_hls_0": P15}, ()),
    "value": ({"Defaults": ONES, "MVAU_hls_0": P15 | {"ram_style": "foo"}}, ()),
    "divides": ({"Defaults": {}, "MVAU_hls_0": {"PE": 3, "SIMD": 9}}, ()),
    "names": ({"Defaults": {}, "MVAU_hls_9": {"PE": 2}, "NoSuchLayer_0": {"PE": 4}}, ()),
    "twice": ('{"MVAU_hls_0": {"PE": 2, "SIMD": 9}, "MVAU_hls_0": {"PE": 1}}', ()),
    "twice_inside": ('{"MVAU_hls_0": {"PE": 2, "PE": 1}}', ()),
    "number": ('{"MVAU_hls_0": {"PE": NaN}}', ()),
    "cost_model": ({"Defaults": ONES}, ("--cost-model", "fin")),
    "fifos": ({"Defaults": ONES, "MVAU_hls_0": {"outFIFODepths": [2, 2]}}, ()),
    "top_k": ({"Defaults": ONES}, ("--top-k", 5)),
    "format": ({"Defaults": ONES}, ("-o", "folded.txt")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_with_a_repair(
    net: Path, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], golden: Golden
) -> None:
    config, options = REFUSED[name]
    file = written(tmp_path, config)
    golden(f"problems/folding_file_{name}", refused(capsys, 2, "estimate", net, "--folding", file, *options))


def test_a_rate_that_the_file_does_not_leave_is_refused(
    net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], golden: Golden
) -> None:
    file = written(tmp_path, {"MVAU_hls_0": {"PE": 1, "SIMD": 1}})
    golden("problems/folding_file_rate", refused(capsys, 1, "estimate", net, "--folding", file, "--fps", 1_000_000))


def test_neurons_that_never_change_stay_where_a_folding_wants_them(
    dead: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], golden: Golden
) -> None:
    """64 neurons become 56; a file for 64 says so, and fits with --keep-shape."""
    file = written(tmp_path, {"Defaults": ONES, "MVAU_hls_0": {"PE": 64, "SIMD": 9}, "MVAU_hls_1": {"SIMD": 64}})
    golden("problems/folding_file_shape", refused(capsys, 2, "estimate", dead, "--folding", file))
    found = ran(capsys, "estimate", dead, "--folding", file, "--keep-shape", "--cost-model", "finn")
    assert [layer["shape"] for layer in found["layers"]][1:] == ["64x36", "4x64"]
    smaller = ran(capsys, "estimate", dead)
    assert [layer["shape"] for layer in smaller["layers"] if layer["op"] == "MVAU_hls"] == ["56x36", "4x56"]
    assert "8 constant channels left out" in smaller["notes"]
    assert ran(capsys, "cycles", dead, "--folding", file, "--keep-shape")["estimated_cycles"] == 36
    folder = tmp_path / "out"
    ran(capsys, "compile", dead, "-o", folder, "--keep-shape", "--check", "--top-k", 2)
    graph = read(folder / "3_dataflow.onnx")
    assert [len(node.op.weight) for node in graph.nodes if isinstance(node.op, Mvau)] == [64, 4]
    assert isinstance(graph.maker(graph.output), LabelSelect)


def test_the_best_classes_are_those_of_the_scores(
    net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from bnnflow.sim.engine.simulator import Simulator

    folder = tmp_path / "out"
    ran(capsys, "compile", net, "-o", folder, "--top-k", 2)
    images = np.random.default_rng(0).integers(0, 256, (50, 36))
    chosen = Simulator.of(read(folder / "3_dataflow.onnx")).scores(images)
    scores = Simulator.of(read(net)).scores(images)
    assert np.array_equal(chosen, np.argsort(-scores, axis=1, kind="stable")[:, :2])
    again = ran(capsys, "estimate", folder / "3_dataflow.onnx", "--top-k", 2)
    assert [layer["op"] for layer in again["layers"]].count("LabelSelect_hls") == 1
    assert "best classes already" in refused(capsys, 2, "estimate", folder / "3_dataflow.onnx", "--top-k", 1)


SLOWED: dict[str, Any] = {
    "Defaults": ONES,
    "Thresholding_rtl_0": {"PE": 1},
    "MVAU_hls_0": {"PE": 8, "SIMD": 4},
    "MVAU_hls_1": {"PE": 1, "SIMD": 1},
}


def test_both_commands_speak_of_one_rate(net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """FIFOs that lower it are named with depths that restore it, and those depths do."""
    file = written(tmp_path, SLOWED)
    estimated = ran(capsys, "estimate", net, "--folding", file, "--fifo", 1)
    simulated = ran(capsys, "cycles", net, "--folding", file, "--fifo", 1)
    rate = estimated["fifos"]
    for ours, theirs in (
        (rate["interval_cycles"], simulated["interval_cycles"]),
        (rate["fps"], simulated["fps"]),
        (rate["deep_fps"], simulated["deep_fps"]),
        (rate["restoring_depths"], simulated["restoring_depths"]),
        (estimated["fps"], simulated["estimated_fps"]),
    ):
        assert ours == theirs
    assert rate["interval_cycles"] > rate["deep_interval_cycles"] and rate["restoring_depths"]
    depths = written(tmp_path, rate["restoring_depths"], "depths.json")
    restored = ran(capsys, "cycles", net, "--folding", file, "--fifo", 1, "--fifo-depths", depths)
    assert restored["interval_cycles"] == rate["deep_interval_cycles"] and not restored["restoring_depths"]
    for name, depth in rate["restoring_depths"].items():
        # One word less is too little, so that no more is asked for than it takes.
        less = written(tmp_path, rate["restoring_depths"] | {name: depth - 1}, "less.json")
        lost = ran(capsys, "cycles", net, "--folding", file, "--fifo", 1, "--fifo-depths", less)
        assert lost["interval_cycles"] is None or lost["interval_cycles"] > rate["deep_interval_cycles"]
    for command in ("estimate", "cycles"):
        assert cli.run([command, str(net), "--folding", str(file), "--fifo", "1"]) == 0
        said = capsys.readouterr().out
        for name, depth in rate["restoring_depths"].items():
            assert f"{name}: {depth:,}" in said
        assert f"{int(rate['fps']):,} images/s" in said


def test_fifo_depths_of_a_folding_file_are_used(net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, SLOWED | {"MVAU_hls_1": {"PE": 1, "SIMD": 1, "inFIFODepths": [64]}})
    found = ran(capsys, "cycles", net, "--folding", file)
    assert found["fifo_depths"] and set(found["fifo_depths"].values()) == {64}
    assert ran(capsys, "estimate", net, "--folding", file)["fifos"]["depths"] == found["fifo_depths"]


def test_choices_that_our_hardware_has_not_are_named(
    net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, {"Defaults": ONES, "MVAU_hls_0": P15 | {"resType": "dsp"}})
    plain = written(tmp_path, {"Defaults": ONES, "MVAU_hls_0": P15}, "plain.json")
    notes = ran(capsys, "estimate", net, "--folding", file)["notes"]
    assert any(note.startswith("resType dsp of ") for note in notes)
    assert not any("resType" in note for note in ran(capsys, "estimate", net, "--folding", plain)["notes"])
    assert not any(
        "no such choice" in note
        for note in ran(capsys, "estimate", net, "--folding", file, "--cost-model", "exact")["notes"]
    )


def test_depths_without_end_are_counted_as_something(
    net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [fifo["name"] for fifo in ran(capsys, "cycles", net, "--fps", 1000)["fifos"]]
    file = written(tmp_path, {names[-1]: 0}, "depths.json")
    notes = ran(capsys, "estimate", net, "--fps", 1000, "--fifo-depths", file)["notes"]
    assert any("counted as 2 words deep" in note for note in notes)


def test_a_graph_that_stays_folded_has_no_target_rate(
    net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = ran(capsys, "estimate", net, "--fps", 2_000_000, "-o", tmp_path / "folded.onnx")
    assert made["target"]["fps"] == 2_000_000
    assert ran(capsys, "estimate", tmp_path / "folded.onnx")["target"]["fps"] is None


def test_fifos_are_as_deep_as_the_run_has_them(net: Path, tmp_path: Path) -> None:
    """Where nothing is said: the run's `rtl.fifo`; 2 for a file."""
    recipe = tmp_path / "model.yaml"
    recipe.write_text("data: {name: digits}\nmodel: {arch: mlp, hidden: [16]}\nrtl: {fifo: 16}\n")
    opened = bf.load(net)
    of_run = replace(opened, recipe=load_recipe(recipe))
    assert [each.cycles(fps=1000).fifo_depth for each in (opened, of_run)] == [2, 16]
    assert of_run.cycles(fps=1000, fifo=0).fifo_depth == 0
    fifos = [each.estimate(fps=1000).fifos for each in (opened, of_run)]
    assert [each.depth for each in fifos if each is not None] == [2, 16]


def test_an_interval_needs_two_images(net: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "2 or more" in refused(capsys, 2, "cycles", net, "--images", 1)


@pytest.mark.parametrize("place", ["folded.onnx", "new/folder"])
def test_the_folded_graph_is_written_and_read(
    net: Path, place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, {"Defaults": ONES, "MVAU_hls_0": P15 | {"ram_style": "ultra", "resType": "dsp"}})
    found = ran(capsys, "estimate", net, "--folding", file, "-o", tmp_path / place)
    made, text = map(Path, found["files"])
    assert made.suffix == ".onnx" and text.with_suffix(".onnx") == made
    again = ran(capsys, "estimate", made)
    assert again["layers"] == found["layers"], "a folded graph keeps its folding"
    assert any("folded already" in note for note in again["notes"])
    onnx.checker.check_model(onnx.load(made))
    assert "ram_style='ultra'" in text.read_text()
    anew = ran(capsys, "estimate", made, "--fps", 10, "--part", "xck26")
    assert anew["layers"][1]["simd"] == 1 and anew["layers"][1]["choices"]["ram_style"] == "ultra"
    assert "1 UltraRAM" in refused(capsys, 1, "estimate", made, "--fps", 10)


def test_the_folded_graph_never_takes_the_place_of_another_file(
    net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = tmp_path / "notes"
    kept.write_text("mine")
    assert "ends in .onnx" in refused(capsys, 2, "estimate", net, "-o", kept)
    assert kept.read_text() == "mine"
    assert refused(capsys, 1, "estimate", net, "--fps", 1e9, "-o", tmp_path / "f.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes"]


def test_foldings_for_finn_plus_bear_its_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(random_network(1, 2, 1, "before-norm"), path)
    file = written(tmp_path, {"Defaults": ONES})
    assert ran(capsys, "estimate", path, "--folding", file, "--finn-plus")["layers"]
    assert ran(capsys, "cycles", path, "--folding", file, "--finn-plus")["units"]

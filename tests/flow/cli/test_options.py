"""Options that contradict each other, change nothing, or ask for what was not said, in every command."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bnnflow import Problem
from bnnflow.build.calibrated.table import read_table
from bnnflow.flow.graphs.inputs import load_json
from bnnflow.flow.graphs.plans import codes_said
from bnnflow.models.files.checkpoint import read_state
from bnnflow.sim.faults import read_placement
from bnnflow.transforms.ir.contract import contract_of_json
from bnnflow.transforms.reading.read import read
from tests.flow.commands.test_fault_commands import DATA, folder, said
from tests.sim.faults.fault_graphs import mlp

Golden = Callable[[str, str], None]
__all__ = ["folder"]

FAULTS = ["faults", "net.onnx", *DATA]
MAP = ["faults", "net.onnx", *DATA, "--map", "m.npz"]
SAVE = ["faults", "net.onnx", "--save-map", "m.npz", "--rates", "0.1"]
# Each is one that would leave an option without effect, or take one of two.
VOID: dict[str, list[str]] = {
    "rates_and_table": [*FAULTS, "--rates", "0.1", "--table", "t.csv"],
    "model_and_table": [*FAULTS, "--model", "flip", "--table", "t.csv"],
    "asymmetric_and_rates": [*FAULTS, "--model", "asymmetric", "--rates", "0.1"],
    "map_and_save_map": [*MAP, "--save-map", "n.npz"],
    "map_and_rates": [*MAP, "--rates", "0.1"],
    "map_and_table": [*MAP, "--table", "t.csv"],
    "map_and_maps": [*MAP, "--maps", "7"],
    "map_and_seed": [*MAP, "--seed", "1"],
    "map_and_target": [*MAP, "--target", "thresholds"],
    "map_and_layers": [*MAP, "--layers", "hidden"],
    "map_and_model": [*MAP, "--model", "flip"],
    "map_and_protection": [*MAP, "--protection", "tmr"],
    "map_and_store": [*MAP, "--store", "f.sqlite"],
    "map_and_against": [*MAP, "--against", "other.onnx"],
    "map_and_jobs": [*MAP, "--jobs", "2"],
    "map_and_interval": [*MAP, "--interval", "0.1"],
    "save_map_and_images": [*SAVE, "--images", "3"],
    "save_map_and_data": [*SAVE, "--data", "digits"],
    "save_map_and_maps": [*SAVE, "--maps", "3"],
    "save_map_and_store": [*SAVE, "--store", "f.sqlite"],
    "save_map_of_many": ["faults", "net.onnx", "--save-map", "m.npz"],
    "jobs_and_cluster": [*FAULTS, "--jobs", "2", "--cluster", "ray"],
    "max_maps_alone": [*FAULTS, "--max-maps", "7"],
    "error_alone": [*FAULTS, "--error", "0.1"],
    "confidence_alone": [*FAULTS, "--confidence", "0.99"],
    "single_and_rates": [*FAULTS, "--model", "single", "--rates", "0.1"],
    "single_and_maps": [*FAULTS, "--model", "single", "--maps", "3"],
    "single_and_interval": [*FAULTS, "--model", "single", "--interval", "0.1"],
    "single_and_table": [*FAULTS, "--model", "single", "--table", "t.csv"],
    "fifo_depth_alone": [*FAULTS, "--fifo-depth", "4"],
    "part_alone": [*FAULTS, "--part", "xczu3eg-sbva484-1-e"],
    "clock_alone": [*FAULTS, "--clock-mhz", "200"],
    "fps_and_pe_simd": [*FAULTS, "--fps", "10", "--pe-simd", "1,1"],
    "folding_and_fps": [*FAULTS, "--folding", "f.json", "--fps", "10"],
    "no_pe_simd": [*FAULTS, "--pe-simd", "4"],
    "pe_that_does_not_divide": [*FAULTS, "--pe-simd", "3,1"],
    "against_itself": [*FAULTS, "--against", "./net.onnx"],
    "one_map_and_interval": [*FAULTS, "--maps", "1", "--interval", "0.1"],
    "data_dir_alone": ["faults", "net.onnx", *DATA, "--data-dir", "."],
    "labels_of_another_number": ["faults", "net.onnx", "--input", "x.npy", "--labels", "y9.npy", "--images", "5"],
    "criticality_data_dir": ["criticality", "net.onnx", *DATA, "--data-dir", "."],
    "criticality_all_and_one": ["criticality", "net.onnx", *DATA, "--layer", "all", "--layer", "hidden"],
    "criticality_labels": ["criticality", "net.onnx", "--data", "digits", "--labels", "y.npy"],
    "margins_data_dir": ["margins", "net.onnx", *DATA, "--data-dir", "."],
    "margins_labels": ["margins", "net.onnx", "--labels", "y.npy"],
    "simulate_data_dir": ["simulate", "net.onnx", *DATA, "--data-dir", "."],
    "simulate_labels": ["simulate", "net.onnx", "--input", "x.npy", "--labels", "y9.npy", "--images", "5"],
    "simulate_both": ["simulate", "net.onnx", *DATA, "--data", "digits"],
    "compile_finn_plus": ["compile", "net.onnx", "--to", "xnor", "--finn-plus"],
    "cycles_part_and_folding": ["cycles", "net.onnx", "--folding", "f.json", "--part", "xc7z045ffg900-2"],
    "check_overrides": ["check", "net.onnx", "-s", "seed=1"],
    "check_twice": ["check", "r.yaml", "-s", "seed=1", "-s", "seed=2"],
    "build_twice": ["build", "r.yaml", "-s", "data.dir=a", "--data-dir", "b"],
    "prune_twice": ["prune", "r.yaml", "--amount", "0.5", "-s", "prune.amount=0.25"],
    "prune_key_twice": ["prune", "r.yaml", "-s", "prune.unit=4", "-s", "prune.unit=8"],
    "prune_run": ["prune", ".", "--run", "runs/x"],
    "prune_run_input": ["prune", "r.yaml", "--input", "x.npy", "--labels", "y.npy"],
    "prune_run_data": ["prune", "r.yaml", "--data", "digits", "--data-dir", "."],
    "prune_run_file": ["prune", "r.yaml", "-o", "smaller.onnx"],
    "formats_twice": ["formats", "r.yaml", "-s", "seed=1", "-s", "seed=1"],
    "study_twice": ["study", "r.yaml", "--steps", "2", "-s", "prune.steps=3"],
    "sensitivity_scores": ["sensitivity", "net.onnx", *DATA, "--criterion", "random", "--scores", "s.json"],
    "sensitivity_data": ["sensitivity", "net.onnx", *DATA, "--data", "digits"],
    "sensitivity_data_dir": ["sensitivity", "net.onnx", *DATA, "--data-dir", "."],
    "sensitivity_run": ["sensitivity", "net.onnx", *DATA, "--run", "runs/x"],
    "sensitivity_overrides": ["sensitivity", "net.onnx", *DATA, "-s", "seed=1"],
    "sensitivity_twice": ["sensitivity", "r.yaml", "--seed", "1", "-s", "seed=2"],
    "sensitivity_folder_and_run": ["sensitivity", ".", "--run", "runs/x"],
    "rank_show": ["rank", "r.yaml", "--show", "3", "--json"],
    "sensitivity_method": ["sensitivity", "r.yaml", "--method", "planes", "--levels", "0.5"],
    "sensitivity_draws": ["sensitivity", "r.yaml", "--draws", "5"],
    "prune_network": ["prune", "r.yaml", "--network", "pruned"],
    "prune_rate": ["prune", "r.yaml", "--epochs", "0", "--learning-rate", "0.1"],
    "prune_drop": ["prune", "r.yaml", "--drop", "1"],
    "prune_amount": ["prune", "r.yaml", "--method", "masks", "--amount", "0.5"],
    "prune_objective": ["prune", "r.yaml", "--method", "masks", "--objective", "lut=1"],
    "prune_relevance": ["prune", "r.yaml", "--method", "ecqx", "--extra", "0", "--relevance", "lrp"],
}


@pytest.mark.parametrize("name", VOID)
def test_no_option_is_ignored(name: str, folder: Path, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    Path("t.csv").write_text("voltage,p01,p10\n0.6,0.1,0.2\n")
    Path("r.yaml").write_text("data: {name: digits}\nmodel: {arch: mlp}\n")
    np.save("y9.npy", np.zeros(9, np.int64))
    golden(f"problems/option_{name}", said(capsys, VOID[name], 2))


UNFOLDED = {
    "burst": ["--model", "burst:4 flip"],
    "bit_line": ["--model", "bit-line stuck-at-1"],
    "bram_row": ["--model", "bram-row flip"],
    "pe": ["--model", "pe stuck-at-0"],
    "protection": ["--protection", "secded-72-64"],
    "single_protected": ["--model", "single", "--protection", "tmr"],
    "fifos": ["--target", "fifos"],
    "one_of_two": ["--model", "flip", "--model", "word-line flip"],
}


@pytest.mark.parametrize("name", UNFOLDED)
def test_what_depends_on_the_folding_asks_for_it(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str], golden: Golden
) -> None:
    """Of a graph whose PE and SIMD are all 1; with any of the three options it is measured."""
    from dataclasses import replace

    from bnnflow.sim.faults.injection.maps import replaced
    from bnnflow.transforms.ir.ops import Mvau
    from bnnflow.transforms.writing.write import write

    graph = read(Path("net.onnx"))
    ops = {node.name: replace(node.op, pe=1, simd=1) for node in graph.nodes if isinstance(node.op, Mvau)}
    Path("flat.onnx").write_bytes(write(replaced(graph, ops)).SerializeToString())
    Path("f.json").write_text('{"MVAU_0": {"PE": 2, "SIMD": 3}, "MVAU_1": {"PE": 1, "SIMD": 1}}')
    single = "single" in UNFOLDED[name]
    few = ["--error", "0.2"] if single else ["--rates", "0.01", "--maps", "2"]
    arguments = ["faults", "flat.onnx", *DATA, *few, *UNFOLDED[name]]
    text = said(capsys, arguments, 2)
    assert "--fps, --folding or --pe-simd" in text
    golden(f"problems/unfolded_{name}", text)
    for how in (["--pe-simd", "1,1"], ["--pe-simd", "2,4"], ["--folding", "f.json"], ["--fps", "1000"]):
        said(capsys, [*arguments, *how, "--json"])
    if not single:
        said(capsys, ["faults", "flat.onnx", *DATA, "--rates", "0.01", "--maps", "2"])


def test_protections_are_priced_as_folded(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Words of PE * SIMD bits, and of those layers alone that are hit."""
    arguments = ["faults", "net.onnx", *DATA, "--rates", "0.01", "--maps", "2", "--protection", "parity", "--json"]
    luts = {}
    for pe_simd in ("1,1", "2,4"):
        found = json.loads(said(capsys, [*arguments, "--pe-simd", pe_simd, "--layers", "hidden"]))
        ((row,),) = found["costs"].values()
        assert row["memory"] == "hidden.weights"
        luts[pe_simd] = row["extra_bits"]
    pe, simd = 2, 4
    assert luts["2,4"] == 16 * 24 // (pe * simd) and luts["1,1"] == 16 * 24


def test_the_series_says_what_was_injected(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """p01 and p10 imply the asymmetric model; both are printed, by memory."""
    Path("t.csv").write_text("temperature,memory,p01,p10\n25,,0.1,0\n85,,0,0.3\n85,scores,1,0.5\n")
    arguments = ["faults", "net.onnx", *DATA, "--table", "t.csv", "--maps", "3"]
    found = json.loads(said(capsys, [*arguments, "--json"]))
    ((cold, hot),) = found["series"].values()
    assert cold["model"] == hot["model"] == "asymmetric"
    assert cold["injected"] == {"p01": 0.1, "p10": 0.0, "memories": {}}
    assert hot["injected"] == {"p01": 0.0, "p10": 0.3, "memories": {"scores": {"p01": 1.0, "p10": 0.5}}}
    text = " ".join(said(capsys, arguments).split())
    assert "p01 0.1 p10 0" in text and "asymmetric" in text


JSON = {
    "twice": '{"a": {"PE": 1, "PE": 2}}',
    "twice_outside": '{"MVAU_0": {"PE": 1}, "MVAU_0": {"PE": 2}}',
    "nan": '{"conv0": [0.1, NaN]}',
    "infinity": '{"conv0": [1e999]}',
    "list": "[1]",
    "cut": '{"a": ',
    "deep": "[" * 100_000,
}


@pytest.mark.parametrize("name", JSON)
def test_json_that_says_two_things(name: str, tmp_path: Path, golden: Golden) -> None:
    (tmp_path / "f.json").write_text(JSON[name])
    with pytest.raises(Problem) as found:
        load_json(tmp_path / "f.json", "folding file")
    if name != "deep":
        golden(f"problems/json_{name}", str(found.value))
    assert load_json_of(tmp_path, '{"a": {"PE": 1}, "b": {"PE": 1}}') == {"a": {"PE": 1}, "b": {"PE": 1}}


def test_json_nested_without_end_is_refused_wherever_it_is_read(tmp_path: Path) -> None:
    path, graph = tmp_path / "w.json", mlp()
    path.write_text(JSON["deep"])
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(struct.pack("<Q", len(JSON["deep"])) + JSON["deep"].encode())
    reading: list[Callable[[], object]] = [
        lambda: codes_said(graph, str(path)),
        lambda: read_placement(path),
        lambda: read_table(JSON["deep"], "t.json"),
        lambda: contract_of_json(JSON["deep"]),
        lambda: read_state(weights),
    ]
    for read_it in reading:
        with pytest.raises(Problem):
            read_it()


def test_json_may_begin_with_a_mark(tmp_path: Path) -> None:
    assert load_json_of(tmp_path, "\ufeff{}") == {}


def load_json_of(folder: Path, text: str) -> dict[str, object]:
    (folder / "good.json").write_text(text)
    return load_json(folder / "good.json", "file")


DEPTHS = {
    "no_such_fifo": '{"hidden -> score": 4}',
    "no_such_unit": '{"MVAU_9": {"outFIFODepths": [4]}}',
    "misspelt": '{"MVAU_0": {"outFifoDepths": [4]}}',
    "text": '{"hidden -> scores": "4"}',
    "half": '{"hidden -> scores": 4.5}',
    "truth": '{"hidden -> scores": true}',
    "negative": '{"hidden -> scores": -1}',
    "twice": '{"hidden -> scores": 4, "hidden -> scores": 5}',
    "one_unit_twice": '{"MVAU_0": {"outFIFODepths": [4]}, "MVAU_hls_0": {"outFIFODepths": [8]}}',
    "one_fifo_twice": '{"StreamingFIFO_0": {"depth": 4}, "StreamingFIFO_rtl_0": {"depth": 8}}',
    "nothing": '{"MVAU_0": {"PE": 4}}',
    "empty": "{}",
}


@pytest.mark.parametrize("name", DEPTHS)
def test_depths_of_fifos(name: str, folder: Path, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    Path("d.json").write_text(DEPTHS[name])
    golden(
        f"problems/fifo_depths_{name}",
        said(capsys, ["cycles", "net.onnx", "--fps", "10", "--fifo-depths", "d.json"], 2),
    )

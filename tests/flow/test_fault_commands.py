"""`flow faults`, `flow criticality` and `flow margins` on a small network in a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bnnflow.flow import cli
from bnnflow.sim.faults import FaultMap, Model, Rates, draw, memories
from bnnflow.sim.faults.maps import replaced
from bnnflow.sim.reference import run
from bnnflow.transforms.graph import Graph, Node
from bnnflow.transforms.ops import Mvau
from bnnflow.transforms.read import read
from bnnflow.transforms.tensor import TensorType
from bnnflow.transforms.write import write

Golden = Callable[[str, str], None]


def network(seed: int = 0) -> Graph:
    rng = np.random.default_rng(seed)
    first = Mvau(rng.integers(0, 2, (16, 24)).astype(np.uint8), rng.integers(10, 15, (16, 1)), True, 0, 4, 6)
    last = Mvau(rng.integers(0, 2, (4, 16)).astype(np.uint8), np.zeros((0, 0), np.int64), True, 0, 1, 4)
    nodes = (Node("hidden", first, ("x",)), Node("scores", last, ("hidden",)))
    return Graph("small", "x", TensorType((24,), 0, 1), nodes, "scores")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """net.onnx, other.onnx (other weights), wide.onnx (another folding), x.npy, y.npy."""
    monkeypatch.chdir(tmp_path)
    graph = network()
    op = graph.nodes[0].op
    assert isinstance(op, Mvau)
    made = {"net": graph, "other": network(1), "wide": replaced(graph, {"hidden": replace(op, pe=16)})}
    for name, one in made.items():
        Path(f"{name}.onnx").write_bytes(write(one).SerializeToString())
    images = np.random.default_rng(0).integers(0, 2, (50, 24)).astype(np.uint8)
    np.save("x.npy", images)
    np.save("y.npy", run(graph, images)["scores"].argmax(axis=1))
    return tmp_path


DATA = ["--input", "x.npy", "--labels", "y.npy"]


def said(capsys: pytest.CaptureFixture[str], arguments: list[str], status: int = 0) -> str:
    capsys.readouterr()
    assert cli.run(arguments) == status, capsys.readouterr().err
    out = capsys.readouterr()
    return out.out if status == 0 else out.err


def test_a_grid_with_kept_results(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every combination; run again, nothing is run again; the tables name what the JSON holds."""
    arguments = ["faults", "net.onnx", *DATA, "--rates", "0.01,0.1", "--maps", "3", "--store", "f.sqlite"]
    arguments += ["--target", "weights", "--target", "thresholds", "--model", "flip", "--model", "word-line stuck-at-1"]
    found = json.loads(said(capsys, [*arguments, "--json"]))
    (series,) = found["series"].values()
    assert len(series) == 2 * 2 * 2 and {one["maps"] for one in series} == {3}
    assert next(iter(found["networks"].values()))["clean"] == 1.0
    assert json.loads(said(capsys, [*arguments, "--json"])) == found
    text = said(capsys, arguments)
    assert all(word in text for word in ("all fault series", "thresholds", "word-line", "seed 0", "f.sqlite"))


def test_networks_in_pairs_and_protections(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["faults", "net.onnx", *DATA, "--against", "other.onnx", "--rates", "0.05", "--maps", "4"]
    arguments += ["--protection", "none", "--protection", "secded-72-64", "--protection", "tmr"]
    found = json.loads(said(capsys, [*arguments, "--json"]))
    assert [row["protection"] for row in found["paired"]] == ["none", "secded-72-64", "tmr"]
    assert found["paired"][0]["wins"] == 4
    assert {row["protection"] for row in found["costs"]["net.onnx"]} == {"secded-72-64", "tmr"}
    text = said(capsys, arguments)
    assert "protection of memories" in text and "net.onnx less other.onnx" in text


def test_maps_are_saved_and_replayed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, ["faults", "net.onnx", "--save-map", "m.csv", "--rates", "0.1"])
    graph = read(Path("net.onnx"))
    drawn = draw(graph, memories(graph), Model(), Rates.of(0.1), 0, 0)
    assert FaultMap.load(Path("m.csv"), graph).ops(graph) == drawn.ops(graph)
    found = json.loads(said(capsys, ["faults", "net.onnx", *DATA, "--map", "m.csv", "--json"]))
    scores = run(replaced(graph, drawn.ops(graph)), np.load("x.npy"))[graph.output]
    assert found["accuracy"] == np.mean(scores.argmax(axis=1) == np.load("y.npy"))
    assert found["right"] + found["changed"] == found["images"]


def test_single_faults_and_criticality_agree(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All 448 cells drawn without replacement, and all bits judged one by one: as many are critical."""
    found = json.loads(said(capsys, ["faults", "net.onnx", *DATA, "--model", "single", "--error", "0.001", "--json"]))
    (series,) = next(iter(found["series"].values()))
    judged = json.loads(
        said(capsys, ["criticality", "net.onnx", *DATA, "--images", "1000", "-o", "bits.npz", "--json"])
    )
    assert series["maps"] == series["population"] == 16 * 24 + 4 * 16
    assert series["critical"] == sum(row["critical"] for row in judged["layers"])
    with np.load("bits.npz", allow_pickle=False) as tables:
        assert sum(int((tables[name] > 0).sum()) for name in tables.files) == series["critical"]
    assert "worst bits" in said(capsys, ["criticality", "net.onnx", *DATA, "--layer", judged["layers"][0]["layer"]])


def test_margins(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(said(capsys, ["margins", "net.onnx", *DATA, "--attack", "2", "--json"]))
    assert found["last_weights"]["least"] >= 0 and len(found["attack"]) == 2
    assert found["attack"][1]["accuracy"] <= found["attack"][0]["accuracy"] < 1
    assert "provably" in said(capsys, ["margins", "net.onnx", *DATA])


BAD = {
    "layer": (["--layers", "hiden"], 2),
    "target": (["--target", "weight"], 2),
    "protection": (["--protection", "secded-72"], 2),
    "model": (["--model", "burst"], 2),
    "jobs": (["--jobs", "0"], 2),
    "cluster": (["--cluster", "slurm"], 2),
    "maps": (["--maps", "0"], 2),
    "interval": (["--interval", "3"], 2),
    "error": (["--model", "single", "--error", "0"], 2),
    "table": (["--table", "nowhere.csv"], 2),
    "map": (["--map", "nowhere.npz"], 2),
    "map_of_another": (["--map", "wide.npz"], 2),
    "store": (["--store", "x.npy"], 2),
    "save_protected": (["--save-map", "m.npz", "--protection", "tmr"], 2),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name: str, folder: Path, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    graph = read(Path("wide.onnx"))
    draw(graph, memories(graph), Model(), Rates.of(0.1), 0, 0).save(Path("wide.npz"))
    arguments, status = BAD[name]
    golden(f"problems/command_faults_{name}", said(capsys, ["faults", "net.onnx", *DATA, *arguments], status))


RECIPE = """\
data: {name: digits}
model: {arch: mlp}
faults:
  rates: [0.1]
  models: [flip, bit-lin stuck-at-1]
"""
RECIPES = {
    "models": ["-s", "faults.jobs=1"],
    "protections": ["-s", "faults.models=[flip]", "-s", "faults.protections=[tmr, secded]"],
    "cluster": ["-s", "faults.models=[flip]", "-s", "faults.cluster=dask"],
    "table": ["-s", "faults.models=[flip]", "-s", "faults.table=none.csv"],
}


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_refused_before_any_training(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str], golden: Golden
) -> None:
    Path("r.yaml").write_text(RECIPE)
    text = said(capsys, ["build", "r.yaml", *RECIPES[name]], 2)
    assert said(capsys, ["check", "r.yaml", *RECIPES[name]], 2) == text
    golden(f"problems/recipe_faults_{name}", text)


def test_input_needs_labels(folder: Path, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    golden("problems/command_faults_labels", said(capsys, ["margins", "net.onnx", "--input", "x.npy"], 2))

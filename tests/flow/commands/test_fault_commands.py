"""`flow faults`, `flow criticality` and `flow margins` on a small network in a file."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import bnnflow as bf
from bnnflow import Problem
from bnnflow.flow.cli import app as cli
from bnnflow.flow.run.typed_json import to_json
from bnnflow.sim.faults import FaultMap, FaultModel, Rates, draw_map, memories
from bnnflow.sim.faults.injection.maps import replaced
from bnnflow.sim.reference import run
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import Dense, Mvau, Quantize, Sign
from bnnflow.transforms.ir.tensor import TensorType
from bnnflow.transforms.reading.read import read
from bnnflow.transforms.writing.network import write_network
from bnnflow.transforms.writing.write import write

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


def test_metrics_beyond_accuracy(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same in JSON, CSV, tables and Python, from a store, by two jobs and on a device; accuracy stays as it is."""
    plain = ["faults", "net.onnx", *DATA, "--rates", "0,0.1", "--maps", "3", "--json"]
    arguments = [*plain, "--metrics", "classes, margin", "--store", "f.sqlite"]
    before = json.loads(said(capsys, [*plain, "--store", "f.sqlite"]))
    found = json.loads(said(capsys, [*arguments, "--csv", "f.csv"]))
    assert found["metrics"] == ["classes", "margin"] and "metrics" not in before
    assert json.loads(said(capsys, arguments)) == found
    for more in (["--jobs", "2"], ["--device", "cpu-torch"]):
        fresh = json.loads(said(capsys, [*plain, "--metrics", "classes,margin", *more]))
        assert fresh == {**found, "store": None}
    by_hand = bf.faults("net.onnx", "x.npy", "y.npy", rates=[0, 0.1], maps=3, metrics=["classes", "margin"])
    assert to_json(by_hand) == {**found, "store": None}
    (series,) = found["series"].values()
    for told, known in zip(series, next(iter(before["series"].values())), strict=True):
        assert {key: told[key] for key in known} == known
        assert sum(of["images"] for of in told["classes"]) == told["images"] == 50
        assert told["margin"]["unit"] == "integers" and told["margin"]["clean"] >= 0
    none, some = series
    assert none["margin"]["loss"] == none["changed_low"] == none["changed_high"] == 0
    assert some["margin"]["loss"] > 0 and some["changed_low"] < some["changed"] < some["changed_high"]
    with Path("f.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    label = some["worst_class"]
    worst = next(of for of in some["classes"] if of["label"] == label)
    assert int(rows[1]["worst_class"]) == label and float(rows[1][f"class{label}_accuracy"]) == worst["accuracy"]
    assert float(rows[1]["margin_loss"]) == some["margin"]["loss"] and rows[1]["margin_unit"] == "integers"
    text = said(capsys, [*plain[:-1], "--metrics", "changed,classes,margin"])
    assert all(word in text for word in ("beyond accuracy", "silent data", "worst class", "classes of", "integers"))
    assert "worst class" not in said(capsys, [*plain[:-1], "--metrics", "changed"])


def test_devices_give_the_same_outcomes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["faults", "net.onnx", *DATA, "--rates", "0.01,0.1", "--maps", "3", "--json"]
    arguments += ["--target", "weights", "--target", "thresholds", "--target", "streams"]
    arguments += ["--layers", "all", "--layers", "hidden", "--protection", "none"]
    device = ["--device", "cpu-torch"]
    assert json.loads(said(capsys, [*arguments, *device])) == json.loads(said(capsys, arguments))
    single = ["faults", "net.onnx", *DATA, "--model", "single", "--error", "0.05", "--json"]
    assert json.loads(said(capsys, [*single, *device])) == json.loads(said(capsys, single))
    said(capsys, ["faults", "net.onnx", "--save-map", "m.csv", "--rates", "0.1"])
    replay = ["faults", "net.onnx", *DATA, "--map", "m.csv", "--json"]
    assert json.loads(said(capsys, [*replay, *device])) == json.loads(said(capsys, replay))


def test_networks_in_pairs_and_protections(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["faults", "net.onnx", *DATA, "--against", "other.onnx", "--rates", "0.05", "--maps", "4"]
    arguments += ["--protection", "none", "--protection", "secded-72-64", "--protection", "tmr"]
    found = json.loads(said(capsys, [*arguments, "--json"]))
    assert [row["protection"] for row in found["paired"]] == ["none", "secded-72-64", "tmr"]
    assert found["paired"][0]["wins"] == 4
    assert {row["protection"] for row in found["costs"]["net.onnx"]} == {"secded-72-64", "tmr"}
    text = said(capsys, arguments)
    assert "protection of memories" in text and "net.onnx less other.onnx" in text


def test_each_network_of_a_pair_reads_the_data_by_its_own_contract(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two networks whose first quantizers differ: beside each other they are what each is alone."""
    rng = np.random.default_rng(0)
    first, second = rng.choice([-1.0, 1.0], (16, 12)), rng.choice([-1.0, 1.0], (4, 16))
    for name, step in (("fine", 1 / 16), ("coarse", 1 / 4)):
        layers = (Quantize(np.array([step]), -8, 7), Dense(first), Sign(), Dense(second))
        nodes = tuple(Node(f"n{i}", op, (f"n{i - 1}" if i else "x",)) for i, op in enumerate(layers))
        graph = Graph(name, "x", TensorType((12,)), nodes, "n3")
        Path(f"{name}.onnx").write_bytes(write_network(graph).SerializeToString())
    np.save("f.npy", rng.normal(0, 0.6, (60, 12)).astype(np.float32))
    np.save("t.npy", rng.integers(0, 4, 60))
    words = ["--input", "f.npy", "--labels", "t.npy", "--rates", "0", "--maps", "1", "--json"]

    def clean(*graphs: str) -> list[float]:
        found = json.loads(said(capsys, ["faults", *graphs, *words]))
        return [one["clean"] for one in found["networks"].values()]

    alone = [*clean("fine.onnx"), *clean("coarse.onnx")]
    assert alone[0] != alone[1]
    assert clean("fine.onnx", "--against", "coarse.onnx") == alone
    assert clean("coarse.onnx", "--against", "fine.onnx") == alone[::-1]


def test_networks_with_as_many_faults_and_in_as_much_memory(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The smaller network at 1.75 times the rate, as run by itself; beside codes that fit into the larger one."""
    rng = np.random.default_rng(5)
    first = Mvau(rng.integers(0, 2, (8, 24)).astype(np.uint8), rng.integers(10, 15, (8, 1)), True, 0, 4, 6)
    last = Mvau(rng.integers(0, 2, (4, 8)).astype(np.uint8), np.zeros((0, 0), np.int64), True, 0, 1, 4)
    nodes = (Node("hidden", first, ("x",)), Node("scores", last, ("hidden",)))
    graph = Graph("few", "x", TensorType((24,), 0, 1), nodes, "scores")
    Path("few.onnx").write_bytes(write(graph).SerializeToString())
    arguments = ["faults", "net.onnx", *DATA, "--against", "few.onnx", "--rates", "0.04", "--maps", "4"]
    arguments += ["--protection", "none", "--protection", "parity", "--protection", "tmr"]
    equal = [*arguments, "--equal", "faults,memory", "--store", "f.sqlite"]
    found = json.loads(said(capsys, [*equal, "--json"]))
    assert found["equal"] == ["faults", "memory"]
    assert json.loads(said(capsys, [*equal, "--json"])) == found
    kinds = [(row["equal"], row["protection"], row["second_protection"]) for row in found["paired"]]
    same = [(kind, code, code) for kind in ("rate", "faults") for code in ("none", "parity", "tmr")]
    # 224 bits: with parity of words of 24 and 4 bits 240, three times as many 672 of 448.
    assert kinds == [*same, ("memory", "none", "parity")]
    many, memory = found["paired"][3], found["paired"][-1]
    assert (many["bits"], many["second_bits"], float(many["second_rates"])) == (448, 224, 0.08)
    assert memory["bits"] == 448 > memory["second_bits"] > 224
    alone = ["faults", "few.onnx", *DATA, "--rates", "0.08", "--maps", "4", "--json"]
    (curve,) = json.loads(said(capsys, alone))["networks"].values()
    assert many["second_mean"] == curve["mean"][0]
    assert many["difference"] == pytest.approx(many["first_mean"] - many["second_mean"])
    plain = json.loads(said(capsys, [*arguments, "--json"]))
    assert plain["paired"] == found["paired"][:3] and plain["series"] == found["series"] and "equal" not in plain
    text = said(capsys, equal)
    assert "under equal conditions" in text and "0.04 /" in text and "no code fits" not in text
    Path("t.csv").write_text("temperature,memory,rate\n20,,0.01\n40,,0.01\n")
    told = [
        "faults",
        "net.onnx",
        *DATA,
        "--against",
        "few.onnx",
        "--table",
        "t.csv",
        "--maps",
        "2",
        "--equal",
        "faults",
        "--json",
    ]
    pairs = [(row["rates"], row["second_rates"]) for row in json.loads(said(capsys, told))["paired"]]
    assert len(pairs) == 4 and all(one.partition(":")[0] == other.partition(":")[0] for one, other in pairs)
    swapped = ["faults", "few.onnx", *DATA, "--against", "net.onnx", "--rates", "0.04", "--maps", "2"]
    swapped += ["--protection", "none", "--protection", "tmr", "--equal", "memory"]
    assert "no code fits" in said(capsys, swapped).replace("\n", " ")


def test_a_map_is_drawn_of_what_the_input_holds(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The contract decides how a network compiles; images would only judge."""
    told = ["faults", "net.onnx", "--save-map", "m.csv", "--rates", "0.1"]
    assert "changes nothing" in said(capsys, [*told, "--input", "x.npy"], 2)
    assert "the input is said to be uint8" in said(capsys, [*told, "--input", "uint8"], 2), "the contract is heard"


def test_rates_of_other_memories_alone_are_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As of a table that was made for thresholds."""
    layer = memories(read(Path("net.onnx")))[0].layer
    Path("t.csv").write_text(f"condition,memory,rate\na,,0\na,{layer}.thresholds,0.1\n")
    words = ["faults", "net.onnx", "--input", "x.npy", "--labels", "y.npy", "--table", "t.csv", "--maps", "1"]
    assert f"the rates are of {layer}.thresholds; hit are" in said(capsys, words, 2)


def test_maps_are_saved_and_replayed(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, ["faults", "net.onnx", "--save-map", "m.csv", "--rates", "0.1"])
    graph = read(Path("net.onnx"))
    drawn = draw_map(graph, memories(graph), FaultModel(), Rates.of(0.1), 0, 0)
    assert FaultMap.load(Path("m.csv"), graph).ops(graph) == drawn.ops(graph)
    found = json.loads(said(capsys, ["faults", "net.onnx", *DATA, "--map", "m.csv", "--json"]))
    scores = run(replaced(graph, drawn.ops(graph)), np.load("x.npy"))[graph.output]
    assert found["accuracy"] == np.mean(scores.argmax(axis=1) == np.load("y.npy"))
    assert found["right"] + found["changed"] == found["images"]


def test_metrics_of_one_map(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Judged by hand on the reference's scores; what was said without metrics stays as it is."""
    said(capsys, ["faults", "net.onnx", "--save-map", "m.csv", "--rates", "0.1"])
    words = ["faults", "net.onnx", *DATA, "--map", "m.csv"]
    found = json.loads(said(capsys, [*words, "--metrics", "changed,classes,margin", "--json"]))
    plain = json.loads(said(capsys, [*words, "--json"]))
    assert {key: found[key] for key in plain} == plain and "classes" not in plain and "metrics" not in plain
    images, labels, graph = np.load("x.npy"), np.load("y.npy"), read(Path("net.onnx"))
    hit = replaced(graph, FaultMap.load(Path("m.csv"), graph).ops(graph))
    before, after = (run(one, images)["scores"].astype(int) for one in (graph, hit))
    changed = before.argmax(axis=1) != after.argmax(axis=1)
    assert found["changed"] == changed.sum() and found["changed_low"] < changed.mean() < found["changed_high"]
    for row in found["classes"]:
        mine = labels == row["label"]
        assert row["images"] == mine.sum() and row["clean"] == np.mean(before[mine].argmax(axis=1) == row["label"])
        assert row["accuracy"] == np.mean(after[mine].argmax(axis=1) == row["label"])
        assert row["changed"] == changed[mine].mean()
        assert row["low"] <= row["accuracy"] <= row["high"] and row["changed_low"] <= row["changed"]
    assert sum(row["images"] for row in found["classes"]) == 50
    falls = {row["label"]: row["clean"] - row["accuracy"] for row in found["classes"]}
    assert falls[found["worst_class"]] == max(falls.values())

    def margin(scores: np.ndarray) -> float:
        others = [np.delete(row, label).max() for row, label in zip(scores, labels, strict=True)]
        return float(np.mean(scores[np.arange(50), labels] - others))

    told = found["margin"]
    assert (told["clean"], told["faulty"], told["unit"]) == (margin(before), margin(after), "integers")
    assert told["loss"] == pytest.approx(told["clean"] - told["faulty"])
    text = said(capsys, [*words, "--metrics", "changed,classes,margin"])
    assert all(word in text for word in ("silent data", "(worst)", "margin of the true class"))
    device = ["--device", "cpu-torch", "--json"]
    assert json.loads(said(capsys, [*words, "--metrics", "classes,changed,margin", *device])) == {
        **found,
        "metrics": ["classes", "changed", "margin"],
    }


def test_analyses_in_python(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same as the commands; steps are told; what a command line cannot give is refused."""
    steps: list[tuple[int, int]] = []
    found = bf.criticality("net.onnx", "x.npy", "y.npy", layers=["scores"], progress=lambda *one: steps.append(one))
    words = ["criticality", "net.onnx", *DATA, "--layer", "scores", "--json"]
    assert to_json(found) == json.loads(said(capsys, words)) and steps[-1] == (50, 50)
    certified = bf.margins("net.onnx", "x.npy", "y.npy", attack=2, weakest=3, rate=0.05)
    words = ["margins", "net.onnx", *DATA, "--attack", "2", "--weakest", "3", "--rate", "0.05", "--json"]
    assert to_json(certified) == json.loads(said(capsys, words))
    for wrong in ({"rate": 1.5}, {"attack": -1}, {"weakest": -1}):
        with pytest.raises(Problem):
            bf.margins("net.onnx", "x.npy", "y.npy", **wrong)
    with pytest.raises(Problem):
        bf.criticality("net.onnx", "x.npy", layers=["all", "scores"])


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
    text = said(capsys, ["margins", "net.onnx", *DATA, "--weakest", "4"])
    assert "provably" in text and "exact" in text and "trivial" in text and "search in hidden" in text
    found = json.loads(said(capsys, ["margins", "net.onnx", *DATA, "--weakest", "4", "--json"]))
    (row,) = found["layers"]
    assert row["exact"] and len(row["found"]) == 4
    enough = [count for count in row["found"] if count is not None]
    assert len(row["weakest"]["flips"]) == min(enough) > row["certified"]["least"]


def test_criticality_as_a_table_a_picture_and_by_several_jobs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every bit is a row that holds what the .npz holds; two and three jobs write the same bytes as one."""
    words = ["criticality", "net.onnx", *DATA, "-o", "b.npz", "--csv", "b.csv", "--plot", "b.svg", "--json"]
    found, kept = json.loads(said(capsys, words)), [Path(f"b.{end}").read_bytes() for end in ("csv", "svg")]
    with np.load("b.npz", allow_pickle=False) as file, Path("b.csv").open(newline="") as text:
        tables, rows = dict(file), list(csv.DictReader(text))
    assert len(rows) == sum(table.size for table in tables.values()) == 16 * 24 + 4 * 16
    for row in rows:
        assert int(row["changed"]) == tables[row["layer"]][int(row["row"]), int(row["column"]), int(row["bit"])]
        assert int(row["right"]) + int(row["changed"]) == 50
    for jobs in ("2", "3"):
        assert json.loads(said(capsys, [*words, "--jobs", jobs])) == found
        assert [Path(f"b.{end}").read_bytes() for end in ("csv", "svg")] == kept
        with np.load("b.npz", allow_pickle=False) as file:
            assert all(np.array_equal(file[name], table) for name, table in tables.items())
    without = ["criticality", "net.onnx", "--input", "x.npy", "--json"]
    assert json.loads(said(capsys, [*without, "--jobs", "2"])) == json.loads(said(capsys, without))


def test_margins_as_a_table_a_picture_and_by_several_jobs(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A row for every image and layer, of which the JSON holds the quantiles; jobs write the same bytes."""
    words = ["margins", "net.onnx", *DATA, "--weakest", "3", "--csv", "m.csv", "--plot", "m.svg", "--json"]
    found, kept = json.loads(said(capsys, words)), [Path(f"m.{end}").read_bytes() for end in ("csv", "svg")]
    with Path("m.csv").open(newline="") as text:
        rows = list(csv.DictReader(text))
    spreads = {("scores", "weights"): found["last_weights"], ("scores", "inputs"): found["last_inputs"]}
    spreads |= {(row["layer"], "weights"): row["certified"] for row in found["layers"]}
    assert len(rows) == 50 * len(spreads) == 150
    for (layer, of), spread in spreads.items():
        mine = [row for row in rows if (row["layer"], row["flips_of"]) == (layer, of)]
        assert [int(row["image"]) for row in mine] == list(range(50))
        counts = sorted(np.inf if row["certified"] == "any" else int(row["certified"]) for row in mine)
        assert [counts[0], counts[5], counts[25]] == [
            np.inf if spread[key] is None else spread[key] for key in ("least", "p10", "median")
        ]
    searched = [row["found"] for row in rows if row["layer"] == "hidden"]
    assert searched[:3] == ["none" if one is None else str(one) for one in found["layers"][0]["found"]]
    assert not any(searched[3:]) and not any(row["found"] for row in rows if row["layer"] == "scores")
    for jobs in ("2", "3"):
        assert json.loads(said(capsys, [*words, "--jobs", jobs])) == found
        assert [Path(f"m.{end}").read_bytes() for end in ("csv", "svg")] == kept


OUTPUTS = {"csv": ["--csv", "t.txt"], "plot": ["--plot", "t.csv"], "jobs": ["--jobs", "0"], "input": ["--csv", "x.csv"]}


@pytest.mark.parametrize("command", ["criticality", "margins"])
@pytest.mark.parametrize("name", OUTPUTS)
def test_outputs_of_analyses_that_are_refused(
    name: str, command: str, folder: Path, capsys: pytest.CaptureFixture[str], golden: Golden
) -> None:
    Path("x.csv").symlink_to("x.npy")
    golden(f"problems/command_{command}_{name}", said(capsys, [command, "net.onnx", *DATA, *OUTPUTS[name]], 2))


ATTACK = ["attack", "net.onnx", *DATA, "--batch", "20", "--images", "30"]


def test_an_attack(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The map replays to the accuracy, of the folding that it was made for; it goes on from there; Python says so."""
    arguments = [*ATTACK, "--flips", "9", "--save-map", "m.npz", "--plot", "a.svg"]
    found = json.loads(said(capsys, [*arguments, "--json"]))
    assert found["images"] == 30 and found["attacked_on"] == 20 and found["clean"] == 1.0 > found["accuracy"]
    assert found["flips"] == sum(found["cells"].values()) == found["steps"][-1]["flips"] <= 9
    assert found["steps"][-1]["accuracy"] == found["accuracy"] and found["bits"] == 16 * 24 + 4 * 16
    replay = ["faults", "net.onnx", *DATA, "--map", "m.npz", "--images", "30", "--json"]
    assert json.loads(said(capsys, replay))["accuracy"] == found["accuracy"]
    assert Path("a.svg").read_text().startswith("<?xml")
    assert to_json(bf.attack("net.onnx", "x.npy", "y.npy", count=30, batch=20, flips=9, save_map="m.npz")) == found
    text = said(capsys, arguments)
    assert "bit-flip attack on 20 images" in text and "m.npz" in text and "at random" in text
    said(capsys, [*ATTACK, "--flips", "3", "--save-map", "n.csv", "--random", "0"])
    more = json.loads(said(capsys, [*ATTACK, "--flips", "9", "--start", "n.csv", "--json"]))
    assert more["flips"] == found["flips"] and more["begun_with"] == 3 and more["cells"] == found["cells"]
    one = json.loads(said(capsys, [*ATTACK, "--layer", "scores", "--flips", "5", "--random", "0", "--json"]))
    assert one["layers"] == list({step["layer"] for step in one["steps"]}) == ["scores"] and one["random"] is None


def test_an_attack_towards_a_class_and_the_level(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(said(capsys, [*ATTACK, "--target", "2", "--margin", "0.3", "--flips", "60", "--json"]))
    assert found["ended"] == "level" and found["level"] == 0.7 <= found["steps"][-1]["share"]
    assert all(step["share"] < 0.7 for step in found["steps"][:-1])
    found = json.loads(said(capsys, [*ATTACK, "--margin", "0.25", "--json"]))
    assert found["ended"] == "level" and found["accuracy"] <= 0.5 < found["steps"][-2]["accuracy"]
    assert "towards class 2" in said(capsys, [*ATTACK, "--target", "2", "--flips", "2", "--random", "0"])


ATTACKS = {
    "flips": ["--flips", "0"],
    "target": ["--target", "4"],
    "target_below": ["--target", "-1"],
    "batch": ["--batch", "50"],
    "layer": ["--layer", "hiden"],
    "margin": ["--margin", "1"],
    "start": ["--start", "none.npz"],
    "start_of_another": ["--start", "wide.npz"],
    "start_of_other_weights": ["--start", "other.npz"],
    "start_stuck": ["--start", "stuck.csv"],
    "map": ["--save-map", "m.txt"],
    "map_is_start": ["--start", "stuck.csv", "--save-map", "stuck.csv"],
    "plot": ["--plot", "a.txt"],
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attacks_that_are_refused(name: str, folder: Path, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    graph = read(Path("wide.onnx"))
    drawn = draw_map(graph, memories(graph), FaultModel(), Rates.of(0.1), 0, 0)
    Path("wide.npz").write_bytes(drawn.content(".npz", graph))
    Path("stuck.csv").write_text("memory,word,bit,effect\nhidden.weights,0,1,1\n")
    said(capsys, ["attack", "other.onnx", *ATTACK[2:], "--flips", "2", "--random", "0", "--save-map", "other.npz"])
    text = re.sub("[0-9a-f]{12}", "DIGEST", said(capsys, [*ATTACK, *ATTACKS[name]], 2))
    golden(f"problems/command_attack_{name}", text)


def test_an_attack_needs_labels(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, ["faults", "net.onnx", "--input", "x.npy"], 2)
    assert said(capsys, ["attack", "net.onnx", "--input", "x.npy", "--target", "1"], 2) == text


def test_undervolted_block_rams(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A board of the user's, whose every cell fails at 0.5 V: maps, codes, a replayed file and the table say so."""
    op = network().nodes[0].op
    assert isinstance(op, Mvau)
    held = replace(op, pe=1, simd=2, ram_style="block", ram_style_thresholds="distributed")
    Path("net.onnx").write_bytes(write(replaced(network(), {"hidden": held})).SerializeToString())
    Path("b.csv").write_text("memory,voltage,count,bits\na,0.6,0,64\na,0.5,64,64\n")
    arguments = ["faults", "net.onnx", *DATA, "--undervolting", "b.csv", "--voltages", "0.6,0.5", "--maps", "2"]
    arguments += ["--protection", "none", "--protection", "tmr", "--store", "f.sqlite"]
    found = json.loads(said(capsys, [*arguments, "--json"]))
    (curve,), (series,) = found["networks"].values(), found["series"].values()
    assert found["labels"] == ["0.6 V: 0", "0.5 V: p01 0 p10 1"] and curve["mean"][0] == 1.0 > curve["mean"][1]
    hits = [one["undervolted"] for one in series]
    assert [hit["faulty"] for hit in hits] == [0, 0, 384, 3 * 384] and hits[2]["ones"] == held.weight.sum()
    assert hits[0]["elsewhere"] == {"scores.weights": "LUTs"} and hits[2]["rate"] == hits[2]["board_rate"] == 1
    assert json.loads(said(capsys, [*arguments, "--json"])) == found
    by_hand = bf.faults(
        "net.onnx", "x.npy", "y.npy", voltages=[0.6, 0.5], undervolting="b.csv", maps=2, protections=["none", "tmr"]
    )
    assert to_json(by_hand) == {**found, "store": None}
    with pytest.raises(Problem, match="beside rates"):
        bf.faults("net.onnx", "x.npy", "y.npy", voltages=[0.6], rates=[0.1])
    text = said(capsys, arguments)
    assert "undervolted as b" in text and "scores.weights in LUTs" in text and "undervolting, all layers" in text
    one = ["--undervolting", "b.csv", "--model", "undervolting:0.5"]
    said(capsys, ["faults", "net.onnx", *one, "--save-map", "m.csv"])
    assert json.loads(said(capsys, ["faults", "net.onnx", *DATA, "--map", "m.csv", "--json"]))["cells"] == {
        "hidden.weights": 384
    }
    both = ["--model", "undervolting:0.5", "--model", "stuck-at-0", "--layers", "hidden", "--rates", "1", "--maps", "2"]
    same = json.loads(said(capsys, ["faults", "net.onnx", *DATA, "--undervolting", "b.csv", *both, "--json"]))
    real, uniform = next(iter(same["series"].values()))
    assert real["mean"] == uniform["mean"] == series[2]["mean"] and "undervolted" not in uniform


def test_a_recipe_says_the_same(folder: Path) -> None:
    """Voltages, a board and a placement, by paths from the recipe's folder."""
    from bnnflow.flow.recipe.file import load_recipe
    from bnnflow.flow.stages.faults import fault_settings

    (folder / "in").mkdir()
    Path("b.csv").write_text("memory,voltage,count,bits\na,0.6,0,64\na,0.5,64,64\n")
    held = {"placement": 1, "network": "n", "board": "b", "board_name": "b", "block_rams": [{"place": 4}]}
    Path("p.json").write_text(json.dumps(held))
    said = "faults: {voltages: [0.6, 0.5], undervolting: ../b.csv, placement: ../p.json, protections: [none, tmr]}\n"
    Path("in/r.yaml").write_text(RECIPE.partition("faults:")[0] + said)
    grid, _, _ = fault_settings(load_recipe(Path("in/r.yaml")))
    assert grid.voltages == (0.6, 0.5) and grid.chip.board.counts == ((0,), (64,)) and grid.protections[1] == "tmr"
    assert grid.chip.placement is not None and grid.chip.placement.places == (4,)


def test_placements(folder: Path, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    """Written, read back, of fewer faults; a network with other weights is refused by its hash."""
    for name, seed in {"net": 0, "other": 1}.items():
        graph = network(seed)
        op = graph.nodes[0].op
        assert isinstance(op, Mvau)
        held = replace(op, pe=4, simd=1, ram_style="block", ram_style_thresholds="block")
        Path(f"{name}.onnx").write_bytes(write(replaced(graph, {"hidden": held})).SerializeToString())
    Path("b.csv").write_text("memory,voltage,count,bits\n" + "".join(f"{n},0.5,{n},64\n" for n in (40, 0, 64)))
    board = ["--undervolting", "b.csv"]
    plan = ["placement", "net.onnx", *DATA, *board, "--voltage", "0.5", "-o", "p.json"]
    found = json.loads(said(capsys, [*plan, "--json"]))
    assert found["block_rams"] == 1 and found["faulty"] == 0 == found["weighted"] and found["faulty_random"] > 100
    text = said(capsys, plan)
    assert "hidden.weights" in text and "0.0% of at random" in text and "p.json" in text
    campaign = [*DATA, *board, "--voltages", "0.5", "--placement", "p.json", "--maps", "2"]
    (curve,) = json.loads(said(capsys, ["faults", "net.onnx", *campaign, "--json"]))["networks"].values()
    assert curve["mean"] == [1.0]
    refused = said(capsys, ["faults", "other.onnx", *campaign], 2)
    golden("problems/command_faults_placement_of_another", re.sub("[0-9a-f]{12}", "DIGEST", refused))
    bad = {"voltage": ["--voltage", "0.6"], "output": ["-o", "p.csv"], "share": ["--share", "0"]}
    for name, arguments in bad.items():
        golden(f"problems/command_placement_{name}", said(capsys, [*plan, *arguments], 2))


BAD = {
    "layer": (["--layers", "hiden"], 2),
    "target": (["--target", "weight"], 2),
    "protection": (["--protection", "secded-72"], 2),
    "model": (["--model", "burst"], 2),
    "jobs": (["--jobs", "0"], 2),
    "device": (["--device", "tpu"], 2),
    "device_and_jobs": (["--device", "cpu-torch", "--jobs", "2"], 2),
    "device_of_streams": (["--device", "cpu-torch", "--target", "streams"], 2),
    "cluster": (["--cluster", "slurm"], 2),
    "maps": (["--maps", "0"], 2),
    "interval": (["--interval", "3"], 2),
    "error": (["--model", "single", "--error", "0"], 2),
    "table": (["--table", "nowhere.csv"], 2),
    "map": (["--map", "nowhere.npz"], 2),
    "map_of_another": (["--map", "wide.npz"], 2),
    "store": (["--store", "x.npy"], 2),
    "map_of_text": (["--map", "m.txt"], 2),
    "data_and_input": (["--data", "digits"], 2),
    "fewer_maps": (["--interval", "0.01", "--maps", "9", "--max-maps", "8"], 2),
    "protection_option": (["--protection", "tmr:x4"], 2),
    "voltages": (["--voltages", "0.54,low"], 2),
    "voltages_of_no_core": (["--voltages", "0.54,-1"], 2),
    "voltages_and_rates": (["--voltages", "0.54", "--rates", "0.1"], 2),
    "voltages_and_model": (["--voltages", "0.54", "--model", "flip"], 2),
    "voltage_of_no_board": (["--voltages", "0.5"], 2),
    "rates_of_a_board": (["--model", "undervolting:0.54", "--rates", "0.1"], 2),
    "placement_of_nothing": (["--placement", "x.json"], 2),
    "placement_that_is_none": (["--placement", "x.npy", "--voltages", "0.54"], 2),
    "board_of_nothing": (["--undervolting", "x.csv"], 2),
    "board_that_is_none": (["--undervolting", "x.npy", "--voltages", "0.54"], 2),
    "no_block_rams": (["--voltages", "0.54"], 2),
    "metrics": (["--metrics", "classes,margins"], 2),
    "equal_of_one": (["--equal", "faults"], 2),
    "equal_name": (["--against", "other.onnx", "--equal", "fault"], 2),
    "equal_memory": (["--against", "other.onnx", "--equal", "memory"], 2),
    "metrics_of_a_saved_map": (["--save-map", "m.csv", "--metrics", "classes"], 2),
    "save_protected": (["--save-map", "m.npz", "--protection", "tmr", "--rates", "0.1"], 2),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name: str, folder: Path, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    graph = read(Path("wide.onnx"))
    drawn = draw_map(graph, memories(graph), FaultModel(), Rates.of(0.1), 0, 0)
    Path("wide.npz").write_bytes(drawn.content(".npz", graph))
    arguments, status = BAD[name]
    given = [] if name == "save_protected" else DATA
    golden(f"problems/command_faults_{name}", said(capsys, ["faults", "net.onnx", *given, *arguments], status))


RECIPE = """\
data: {name: digits}
model: {arch: mlp}
faults:
  rates: [0.1]
  models: [flip, bit-lin stuck-at-1]
"""
FLIPS = ["-s", "faults.models=[flip]", "-s", "faults.rates=null"]
RECIPES = {
    "models": ["-s", "faults.jobs=1"],
    "protections": ["-s", "faults.models=[flip]", "-s", "faults.protections=[tmr, secded]"],
    "cluster": ["-s", "faults.models=[flip]", "-s", "faults.cluster=dask"],
    "rates_and_table": ["-s", "faults.models=[flip]", "-s", "faults.table=t.csv", "-s", "faults.rates=[0.2]"],
    "table": [*FLIPS, "-s", "faults.table=none.csv"],
    "jobs_and_cluster": [*FLIPS, "-s", "faults.jobs=2", "-s", "faults.cluster=ray"],
    "max_maps_alone": [*FLIPS, "-s", "faults.max_maps=7"],
    "depth_without_fifos": [*FLIPS, "-s", "faults.fifo_depth=7"],
    "single_with_maps": ["-s", "faults.models=[single]", "-s", "faults.rates=null", "-s", "faults.maps=7"],
    "voltages": [*FLIPS[2:], "-s", "faults.models=null", "-s", "faults.voltages=[0.54, 0.5]"],
    "voltages_of_luts": [
        *FLIPS[2:],
        "-s",
        "faults.models=null",
        "-s",
        "faults.voltages=[0.54]",
        "-s",
        "model.hidden=[16]",
        "-s",
        "target.fps=100000",
    ],
    "voltages_and_models": [*FLIPS, "-s", "faults.voltages=[0.54]"],
    "placement_alone": [*FLIPS, "-s", "faults.placement=t.csv"],
    "placement": [*FLIPS[2:], "-s", "faults.models=[undervolting:0.54]", "-s", "faults.placement=t.csv"],
    "board_alone": [*FLIPS, "-s", "faults.undervolting=t.csv"],
    "board": [*FLIPS[2:], "-s", "faults.models=[undervolting:0.54]", "-s", "faults.undervolting=t.csv"],
    "equal": [*FLIPS, "-s", "faults.equal=[memory]"],
    "equal_of_streams": [*FLIPS, "-s", "faults.equal=[faults]", "-s", "faults.targets=[streams]"],
    "equal_of_one_network": [*FLIPS, "-s", "faults.equal=[faults]", "-s", "prune.enabled=false"],
    "certify": [*FLIPS, "-s", "faults.certify=10", "-s", "model.weight_bits=2"],
    "metrics": [*FLIPS, "-s", "faults.metrics=[classes, margins]"],
    "directions": [*FLIPS, "-s", "faults.table=t.csv"],
}


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_refused_before_any_training(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str], golden: Golden
) -> None:
    Path("r.yaml").write_text(RECIPE)
    Path("t.csv").write_text("voltage,p01,p10\n0.6,0.1,0.2\n")
    text = said(capsys, ["build", "r.yaml", *RECIPES[name]], 2)
    assert said(capsys, ["check", "r.yaml", *RECIPES[name]], 2) == text
    golden(f"problems/recipe_faults_{name}", text)


def test_input_needs_labels(folder: Path, capsys: pytest.CaptureFixture[str], golden: Golden) -> None:
    text = said(capsys, ["faults", "net.onnx", "--input", "x.npy"], 2)
    golden("problems/command_faults_labels", text)
    assert said(capsys, ["margins", "net.onnx", "--input", "x.npy", "--attack", "1"], 2) == text
    said(capsys, ["margins", "net.onnx", "--input", "x.npy"])
    found = json.loads(said(capsys, ["criticality", "net.onnx", "--input", "x.npy", "--json"]))
    assert found["layers"][0]["clean"] is None


def damaged(content: bytes, place: int) -> bytes:
    made = bytearray(content)
    made[place] ^= 255
    return bytes(made)


def test_damaged_maps_never_show_a_traceback(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Cut off, with a byte turned, or no archive at all; a byte that says nothing about the cells may pass."""
    graph = read(Path("net.onnx"))
    drawn = draw_map(graph, memories(graph), FaultModel(), Rates.of(0.1), 0, 0)
    content = drawn.content(".npz", graph)
    broken = [b"", b"hello", *(content[:size] for size in range(10, len(content), 200))]
    for one in [*broken, *(damaged(content, place) for place in range(0, len(content), 37))]:
        Path("d.npz").write_bytes(one)
        with suppress(Problem):
            assert FaultMap.load(Path("d.npz"), graph).ops(graph) == drawn.ops(graph) and one not in broken
    Path("d.npz").write_bytes(content[:99])
    said(capsys, ["faults", "net.onnx", *DATA, "--map", "d.npz"], 2)


CELLS = {
    "lengths": ([5], [2, 2], "=i8", "u1"),
    "twice": ([5, 5], [2, 2], "=i8", "u1"),
    "effect": ([5], [7], "=i8", "u1"),
    "halves": ([5.5], [2], "=f8", "u1"),
    "negative": ([-5], [2], "=i8", "u1"),
    "beyond": ([10**9], [2], "=i8", "u1"),
    "square": ([[5]], [[2]], "=i8", "u1"),
}


@pytest.mark.parametrize("name", CELLS)
def test_cells_that_no_map_has(name: str, folder: Path) -> None:
    graph = read(Path("net.onnx"))
    index, effect, kind, small = CELLS[name]
    parts = {"checksum": np.array(""), "names": np.array(["hidden.weights"])}
    np.savez("c.npz", index0=np.array(index, kind), effect0=np.array(effect, small), **parts)
    with pytest.raises(Problem):
        FaultMap.load(Path("c.npz"), graph)


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ("hidden.weights,0", "2 values for 4 columns\n  at: c.csv:2"),
        ("hidden.weights,0,0,flip,4", "5 values for 4 columns"),
        ("hidden.weights,0,0,flip\nhidden.weights,0,0,1", "two effects on one cell\n  at: c.csv:3"),
    ],
)
def test_rows_that_no_map_has(rows: str, why: str, folder: Path) -> None:
    Path("c.csv").write_text(f"memory,word,bit,effect\n{rows}\n")
    with pytest.raises(Problem, match=why):
        FaultMap.load(Path("c.csv"), read(Path("net.onnx")))


INPUTS = {
    "nan": lambda x: np.where(np.arange(x.size).reshape(x.shape) == 7, np.nan, x),
    "divided": lambda x: x / 255,
    "range": lambda x: x.astype(np.int64) + 2**40,
    "negative": lambda x: x.astype(np.int64) - 300,
    "empty": lambda x: x[:0],
    "shape": lambda x: x[:, :-1],
    "text": lambda x: x.astype(str),
    "complex": lambda x: x.astype(complex),
    "one": lambda x: x[0],
}


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("command", ["simulate", "faults", "criticality", "margins", "attack"])
def test_images_that_do_not_fit(command: str, name: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save("bad.npy", INPUTS[name](np.load("x.npy")))
    text = said(capsys, [command, "net.onnx", "--input", "bad.npy", "--labels", "y.npy"], 2)
    assert "fault in bnnflow" not in text


def test_a_table_and_a_picture_for_others(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every point is a row that holds what the JSON holds; the picture is the same each time."""
    words = ["faults", "net.onnx", *DATA, "--rates", "0.01,0.1", "--maps", "2", "--layers", "each", "--layers", "all"]
    found = json.loads(said(capsys, [*words, "--csv", "f.csv", "--plot", "f.svg", "--json"]))
    (series,) = found["series"].values()
    with Path("f.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(series) == 6
    for row, one in zip(rows, series, strict=True):
        assert float(row["mean"]) == one["mean"] and row["layers"] == "+".join(one["layers"])
        assert int(row["maps"]) == 2 and float(row["low"]) == one["low"]
    drawn = Path("f.svg").read_bytes()
    said(capsys, [*words, "--plot", "f.svg"])
    assert Path("f.svg").read_bytes() == drawn and b"hidden" in drawn and b"no faults" in drawn
    assert "no rates" in said(capsys, ["faults", "net.onnx", *DATA, "--model", "single", "--plot", "f.svg"], 2)
    said(capsys, ["faults", "net.onnx", *DATA, "--rates", "0", "--maps", "2", "--plot", "none.svg"])
    assert b"no faults" in Path("none.svg").read_bytes()

"""`flow speed`: which programs are timed, what is said of their results, and what is left out and why."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from bnnflow.flow.cli import app as cli
from bnnflow.flow.graphs import oracles, speed
from bnnflow.flow.results.speed import SpeedRow
from bnnflow.flow.show import report
from bnnflow.models.files.export import export_qonnx
from bnnflow.models.files.saved import save_network
from bnnflow.models.networks.network import Network, NetworkSpec
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.sim.speed import affordable_images, latency, throughput
from tests.random_graphs import images_for, two_layers


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained network and its QONNX file, as they lie in a run folder."""
    torch.set_num_threads(1)
    path = tmp_path_factory.mktemp("network")
    network = Network(NetworkSpec("cnn", (1, 8, 8), 3, (8,), (8,), (3,), (1,)), 0).eval()
    for norm in network.modules():
        if isinstance(norm, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d) and norm.affine:
            # No sum lies on an edge, where programs in float32 may decide either way.
            norm.bias.data = torch.linspace(0.11, 0.37, len(norm.bias))
    save_network(network, path / "weights.pt")
    export_qonnx(network, path / "network.onnx")
    return path


def told(folder: Path, capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, dict]:  # type: ignore[type-arg]
    capsys.readouterr()
    assert cli.run(["speed", str(folder / "network.onnx"), "--images", "20", "--json", *more]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["device"] and found["threads"] == 1
    missing = {row["engine"]: row["reason"] for row in found["missing"]}
    return {"missing": missing, **{row["engine"]: row for row in found["rows"]}}


def test_every_program_has_a_row(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = told(folder, capsys, "--clock-mhz", "50", "--fps", "1000")
    torch_rows = {"torch (Brevitas) float32", "torch (Brevitas) bf16"}
    assert torch_rows | {"onnxruntime float32", "bnnflow simulator"} <= set(found)
    accelerator = found["accelerator, xc7z020 at 50 MHz, folded for 1,000 images/s"]
    assert accelerator["source"] == "estimated" and accelerator["images_per_second"] >= 1000
    assert cli.run(["estimate", str(folder / "network.onnx"), "--clock-mhz", "50", "--fps", "1000", "--json"]) == 0
    estimate = json.loads(capsys.readouterr().out)
    assert accelerator["latency_ms"] == estimate["latency_us"] / 1e3
    assert accelerator["images_per_second"] == estimate["fps"]
    rows = [row for engine, row in found.items() if engine not in ("missing", accelerator["engine"])]
    assert all(row["images_per_second"] > 0 and row["latency_ms"] > 0 and row["batch"] <= 20 for row in rows)
    assert found["torch (Brevitas) float32"]["other_classes"] == 0
    cli.run(["speed", str(folder / "network.onnx"), "--images", "20"])
    text = capsys.readouterr().out
    assert "1 thread" in text and "estimated" in text and "Brevitas" in text


def test_what_is_left_out_is_named(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "network.onnx").write_bytes((folder / "network.onnx").read_bytes())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(speed.importlib.util, "find_spec", lambda name: None)
        missing = told(tmp_path, capsys, "--fps", "1e9")["missing"]
    assert "weights.pt" in missing["torch (Brevitas)"]
    assert missing["OpenVINO float32"] == "openvino is not installed"
    assert "1,000,000,000 images/s" in missing["accelerator"]


def test_results_that_differ_are_flagged() -> None:
    graph = two_layers(5, 6)
    images = images_for(graph, 12)
    right = Simulator.of(graph).scores(images)
    classes = right.argmax(axis=1)

    def row(scores: np.ndarray) -> SpeedRow:
        contender = speed.Contender("x", 128, lambda x: scores[: len(x)], lambda x: right[: len(x)])
        return speed._timed(contender, graph, images, classes)

    assert (row(right).inexact, row(right).other_classes, row(right).batch) == ("", 0, 12)
    near = right.copy()
    near[3] += 1
    assert row(near).inexact == "scores of 1 of 12 images differ, no class"
    wrong = right.copy()
    wrong[4, (classes[4] + 1) % 7] = right.max() + 1
    assert row(wrong).inexact == "1 of 12 images in another class" and row(wrong).other_classes == 1


def test_openvino_agrees_with_onnxruntime(folder: Path) -> None:
    pytest.importorskip("openvino")
    images = np.random.default_rng(0).integers(0, 256, (7, 1, 8, 8)).astype(np.float32)
    found = oracles.openvino_program(folder / "network.onnx", 1)(images)
    assert np.array_equal(found.argmax(1), oracles.onnxruntime_scores(folder / "network.onnx", images).argmax(1))


def test_times_are_medians_within_a_budget() -> None:
    pauses = iter([0.0, 0.004, 0.05, 0.004])
    assert 100 < throughput(lambda x: time.sleep(next(pauses)), np.zeros((1, 1)), repeats=3) <= 250
    calls: list[int] = []
    assert latency(lambda x: (calls.append(len(x)), time.sleep(0.002)), np.zeros((1, 1)), seconds=0) >= 2
    assert calls == [1, 1], "one to warm up, one that is timed"


def test_as_many_images_as_a_pass_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    """A program of 1/256 s an image, and 3 more seconds when it is first run, of a clock that it moves itself."""
    clock, first = [0.0], [3.0]

    def run(images: np.ndarray) -> None:
        clock[0] += len(images) / 256 + (first.pop() if first else 0)

    monkeypatch.setattr("bnnflow.sim.speed.time.perf_counter", lambda: clock[0])
    assert affordable_images(run, np.zeros(4000), 2.0) == 512
    assert clock[0] < 3 + 2 * 2.0
    assert affordable_images(run, np.zeros(300), 2.0) == 300
    assert affordable_images(run, np.zeros(1), 2.0) == 1
    assert affordable_images(run, np.zeros(300), 0.001) == 1


def test_slow_programs_are_cut_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = two_layers(5, 6)
    images = images_for(graph, 600)
    right = Simulator.of(graph).scores(images)

    def slow(x: np.ndarray) -> np.ndarray:
        time.sleep(0.001 * len(x))
        return right[: len(x)]

    monkeypatch.setattr(speed, "PASS", 0.05)
    row = speed._timed(speed.Contender("x", 8, slow, slow), graph, images, right.argmax(axis=1))
    assert row.images is not None and 8 <= row.images < 100 and row.images % 8 == 0
    assert (row.asked, row.other_classes, row.inexact) == (600, 0, "")
    assert f"timed on {row.images} of 600 images" in report.speed_cells(row)[-1]
    short = speed._timed(speed.Contender("x", 8, lambda x: right[: len(x)]), graph, images, right[:7].argmax(axis=1))
    assert (short.images, short.compared) == (600, 7)
    assert report.speed_cells(short)[-1] == "7 of them compared"


@pytest.mark.parametrize("arguments", [["none.onnx"], ["--threads", "0"], ["--images", "0"], ["--part", "xc0"]])
def test_bad_arguments(folder: Path, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    graph = [] if arguments[0].endswith(".onnx") else [str(folder / "network.onnx")]
    assert cli.run(["speed", *graph, *arguments]) == 2
    assert "Traceback" not in capsys.readouterr().err

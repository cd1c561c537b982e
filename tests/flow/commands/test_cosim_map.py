"""`flow cosim --map`: one device's wrong cells, in the hardware's memories and in the simulators'."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import bnnflow as bf
from bnnflow.flow.run.tools import compiler_place, verilator_place
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.sim.faults import FaultMap
from tests.flow.commands.test_fault_commands import folder, said

__all__ = ["folder"]


@pytest.mark.skipif(verilator_place() is None or compiler_place() is None, reason="needs Verilator and a compiler")
def test_hardware_has_the_cells_of_a_map(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said(capsys, ["estimate", "net.onnx", "--fps", "1000", "-o", "folded.onnx"])
    words = ["folded.onnx", "--target", "weights+thresholds", "--rates", "0.2", "--save-map", "m.npz"]
    said(capsys, ["faults", *words])
    found = json.loads(said(capsys, ["cosim", "folded.onnx", "--input", "x.npy", "--map", "m.npz", "--json"]))
    assert found["equal"] and found["unexpected"] == []
    # What the hardware gives is what the simulator gives with the map, and not what it gives without.
    graph, images = bf.load("folded.onnx").graph, np.load("x.npy")[:20]
    plain, ops = Simulator.of(graph), FaultMap.load(Path("m.npz"), graph).ops(graph)
    assert not np.array_equal(plain.scores(images), plain.with_ops(ops).scores(images))
    refused = said(capsys, ["cosim", "folded.onnx", "--map", "m.npz", "--protect", "tmr"], 2)
    assert "without codes" in refused
    other = said(capsys, ["cosim", "wide.onnx", "--map", "m.npz"], 2)
    assert "another network or folding" in other

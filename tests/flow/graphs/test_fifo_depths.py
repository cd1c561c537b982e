"""Depths of single FIFOs for `flow cycles`: in three forms, and what does not fit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bnnflow import Problem
from bnnflow.build.finn_reports import unit_names
from bnnflow.flow.cli import app as cli
from bnnflow.flow.graphs.fifo_depths import fifo_depths, fifo_settings
from bnnflow.sim.pipeline import fifo_names, simulate
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import AddStreams, DuplicateStreams, Mvau
from bnnflow.transforms.ir.tensor import TensorType
from bnnflow.transforms.writing.write import write


def layer(rows: int, columns: int, pe: int, simd: int) -> Mvau:
    rng = np.random.default_rng(rows)
    return Mvau(
        rng.integers(0, 2, (rows, columns)).astype(np.uint8), rng.integers(1, columns, (rows, 1)), True, 0, pe, simd
    )


def chain() -> Graph:
    """Two layers with a converter between: words of 4, then of 2."""
    nodes = (Node("a", layer(16, 24, 4, 6), ("x",)), Node("b", layer(8, 16, 2, 2), ("a",)))
    return Graph("chain", "x", TensorType((24,), 0, 1), nodes, "b")


def fork() -> Graph:
    nodes = (
        Node("d", DuplicateStreams(2), ("x",)),
        Node("a", layer(24, 24, 2, 2), ("d",)),
        Node("b", layer(24, 24, 2, 2), ("d",)),
        Node("j", AddStreams(2), ("a", "b")),
    )
    return Graph("fork", "x", TensorType((24,), 0, 1), nodes, "j")


def test_all_forms() -> None:
    graph = chain()
    names = fifo_names(graph)
    assert names == tuple(fifo.name for fifo in simulate(graph, 1).fifos)
    first, second = (unit_names(graph)[node] for node in "ab")
    finn = {
        first: {"PE": 4, "inFIFODepths": [3], "outFIFODepths": [9]},
        second.replace("hls", "rtl"): {"inFIFODepths": [5]},
    }
    assert fifo_depths({"Defaults": {}, **finn}, graph, names) == dict(zip(names, (3, 9, 5), strict=False))
    numbered = {f"StreamingFIFO_rtl_{place}": {"depth": 10 + place} for place in range(len(names))}
    found = fifo_depths(numbered, graph, names)
    assert found == {name: 10 + place for place, name in enumerate(names)}
    assert [fifo.depth for fifo in simulate(graph, 1, 2, found).fifos] == list(found.values())
    assert fifo_depths({**numbered, names[1]: 0}, graph, names)[names[1]] == 0, "plain names go before numbers"


def test_streams_of_branches_in_their_order() -> None:
    graph = fork()
    names, units = fifo_names(graph), unit_names(graph)
    asked = {
        units["d"]: {"outFIFODepths": [7, 8]},
        units["j"]: {"inFIFODepths": [4, 5]},
        units["b"]: {"inFIFODepths": [20]},
    }
    assert fifo_depths(asked, graph, names) == {"d -> a": 7, "d -> b": 20, "a -> j": 4, "b -> j": 5}
    with pytest.raises(Problem, match="branches"):
        fifo_depths({"StreamingFIFO_rtl_0": {"depth": 4}}, graph, names)


@pytest.mark.parametrize("graph", [chain(), fork()], ids=lambda graph: graph.name)
def test_written_settings_say_the_depths(graph: Graph) -> None:
    """Of every FIFO alone and of all together, in FINN's words and back."""
    names = fifo_names(graph)
    some = [{name: 3 + place} for place, name in enumerate(names)]
    for depths in (*some, {name: depth for each in some for name, depth in each.items()}):
        settings = fifo_settings(depths, graph, names, 2)
        read = fifo_depths(settings, graph, names)
        assert {name: depth for name, depth in read.items() if depth != 2} == depths
    assert fifo_settings(dict.fromkeys(names, 2), graph, names, 2) == {}


BAD: dict[str, dict[str, Any]] = {
    "unknown": {"MVAU_hls_7": {"inFIFODepths": [2]}},
    "number": {"MVAU_hls_0": 4},
    "count": {"MVAU_hls_0": {"inFIFODepths": [2, 2]}},
    "no_list": {"MVAU_hls_0": {"inFIFODepths": 2}},
    "zero": {"MVAU_hls_0": {"inFIFODepths": [0]}},
    "truth": {"a -> b": True},
    "negative": {"a -> b": -1},
    "some": {"StreamingFIFO_rtl_0": {"depth": 4}},
    "no_depth": {"StreamingFIFO_rtl_0": {}},
}


@pytest.mark.parametrize("name", BAD)
def test_depths_that_do_not_fit(name: str) -> None:
    with pytest.raises(Problem):
        fifo_depths(BAD[name], chain(), fifo_names(chain()))


def test_the_command_takes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph, file = tmp_path / "chain.onnx", tmp_path / "depths.json"
    graph.write_bytes(write(chain()).SerializeToString())
    names = fifo_names(chain())
    file.write_text(json.dumps({names[0]: 6, names[-1]: 0}))
    capsys.readouterr()
    assert cli.run(["cycles", str(graph), "--fifo", "3", "--fifo-depths", str(file), "--fps", "1", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["fifos"]
    assert (found[0]["depth"], found[-1]["depth"]) == (6, 0)
    assert {fifo["depth"] for fifo in found[1:-1]} <= {3}
    file.write_text('{"a -> z": 4}')
    assert cli.run(["cycles", str(graph), "--fifo-depths", str(file), "--fps", "1"]) == 2
    assert "there is no FIFO 'a -> z'" in capsys.readouterr().err

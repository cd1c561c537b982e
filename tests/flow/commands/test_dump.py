"""What `compile --dump` leaves opens in viewers of ONNX, and is the graph that its text says."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings

from bnnflow import Problem
from bnnflow.flow.commands import compile as compiling
from bnnflow.sim import reference
from bnnflow.transforms.ir.graph import Graph
from bnnflow.transforms.ir.text import parse_graph
from bnnflow.transforms.reading.read import read
from tests.drawn_networks import Drawn, networks

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]


@settings(max_examples=10, deadline=None, suppress_health_check=SLOW)
@given(networks())
def test_every_pass_leaves_an_onnx_file_of_its_graph(net: Drawn) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onnx.save(net.model, str(folder / "net.onnx"))
        found = compiling.compile_file(folder / "net.onnx", folder / "made", dump=True)
        assert not any("is not written" in note for note in found.notes)
        texts = sorted((folder / "made/passes").glob("*.txt"))
        assert len(texts) == len(found.passes)
        for text in texts:
            graph = parse_graph(text.read_text())
            model = onnx.load(str(text.with_suffix(".onnx")))
            onnx.checker.check_model(model)
            images = np.random.default_rng(0).integers(0, 256, (3, *graph.input_type.shape))
            want = reference.run(graph, images)[graph.output]
            again = read(model)
            got = reference.run(again, images)[again.output]
            np.testing.assert_allclose(got, want, rtol=1e-6, atol=1e-5, err_msg=text.name)


def test_what_onnx_cannot_hold_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.random_qonnx import random_network

    onnx.save(random_network(1, 1, 1, "none", "raw"), str(tmp_path / "net.onnx"))

    def refuse(graph: Graph) -> onnx.ModelProto:
        raise Problem("an integer constant is above 2^24, which files hold exactly")

    watch = compiling.Watch(dump=tmp_path)
    monkeypatch.setattr(compiling, "write", refuse)
    (tmp_path / "01_streamline.onnx").write_bytes(b"of an earlier compilation")
    compiling.stages(read(tmp_path / "net.onnx"), observe=watch)
    assert len(watch.unwritten) == len(watch.rows)
    assert "above 2^24" in watch.unwritten[0]
    assert not (tmp_path / "01_streamline.onnx").exists()
    assert (tmp_path / "01_streamline.txt").exists()

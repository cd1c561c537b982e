"""`flow compile` with the options for FINN's relatives; `make oracles` has those programs load what it writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from bnnflow.flow.cli import app as cli
from bnnflow.flow.commands.compile import compile_file
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.transforms.reading.read import read
from tests.oracles.handmade import residual
from tests.random_qonnx import random_network
from tests.transforms.onnx_files import Net

Golden = Callable[[str, str], None]
FINN_BASE, UNITS = "finn.custom_op.general", "finn.custom_op.fpgadataflow"
# The abstract units of finn-plus 1.6.1 that we write; neither AddStreams nor StreamingMaxPool is among them.
FINN_PLUS = {
    "ConvolutionInputGenerator",
    "DuplicateStreams",
    "ElementwiseAdd",
    "ElementwiseMul",
    "FMPadding",
    "GlobalAccPool",
    "LabelSelect",
    "MVAU",
    "Pool",
    "StreamingConcat",
    "Thresholding",
}


def branched() -> onnx.ModelProto:
    """A padded convolution beside a shortcut, a max pool and a sum over the map."""
    net = Net((2, 6, 6), "UINT8")
    shortcut = net.quant(2, 64.0, signed=0)
    net.add("Conv", net.weight(2, 2, 3, 3), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    net.quant(2, 64.0, signed=0)
    net.add("Add", net.last, shortcut)
    net.quant(2, 128.0, signed=0)
    net.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    net.add("GlobalAveragePool")
    net.add("Flatten", axis=1)
    net.dense(3, 2)
    return net.model(shape=(1, 3))


def padded_pool() -> onnx.ModelProto:
    """A padded max pool of signed values: its border is the least of them."""
    net = Net((2, 6, 6), "UINT8")
    net.add("Sub", net.c(127.5))
    net.conv(2, 2, 3, 3)
    net.quant(4, 1.0)
    net.add("MaxPool", kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1])
    net.add("Flatten", axis=1)
    net.dense(3, 32)
    return net.model(shape=(1, 3))


def compiled(model: onnx.ModelProto, tmp_path: Path, *options: str) -> Path:
    onnx.save(model, tmp_path / "net.onnx")
    folder = tmp_path / "out"
    assert cli.run(["compile", str(tmp_path / "net.onnx"), "-o", str(folder), *options]) == 0
    return folder


def domains(path: Path) -> set[str]:
    model = onnx.load(path)
    onnx.checker.check_model(model)
    assert {item.domain for item in model.opset_import} >= {node.domain for node in model.graph.node}
    return {node.domain for node in model.graph.node} - {""}


def scores(path: Path, count: int = 5) -> np.ndarray:
    graph = read(path)
    pixels = np.random.default_rng(0).integers(0, 256, (count, *graph.input_type.shape))
    return Simulator.of(graph).scores(pixels)


@pytest.mark.parametrize("make", [branched, lambda: random_network(1, 2, 1, "before-norm")])
def test_for_finn_base(make: Callable[[], onnx.ModelProto], tmp_path: Path) -> None:
    folder = compiled(make(), tmp_path, "--finn-base")
    for level in ("1_integer", "2_xnor"):
        assert domains(folder / f"{level}.onnx") == {FINN_BASE}
        assert np.array_equal(scores(folder / f"{level}.onnx"), scores(folder / "3_dataflow.onnx"))
    assert domains(folder / "3_dataflow.onnx") == {UNITS}, "units are FINN's, not finn-base's"


@pytest.mark.parametrize("make", [branched, lambda: random_network(1, 2, 1, "before-norm")])
def test_for_finn_plus(make: Callable[[], onnx.ModelProto], tmp_path: Path) -> None:
    folder = compiled(make(), tmp_path, "--finn-plus")
    units = [node for node in onnx.load(folder / "3_dataflow.onnx").graph.node if node.domain == UNITS]
    assert {node.op_type for node in units} <= FINN_PLUS
    assert np.array_equal(scores(folder / "3_dataflow.onnx"), scores(folder / "2_xnor.onnx"))


def test_both_together(tmp_path: Path) -> None:
    folder = compiled(branched(), tmp_path, "--finn-base", "--finn-plus")
    assert domains(folder / "2_xnor.onnx") == {FINN_BASE}
    kinds = {node.op_type for node in onnx.load(folder / "3_dataflow.onnx").graph.node}
    assert {"ElementwiseAdd", "Pool", "GlobalAccPool", "DuplicateStreams"} <= kinds


def test_what_finn_plus_would_pad_with_another_value_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], golden: Golden
) -> None:
    compiled(padded_pool(), tmp_path)
    capsys.readouterr()
    path, folder = str(tmp_path / "net.onnx"), str(tmp_path / "plus")
    assert cli.run(["compile", path, "-o", folder, "--finn-plus"]) == 2
    golden("problems/finn_plus_padding", capsys.readouterr().err)


@pytest.mark.parametrize("options", [(), ("--finn-plus",)])
def test_units_stand_where_finn_numbers_them(options: tuple[str, ...], tmp_path: Path) -> None:
    """FINN sorts a graph by qonnx' `SortGraph` before it numbers units; that must not move any of ours."""
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.general import SortGraph

    path = residual(tmp_path / "net.onnx")
    folder = tmp_path / "out"
    assert cli.run(["compile", str(path), "-o", str(folder), *options]) == 0
    model = ModelWrapper(str(folder / "3_dataflow.onnx"))
    before = [node.name for node in model.graph.node]
    assert [node.name for node in model.transform(SortGraph()).graph.node] == before
    assert len([node for node in model.graph.node if node.op_type == "DuplicateStreams"]) == 2


def test_levels_of_an_earlier_compilation_do_not_stay(tmp_path: Path) -> None:
    """To fewer levels into the same folder: what lies behind is gone, the file that is read and others stay."""
    path, folder = tmp_path / "net.onnx", tmp_path / "out"
    onnx.save(random_network(3, 1, 1), path)
    compile_file(path, folder)
    (folder / "notes.txt").write_text("mine")
    assert (folder / "3_dataflow.onnx").exists()
    found = compile_file(path, folder, to="integer")
    assert sorted(file.name for file in folder.iterdir()) == sorted([*found.files, "notes.txt"])
    compile_file(folder / "1_integer.onnx", folder, to="xnor")
    assert (folder / "1_integer.onnx").exists()

"""The exported QONNX file computes the network's own scores, in the dialect that readers were promised."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx

from bnnflow.models.data.load import Dataset
from bnnflow.models.files.export import export_qonnx
from bnnflow.models.networks.network import NetworkSpec
from bnnflow.models.training.evaluate import digest, predict
from tests.models.conftest import CNN, MLP, lively

OPS = {"Sub", "Div", "Quant", "BipolarQuant", "Conv", "MaxPool", "BatchNormalization"} | {
    *("Flatten", "Transpose", "MatMul", "Mul", "Add")
}


CODES: tuple[Any, ...] = ("bits8", "binary")
ORDERS: tuple[Any, ...] = ("before-norm", "after-sign")
POOLED = replace(CNN, pools=(2, 1))
KINDS = [
    *(replace(POOLED, pool_order=order, input=code) for order in ORDERS for code in CODES),
    *(replace(MLP, input=code) for code in CODES),
]


@pytest.mark.parametrize("spec", KINDS)
def test_qonnx_computes_the_networks_own_scores(spec: NetworkSpec, digits: Dataset, tmp_path: Path) -> None:
    network = lively(spec, digits.train_images[:200])
    before = digest(network)
    export_qonnx(network, tmp_path / "network.onnx")
    assert digest(network) == before
    model = ModelWrapper(str(tmp_path / "network.onnx"))
    images = digits.test_images[:8]
    found = [execute_onnx(model, {"image": image[None].astype(np.float32)})["scores"][0] for image in images]
    wanted = predict(network, images)
    np.testing.assert_allclose(found, wanted, atol=1e-4)
    assert np.argmax(found, axis=1).tolist() == wanted.argmax(1).tolist()


def test_the_file_says_what_readers_rely_on(digits: Dataset, tmp_path: Path) -> None:
    path = tmp_path / "network.onnx"
    export_qonnx(lively(CNN, digits.train_images[:200]), path)
    model = onnx.load(path)
    assert model.ir_version <= 10
    assert {entry.domain: entry.version for entry in model.opset_import}[""] == 13
    assert [value.name for value in model.graph.input] == ["image"]
    assert [value.name for value in model.graph.output] == ["scores"]
    assert ModelWrapper(str(path)).get_tensor_datatype("image").name == "UINT8"
    assert {node.op_type for node in model.graph.node} == OPS
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    binary = [node.input for node in model.graph.node if node.op_type == "BipolarQuant"]
    assert all(arrays[scale].item() == 1.0 for _, scale in binary)
    weights = [arrays[name] for name, _ in binary if name in arrays]
    assert len(weights) == 4
    assert all(set(np.unique(weight)) == {-1.0, 1.0} for weight in weights)
    noted = {value.name for value in model.graph.value_info} | {"scores"}
    assert noted == {name for node in model.graph.node for name in node.output}


def test_the_same_network_gives_the_same_bytes(
    digits: Dataset, tmp_path: Path, capfd: pytest.CaptureFixture[str], recwarn: pytest.WarningsRecorder
) -> None:
    network = lively(CNN, digits.train_images[:200])
    for name in ("a.onnx", "b.onnx"):
        export_qonnx(network, tmp_path / name)
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.onnx", "b.onnx"]
    assert capfd.readouterr() == ("", "")
    assert not recwarn.list

"""Quantizers of every narrow range survive our own QONNX files: levels, rounding and edges."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from qonnx.core.modelwrapper import ModelWrapper
from qonnx.core.onnx_exec import execute_onnx
from qonnx.transformation.infer_shapes import InferShapes

from bnnflow.sim import reference
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import Affine, AnyOp, Dense, Quantize
from bnnflow.transforms.ir.tensor import TensorType
from bnnflow.transforms.reading.read import read
from bnnflow.transforms.writing.network import write_network


@pytest.mark.parametrize("rounding", ["ROUND", "HALF_ODD", "FLOOR", "CEIL", "ROUND_TO_ZERO"])
@pytest.mark.parametrize("low", range(-5, 4))
def test_a_quantizer_of_any_limits_is_read_back(low: int, rounding: str) -> None:
    for high in range(low + 1, 6):
        ops: tuple[AnyOp, ...] = (
            Affine(np.array([0.25]), np.array([-16.0])),
            Quantize(np.array([2.0]), low, high, rounding),
            Dense(np.array([[1]], np.int8)),
        )
        names = ("pixels", "x", "levels", "scores")
        nodes = tuple(Node(name, op, (source,)) for source, name, op in zip(names, names[1:], ops, strict=False))
        graph = Graph("one", "pixels", TensorType((1,), 0, 255), nodes, "scores")
        content = write_network(graph).SerializeToString()
        again = read(onnx.ModelProto.FromString(content))
        pixels = np.arange(256).reshape(-1, 1)
        wanted, found = (reference.run(each, pixels)[each.output] for each in (graph, again))
        assert np.array_equal(wanted, found), (low, high)
        assert len(np.unique(wanted)) == high - low + 1, "all levels occur"
        theirs = by_qonnx(content, pixels)
        assert np.array_equal(wanted, theirs), (low, high)


def by_qonnx(content: bytes, pixels: np.ndarray) -> np.ndarray:
    """What qonnx, which alone says what `Quant` is, makes of a file."""
    model = onnx.ModelProto.FromString(content)
    del model.graph.value_info[:]
    (given,), (made,) = model.graph.input, model.graph.output
    for one in (given, made):
        one.type.tensor_type.shape.dim[0].dim_value = len(pixels)
    shaped = ModelWrapper(model).transform(InferShapes())
    return np.asarray(execute_onnx(shaped, {given.name: pixels.astype(np.float32)})[made.name])

"""Reading, held against qonnx and onnxruntime: what a graph computes is what the file computes."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from bnnflow import Problem
from bnnflow.sim import reference
from bnnflow.transforms import ops
from bnnflow.transforms.graph import Graph
from bnnflow.transforms.read import load, read, survey
from bnnflow.transforms.standard import to_standard

QONNX = "qonnx.custom_op.general"
FINN = "finn.custom_op.fpgadataflow"


@dataclass
class Net:
    """An ONNX file that grows operator by operator, each call naming the tensor it makes."""

    shape: tuple[int, ...]
    datatype: str = ""
    opset: int = 13
    qonnx_version: int = 2
    seed: int = 0
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)
    notes: dict[str, str] = field(default_factory=dict)
    last: str = "x"

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def c(self, value: object, kind: type = np.float32, datatype: str = "") -> str:
        name = f"c{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(value, kind), name))
        if datatype:
            self.notes[name] = datatype
        return name

    def add(self, kind: str, *inputs: str, domain: str = "", outputs: int = 1, **settings: object) -> str:
        """Append a node; without inputs before constants (names c0, c1, ...) it reads the last tensor."""
        names = list(inputs)
        if not names or all(name[:1] in ("c", "w", "") for name in names):
            names = [self.last, *names]
        made = [f"t{len(self.nodes)}", *(f"t{len(self.nodes)}_{i}" for i in range(1, outputs))]
        self.nodes.append(helper.make_node(kind, names, made, domain=domain, **settings))
        self.last = made[0]
        return made[0]

    def quant(self, bits: float = 4, scale: object = 0.25, zero: float = 0, **settings: object) -> str:
        settings = {"signed": 1, "narrow": 0, "rounding_mode": "ROUND"} | settings
        return self.add("Quant", self.c(scale), self.c(zero), self.c(bits), domain=QONNX, **settings)

    def weight(self, *shape: int, bits: int = 4, scale: object = 0.125) -> str:
        """A weight under a constant quantizer."""
        name = f"w{len(self.nodes)}"
        inputs = [self.c(self.rng.normal(0, 0.5, shape)), self.c(scale), self.c(0.0), self.c(float(bits))]
        kind = {"signed": 1, "narrow": 1, "rounding_mode": "ROUND"}
        self.nodes.append(helper.make_node("Quant", inputs, [name], domain=QONNX, **kind))
        return name

    def dense(self, neurons: int, features: int, **kind: object) -> str:
        return self.add("Gemm", self.weight(neurons, features, **kind), transB=1)  # type: ignore[arg-type]

    def conv(self, filters: int, channels: int, *kernel: int, **settings: object) -> str:
        return self.add("Conv", self.weight(filters, channels, *kernel), kernel_shape=list(kernel), **settings)

    def model(self, output: str = "", shape: tuple[object, ...] | None = None, kind: int = TensorProto.FLOAT):
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, *self.shape])],
            [helper.make_tensor_value_info(output or self.last, kind, shape)],
            self.weights,
        )
        notes = dict(self.notes) | ({"x": self.datatype} if self.datatype else {})
        for name, datatype in notes.items():
            entry = onnx.StringStringEntryProto(key="finn_datatype", value=datatype)
            graph.quantization_annotation.append(
                onnx.TensorAnnotation(tensor_name=name, quant_parameter_tensor_names=[entry])
            )
        opsets = [
            helper.make_opsetid("", self.opset),
            helper.make_opsetid(QONNX, self.qonnx_version),
            helper.make_opsetid(FINN, 1),
        ]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def images(net: Net | Graph, count: int = 6, seed: int = 1) -> np.ndarray:
    """Float images of a normal distribution, or integers of the annotated type."""
    shape = net.shape if isinstance(net, Net) else net.input_type.shape
    rng = np.random.default_rng(seed)
    if isinstance(net, Net) and net.datatype == "UINT8":
        return rng.integers(0, 256, (count, *shape)).astype(np.float32)
    if isinstance(net, Net) and net.datatype.startswith("INT"):
        return rng.integers(-8, 8, (count, *shape)).astype(np.float32)
    if isinstance(net, Net) and net.datatype == "BIPOLAR":
        return rng.choice([-1, 1], (count, *shape)).astype(np.float32)
    return rng.normal(0, 1, (count, *shape)).astype(np.float32)


def by_qonnx(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped = ModelWrapper(onnx.ModelProto.FromString(model.SerializeToString())).transform(InferShapes())
        source, output = wrapped.graph.input[0].name, wrapped.graph.output[0].name
        return np.concatenate([execute_onnx(wrapped, {source: image[None]})[output] for image in x])


def by_onnxruntime(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])


def ours(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    graph = read(model)
    assert Graph.parse(str(graph)) == graph
    return reference.run(graph, x)[graph.output]


def same(model: onnx.ModelProto, x: np.ndarray, standard: bool = True, qonnx: bool = True) -> np.ndarray:
    """Holds the graph against qonnx, and its standard form in onnxruntime against both."""
    got = ours(model, x)
    if qonnx:
        np.testing.assert_allclose(got, by_qonnx(model, x).reshape(got.shape), rtol=1e-4, atol=1e-4)
    if standard:
        found = np.concatenate([by_onnxruntime(to_standard(model), image[None]) for image in x])
        np.testing.assert_allclose(got, found.reshape(got.shape), rtol=1e-4, atol=1e-4)
    return got


# -- quantizers ------------------------------------------------------------------------------------

MODES = ("ROUND", "HALF_EVEN", "FLOOR", "CEIL", "UP", "DOWN", "HALF_UP", "HALF_DOWN")


@settings(max_examples=60)
@given(
    mode=st.sampled_from(MODES),
    bits=st.integers(1, 8),
    signed=st.booleans(),
    narrow=st.booleans(),
    zero=st.sampled_from([0, 0, 1, 2, -3, 7]),
    scales=st.sampled_from([(0.25,), (0.1,), (0.5, 0.25, 1.0, 2.0), (0.3, 0.1, 0.7, 0.2)]),
)
def test_quantizers_round_and_clip_as_qonnx_does(
    mode: str, bits: int, signed: bool, narrow: bool, zero: int, scales: tuple[float, ...]
) -> None:
    net = Net((4, 3, 3))
    scale = np.array(scales).reshape(1, -1, 1, 1) if len(scales) > 1 else scales[0]
    net.quant(bits, scale, zero, signed=int(signed), narrow=int(narrow), rounding_mode=mode)
    net.add("Flatten")
    net.dense(3, 36)
    # Multiples of an eighth: ties of every kind where the scale is a power of two.
    x = np.round(images(net, 3) * 16) / 8
    exact = all(value in (0.25, 0.5, 1.0, 2.0) for value in scales)
    refused = ""
    try:
        same(net.model(), x if exact else images(net, 3))
    except Problem as problem:
        refused = problem.what
    one_signed_bit = signed and bits == 1
    away = signed and mode in ("UP", "HALF_UP", "HALF_DOWN")
    to_zero = signed and mode == "DOWN" and zero != 0
    empty = bits == 1 and narrow and not signed
    assert bool(refused) == bool((one_signed_bit and zero) or (not one_signed_bit and (away or to_zero)) or empty)


@pytest.mark.parametrize("mode", ["FLOOR", "CEIL", "ROUND", "DOWN"])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("signed", [0, 1])
def test_trunc(mode: str, version: int, signed: int) -> None:
    net = Net((3, 8, 8), qonnx_version=version)
    net.quant(4, 0.25, signed=signed)
    net.add("AveragePool", kernel_shape=[2, 2], strides=[2, 2])
    net.add("Mul", net.c(4.0))
    inputs = [net.c(0.25), net.c(0.0), net.c(6.0), *([net.c(1.0)] if version == 2 else []), net.c(4.0)]
    kind = {"signed": signed, "narrow": 0} if version == 2 else {}
    net.add("Trunc", *inputs, domain=QONNX, rounding_mode=mode, **kind)
    net.add("Flatten")
    net.dense(3, 48)
    same(net.model(), images(net) * 2)


@pytest.mark.parametrize("scale", [1.0, 0.5, [[[0.5]], [[1.0]], [[2.0]]]])
def test_bipolar_quantizers(scale: object) -> None:
    net = Net((3, 4, 4))
    net.add("BipolarQuant", net.c(scale), domain=QONNX)
    net.add("Flatten")
    net.dense(5, 48)
    x = images(net)
    x[:, :, 0] = 0
    same(net.model(), x)


@pytest.mark.parametrize("zero", [None, 0, 3, 128])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("clip", [False, True])
def test_pairs_of_standard_onnx(zero: int | None, per_channel: bool, clip: bool) -> None:
    net = Net((3, 4, 4))
    scale = [0.25, 0.5, 0.1] if per_channel else 0.05
    parameters = [net.c(scale)]
    if zero is not None:
        parameters.append(net.c([zero] * 3 if per_channel else zero, np.uint8))
    elif per_channel:
        parameters.append(net.c([0, 0, 0], np.int8))
    kind = {"axis": 1} if per_channel else {}
    net.add("QuantizeLinear", *parameters, **kind)
    if clip:
        value = np.int8 if zero is None and per_channel else np.uint8
        net.add("Clip", net.c(1, value), net.c(100, value))
    net.add("DequantizeLinear", *parameters, **kind)
    net.add("Flatten")
    weight = net.c(net.rng.integers(-7, 8, (5, 48)), np.int8)
    net.nodes.append(
        helper.make_node(
            "DequantizeLinear", [weight, net.c([0.1, 0.2, 0.3, 0.4, 0.5]), net.c([0] * 5, np.int8)], ["w_q"], axis=0
        )
    )
    net.add("Gemm", "w_q", net.c(np.arange(5.0)), transB=1)
    model = net.model()
    same(model, images(net), qonnx=False)
    assert any(isinstance(node.op, ops.Quantize) for node in read(model).nodes)
    assert read(model).node(next(n.name for n in read(model).nodes if isinstance(n.op, ops.Dense))).op.weight.max() > 1


# -- layers ----------------------------------------------------------------------------------------


@settings(max_examples=40)
@given(
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    pads=st.tuples(*[st.integers(0, 2)] * 4),
    how=st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]),
    flat=st.booleans(),
    seed=st.integers(0, 99),
)
def test_convolutions(
    kernel: tuple[int, int],
    stride: tuple[int, int],
    pads: tuple[int, int, int, int],
    how: str,
    flat: bool,
    seed: int,
) -> None:
    net = Net((2, 7) if flat else (2, 7, 6), seed=seed)
    rank = 1 if flat else 2
    place = {"auto_pad": how} if how != "NOTSET" else {"pads": [*pads[:rank], *pads[2 : 2 + rank]]}
    net.quant(3)
    scale = net.rng.choice([0.25, 0.5, 0.1], (5, *(1,) * (rank + 1)))
    weight = net.weight(5, 2, *kernel[:rank], scale=scale)
    bias = [net.c(net.rng.normal(0, 1, 5))] if seed % 2 else []
    net.add("Conv", weight, *bias, kernel_shape=list(kernel[:rank]), strides=list(stride[:rank]), **place)
    # No ties: float32 sums of tenths fall on either side of them.
    net.quant(4, 0.4871)
    net.add("Flatten")
    count = by_onnxruntime(to_standard(net.model()), images(net, 1)).size
    net.dense(3, count)
    same(net.model(), images(net, 3), qonnx=False)
    if how != "SAME_LOWER" and not flat:
        same(net.model(), images(net, 1))


@pytest.mark.parametrize("kind", ["binary", "ternary", "levels", "filters", "zero_row", "column"])
def test_weights_that_were_folded_to_floats(kind: str) -> None:
    net = Net((16,))
    rng = np.random.default_rng(3)
    integers = rng.integers(-7, 8, (6, 16)) if kind != "ternary" else rng.integers(-1, 2, (6, 16))
    if kind == "binary":
        integers = rng.choice([-1, 1], (6, 16))
    if kind == "zero_row":
        integers[2] = 0
    scale = np.array([[0.1], [0.2], [0.37], [1.1], [1e-3], [3.0]]) if kind in ("filters", "binary") else 0.0371
    floats = (integers.astype(np.float32) * np.float32(scale)).astype(np.float32)
    if kind == "column":
        net.add("MatMul", net.c(floats.T))
    else:
        net.add("Gemm", net.c(floats), transB=1)
    model = net.model()
    same(model, images(net))
    layer = next(node.op for node in read(model).nodes if isinstance(node.op, ops.Dense))
    assert layer.weight.dtype == np.int8
    if kind == "binary":
        np.testing.assert_array_equal(layer.weight, integers)
    factors = next(node.op for node in read(model).nodes if isinstance(node.op, ops.Affine)).scale
    rebuilt = layer.weight.astype(np.float32) * factors.astype(np.float32)[:, None]
    np.testing.assert_array_equal(rebuilt, floats)


def test_quantized_weights_keep_their_levels() -> None:
    net = Net((8,))
    net.dense(4, 8, bits=8, scale=[[0.1], [0.2], [0.3], [0.4]])
    layer, affine = read(net.model()).nodes
    assert isinstance(layer.op, ops.Dense) and layer.op.weight.dtype == np.int8
    assert isinstance(affine.op, ops.Affine)
    np.testing.assert_array_equal(affine.op.scale, np.array([0.1, 0.2, 0.3, 0.4], np.float32).astype(np.float64))


@pytest.mark.parametrize("dialect", ["transpose", "gemm", "gemm_c", "alpha"])
def test_dialects_of_matrix_products(dialect: str) -> None:
    net = Net((3, 4, 4))
    net.add("Flatten")
    net.quant(4)
    weight = net.weight(5, 48)
    if dialect == "transpose":
        net.nodes.append(helper.make_node("Transpose", [weight], ["w_t"], perm=[1, 0]))
        net.add("MatMul", "w_t")
        net.add("Add", net.c(np.arange(5.0)))
    elif dialect == "alpha":
        net.add("Gemm", weight, net.c(np.arange(5.0)), transB=1, alpha=0.5, beta=2.0)
    else:
        net.add("Gemm", weight, *([net.c(np.arange(5.0))] if dialect == "gemm_c" else []), transB=1)
    same(net.model(), images(net))


# -- pools and shapes ------------------------------------------------------------------------------


def _max_pool(net: Net) -> None:
    net.add("MaxPool", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1])


def _average(net: Net) -> None:
    net.add("AveragePool", kernel_shape=[3, 2], strides=[1, 2])


def _average_padded(net: Net) -> None:
    net.add("AveragePool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], count_include_pad=1)


def _reduce(net: Net) -> None:
    net.add("ReduceMean", axes=[2, 3], keepdims=0)


def _reduce_sum(net: Net) -> None:
    net.add("ReduceSum", net.c([-2, -1], np.int64), keepdims=1)


def _pad(net: Net) -> None:
    net.add("Pad", net.c([0, 0, 1, 0, 0, 0, 2, 1], np.int64), net.c(-1.0))


def _transposed(net: Net) -> None:
    net.add("Transpose", perm=[0, 2, 3, 1])


def _there_and_back(net: Net) -> None:
    net.add("Transpose", perm=[0, 2, 3, 1])
    net.add("Transpose", perm=[0, 3, 1, 2])


def _shape_arithmetic(net: Net) -> None:
    net.nodes.append(helper.make_node("Shape", [net.last], ["c_shape"]))
    net.nodes.append(helper.make_node("Gather", ["c_shape", net.c(0, np.int64)], ["c_batch"]))
    net.nodes.append(helper.make_node("Unsqueeze", ["c_batch", net.c([0], np.int64)], ["c_axis"]))
    net.nodes.append(helper.make_node("Concat", ["c_axis", net.c([-1], np.int64)], ["c_target"], axis=0))
    net.add("Reshape", "c_target")


def _points(net: Net) -> None:
    net.add("GlobalAveragePool")
    net.add("Squeeze", net.c([2, 3], np.int64))
    net.add("Unsqueeze", net.c([2, 3], np.int64))
    net.add("Relu")


def _gate(net: Net) -> None:
    before = net.last
    net.add("GlobalMaxPool")
    net.add("Flatten")
    net.dense(4, 4)
    flat = net.last
    net.add("GlobalAveragePool", before)
    net.add("Reshape", net.c([1, 4], np.int64))
    net.add("Sub", flat, net.last)


def _concat(net: Net) -> None:
    left = net.last
    net.add("Relu")
    net.add("Concat", left, net.last, axis=1)


def _concat_flat(net: Net) -> None:
    left = net.last
    net.add("Flatten")
    flat = net.last
    net.add("GlobalAveragePool", left)
    net.add("Flatten")
    net.add("Concat", net.last, flat, axis=-1)
    net.add("Mul", net.c(np.arange(1.0, 4 + 4 * 7 * 6 + 1)))


def _sums(net: Net) -> None:
    a = net.last
    b = net.add("Relu", a)
    c = net.add("Neg", a)
    net.add("Sum", a, b, c, net.c(0.5))
    net.add("Min", net.c(2.0))
    net.add("Max", net.c(-1.5))
    net.add("Clip", net.c(-1.0), net.c(1.0))


def _residual(net: Net) -> None:
    shortcut = net.quant(4, 0.5)
    net.conv(4, 4, 3, 3, pads=[1, 1, 1, 1])
    net.quant(4, 0.5)
    net.add("Add", net.last, shortcut)
    net.quant(4, 1.0, signed=0)


def _norm(net: Net) -> None:
    rng = net.rng
    values = (rng.normal(0, 1, 4), rng.normal(0, 1, 4), rng.normal(0, 1, 4), rng.uniform(0.5, 2, 4))
    net.add("Mul", net.c(rng.normal(0, 1, (1, 4, 1, 1))))
    net.add("BatchNormalization", *(net.c(value) for value in values), epsilon=1e-3)
    net.add("Sub", net.c(rng.normal(0, 1, (4, 1, 1))))
    net.add("Div", net.c(3.0))
    net.add("Sign")


@pytest.mark.parametrize(
    "body",
    [
        _max_pool,
        _average,
        _average_padded,
        _reduce,
        _reduce_sum,
        _pad,
        _transposed,
        _there_and_back,
        _shape_arithmetic,
        _points,
        _gate,
        _concat,
        _concat_flat,
        _sums,
        _residual,
        _norm,
    ],
    ids=lambda body: body.__name__.strip("_"),
)
def test_bodies(body: Callable[[Net], None]) -> None:
    net = Net((4, 7, 6))
    body(net)
    made = by_onnxruntime(to_standard(net.model()), images(net, 1))
    if made.ndim > 2:
        net.add("Flatten")
    net.dense(5, made.size)
    same(net.model(), images(net))


def test_maps_of_one_axis() -> None:
    net = Net((3, 20))
    net.quant(4)
    net.conv(5, 3, 4, pads=[2, 1], strides=[2])
    net.add("MaxPool", kernel_shape=[2], strides=[2])
    net.add("BatchNormalization", *(net.c(v) for v in (np.ones(5), np.zeros(5), np.zeros(5), np.full(5, 2.0))))
    net.add("BipolarQuant", net.c(1.0), domain=QONNX)
    net.conv(4, 5, 2)
    net.add("AveragePool", kernel_shape=[2], strides=[1])
    net.add("Flatten")
    net.dense(3, 12)
    same(net.model(), images(net), qonnx=False)


@pytest.mark.parametrize("end", ["argmax", "argmax_flat", "topk", "softmax", "log_softmax_topk"])
def test_ends(end: str) -> None:
    net = Net((12,))
    net.dense(5, 12)
    output, kind = "", TensorProto.INT64
    if "softmax" in end:
        kind = kind if "topk" in end else TensorProto.FLOAT
        net.add("LogSoftmax" if "log" in end else "Softmax", axis=-1)
    if "topk" in end:
        net.add("TopK", net.c([3], np.int64), outputs=2)
        output = f"{net.last}_1"
    if "argmax" in end:
        net.add("ArgMax", axis=1, keepdims=int("flat" not in end))
    model = net.model(output, kind=kind)
    graph = read(model)
    x = images(net, 8)
    got = reference.run(graph, x)[graph.output]
    wanted = np.concatenate([by_onnxruntime(to_standard(model), image[None]).reshape(1, -1) for image in x])
    if end == "softmax":
        np.testing.assert_array_equal(got.argmax(1), wanted.argmax(1))
        assert graph.notes == ("softmax 't2' at the end is left out: it does not change the order of the classes",)
    else:
        assert isinstance(graph.nodes[-1].op, ops.Best)
        np.testing.assert_array_equal(got.reshape(wanted.shape), wanted)


@pytest.mark.parametrize("opset", [9, 11, 13, 18])
def test_settings_as_attributes_or_inputs(opset: int) -> None:
    net = Net((4, 6, 6), opset=opset)
    if opset < 11:
        net.add("Pad", pads=[0, 0, 1, 1, 0, 0, 1, 1], value=0.5, mode="constant")
        net.add("Clip", min=-1.0, max=1.0)
    else:
        axes = [net.c([2, 3], np.int64)] if opset >= 18 else []
        sizes = [1, 1, 1, 1] if axes else [0, 0, 1, 1, 0, 0, 1, 1]
        net.add("Pad", net.c(sizes, np.int64), net.c(0.5), *axes)
        net.add("Clip", net.c(-1.0), net.c(1.0))
    if opset >= 18:
        net.add("ReduceMean", net.c([2, 3], np.int64), keepdims=1)
    else:
        net.add("ReduceMean", axes=[2, 3], keepdims=1)
    net.add("Squeeze", *([net.c([2, 3], np.int64)] if opset >= 13 else []), **({} if opset >= 13 else {"axes": [2, 3]}))
    net.add("Gemm", net.c(np.ones((5, 4))), net.c(np.zeros(5)), transB=1)
    same(net.model(), images(net), qonnx=False)


# -- FINN-ONNX and dataflow ------------------------------------------------------------------------


def test_finn_onnx_as_qonnx_executes_it() -> None:
    net = Net((3, 6, 6), "INT4")
    rng = net.rng
    net.add("Transpose", perm=[0, 2, 3, 1])
    kind = {"kernel_size": [3, 3], "stride": [1, 1], "pad_amount": [1, 1, 1, 1], "input_shape": "(1, 6, 6, 3)"}
    net.add("Im2Col", domain=QONNX, **kind)
    net.notes["t0"] = "INT4"
    net.add("MatMul", net.c(rng.integers(-3, 4, (27, 4)), datatype="INT3"))
    bounds = np.sort(rng.integers(-20, 20, (4, 7)), axis=1)
    layout = {"data_layout": "NHWC"}
    net.add("MultiThreshold", net.c(bounds), domain=QONNX, out_dtype="INT4", out_bias=-3.0, **layout)
    shared = net.last
    net.add("Mul", net.c([2.0, -1.0, 3.0, 1.0]))
    border = np.zeros((1, 6, 6, 4))
    border[:, 0], border[:, :, -1] = 5, -2
    net.add("Add", net.c(border))
    net.add("Add", net.last, shared)
    net.add("Concat", net.last, shared, axis=3)
    net.add("MaxPoolNHWC", domain=QONNX, kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 0, 0])
    net.add("Pad", net.c([0, 1, 0, 0, 0, 0, 1, 0], np.int64), net.c(-1.0))
    net.add("ReduceSum", net.c([1, 2], np.int64), keepdims=1)
    net.add("Flatten")
    net.add("MatMul", net.c(rng.choice([-1, 1], (8, 3)), datatype="BIPOLAR"))
    model = net.model()
    # qonnx infers no shapes behind its own window.
    model.graph.value_info.append(helper.make_tensor_value_info("t7", TensorProto.FLOAT, [1, 6, 6, 8]))
    graph = read(model)
    kinds = [type(node.op).__name__ for node in graph.nodes]
    assert kinds == [
        *("ChannelsLast", "Pad", "Conv", "Threshold", "Scale", "AddBorder", "Add", "Concat", "MaxPool", "Pad"),
        *("SumPool", "Flatten", "Dense"),
    ]
    same(model, images(net), standard=False)
    node = next(item for item in graph.nodes if isinstance(item.op, ops.AddBorder))
    assert isinstance(node.op, ops.AddBorder) and node.op.values.shape == (2, 2, 4)


def test_dataflow_units() -> None:
    net = Net((2, 4, 4), "UINT8")
    rng = net.rng
    net.add("Transpose", perm=[0, 2, 3, 1])
    net.add("FMPadding_rtl", domain=FINN + ".rtl", ImgDim=[4, 4], Padding=[1, 1, 1, 1], NumChannels=2, pad_value=3)
    window = {"ConvKernelDim": [3, 3], "Stride": [1, 1], "SIMD": 2, "Dilation": [1, 1]}
    net.add("ConvolutionInputGenerator_rtl", domain=FINN + ".rtl", depthwise=0, **window)
    weight, bounds = rng.integers(-3, 4, (18, 4)), np.sort(rng.integers(-900, 900, (4, 3)), axis=1)
    net.add("MVAU_hls", net.c(weight), net.c(bounds), domain=FINN + ".hls", PE=2, SIMD=3, ActVal=-1, noActivation=0)
    net.nodes.append(
        helper.make_node("DuplicateStreams_hls", [net.last], ["fork_0", "fork_1"], name="fork", domain=FINN, PE=4)
    )
    net.add("ChannelwiseOp", "fork_1", net.c([1, 2, 3, 4]), domain=FINN, Func="mul")
    net.add("AddStreams", "fork_0", net.last, domain=FINN, PE=2)
    net.add("StreamingConcat", net.last, "fork_0", domain=FINN)
    net.add("AddBorder", net.c(rng.integers(-5, 5, (2, 1, 8))), domain=FINN, rows=[0, 1, 1, 0], columns=[0] * 4, PE=2)
    depthwise = {"ConvKernelDim": [2, 2], "Stride": [1, 1], "SIMD": 4, "depthwise": 1}
    net.add("ConvolutionInputGenerator", domain=FINN, **depthwise)
    net.add("Pool_hls", domain=FINN, Function="AccPool", KernelSize=[2, 2], PE=4)
    net.add("Thresholding_rtl", net.c([[0, 10, 20]]), domain=FINN, PE=2, ActVal=1)
    net.add("GlobalAccPool", domain=FINN, PE=2)
    net.add("Flatten")
    net.add("MVAU", net.c(rng.choice([-1, 1], (8, 5))), domain=FINN, noActivation=1, PE=1, SIMD=8)
    net.add("LabelSelect", domain=FINN, K=2)
    graph = read(net.model(kind=TensorProto.INT64))
    kinds = [type(node.op).__name__ for node in graph.nodes]
    assert kinds == [
        *("ChannelsLast", "FMPadding", "SlidingWindow", "Mvau", "DuplicateStreams", "ChannelwiseMul", "AddStreams"),
        *("StreamingConcat", "AddBorder", "SlidingWindow", "Pool", "Thresholding", "GlobalAccPool", "Flatten"),
        *("Mvau", "LabelSelect"),
    ]
    assert graph.node("fork").name == "fork" and len(graph.readers("fork")) == 3
    assert reference.run(graph, images(net, 2))[graph.output].shape == (2, 2)


# -- refusals --------------------------------------------------------------------------------------


def _refused(kind: str) -> onnx.ModelProto:
    net = Net((4, 6, 6))
    match kind:
        case "groups":
            net.add("Conv", net.weight(4, 2, 3, 3), group=2)
        case "dilation":
            net.conv(4, 4, 3, 3, dilations=[2, 2])
        case "float_weights":
            net.add("Conv", net.c(net.rng.normal(0, 1, (4, 4, 3, 3))))
        case "scale_per_input":
            net.add("Conv", net.weight(4, 4, 3, 3, scale=np.array([0.1, 0.2, 0.3, 0.4]).reshape(1, 4, 1, 1)))
        case "sixteen_bits":
            net.quant(16)
        case "negative_scale":
            net.quant(4, -0.5)
        case "half_up_signed":
            net.quant(4, rounding_mode="HALF_UP")
        case "ceil_mode":
            net.add("MaxPool", kernel_shape=[2, 2], ceil_mode=1)
        case "uncounted_padding":
            net.add("AveragePool", kernel_shape=[2, 2], pads=[1, 1, 1, 1])
        case "broadcast_add":
            whole = net.last
            net.add("GlobalAveragePool")
            net.add("Add", whole, net.last)
        case "product_of_two":
            net.add("Relu")
            net.add("Mul", net.last, "x")
        case "softmax_inside":
            net.add("Flatten")
            net.dense(4, 144)
            net.add("Softmax", axis=1)
            net.dense(4, 4)
        case "quantize_alone":
            net.add("QuantizeLinear", net.c(0.5), net.c(0, np.int8))
            net.add("Relu")
        case "map_output":
            net.conv(4, 4, 3, 3)
        case "reflect":
            net.add("Pad", net.c([0, 0, 1, 1, 0, 0, 1, 1], np.int64), mode="reflect")
        case "reshape":
            net.add("Reshape", net.c([1, 8, 3, 6], np.int64))
        case "huge_tile":
            net.nodes.append(helper.make_node("Expand", [net.c(1.0), net.c([2**20, 2**20], np.int64)], ["c_big"]))
        case "sums_in_different_orders":
            net.add("Flatten")
            flat = net.last
            net.add("Transpose", "x", perm=[0, 2, 3, 1])
            net.add("Flatten")
            net.add("Add", flat, net.last)
    return net.model()


@pytest.mark.parametrize(
    "kind",
    [
        "groups",
        "dilation",
        "float_weights",
        "scale_per_input",
        "sixteen_bits",
        "negative_scale",
        "half_up_signed",
        "ceil_mode",
        "uncounted_padding",
        "broadcast_add",
        "product_of_two",
        "softmax_inside",
        "quantize_alone",
        "map_output",
        "reflect",
        "reshape",
        "huge_tile",
        "sums_in_different_orders",
    ],
)
def test_refusals(kind: str, golden: Callable[[str, str], None]) -> None:
    with pytest.raises(Problem) as caught:
        read(_refused(kind))
    golden(f"problems/read_{kind}", f"error: {caught.value}")


# -- damaged files ---------------------------------------------------------------------------------


def _sound() -> onnx.ModelProto:
    net = Net((2, 6, 6), "UINT8")
    net.quant(8, 1.0, signed=0)
    net.conv(4, 2, 3, 3, pads=[1, 1, 1, 1])
    _residual(net)
    net.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    net.add("Reshape", net.c([1, -1], np.int64))
    net.dense(3, 36)
    return net.model(shape=(1, 3))


def _only_problems(model: onnx.ModelProto) -> None:
    for work in (read, survey):
        with contextlib.suppress(Problem):
            work(model)


@settings(max_examples=150)
@given(st.data())
def test_damaged_bytes_are_refused_with_a_problem(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    sound = bytearray(_sound().SerializeToString())
    if data.draw(st.booleans()):
        sound = sound[: data.draw(st.integers(0, len(sound)))]
    for _ in range(data.draw(st.integers(1, 4))):
        if sound:
            sound[data.draw(st.integers(0, len(sound) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.onnx"
    path.write_bytes(bytes(sound))
    with contextlib.suppress(Problem):
        read(path)
    try:
        model = onnx.ModelProto.FromString(bytes(sound))
    except Exception:
        return
    _only_problems(model)


NUMBERS = st.sampled_from([-(2**63), -(2**31), -5, -1, 0, 1, 2, 3, 7, 2**20, 2**31, 2**40, 2**63 - 1])


@settings(max_examples=300)
@given(st.data())
def test_wrong_attributes_and_wiring_are_refused_with_a_problem(data: st.DataObject) -> None:
    model = _sound()
    for _ in range(data.draw(st.integers(1, 3))):
        node = model.graph.node[data.draw(st.integers(0, len(model.graph.node) - 1))]
        names = [item.name for item in model.graph.initializer] + [name for n in model.graph.node for name in n.output]
        match data.draw(st.integers(0, 8)):
            case 0 if node.attribute:
                attribute = node.attribute[data.draw(st.integers(0, len(node.attribute) - 1))]
                name = attribute.name
                value = data.draw(st.one_of(NUMBERS, st.lists(NUMBERS, min_size=1, max_size=5), st.just("wrong")))
                attribute.CopyFrom(helper.make_attribute(name, value))
            case 1:
                key = data.draw(st.sampled_from(["pads", "strides", "kernel_shape", "axis", "group", "dilations"]))
                del node.attribute[:]
                node.attribute.append(helper.make_attribute(key, data.draw(st.lists(NUMBERS, min_size=1, max_size=4))))
            case 2 if node.input:
                node.input[data.draw(st.integers(0, len(node.input) - 1))] = data.draw(st.sampled_from([*names, ""]))
            case 3:
                node.output[0] = data.draw(st.sampled_from(names))
            case 4:
                tensor = model.graph.initializer[data.draw(st.integers(0, len(model.graph.initializer) - 1))]
                tensor.dims[:] = data.draw(st.lists(NUMBERS, max_size=4))
            case 5:
                tensor = model.graph.initializer[data.draw(st.integers(0, len(model.graph.initializer) - 1))]
                value = data.draw(st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -1.0, 1e38, 1e-45]))
                array = np.array(numpy_helper.to_array(tensor))
                if array.size and array.dtype.kind == "f":
                    array.reshape(-1)[data.draw(st.integers(0, array.size - 1))] = value
                    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
            case 6:
                node.op_type = data.draw(st.sampled_from(sorted({*_kinds()})))
            case 7:
                tensor = model.graph.initializer[data.draw(st.integers(0, len(model.graph.initializer) - 1))]
                tensor.data_type = data.draw(st.integers(0, 25))
            case 8:
                dims = model.graph.input[0].type.tensor_type.shape.dim
                dims[data.draw(st.integers(0, 3))].dim_value = data.draw(NUMBERS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _only_problems(model)


def _kinds() -> list[str]:
    from bnnflow.transforms.folding import _FOLDS, _VIEWS
    from bnnflow.transforms.read import supported_operators

    return [*supported_operators(), *_FOLDS, *_VIEWS]


def test_constants_in_other_files_are_found_beside_the_network(tmp_path: Path) -> None:
    model = _sound()
    wanted = str(read(model))
    onnx.save(model, str(tmp_path / "net.onnx"), save_as_external_data=True, location="weights.bin", size_threshold=0)
    found = read(tmp_path / "net.onnx")
    assert str(found) == wanted
    (tmp_path / "weights.bin").unlink()
    with pytest.raises(Problem):
        read(tmp_path / "net.onnx")


def test_a_long_network_is_read_in_linear_time() -> None:
    import time

    def seconds(count: int) -> float:
        net = Net((8,))
        for _ in range(count):
            net.add("Mul", net.c(0.5))
            net.add("Add", net.c(1.0))
        model = net.model()
        start = time.process_time()
        read(model)
        return time.process_time() - start

    seconds(50)
    assert seconds(1600) < 10 * seconds(400) + 0.2


def test_files_load(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(_sound().SerializeToString())
    assert str(read(load(path)))


def test_the_survey_has_a_row_for_every_operator() -> None:
    model = _refused("softmax_inside")
    rows = survey(model)
    assert [row.operator for row in rows] == [node.op_type for node in model.graph.node]
    assert [row.problem is not None for row in rows] == [False] * 5 + [True]
    assert rows[0].becomes == "Flatten" and rows[1].becomes == "folded"

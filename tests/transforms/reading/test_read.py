"""Reading, held against qonnx and onnxruntime: what a graph computes is what the file computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from bnnflow import Problem
from bnnflow.sim import reference
from bnnflow.transforms.ir import ops
from bnnflow.transforms.reading.read import read
from bnnflow.transforms.writing.standard import to_standard
from tests.transforms.onnx_files import FINN, QONNX, Net, by_onnxruntime, images, residual, same

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


FOUR_BITS = {"int4": TensorProto.INT4, "uint4": TensorProto.UINT4}


@pytest.mark.parametrize("stated", [False, True], ids=["by a zero point", "by output_dtype"])
@pytest.mark.parametrize("kind", FOUR_BITS)
def test_integers_of_four_bits_end_where_they_do(kind: str, stated: bool) -> None:
    """Of values and of weights, whose greatest do not fit them."""
    net = Net((48,), opset=21)
    how = {"output_dtype": FOUR_BITS[kind]} if stated else {}
    parameters = [net.c(0.5)]
    if not stated:
        net.weights.append(helper.make_tensor("c_zero", FOUR_BITS[kind], [], [3]))
        parameters.append("c_zero")
    net.add("QuantizeLinear", *parameters, **how)
    values = net.add("DequantizeLinear", *parameters)
    codes = net.add("QuantizeLinear", net.last, *parameters, **how)
    net.nodes[-1].input[0] = net.c(net.rng.uniform(-12, 12, (48, 5)))
    weights = net.add("DequantizeLinear", codes, *parameters)
    net.add("MatMul", values, weights)
    same(net.model(), images(net) * 4, qonnx=False)


@pytest.mark.parametrize("axes", [None, [2, 3]])
@pytest.mark.parametrize("side", ["filters", "inputs"])
def test_scales_lose_the_axes_that_their_integers_lose(axes: list[int] | None, side: str) -> None:
    """Of a square matrix, which says nothing of itself."""
    net = Net((4,))
    net.quant(4, 0.25)
    values = net.last
    scale = np.array([0.25, 0.5, 1.0, 2.0]).reshape((4, 1, 1, 1))
    weight = net.weight(4, 4, 1, 1, scale=scale)
    opset = [] if axes is None else [net.c(axes, np.int64)]
    net.nodes.append(helper.make_node("Squeeze", [weight, *opset], ["flat"]))
    if side == "filters":
        net.add("Gemm", values, "flat", transB=1)
    else:
        net.add("MatMul", values, "flat")
    if side == "filters":
        same(net.model(), images(net))
        return
    with pytest.raises(Problem, match="a scale an input channel"):
        read(net.model())


@pytest.mark.parametrize(("kind", "value"), [("INT4", 8.0), ("UINT4", -1.0), ("INT8", 200.0), ("INT8", -1e30)])
def test_casts_of_constants_that_each_program_makes_otherwise_are_refused(kind: str, value: float) -> None:
    net = Net((4,), opset=21)
    net.nodes.append(helper.make_node("Cast", [net.c([[value, 1.0]] * 4)], ["w"], to=getattr(TensorProto, kind)))
    net.add("MatMul", "x", net.add("DequantizeLinear", "x", net.c(0.5)))
    net.nodes[1].input[0] = "w"
    with pytest.raises(Problem, match="does not hold is cast"):
        read(net.model())


@pytest.mark.parametrize(("scale", "low", "high"), [(0.175, -3, 4), (0.1, -7, 3), (1 / 3, -5, 6)])
def test_limits_that_are_values_of_the_quantizer_before_but_for_rounding(scale: float, low: int, high: int) -> None:
    """Times a scale that is no power of two, limits of float32 lie beside the quantizer's own values."""
    net = Net((3, 4, 4))
    net.quant(8, scale)
    step = np.float32(scale)
    net.add("Clip", net.c(low * step), net.c(high * step))
    net.add("Flatten")
    net.add("Gemm", net.weight(5, 48), transB=1)
    model = net.model()
    same(model, images(net))
    read_ops = [node.op for node in read(model).nodes]
    (quantizer,) = (op for op in read_ops if isinstance(op, ops.Quantize))
    assert (quantizer.low, quantizer.high) == (low, high), "one step"
    assert not any(isinstance(op, ops.PiecewiseLinear) for op in read_ops)


def test_limits_behind_a_quantizer_that_others_read() -> None:
    net = Net((3, 4, 4))
    net.quant(8, 0.1)
    wide = net.last
    net.add("Clip", net.c(-7 * np.float32(0.1)), net.c(3 * np.float32(0.1)))
    net.add("Add", net.last, wide)
    net.add("Flatten")
    net.add("Gemm", net.weight(5, 48), transB=1)
    model = net.model()
    same(model, images(net))
    (clip,) = (node.op for node in read(model).nodes if isinstance(node.op, ops.PiecewiseLinear))
    assert (clip.knots / float(np.float32(0.1))).reshape(-1).tolist() == [-7, 3]


@pytest.mark.parametrize(
    ("low", "high"), [(-0.5, 0.3), (0.125, 2.0), (-9.0, np.inf), (-np.inf, -0.125), (-20.0, -16.0)]
)
def test_limits_that_are_no_values_of_the_quantizer_before_or_leave_few(low: float, high: float) -> None:
    net = Net((3, 4, 4))
    net.quant(8, 0.125)
    net.add("Clip", net.c(low), net.c(high))
    net.add("Flatten")
    net.add("Gemm", net.weight(5, 48), transB=1)
    same(net.model(), images(net))


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


@pytest.mark.parametrize("kind", ["binary", "pruned", "ternary", "levels", "filters", "zero_row", "column"])
def test_weights_that_were_folded_to_floats(kind: str) -> None:
    net = Net((16,))
    rng = np.random.default_rng(3)
    integers = rng.integers(-7, 8, (6, 16)) if kind != "ternary" else rng.integers(-1, 2, (6, 16))
    if kind == "binary":
        integers = rng.choice([-1, 1], (6, 16))
    if kind == "pruned":
        integers = rng.choice([-1, 1], (6, 16))
    if kind in ("zero_row", "pruned"):
        integers[2] = 0
    scale = (
        np.array([[0.1], [0.2], [0.37], [1.1], [1e-3], [3.0]]) if kind in ("filters", "binary", "pruned") else 0.0371
    )
    floats = (integers.astype(np.float32) * np.float32(scale)).astype(np.float32)
    if kind == "column":
        net.add("MatMul", net.c(floats.T))
    else:
        net.add("Gemm", net.c(floats), transB=1)
    model = net.model()
    same(model, images(net))
    layer = next(node.op for node in read(model).nodes if isinstance(node.op, ops.Dense))
    assert layer.weight.dtype == np.int8
    if kind in ("binary", "pruned"):
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


def test_products_on_a_map_of_one_place() -> None:
    """Channels last, whose graph is a vector."""
    net = Net((6,), "INT4")
    net.quant(4, 1.0)
    net.add("Reshape", net.c([1, 1, 1, 6], np.int64))
    net.add("MatMul", net.weight(6, 5))
    net.quant(4, 0.5)
    net.add("MatMul", net.weight(5, 3))
    net.add("Flatten")
    same(net.model(), images(net))


# -- pools and shapes ------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_maxima_of_windows_that_are_cut_off(data: st.DataObject) -> None:
    """ceil_mode, by torch and onnxruntime; what they do with windows that begin behind the map differs: refused."""
    torch = pytest.importorskip("torch")
    kernel, stride = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    pad, size = data.draw(st.integers(0, kernel // 2)), data.draw(st.integers(kernel, 8))
    net = Net((2, size, size))
    net.quant(4, 0.25)
    net.add("MaxPool", kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4, ceil_mode=1)
    x = images(net)
    values = torch.from_numpy(np.clip(np.round(x * 4), -8, 7) / 4)
    want = torch.nn.functional.max_pool2d(values, kernel, stride, pad, ceil_mode=True).numpy()
    net.add("Flatten")
    net.dense(3, int(np.prod(want.shape[1:])))
    windows = -(-(size + 2 * pad - kernel) // stride) + 1
    if want.shape[-1] < windows:
        with pytest.raises(Problem, match="windows behind the map"):
            read(net.model())
        return
    graph = read(net.model())
    pool = next(node.name for node in graph.nodes if isinstance(node.op, ops.MaxPool))
    assert np.array_equal(reference.run(graph, x)[pool], np.moveaxis(want, 1, -1))
    same(net.model(), x, qonnx=False)


@pytest.mark.parametrize("pads", [0, 1])
def test_averages_whose_windows_all_fit_in_ceil_mode(pads: int) -> None:
    net = Net((2, 6 + pads, 6 + pads))
    net.quant(4, 0.25)
    padding = {"pads": [pads, pads, 0, 0], "count_include_pad": 1}
    net.add("AveragePool", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, **padding)
    net.quant(4, 0.25)
    net.add("Flatten")
    net.dense(3, 2 * (3 + pads) ** 2)
    same(net.model(), images(net), qonnx=False)


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
        residual,
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


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC", "NC", ""])
def test_thresholds_are_what_qonnx_and_their_standard_form_count(layout: str, rows: int) -> None:
    """As many levels as channels, so that axes cannot be mistaken for each other and still fit."""
    net, settings = Net((3, 3, 3)), {"data_layout": layout} if layout else {}
    if layout == "NHWC":
        net.add("Transpose", perm=[0, 2, 3, 1])
    if layout == "NC":
        net.add("Flatten")
        net.add("MatMul", net.weight(27, 3))
    bounds = np.sort(np.random.default_rng(rows).normal(size=(rows, 3)), axis=1)
    net.add("MultiThreshold", net.c(bounds), domain=QONNX, out_dtype="INT4", out_scale=0.5, out_bias=-1.5, **settings)
    if layout == "NHWC":
        net.add("Transpose", perm=[0, 3, 1, 2])
    if layout != "NC":
        net.add("Flatten")
    net.dense(4, 3 if layout == "NC" else 27)
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

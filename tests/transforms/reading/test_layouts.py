"""Channels-last graphs, as tf2onnx, QKeras and Larq write them, and mended signs; judged by onnxruntime."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from bnnflow import Problem
from bnnflow.sim import reference
from bnnflow.sim.verify import images_with_float_ties
from bnnflow.transforms.ir.ops import ChannelsLast, Sign, Threshold
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.reading.read import read
from tests.transforms.onnx_files import by_onnxruntime

TO_FIRST, TO_LAST = (0, 3, 1, 2), (0, 2, 3, 1)
Draw = Callable[[st.SearchStrategy[Any]], Any]


class Written:
    """A file that grows by nodes of one output; every method returns the tensor it makes."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def c(self, value: object, kind: type = np.float32) -> str:
        self.constants.append(numpy_helper.from_array(np.asarray(value, kind), f"c{len(self.constants)}"))
        return self.constants[-1].name

    def add(self, kind: str, *inputs: str, **settings: Any) -> str:
        out = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], name=f"n{out}", **settings))
        return out

    def signs(self, *shape: int) -> str:
        return self.c(self.rng.choice([-1.0, 1.0], shape))

    def model(self, shape: tuple[object, ...], output: str, annotate: bool = True) -> onnx.ModelProto:
        value = helper.make_tensor_value_info
        graph = helper.make_graph(
            self.nodes,
            "written",
            [value("x", TensorProto.FLOAT, shape)],
            [value(output, TensorProto.FLOAT, None)],
            self.constants,
        )
        if annotate:
            entry = onnx.StringStringEntryProto(key="finn_datatype", value="UINT8")
            graph.quantization_annotation.append(
                onnx.TensorAnnotation(tensor_name="x", quant_parameter_tensor_names=[entry])
            )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)


def sign_of(net: Written, x: str, how: str) -> str:
    """A sign of -1 and +1, as people mend that of 0."""
    zero, one, minus = net.c(0.0), net.c(1.0), net.c(-1.0)
    match how:
        case "add":
            return net.add("Sign", net.add("Add", net.add("Sign", x), net.c(float(net.rng.uniform(0.01, 0.99)))))
        case "subtract":
            return net.add("Sign", net.add("Sub", net.add("Sign", x), net.c(0.5)))
        case "where >=":
            return net.add("Where", net.add("GreaterOrEqual", x, zero), one, minus)
        case "where >":
            return net.add("Where", net.add("Greater", x, zero), one, minus)
        case "where <":
            return net.add("Where", net.add("Less", x, zero), minus, one)
        case "0 < x":
            return net.add("Where", net.add("Less", zero, x), one, minus)
        case "not":
            return net.add("Where", net.add("Not", net.add("Less", x, zero)), one, minus)
        case "cast":
            bits = net.add("Cast", net.add("GreaterOrEqual", x, zero), to=TensorProto.FLOAT)
            return net.add("Sub", net.add("Mul", bits, net.c(2.0)), one)
        case "equal":
            made = net.add("Sign", x)
            return net.add("Where", net.add("Equal", made, zero), one, made)
        case "equal cast":
            made = net.add("Sign", x)
            return net.add("Add", made, net.add("Cast", net.add("Equal", x, zero), to=TensorProto.FLOAT))
        case "abs":
            made = net.add("Sign", x)
            return net.add("Add", made, net.add("Sub", one, net.add("Abs", made)))
        case "threshold":
            return net.add("Where", net.add("Greater", x, net.c(2.0)), one, minus)
        case "tiny":
            return net.add("Sign", net.add("Add", x, net.c(1e-3)))
    raise AssertionError(how)


HOWS = (
    "add",
    "subtract",
    "where >=",
    "where >",
    "where <",
    "0 < x",
    "not",
    "cast",
    "equal",
    "equal cast",
    "abs",
    "threshold",
    "tiny",
)


@pytest.mark.parametrize("how", HOWS)
def test_mended_signs_are_one_sign(how: str) -> None:
    """Sums that are 0, too: exactly as onnxruntime, and one threshold of -1 and +1 in hardware."""
    net = Written(len(how))
    x = net.add("MatMul", net.add("Sub", "x", net.c(128.0)), net.signs(6, 5))
    x = net.add("MatMul", sign_of(net, x, how), net.signs(5, 3))
    model = net.model((None, 6), x)
    images = 128 + net.rng.integers(-2, 3, (200, 6))
    made = stages(read(model))
    (sign,) = (node.op for node in made[0].graph.nodes if isinstance(node.op, Sign))
    assert bool(sign.zero) == (how != "tiny")
    assert [node.op.out_scale for node in made[1].graph.nodes if isinstance(node.op, Threshold)] == [2]
    want = by_onnxruntime(model, images.astype(np.float32))
    for stage in made:
        np.testing.assert_array_equal(reference.run(stage.graph, images)[stage.graph.output], want, stage.level)


@pytest.mark.parametrize("how", ["add", "where >=", "tiny"])
@pytest.mark.parametrize("between", ["Conv", "Concat"])
def test_a_sign_of_what_is_computed_of_signs_is_another(between: str, how: str) -> None:
    """A layer's results depend on more than the sign of one value, though a map of one place is a vector."""
    net = Written(7)
    first = net.add("MatMul", net.add("Sub", "x", net.c(128.0)), net.signs(6, 5))
    first = net.add("Reshape", first, net.c([-1, 5, 1, 1], np.int64))
    made = sign_of(net, first, "where >=")
    if between == "Conv":
        made = net.add("Conv", made, net.c(net.rng.choice([-1.0, 1.0], (5, 5, 1, 1))), kernel_shape=[1, 1])
    else:
        made = net.add("Concat", made, sign_of(net, net.add("Sub", first, net.c(3.0)), "where >="), axis=1)
    made = net.add("Flatten", sign_of(net, net.add("Add", made, net.c(0.5)), how))
    last = net.add("MatMul", made, net.signs(5 if between == "Conv" else 10, 3))
    model = net.model((None, 6), last)
    images = 128 + net.rng.integers(-4, 5, (200, 6))
    want = by_onnxruntime(model, images.astype(np.float32))
    for stage in stages(read(model)):
        np.testing.assert_array_equal(reference.run(stage.graph, images)[stage.graph.output], want, stage.level)


def test_a_sign_of_two_functions_of_one_tensor() -> None:
    """Any function of a sign compiles, uneven ones as the sum of two."""
    net = Written(3)
    x = net.add("MatMul", net.add("Sub", "x", net.c(128.0)), net.signs(6, 5))
    up = net.add("Where", net.add("Greater", x, net.c(0.0)), net.c(4.0), net.c(-1.0))
    level = net.add("Where", net.add("Equal", x, net.c(0.0)), net.c(0.5), up)
    x = net.add("MatMul", level, net.signs(5, 3))
    model = net.model((None, 6), x)
    images = 128 + net.rng.integers(-2, 3, (200, 6))
    want = by_onnxruntime(model, images.astype(np.float32))
    for stage in stages(read(model)):
        np.testing.assert_array_equal(reference.run(stage.graph, images)[stage.graph.output], want, stage.level)


class Last(Written):
    """A network whose tensors are (batch, height, width, channels) between its operators."""

    def __init__(self, draw: Draw, seed: int) -> None:
        super().__init__(seed)
        self.draw = draw

    def pick(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def turn(self, x: str, to: tuple[int, ...]) -> str:
        """A transposition in one step, or in two by way of any other layout, at times with a step on the way."""
        if self.pick(True, True, False):
            return self.add("Transpose", x, perm=list(to))
        middle = self.pick((0, 2, 1, 3), (0, 1, 3, 2), (0, 3, 2, 1), (0, 3, 1, 2), (0, 2, 3, 1))
        x = self.add("Transpose", x, perm=list(middle))
        if self.pick(False, True):
            x = self.add("Mul", x, self.c(0.5))
        return self.add("Transpose", x, perm=[middle.index(axis) for axis in to])

    def scale(self, x: str, channels: int) -> str:
        """A batch norm between transpositions, or products and sums over the last axis."""
        gain, shift = self.rng.choice([-2.0, 0.5, 1.0], channels), self.rng.integers(-3, 4, channels) + 0.25
        if self.pick(True, False):
            x = self.add("Mul", x, self.c(self.pick(gain, gain.reshape(1, 1, 1, -1))))
            return self.add("Add", x, self.c(shift))
        x = self.turn(x, TO_FIRST)
        names = [self.c(v) for v in (gain, shift, np.zeros(channels), np.full(channels, 4.0))]
        return self.turn(self.add("BatchNormalization", x, *names, epsilon=0.0), TO_LAST)

    def conv(self, x: str, channels: int, filters: int, same: bool) -> str:
        kernel, stride = self.pick(1, 2, 3), 1 if same else self.pick(1, 2)
        settings = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2}
        settings["auto_pad"] = self.pick("SAME_UPPER", "SAME_LOWER", *(() if same else ("VALID",)))
        x = self.add("Conv", self.turn(x, TO_FIRST), self.signs(filters, channels, kernel, kernel), **settings)
        return self.turn(x, TO_LAST)

    def block(self, x: str, channels: int) -> tuple[str, int]:
        filters = self.pick(4, 3, 5)
        kind = self.pick("conv", "conv", "pixel", "add", "concat", "pool", "pad")
        how = self.pick("add", *HOWS)
        if kind == "pixel":
            x = self.add("MatMul", x, self.signs(channels, filters))
        elif kind in ("add", "concat"):
            parts = [sign_of(self, self.scale(self.conv(x, channels, filters, True), filters), how) for _ in range(2)]
            if kind == "add":
                return self.add("Add", *parts), filters
            return self.add("Concat", *parts, axis=self.pick(3, -1)), 2 * filters
        elif kind == "pool":
            x = self.conv(x, channels, filters, True)
            x = self.turn(x, TO_FIRST)
            settings = {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": self.pick("VALID", "SAME_UPPER")}
            x = self.turn(self.add("MaxPool", x, **settings), TO_LAST)
        elif kind == "pad":
            x = self.add("Pad", x, self.c([0, 1, 0, 0, 0, 0, 1, 0], np.int64), self.c(0.0))
            x = self.conv(x, channels, filters, False)
        else:
            x = self.conv(x, channels, filters, False)
        return sign_of(self, self.scale(x, filters), how), filters


@st.composite
def channels_last(draw: Draw) -> tuple[onnx.ModelProto, tuple[int, int, int]]:
    """A file and the shape of its input."""
    net = Last(draw, draw(st.integers(0, 2**16)))
    channels = net.pick(3, 1, 2)
    shape = (net.pick(8, 7), net.pick(8, 9), channels)
    x, start = net.add("Sub", "x", net.c(128.0)), net.pick("conv", "scale")
    if start == "scale":
        x = sign_of(net, net.turn(net.turn(x, TO_FIRST), TO_LAST), "add")
    for _ in range(net.pick(1, 2, 2)):
        x, channels = net.block(x, channels)
    inferred = onnx.shape_inference.infer_shapes(net.model((1, *shape), x))
    sizes = [d.dim_value for d in inferred.graph.output[0].type.tensor_type.shape.dim][1:]
    assert sizes[-1] == channels
    count = int(np.prod(sizes))
    end = net.pick("reshape", "flatten", "mean", "global", "max")
    if end == "reshape":
        x = net.add("Reshape", x, net.c([-1, count], np.int64))
    elif end == "flatten":
        x = net.add("Flatten", x, axis=1)
    elif end == "mean":
        x, count = net.add("ReduceMean", x, axes=net.pick([1, 2], [-3, -2]), keepdims=0), channels
    elif end == "max":
        x, count = net.add("ReduceMax", x, axes=[1, 2], keepdims=0), channels
    else:
        x = net.add("GlobalAveragePool", net.turn(x, TO_FIRST))
        x, count = net.add("Reshape", x, net.c([-1, channels], np.int64)), channels
    x = net.add("MatMul", x, net.signs(count, 4))
    return net.model((net.pick(None, "N", 1), *shape), x), shape


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(channels_last())
def test_channels_last_networks(drawn: tuple[onnx.ModelProto, tuple[int, int, int]]) -> None:
    model, shape = drawn
    made = stages(read(model))
    assert made[0].graph.input_type.shape == shape, "the input stays as the file has it"
    assert not any(isinstance(node.op, ChannelsLast) for node in made[0].graph.nodes)
    images = np.random.default_rng(5).integers(0, 256, (8, *shape))
    images[0] = 128
    sure = ~images_with_float_ties(made[0].graph, [each for stage in made for each in stage.float_ties], images)
    want = by_onnxruntime(model, images.astype(np.float32), singly=True)
    for stage in made:
        got = reference.run(stage.graph, images)[stage.graph.output]
        np.testing.assert_allclose(got[sure], want[sure], rtol=1e-5, atol=1e-5, err_msg=stage.level)


def test_a_layout_that_nothing_completes_is_refused() -> None:
    net = Written(0)
    x = net.add("Transpose", "x", perm=[0, 3, 2, 1])
    x = net.add("Conv", x, net.signs(4, 3, 3, 3))
    model = net.model((1, 6, 6, 3), net.add("MatMul", net.add("Flatten", x), net.signs(64, 2)))
    with pytest.raises(Problem, match="between height and width, or these swapped"):
        read(model)

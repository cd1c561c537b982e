"""What cannot be read is refused with a Problem, however damaged a file is."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from bnnflow import Problem
from bnnflow.transforms.reading.constant_folding import FOLDED
from bnnflow.transforms.reading.read import load, read, supported_operators, survey_operators
from tests.transforms.onnx_files import Net, residual

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
            net.add("AveragePool", kernel_shape=[2, 2], strides=[3, 3], ceil_mode=1)
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
        case "flattened_output":
            net.conv(4, 4, 3, 3)
            net.add("Flatten")
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
        "flattened_output",
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
    residual(net)
    net.add("MaxPool", kernel_shape=[2, 2], strides=[2, 2])
    net.add("Reshape", net.c([1, -1], np.int64))
    net.dense(3, 36)
    return net.model(shape=(1, 3))


def _only_problems(model: onnx.ModelProto) -> None:
    for work in (read, survey_operators):
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
    return [*supported_operators(), *FOLDED]


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
    rows = survey_operators(model)
    assert [row.operator for row in rows] == [node.op_type for node in model.graph.node]
    assert [row.problem is not None for row in rows] == [False] * 5 + [True]
    assert rows[0].becomes == "Flatten" and rows[1].becomes == "folded"

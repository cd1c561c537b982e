"""NaN and infinity anywhere in a network are refused with their place; limits without an end are not."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from bnnflow import Problem
from bnnflow.transforms.ir.contract_text import parse_contract
from bnnflow.transforms.passes.accept import with_contract
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.reading.read import read
from tests.drawn_networks import Drawn, networks
from tests.transforms.onnx_files import QONNX, Net

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example, HealthCheck.filter_too_much]
LIMITS = (("MultiThreshold", 1), ("Clip", 1), ("Clip", 2))


@settings(max_examples=40, deadline=None, suppress_health_check=SLOW)
@given(networks(), st.integers(0, 2**16), st.sampled_from([np.nan, np.inf, -np.inf]))
def test_a_number_that_is_none_in_any_constant(net: Drawn, seed: int, value: float) -> None:
    model = onnx.ModelProto.FromString(net.model.SerializeToString())
    rng = np.random.default_rng(seed)
    floats = [item for item in model.graph.initializer if item.data_type == onnx.TensorProto.FLOAT]
    item = floats[rng.integers(len(floats))]
    array = numpy_helper.to_array(item).copy()
    array.reshape(-1)[rng.integers(array.size)] = value
    item.CopyFrom(numpy_helper.from_array(array, item.name))
    places = {(n.op_type, i) for n in model.graph.node for i, name in enumerate(n.input) if name == item.name}
    assume(places)
    if np.isinf(value) and places <= set(LIMITS):
        return
    reader = next(node.name for node in model.graph.node if item.name in node.input)
    with pytest.raises(Problem) as caught:
        read(model)
    assert reader in caught.value.where
    assert repr(item.name) in caught.value.where
    assert ("NaN" if np.isnan(value) else "infinity") in caught.value.what


@pytest.mark.parametrize(
    ("kind", "key"),
    [("BatchNormalization", "epsilon"), ("Gemm", "alpha"), ("Gemm", "beta"), ("MultiThreshold", "out_bias")],
)
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_an_attribute_that_is_no_number(kind: str, key: str, value: float) -> None:
    net = Net((6,))
    match kind:
        case "BatchNormalization":
            net.add(kind, *(net.c(np.ones(6)) for _ in range(4)), epsilon=value)
        case "Gemm":
            net.add(kind, net.weight(3, 6), net.c(np.zeros(3)), transB=1, **{key: value})
        case "MultiThreshold":
            net.add(kind, net.c(np.zeros((1, 1))), domain=QONNX, out_dtype="BIPOLAR", **{"out_scale": 2.0, key: value})
    with pytest.raises(Problem, match=r"NaN|infinity") as caught:
        read(net.model())
    assert f"attribute {key}" in caught.value.where


@pytest.mark.parametrize("form", ["div", "log", "constant", "bipolar", "overflow"])
def test_what_is_computed_in_advance(form: str) -> None:
    net = Net((4,))
    match form:
        case "div":
            net.nodes.append(
                helper.make_node("Div", [net.c([1.0, 2, 3, 4]), net.c([1.0, 0, 1, 1])], ["w"], name="quotient")
            )
            net.add("Mul", "x", "w")
        case "log":
            net.nodes.append(helper.make_node("Log", [net.c([-1.0])], ["w"], name="logarithm"))
            net.add("Add", "x", "w")
        case "constant":
            net.nodes.append(helper.make_node("Constant", [], ["w"], name="stated", value_float=float("nan")))
            net.add("Add", "x", "w")
        case "bipolar":
            weight = net.c(np.full((4, 4), np.nan))
            net.nodes.append(
                helper.make_node("BipolarQuant", [weight, net.c(1.0)], ["w"], domain=QONNX, name="weights")
            )
            net.add("MatMul", "x", "w")
        case "overflow":
            net.nodes.append(helper.make_node("Mul", [net.c(3e38), net.c(3e38)], ["w"], name="product"))
            net.add("Mul", "x", "w")
    with pytest.raises(Problem, match=r"NaN|infinity"):
        read(net.model())


def test_limits_without_an_end_and_thresholds_never_reached() -> None:
    net = Net((4,), "UINT8")
    net.add("Clip", net.c(0.0), net.c(np.inf))
    bounds = net.c([[-np.inf, 3.0, np.inf]] * 4)
    net.add("MultiThreshold", bounds, domain=QONNX, out_dtype="INT4", out_scale=1.0, out_bias=-1.0)
    net.add("MatMul", net.c(np.ones((4, 2))))
    # Two of its levels alone occur.
    assert stages(with_contract(read(net.model()), parse_contract("uint8, partial")))[-1].level == "dataflow"

"""Quantized biases are integers: what Brevitas exports equals exact integer arithmetic, ties included."""

from __future__ import annotations

import warnings
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnflow.sim import reference
from bnnflow.transforms.ir.contract_text import parse_contract
from bnnflow.transforms.ir.graph import Graph
from bnnflow.transforms.ir.ops import Bias
from bnnflow.transforms.ir.text import parse_graph
from bnnflow.transforms.passes.accept import with_contract
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.reading.read import read
from bnnflow.transforms.writing.write import write
from tests.transforms.onnx_files import Net, by_qonnx


def annotated(model: onnx.ModelProto) -> onnx.ModelProto:
    entry = onnx.StringStringEntryProto(key="finn_datatype", value="UINT8")
    note = onnx.TensorAnnotation(tensor_name=model.graph.input[0].name, quant_parameter_tensor_names=[entry])
    model.graph.quantization_annotation.append(note)
    return model


def _network(kind: str, act: str) -> Any:
    torch = pytest.importorskip("torch")
    import brevitas.nn as qnn
    from brevitas.quant import Int8ActPerTensorFloat, Int8Bias, Int32Bias, SignedBinaryActPerTensorConst
    from torch import nn

    bias = {"Int8Bias": Int8Bias, "Int32Bias": Int32Bias}[kind]

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.image = qnn.QuantIdentity(act_quant=Int8ActPerTensorFloat, return_quant_tensor=True)
            self.first = qnn.QuantConv2d(1, 6, 3, bias=True, bias_quant=bias, weight_bit_width=4)
            sign = {"act_quant": SignedBinaryActPerTensorConst, "scaling_init": 1.0, "scaling_impl_type": "const"}
            self.act = qnn.QuantIdentity(**sign) if act == "sign" else qnn.QuantReLU(bit_width=3)
            self.hidden = qnn.QuantIdentity(act_quant=Int8ActPerTensorFloat, bit_width=4, return_quant_tensor=True)
            self.last = qnn.QuantLinear(24, 3, bias=True, bias_quant=bias, weight_bit_width=4)

        def forward(self, x: Any) -> Any:
            x = self.act(self.first(self.image(x)))
            x = self.last(self.hidden(torch.flatten(getattr(x, "value", x), 1)))
            return getattr(x, "value", x)

    torch.manual_seed(0)
    made = Net()
    with torch.no_grad():
        for _ in range(10):
            made(torch.randint(0, 256, (16, 1, 4, 4)).float())
        made.eval()
        # Biases of whole sums, so that sums and biases cancel.
        for layer in (made.first, made.last):
            layer.bias.mul_(3)
    return made


def whole(value: Any) -> np.ndarray:
    return np.asarray(value.int().detach(), np.int64)


@pytest.mark.parametrize("act", ["sign", "relu"])
@pytest.mark.parametrize("kind", ["Int8Bias", "Int32Bias"])
def test_biases_of_brevitas(tmp_path: Path, kind: str, act: str) -> None:
    torch = pytest.importorskip("torch")
    from brevitas.export import export_qonnx

    network, path = _network(kind, act), tmp_path / "net.onnx"
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        export_qonnx(network, torch.zeros(1, 1, 4, 4), str(path), dynamo=False, opset_version=13)
        # What the integers of the bias are, by Brevitas itself.
        image, weight = network.image(torch.zeros(1, 1, 4, 4)), network.first.quant_weight()
        bias = whole(network.first.bias_quant(network.first.bias, image.scale * weight.scale))
    model = annotated(onnx.load(str(path)))
    # Pixels reach the upper half of a signed quantizer.
    graph = with_contract(read(model), parse_contract("uint8, partial"))
    found = next(node.op for node in graph.nodes if isinstance(node.op, Bias))
    np.testing.assert_array_equal(found.integers, bias)
    made = stages(graph)
    assert parse_graph(str(graph)) == graph
    images = np.random.default_rng(0).integers(0, 256, (40, 1, 4, 4))
    want = by_rationals(made[0].graph, images)
    for stage in made:
        got = reference.run(stage.graph, images)[stage.graph.output]
        # The network level takes the stored scale, as float programs do, off by one rounding of the product.
        near = 1e-6 if stage.level == "network" else 1e-9
        np.testing.assert_allclose(got, want, rtol=near, atol=near, err_msg=stage.level)
    theirs = by_qonnx(model, images.astype(np.float32))
    assert np.mean(np.isclose(theirs.reshape(want.shape), want, rtol=1e-4, atol=1e-4)) > 0.9


def by_rationals(graph: Graph, images: np.ndarray) -> np.ndarray:
    """The network level in rational numbers, a bias a whole multiple of its scale."""
    tensors: dict[str, np.ndarray] = {graph.input: np.vectorize(Fraction, otypes=[object])(images)}
    exact = np.vectorize(lambda value: Fraction(float(value)), otypes=[object])
    steps: dict[str, Fraction] = {}
    for node in graph.nodes:
        x, op = tensors[node.input], node.op
        step = steps.get(node.input, Fraction(1))
        match type(op).__name__:
            case "ChannelsLast":
                made = np.moveaxis(x, 1, -1)
            case "Flatten":
                made = x.reshape(len(x), -1)
            case "Affine":
                made = x * exact(op.scale) / exact(op.divisor) + exact(op.shift)
                if op.scale.size == 1:
                    step *= Fraction(float(op.scale[0])) / Fraction(float(op.divisor[0]))
            case "Bias":
                same = np.all(np.float32(float(step)) == op.scale.astype(np.float32))
                made = x + op.integers.astype(object) * (step if same else exact(op.scale))
            case "Quantize":
                rounded = np.vectorize(round, otypes=[object])(x / exact(op.scale))
                made, step = np.clip(rounded, op.low, op.high) * exact(op.scale), Fraction(float(op.scale[0]))
            case "Sign":
                made, step = np.where(x >= 0, Fraction(1), Fraction(-1)), Fraction(1)
            case "PiecewiseLinear":
                made = np.maximum(x, 0)
            case "Conv":
                made = np.einsum(
                    "nyxijc,oijc->nyxo", reference.windows(x, op.weight.shape[1:3], op.stride), op.weight.astype(object)
                )
            case "Dense":
                made = x @ op.weight.T.astype(object)
            case other:
                raise AssertionError(other)
        tensors[node.name], steps[node.name] = made, step
    return tensors[graph.output].astype(np.float64)


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from([0.1, 0.3, 1 / 255, 0.5]),
    st.sampled_from([0.1, 0.07, 0.25]),
    st.integers(0, 999),
    st.sampled_from(["Quant", "DequantizeLinear", "Add", "Sub", "Gemm"]),
    st.booleans(),
)
def test_ties_of_sums_and_quantized_biases(step: float, scale: float, seed: int, form: str, a_filter: bool) -> None:
    """sign(sums + bias) is +1 at 0, whatever the scales: exactly the integers, through files too."""
    net, rng = Net((6,), "UINT8", seed=seed), np.random.default_rng(seed)
    net.quant(8, step, signed=0)
    weight, count = rng.integers(-3, 4, (4, 6)), 4
    steps = (
        (np.float32(scale) * rng.choice([1, 2, 3], (count, 1))).astype(np.float32) if a_filter else np.float32(scale)
    )
    names = [net.c(weight * steps.astype(np.float64)), net.c(steps), net.c(0.0), net.c(4.0)]
    net.add("Quant", *names, domain="qonnx.custom_op.general", signed=1, narrow=0, rounding_mode="ROUND")
    levels, source = net.last, net.nodes[0].output[0]
    net.nodes[-1].input[0:1] = []
    net.nodes[-1].input[:] = names
    x = rng.integers(0, 256, (60, 6))
    inputs = np.clip(np.round(x / np.float32(step)), 0, 255).astype(np.int64)
    sums = inputs @ weight.T
    # The bias is minus one of the sums, so that some are 0.
    bias = -sums[rng.integers(0, 60, count), np.arange(count)]
    products = (np.float32(step) * np.broadcast_to(steps.reshape(-1), count)).astype(np.float32)
    bias_scale = products if a_filter else products[0]
    if form in ("Quant", "Gemm", "Sub"):
        names = [net.c(bias * products.astype(np.float64)), net.c(bias_scale), net.c(0.0), net.c(24.0)]
        net.add("Quant", *names, domain="qonnx.custom_op.general", signed=1, narrow=0, rounding_mode="ROUND")
        net.nodes[-1].input[:] = names
    else:
        names = [net.c(bias, np.int32), net.c(bias_scale)]
        net.add("DequantizeLinear", *names, axis=0)
        net.nodes[-1].input[:] = names
    constant = net.last
    if form == "Gemm":
        net.add("Gemm", source, levels, constant, transB=1)
    else:
        net.add("Gemm", source, levels, transB=1)
        net.add("Sub" if form == "Sub" else "Add", net.last, constant)
    net.add("BipolarQuant", net.c(1.0), domain="qonnx.custom_op.general")
    last = rng.choice([-1, 1], (4, 3))
    net.add("MatMul", net.c(last))
    want = np.where(sums + (-bias if form == "Sub" else bias) >= 0, 1, -1) @ last
    model = net.model()
    for stage in stages(with_contract(read(model), parse_contract("uint8, partial")))[1:]:
        np.testing.assert_array_equal(reference.run(stage.graph, x)[stage.graph.output], want, stage.level)
    again = read(onnx.ModelProto.FromString(write(read(model)).SerializeToString()))
    for stage in stages(with_contract(again, parse_contract("uint8, partial")))[1:]:
        np.testing.assert_array_equal(reference.run(stage.graph, x)[stage.graph.output], want, stage.level)

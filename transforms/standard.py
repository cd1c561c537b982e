"""QONNX in standard operators, for programs that know nothing of quantizers (onnxruntime, OpenVINO)."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper, numpy_helper

from bnnflow import Problem

from . import constants

_QUANTIZERS = ("BipolarQuant", "Quant", "IntQuant")


def to_standard(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same float network with quantizers spelled out and quantized weights folded; any batch.

    Raises:
        Problem: an operator outside ONNX is left that has no standard form here.
    """
    known = dict(constants.initializers(model))
    opset = next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 9)
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        inputs = [known.get(name) for name in node.input if name]
        value = (
            constants.fold(node, [x for x in inputs if x is not None]) if all(x is not None for x in inputs) else None
        )
        if value is not None:
            known[node.output[0]] = value
        elif node.op_type in _QUANTIZERS:
            nodes += _spell_out(node, known, opset)
        elif node.domain not in ("", "ai.onnx"):
            raise Problem(f"operator {node.op_type} has no standard form", f"{node.op_type} {node.name!r}")
        else:
            nodes.append(_any_batch(node, known))
    used = {name for node in nodes for name in node.input} | {item.name for item in model.graph.output}
    weights = [numpy_helper.from_array(np.array(v), k) for k, v in known.items() if k in used]
    inputs = [item for item in model.graph.input if item.name not in constants.initializers(model)]
    body = helper.make_graph(nodes, model.graph.name, [_dynamic(i) for i in inputs], list(model.graph.output), weights)
    for item in body.output:
        item.CopyFrom(_dynamic(item))
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def _dynamic(item: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    copy = onnx.ValueInfoProto()
    copy.CopyFrom(item)
    if copy.type.tensor_type.shape.dim:
        copy.type.tensor_type.shape.dim[0].dim_param = "batch"
    return copy


def _any_batch(node: onnx.NodeProto, known: dict[str, np.ndarray]) -> onnx.NodeProto:
    """A reshape that states batch 1 keeps whatever batch there is."""
    if node.op_type == "Reshape" and node.input[1] in known and known[node.input[1]].reshape(-1)[0] == 1:
        shape = f"{node.output[0]}_shape_any_batch"
        known[shape] = np.concatenate([np.array([0]), known[node.input[1]].reshape(-1)[1:]]).astype(np.int64)
        return helper.make_node("Reshape", [node.input[0], shape], list(node.output), name=node.name)
    return node


def _spell_out(node: onnx.NodeProto, known: dict[str, np.ndarray], opset: int) -> list[onnx.NodeProto]:
    name = out = node.output[0]
    x = node.input[0]

    def constant(key: str, value: object) -> str:
        known[f"{name}_{key}"] = np.asarray(value, np.float32)
        return f"{name}_{key}"

    scale = known[node.input[1]]
    if node.op_type == "BipolarQuant":
        return [
            helper.make_node("Less", [x, constant("zero", 0)], [f"{name}_negative"]),
            helper.make_node("Where", [f"{name}_negative", constant("minus", -scale), constant("plus", scale)], [out]),
        ]
    if opset < 11:
        raise Problem(
            f"opset {opset} cannot round as Quant does", f"{node.op_type} {node.name!r}", "use opset 11 or more"
        )
    settings = constants.attributes(node)
    bits, signed, narrow = (
        int(known[node.input[3]].reshape(-1)[0]),
        bool(settings.get("signed", 1)),
        int(settings.get("narrow", 0)),
    )
    low, high = (-(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1 - narrow)
    step = constant("step", scale)
    return [
        helper.make_node("Div", [x, step], [f"{name}_levels"]),
        helper.make_node("Round", [f"{name}_levels"], [f"{name}_rounded"]),
        helper.make_node("Clip", [f"{name}_rounded", constant("low", low), constant("high", high)], [f"{name}_cut"]),
        helper.make_node("Mul", [f"{name}_cut", step], [out]),
    ]

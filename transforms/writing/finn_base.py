"""The same ONNX file for finn-base, the library from which FINN and qonnx grew.

finn-base 0.0.3 finds the code of an operator by importing the module that the node's domain names, wants the shape of
every constant stated, has no layout for vectors, and the last onnx that it works with reads IR version 10. Apart from
that it reads what `write` makes of every level up to xnor.
"""

from __future__ import annotations

import onnx
from onnx import helper

from bnnflow import Problem

QONNX = "qonnx.custom_op.general"
FINN_BASE = "finn.custom_op.general"
HIGHEST_IR_VERSION, HIGHEST_OPSET = 10, 13


def for_finn_base(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of a model as finn-base wants it; its values are the same.

    Raises:
        Problem: the model needs operators of a later opset than 13, or units of the dataflow level.
    """
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for node in copy.graph.node:
        if node.domain not in ("", QONNX, FINN_BASE):
            raise Problem(
                f"finn-base has no operator {node.op_type} of {node.domain}",
                f"node {node.name!r}",
                "write the integer or the xnor level, which are what FINN calls a streamlined graph",
            )
        if node.domain == QONNX:
            node.domain = FINN_BASE
        for attribute in node.attribute:
            if attribute.name == "data_layout" and attribute.s == b"NC":
                attribute.s = b"NHWC"  # finn-base knows NCHW and NHWC; vectors are the same in both
    versions = {item.domain: item.version for item in copy.opset_import}
    if versions.get("", 0) > HIGHEST_OPSET:
        raise Problem(
            f"opset {versions['']}; finn-base executes operators up to opset {HIGHEST_OPSET}",
            f"graph {copy.graph.name!r}",
            "write the graph with this program, which writes opset 13",
        )
    if QONNX in versions:
        versions[FINN_BASE] = versions.pop(QONNX)
    del copy.opset_import[:]
    copy.opset_import.extend(helper.make_opsetid(domain, version) for domain, version in versions.items())
    known = {value.name for value in (*copy.graph.input, *copy.graph.output, *copy.graph.value_info)}
    for tensor in copy.graph.initializer:
        if tensor.name not in known:
            shape = helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            copy.graph.value_info.append(shape)
    copy.ir_version = min(copy.ir_version, HIGHEST_IR_VERSION)
    return copy

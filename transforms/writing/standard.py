"""QONNX in standard operators, for programs that know nothing of quantizers and thresholds (onnxruntime, OpenVINO)."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import helper, numpy_helper

from bnnflow import Problem

from ..ir.tensor import Array
from ..reading import constants
from ..reading.constant_folding import folded_outputs
from ..reading.constants import Constants, Width

_QUANTIZERS = ("BipolarQuant", "Quant", "IntQuant", "Trunc")
_WHOLE = 1.5 * 2**23


def to_standard(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same float network with quantizers and thresholds spelled out and quantized weights folded; any batch.

    Raises:
        Problem: an operator outside ONNX is left that has no standard form here.
    """
    known = Constants(model)
    made: set[str] = {item.name for item in model.graph.initializer}
    opset = next((item.version for item in model.opset_import if item.domain in ("", "ai.onnx")), 9)
    nodes: list[onnx.NodeProto] = []
    for node in model.graph.node:
        try:
            nodes += _standard(node, known, made, opset)
        except constants.STUMBLES as error:
            where = f"{node.op_type} {node.name!r}"
            raise Problem(f"this operator's attributes or constants do not fit it ({error})", where) from error
    used = {name for node in nodes for name in node.input} | {item.name for item in model.graph.output}
    weights = [numpy_helper.from_array(np.array(known.array(name)), name) for name in sorted(made & used)]
    stored = {item.name for item in model.graph.initializer}
    inputs = [_dynamic(item) for item in model.graph.input if item.name not in stored]
    outputs = [_dynamic(item) for item in model.graph.output]
    body = helper.make_graph(nodes, model.graph.name or "graph", inputs, outputs, weights)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)], ir_version=8 if opset < 19 else 10)


def _standard(node: onnx.NodeProto, known: Constants, made: set[str], opset: int) -> list[onnx.NodeProto]:
    """The standard operators that take a node's place; none where it is constant, and its value becomes known."""
    if not any(name and name not in known for name in node.input):
        values = folded_outputs(node, [known[name] if name else None for name in node.input])
        if values is not None:
            for name, value in zip(node.output, values, strict=False):
                known[name] = value
                made.add(name)
            return []
    if node.op_type in _QUANTIZERS:
        return _Spelled(node, known, opset, made).quantizer()
    if node.op_type == "MultiThreshold":
        return _Spelled(node, known, opset, made).thresholds()
    if node.domain not in ("", "ai.onnx"):
        raise Problem(f"operator {node.op_type} has no standard form", f"{node.op_type} {node.name!r}")
    return [_any_batch(node, known, made)]


def _dynamic(item: onnx.ValueInfoProto) -> onnx.ValueInfoProto:
    copy = onnx.ValueInfoProto()
    copy.CopyFrom(item)
    if copy.type.tensor_type.shape.dim:
        copy.type.tensor_type.shape.dim[0].dim_param = "batch"
    return copy


def _any_batch(node: onnx.NodeProto, known: Constants, made: set[str]) -> onnx.NodeProto:
    """A reshape that states batch 1 keeps whatever batch there is."""
    if node.op_type != "Reshape" or len(node.input) < 2 or node.input[1] not in known:
        return node
    target = known.array(node.input[1]).reshape(-1)
    if target.size < 2 or target[0] != 1:
        return node
    shape = f"{node.output[0]}_shape_any_batch"
    known[shape] = np.concatenate([np.array([0]), target[1:]]).astype(np.int64)
    made.add(shape)
    return helper.make_node("Reshape", [node.input[0], shape], list(node.output), name=node.name)


@dataclass
class _Spelled:
    """A quantizer of activations, or thresholds, as standard operators; the order of the steps is qonnx'."""

    node: onnx.NodeProto
    known: Constants
    opset: int
    made: set[str]
    nodes: list[onnx.NodeProto] = field(default_factory=list)

    def quantizer(self) -> list[onnx.NodeProto]:
        """The operators that take its place."""
        x, kind = self.node.input[0], self.node.op_type
        settings = constants.attributes(self.node)
        scale = np.asarray(self._value(1), np.float32)
        if kind == "BipolarQuant":
            self._step("Mul", self._signs(x), self._constant(scale), last=True)
            return self.nodes
        if self.opset < 11 and kind == "Trunc":
            raise Problem(f"opset {self.opset} cannot round as {kind} does", self._where, "use opset 11 or more")
        default = {"rounding_mode": "FLOOR"} if kind == "Trunc" else {}
        bits = self._value(len(self.node.input) - 1)
        width = constants.width({**default, **settings}, bits, self._value(2))
        x = self._step("Div", x, self._constant(scale))
        x = self._moved("Add", x, width.zero)
        if kind == "Trunc":
            self._truncate(x, width, scale)
        elif width.is_sign:
            x = self._moved("Sub", self._signs(x), width.zero)
            self._step("Mul", x, self._constant(scale), last=True)
        else:
            x = self._round(self._clip(x, width), width.rounding)
            x = self._moved("Sub", x, width.zero)
            self._step("Mul", x, self._constant(scale), last=True)
        return self.nodes

    def thresholds(self) -> list[onnx.NodeProto]:
        """The operators that count the thresholds which a value reaches; each is a step, so that memory stays small."""
        if self.opset < 9:
            raise Problem(f"opset {self.opset} has no operator Where", self._where, "use opset 9 or more")
        x, table = self.node.input[0], np.asarray(self._value(1), np.float32)
        settings = constants.attributes(self.node)
        # Of several axes behind the channels one is made, whatever their number is.
        first = len(table) > 1 and not str(settings.get("data_layout", "NCHW")).endswith("C")
        shape = self._step("Shape", x) if first else ""
        if first:
            x = self._step("Reshape", x, self._constant(np.array([0, len(table), -1]), np.int64))
        column = (1, len(table), 1) if first else (len(table),)
        zero, one = self._constant(np.float32(0)), self._constant(np.float32(1))
        total = ""
        for level in table.T:
            below = self._step("Less", x, self._constant(level.reshape(column)))
            reached = self._step("Where", below, zero, one)
            total = self._step("Add", total, reached) if total else reached
        if first:
            total = self._step("Reshape", total, shape)
        total = self._step("Mul", total, self._constant(np.float32(settings.get("out_scale", 1.0))))
        self._step("Add", total, self._constant(np.float32(settings.get("out_bias", 0.0))), last=True)
        return self.nodes

    def _truncate(self, x: str, width: Width, scale: Array) -> None:
        first = len(self.node.input) == 5
        out = scale if first else np.asarray(self._value(4), np.float32)
        shift = self._value(3) - self._value(4) if first else np.round(np.log2(out / scale))
        factor = np.asarray(2.0**shift, np.float32)
        x = self._step("Div", self._step("Round", x), self._constant(factor))
        x = self._round(x if first else self._clip(x, width), width.rounding)
        zero = np.asarray(width.zero if first else width.zero / factor)
        x = self._moved("Sub", x, zero)
        self._step("Mul", x, self._constant(out), last=True)

    def _clip(self, x: str, width: Width) -> str:
        low, high = width.limits
        if self.opset < 11:
            return self._step("Clip", x, min=float(low), max=float(high))
        return self._step("Clip", x, self._constant(np.float32(low)), self._constant(np.float32(high)))

    def _signs(self, x: str) -> str:
        negative = self._step("Less", x, self._constant(np.float32(0)))
        return self._step("Where", negative, self._constant(np.float32(-1)), self._constant(np.float32(1)))

    def _round(self, x: str, rounding: str) -> str:
        if rounding in ("ROUND", "HALF_EVEN") and self.opset < 11:
            # No operator rounds before opset 11: above 2**23 float32 holds whole numbers only, ties to even.
            return self._moved("Sub", self._moved("Add", x, _WHOLE), _WHOLE)
        if rounding in ("ROUND", "HALF_EVEN", "FLOOR", "CEIL"):
            return self._step({"FLOOR": "Floor", "CEIL": "Ceil"}.get(rounding, "Round"), x)
        sign, size = self._step("Sign", x), self._step("Abs", x)
        if rounding.startswith("HALF"):
            size = self._moved("Add" if rounding == "HALF_UP" else "Sub", size, 0.5)
        away = rounding in ("UP", "HALF_DOWN")
        return self._step("Mul", sign, self._step("Ceil" if away else "Floor", size))

    def _moved(self, kind: str, x: str, by: float | Array) -> str:
        return self._step(kind, x, self._constant(np.asarray(by, np.float32))) if np.any(by) else x

    def _step(self, kind: str, *inputs: str, last: bool = False, **settings: float) -> str:
        out = self.node.output[0] if last else f"{self.node.output[0]}_step{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [out], **settings))
        return out

    def _constant(self, value: object, kind: type = np.float32) -> str:
        name = f"{self.node.output[0]}_constant{len(self.nodes)}_{len(self.made)}"
        self.known[name] = np.asarray(value, kind)
        self.made.add(name)
        return name

    def _value(self, index: int) -> Array:
        if index >= len(self.node.input) or self.node.input[index] not in self.known:
            raise Problem("a quantizer's parameters must be constant", self._where)
        return self.known.array(self.node.input[index])

    @property
    def _where(self) -> str:
        return f"{self.node.op_type} {self.node.name or self.node.output[0]!r}"

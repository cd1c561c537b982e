"""Constants of an ONNX file: initializers, attributes, and the folding of nodes over constants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from .tensor import Array


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes as Python values: int, float, str, list or array."""
    values: dict[str, Any] = {}
    for attribute in node.attribute:
        value = onnx.helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            value = value.decode()
        elif isinstance(value, onnx.TensorProto):
            value = numpy_helper.to_array(value)
        values[attribute.name] = value
    return values


def initializers(model: onnx.ModelProto) -> dict[str, Array]:
    """Arrays of the file's initializers by name."""
    return {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}


def datatypes(model: onnx.ModelProto) -> dict[str, str]:
    """FINN data type names of tensors (quantization annotation `finn_datatype`)."""
    found = {}
    for item in model.graph.quantization_annotation:
        for entry in item.quant_parameter_tensor_names:
            if entry.key == "finn_datatype":
                found[item.tensor_name] = entry.value
    return found


def integer_range(datatype: str) -> tuple[int, int, int] | None:
    """(low, high, step) of a FINN integer data type's name; None for any other type."""
    if datatype == "BIPOLAR":
        return -1, 1, 2
    if datatype == "BINARY":
        return 0, 1, 1
    for prefix, signed in (("UINT", False), ("INT", True)):
        if datatype.startswith(prefix) and datatype.removeprefix(prefix).isdigit():
            bits = int(datatype.removeprefix(prefix))
            if bits == 0:
                return None
            return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, 1) if signed else (0, 2**bits - 1, 1)
    return None


def quantize(x: Array, scale: Array, bits: int, signed: bool, narrow: bool) -> Array:
    """QONNX `Quant` with zero point 0 and rounding half to even, in the precision of `x`."""
    low, high = (-(2 ** (bits - 1)) + narrow, 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1 - narrow)
    return np.clip(np.round(x / scale), low, high) * scale


def _reshape(x: Array, shape: Array) -> Array:
    return x.reshape([x.shape[i] if size == 0 else int(size) for i, size in enumerate(shape)])


Fold = Callable[[dict[str, Any], list[Any]], Array]
_FOLDS: Mapping[str, Fold] = {
    "Add": lambda a, x: x[0] + x[1],
    "Cast": lambda a, x: x[0].astype(onnx.helper.tensor_dtype_to_np_dtype(a["to"])),
    "Concat": lambda a, x: np.concatenate([np.atleast_1d(item) for item in x], a["axis"]),
    "Constant": lambda a, x: np.asarray(next(iter(a.values()))),
    "Div": lambda a, x: x[0] / x[1],
    "Gather": lambda a, x: np.take(x[0], x[1].astype(int), a.get("axis", 0)),
    "Identity": lambda a, x: x[0],
    "Mul": lambda a, x: x[0] * x[1],
    "Neg": lambda a, x: -x[0],
    "Pow": lambda a, x: np.power(x[0], x[1]),
    "Reshape": lambda a, x: _reshape(x[0], x[1]),
    "Sqrt": lambda a, x: np.sqrt(x[0]),
    "Squeeze": lambda a, x: np.squeeze(x[0], tuple(_axes(a, x))),
    "Sub": lambda a, x: x[0] - x[1],
    "Transpose": lambda a, x: np.transpose(x[0], a.get("perm")),
    "Unsqueeze": lambda a, x: np.expand_dims(x[0], tuple(_axes(a, x))),
    "BipolarQuant": lambda a, x: np.where(x[0] >= 0, x[1], -x[1]),
}


def _axes(settings: dict[str, Any], inputs: list[Any]) -> list[int]:
    return [int(axis) for axis in (settings["axes"] if "axes" in settings else inputs[1])]


def fold(node: onnx.NodeProto, inputs: list[Array]) -> Array | None:
    """Value of a node whose inputs are all constant; None where its operator is not folded."""
    settings = attributes(node)
    if node.op_type in ("Quant", "IntQuant"):
        if np.any(inputs[2] != 0) or settings.get("rounding_mode", "ROUND").upper() != "ROUND":
            return None
        bits, signed, narrow = (
            int(inputs[3].reshape(-1)[0]),
            bool(settings.get("signed", 1)),
            bool(settings.get("narrow", 0)),
        )
        return quantize(inputs[0], inputs[1], bits, signed, narrow)
    if node.op_type not in _FOLDS:
        return None
    with np.errstate(all="ignore"):
        return np.asarray(_FOLDS[node.op_type](settings, inputs))

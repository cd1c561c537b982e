"""Where a file's input has its channels: no file says so, but what reads the input does."""

from __future__ import annotations

import onnx
from onnx import numpy_helper

from .call import kind_of

# Operators that leave every axis where it is.
_PASSES = (
    *("Abs", "Add", "BipolarQuant", "Cast", "Clip", "DequantizeLinear", "Div", "Dropout", "Equal", "Greater"),
    *("GreaterOrEqual", "HardSigmoid", "Identity", "IntQuant", "LeakyRelu", "Less", "LessOrEqual", "Max", "Min"),
    *("Mul", "Neg", "PRelu", "Pad", "Quant", "QuantizeLinear", "Relu", "Shrink", "Sign", "Sub", "Sum"),
    *("ThresholdedRelu", "Trunc", "Where"),
)
_FIRST = ("AveragePool", "BatchNormalization", "Conv", "GlobalAveragePool", "GlobalMaxPool", "MaxPool")
_LAST = ("Im2Col", "MatMul", "MaxPoolNHWC", "XnorPopcountMatMul")


def reads_channels_last(graph: onnx.GraphProto, name: str) -> bool:
    """Whether what reads a tensor of three axes behind the batch takes it for (height, width, channels).

    Follows transpositions and what keeps axes in place up to the first operators that say where channels are:
    convolutions, pools and batch norms have them first; FINN's units, and matrix products, last. Where nothing says so,
    ONNX' own order holds: channels first.
    """
    constants = {item.name: item for item in graph.initializer}
    places: dict[str, tuple[int, ...]] = {name: (0, 1, 2, 3)}
    for node in graph.node:
        found = [item for item in node.input if item in places]
        if not found:
            continue
        axes = places[found[0]]
        settings = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
        channel = _channel_of(node, axes, settings, constants)
        if channel is not None:
            return channel == 3
        if node.op_type == "Transpose":
            turn = settings.get("perm")
            if isinstance(turn, list) and sorted(turn) == [0, 1, 2, 3]:
                places.update((item, tuple(axes[axis] for axis in turn)) for item in node.output)
        elif kind_of(node.op_type) in _PASSES:
            places.update((item, axes) for item in node.output)
    return False


def _channel_of(
    node: onnx.NodeProto, axes: tuple[int, ...], settings: dict[str, object], constants: dict[str, onnx.TensorProto]
) -> int | None:
    """The input's axis that an operator takes for the channels; None where it does not say."""
    kind = kind_of(node.op_type)
    if "fpgadataflow" in node.domain or kind in _LAST:
        return axes[3]
    if kind in _FIRST:
        return axes[1]
    if kind == "MultiThreshold":
        layout = settings.get("data_layout", b"")
        return {b"NHWC": axes[3], b"NCHW": axes[1]}.get(layout if isinstance(layout, bytes) else b"")
    if kind == "Pad":
        ends = _whole(node, settings, constants, "pads")
        padded = {index % 4 for index, size in enumerate(ends) if size} if len(ends) == 8 else set()
        return axes[3] if 1 in padded else axes[1] if 3 in padded else None
    if kind in ("ReduceMean", "ReduceSum", "ReduceMax"):
        gone = {axis % 4 for axis in _whole(node, settings, constants, "axes")}
        return {frozenset((1, 2)): axes[3], frozenset((2, 3)): axes[1]}.get(frozenset(gone))
    if kind in ("QuantizeLinear", "DequantizeLinear"):
        axis = settings.get("axis", 1)
        scales = constants.get(node.input[1]) if len(node.input) > 1 else None
        several = scales is not None and any(size > 1 for size in scales.dims)
        return axes[axis % 4] if several and isinstance(axis, int) and axis % 4 in (1, 3) else None
    if kind in _PASSES:
        for item in node.input:
            sizes = [1] * 4
            if item in constants and 1 <= len(constants[item].dims) <= 4:
                sizes[4 - len(constants[item].dims) :] = constants[item].dims
            long = [axis for axis, size in enumerate(sizes) if size > 1]
            if long in ([1], [3]):
                return axes[long[0]]
    return None


def _whole(
    node: onnx.NodeProto, settings: dict[str, object], constants: dict[str, onnx.TensorProto], key: str
) -> list[int]:
    """Whole numbers of an attribute, or of the second input."""
    given = settings.get(key)
    if given is None and len(node.input) > 1 and node.input[1] in constants:
        given = numpy_helper.to_array(constants[node.input[1]]).reshape(-1).tolist()
    return [int(value) for value in given] if isinstance(given, list) else []

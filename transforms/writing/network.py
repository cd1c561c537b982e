"""Write a graph of the network level as QONNX in its usual form: maps channels first, `Conv` and `Quant`.

`write` has maps channels last, windows and matrix products, as FINN's later stages do; what programs outside of FINN
read, onnxruntime among them, is this form.
"""

from __future__ import annotations

from dataclasses import replace

import onnx

from bnnflow import Problem

from ..ir.graph import Graph, Node
from ..ir.ops import ChannelsLast, Concat, Conv, Flatten, MaxPool, Sides, Stairs, SumPool, Threshold
from ..ir.tensor import Array, TensorType
from .units import weight_type
from .write import Writer


def write_network(graph: Graph) -> onnx.ModelProto:
    """The QONNX model of a graph of the network level whose input has its channels first.

    Raises:
        Problem: an input that is channels last, or an integer constant that is too large for the file's float32.
    """
    first = graph.readers(graph.input)
    if len(graph.input_type.shape) > 1 and not all(isinstance(node.op, ChannelsLast | Flatten) for node in first):
        raise Problem("maps of the input are channels last", f"graph {graph.name!r}", "write it with `write`")
    writer = _NetworkWriter(graph, False)
    for node in graph.nodes:
        writer.node(node)
    return writer.model()


class _NetworkWriter(Writer):
    def value(self, name: str, kind: TensorType, indices: bool = False) -> onnx.ValueInfoProto:
        """The declaration of a tensor; maps of the graph are channels last, but for the input."""
        shape = kind.shape
        if len(shape) == 3 and name != self.graph.input:
            shape = (shape[2], *shape[:2])
        return super().value(name, replace(kind, shape=shape), indices)

    def node(self, node: Node) -> None:
        """Append the ONNX nodes of one operation."""
        name, op, x = node.name, node.op, node.input
        kind = self.graph.types[x]
        match op:
            case ChannelsLast() if len(kind.shape) == 3:
                self._emit("Identity", [x], name)
            case ChannelsLast():
                self._emit("Unsqueeze", [x, self._whole(f"{name}_axes", [2])], name)
            case Flatten() if len(kind.shape) == 3 and x != self.graph.input:
                height, width, channels = kind.shape
                turned = f"{name}_turned"
                # A map of this shape when `value` turns it.
                self.extra.append((turned, replace(kind, shape=(width, channels, height))))
                self._emit("Transpose", [x], turned, perm=[0, 2, 3, 1])
                self._emit("Flatten", [turned], name, axis=1)
            case Conv(weight, stride):
                constant = self._constant(f"{name}_weight", weight.transpose(0, 3, 1, 2), weight_type(weight))
                self._emit("Conv", [x, constant], name, kernel_shape=list(weight.shape[1:3]), strides=list(stride))
            case MaxPool(kernel, stride, pads):
                self._emit("MaxPool", [x], name, kernel_shape=list(kernel), strides=list(stride), pads=list(pads))
            case SumPool(kernel, stride) if kernel == kind.shape[:2]:
                self._emit("ReduceSum", [x, self._whole(f"{name}_axes", [2, 3])], name, keepdims=1)
            case SumPool(kernel, stride):
                self.extra.append((f"{name}_mean", TensorType(self.graph.types[name].shape)))
                self._emit("AveragePool", [x], f"{name}_mean", kernel_shape=list(kernel), strides=list(stride))
                self._emit("Mul", [f"{name}_mean", self._scalar(f"{name}_area", float(kernel[0] * kernel[1]))], name)
            case Concat() if len(kind.shape) == 3:
                self._emit("Concat", list(node.inputs), name, axis=1)
            case Stairs() | Threshold() if len(kind.shape) == 3:
                super().node(node)
                (layout,) = (entry for entry in self.nodes[-1].attribute if entry.name == "data_layout")
                layout.s = b"NCHW"
            case _:
                super().node(node)

    def _a_channel(self, value: Array, kind: TensorType) -> Array:
        return value.reshape(-1, 1, 1) if len(kind.shape) == 3 and value.size > 1 else value

    def _pad(self, x: str, name: str, pads: Sides, value: float) -> None:
        top, left, bottom, right = pads
        sides = self._whole(f"{name}_pads", [0, 0, top, left, 0, 0, bottom, right])
        self._emit("Pad", [x, sides, self._scalar(f"{name}_value", value)], name)

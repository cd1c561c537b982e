"""Write a graph as ONNX: FINN-ONNX before lowering, FINN's dataflow nodes after it.

This is one of the two modules that know protobuf. Files state batch 1, opset 13 and IR version 8,
which qonnx, finn-base and FINN all accept, and annotate every integer tensor with FINN's data type.
"""

from __future__ import annotations

from typing import Any, assert_never

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from .graph import (
    Affine,
    Array,
    ChannelsLast,
    Conv,
    Dense,
    Flatten,
    Graph,
    MaxPool,
    Mvau,
    Node,
    Quantize,
    Sign,
    SlidingWindow,
    StreamingMaxPool,
    TensorType,
    Threshold,
    Thresholding,
    XnorConv,
    XnorDense,
    accumulator,
)

QONNX = "qonnx.custom_op.general"
FINN = "finn.custom_op.fpgadataflow"


def write(graph: Graph) -> onnx.ModelProto:
    """The ONNX model of a graph; node and tensor names are the graph's, so `read` gives them back."""
    writer = _Writer(graph)
    for node in graph.nodes:
        writer.node(node)
    return writer.model()


class _Writer:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.extra: list[tuple[str, TensorType]] = []
        self.datatypes: dict[str, str] = {
            name: kind.datatype for name, kind in graph.types.items() if not kind.is_float
        }

    def model(self) -> onnx.ModelProto:
        graph = self.graph
        inner = [(n.name, graph.types[n.name]) for n in graph.nodes if n.name != graph.output] + self.extra
        body = helper.make_graph(
            self.nodes,
            graph.name,
            [_value(graph.input, graph.input_type)],
            [_value(graph.output, graph.output_type)],
            self.initializers,
            value_info=[_value(name, kind) for name, kind in inner],
        )
        for name, datatype in self.datatypes.items():
            entry = onnx.StringStringEntryProto(key="finn_datatype", value=datatype)
            body.quantization_annotation.append(
                onnx.TensorAnnotation(tensor_name=name, quant_parameter_tensor_names=[entry])
            )
        domains = sorted({node.domain for node in self.nodes} - {""})
        opsets = [helper.make_opsetid("", 13), *(helper.make_opsetid(domain, 1) for domain in domains)]
        return helper.make_model(body, producer_name="bnnflow", opset_imports=opsets, ir_version=8)

    def _emit(self, kind: str, inputs: list[str], output: str, domain: str = "", **settings: Any) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, domain=domain, **settings))

    def _constant(self, name: str, value: Array, datatype: str = "") -> str:
        array = np.asarray(value, np.float32)
        self.initializers.append(numpy_helper.from_array(array, name))
        if datatype:
            self.datatypes[name] = datatype
        return name

    def node(self, node: Node) -> None:
        """Append the ONNX nodes of one operation."""
        name, x, op = node.name, node.input, node.op
        match op:
            case ChannelsLast():
                self._emit("Transpose", [x], name, perm=[0, 2, 3, 1])
            case Affine(scale, shift, divisor):
                made = self.graph.types[name]
                self.extra.append((f"{name}_scaled", made))
                self._emit("Mul", [x, self._constant(f"{name}_scale", scale)], f"{name}_scaled")
                x = f"{name}_scaled"
                if np.any(divisor != 1):
                    self.extra.append((f"{name}_divided", made))
                    self._emit("Div", [x, self._constant(f"{name}_divisor", divisor)], f"{name}_divided")
                    x = f"{name}_divided"
                self._emit("Add", [x, self._constant(f"{name}_shift", shift)], name)
            case Quantize(scale, bits, signed, narrow):
                constants = [
                    self._constant(f"{name}_{key}", np.array(value))
                    for key, value in (("scale", scale), ("zero", 0.0), ("bits", float(bits)))
                ]
                settings = {"signed": int(signed), "narrow": int(narrow), "rounding_mode": "ROUND"}
                self._emit("Quant", [x, *constants], name, QONNX, **settings)
            case Sign():
                self._emit("BipolarQuant", [x, self._constant(f"{name}_scale", np.ones(()))], name, QONNX)
            case Conv(weight, stride):
                window = self._im2col(node, weight, stride)
                matrix = weight.reshape(len(weight), -1).T
                self._emit("MatMul", [window, self._constant(f"{name}_weight", matrix, "BIPOLAR")], name)
            case Dense(weight):
                self._emit("MatMul", [x, self._constant(f"{name}_weight", weight.T, "BIPOLAR")], name)
            case XnorConv(weight, stride):
                window = self._im2col(node, weight, stride)
                self._xnor(node, window, weight.reshape(len(weight), -1))
            case XnorDense(weight):
                self._xnor(node, x, weight)
            case MaxPool(kernel, stride):
                shape = {"kernel_shape": list(kernel), "strides": list(stride), "pads": [0, 0, 0, 0]}
                self._emit("MaxPoolNHWC", [x], name, QONNX, **shape)
            case Flatten():
                self._emit("Flatten", [x], name, axis=1)
            case Threshold(bounds, low, step):
                table = self._constant(f"{name}_bounds", bounds, self._threshold_type(x, bounds))
                layout = "NHWC" if len(self.graph.types[x].shape) == 3 else "NC"
                kind = {"out_dtype": self.graph.types[name].datatype, "data_layout": layout}
                scaling = {"out_scale": float(step), "out_bias": float(low)}
                self._emit("MultiThreshold", [x, table], name, QONNX, **kind, **scaling)
            case SlidingWindow() | Mvau() | Thresholding() | StreamingMaxPool():
                self._unit(node, op)
            case _:
                assert_never(op)

    def _im2col(self, node: Node, weight: Array, stride: tuple[int, int]) -> str:
        source, made = self.graph.types[node.input], self.graph.types[node.name]
        name = f"{node.name}_window"
        kernel = [int(size) for size in weight.shape[1:3]]
        self.extra.append((name, TensorType((*made.shape[:2], weight[0].size))))
        self.datatypes[name] = source.datatype
        self._emit(
            "Im2Col",
            [node.input],
            name,
            QONNX,
            kernel_size=kernel,
            stride=list(stride),
            pad_amount=[0, 0, 0, 0],
            input_shape=str((1, *source.shape)),
        )
        return name

    def _xnor(self, node: Node, source: str, bits: Array) -> None:
        weight = self._constant(f"{node.name}_weight", bits.T, "BINARY")
        self._emit("XnorPopcountMatMul", [source, weight], node.name, QONNX)

    def _threshold_type(self, source: str, bounds: Array) -> str:
        # A bound may be one above the greatest value, for a channel that never fires.
        low, high = self.graph.types[source].range
        return TensorType((), min(low, int(bounds.min())), max(high, int(bounds.max()))).datatype

    def _unit(self, node: Node, op: SlidingWindow | Mvau | Thresholding | StreamingMaxPool) -> None:
        name, x = node.name, node.input
        source, made = self.graph.types[x], self.graph.types[name]
        types = {"inputDataType": source.datatype, "outputDataType": made.datatype}
        common: dict[str, Any] = {"backend": "fpgadataflow"}
        match op:
            case SlidingWindow(kernel, stride, simd):
                settings = {
                    "ConvKernelDim": list(kernel),
                    "IFMChannels": source.channels,
                    "IFMDim": list(source.shape[:2]),
                    "OFMDim": list(made.shape[:2]),
                    "Stride": list(stride),
                    "Dilation": [1, 1],
                    "SIMD": simd,
                    "depthwise": 0,
                    "is1D": 0,
                    "ram_style": "distributed",
                }
                self._emit("ConvolutionInputGenerator", [x], name, FINN, **settings, **types, **common)
            case StreamingMaxPool(kernel):
                settings = {
                    "PoolDim": list(kernel),
                    "ImgDim": list(source.shape[:2]),
                    "NumChannels": source.channels,
                }
                kinds = {"dataType": source.datatype, "PE": 1, "CeilMode": 0}
                self._emit("StreamingMaxPool", [x], name, FINN, **settings, **kinds, **common)
            case Thresholding(bounds, pe):
                kind = self._threshold_type(x, bounds)
                table = self._constant(f"{name}_bounds", bounds, kind)
                settings = {"NumChannels": source.channels, "PE": pe, "numSteps": 1, "ActVal": 0}
                vectors = {"numInputVectors": [1, *source.shape[:-1]], "weightDataType": kind}
                self._emit("Thresholding", [x, table], name, FINN, **settings, **vectors, **types, **common)
            case Mvau():
                self._mvau(node, op, {**types, **common})
            case _:
                assert_never(op)

    def _mvau(self, node: Node, op: Mvau, common: dict[str, Any]) -> None:
        name, source = node.name, self.graph.types[node.input]
        values = op.weight.T if op.xnor else 2.0 * op.weight.T.astype(np.float32) - 1.0
        kind = "BINARY" if op.xnor else "BIPOLAR"
        inputs = [node.input, self._constant(f"{name}_weight", values, kind)]
        sums = accumulator(op, source)
        if op.has_bounds:
            low, high = sums.range
            wide = TensorType((), min(low, int(op.bounds.min())), max(high, int(op.bounds.max())))
            inputs.append(self._constant(f"{name}_bounds", op.bounds, wide.datatype))
        settings = {
            "MW": op.weight.shape[1],
            "MH": op.weight.shape[0],
            "PE": op.pe,
            "SIMD": op.simd,
            "numInputVectors": [1, *source.shape[:-1]],
            "weightDataType": kind,
            "accDataType": sums.datatype,
            "ActVal": 0,
            "binaryXnorMode": int(op.xnor),
            "noActivation": int(not op.has_bounds),
            "mem_mode": "internal_decoupled",
            "ram_style": "auto",
            "resType": "lut",
            "runtime_writeable_weights": 0,
        }
        self._emit("MVAU", inputs, name, FINN, **settings, **common)


def _value(name: str, kind: TensorType) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, *kind.shape])

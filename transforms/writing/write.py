"""Write a graph as ONNX: FINN-ONNX before lowering, FINN's dataflow nodes after it.

Beside `reading`, this is the only module that knows protobuf. Files state batch 1, opset 13 and IR version 8,
which qonnx, finn-base and FINN all accept, and annotate every integer tensor with FINN's data type.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, assert_never

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from bnnflow import Problem

from ..ir.contract import CONTRACT_KEY
from ..ir.graph import Graph, Node
from ..ir.ops import (
    NO_PADS,
    Add,
    AddBorder,
    AddStreams,
    Affine,
    Best,
    Bias,
    ChannelsLast,
    ChannelwiseMul,
    Concat,
    Conv,
    Dense,
    DuplicateStreams,
    Flatten,
    FMPadding,
    GlobalAccPool,
    LabelSelect,
    MaxPool,
    Mvau,
    Pad,
    Pair,
    PiecewiseLinear,
    Pool,
    Quantize,
    Scale,
    Sides,
    Sign,
    SlidingWindow,
    Stairs,
    StreamingConcat,
    StreamingMaxPool,
    SumPool,
    Threshold,
    Thresholding,
    Unit,
    XnorConv,
    XnorDense,
)
from ..ir.tensor import Array, TensorType
from .activations import operators_of
from .units import FINN, UnitNode, bound_type, unit_node, weight_type

QONNX = "qonnx.custom_op.general"
_WHOLE_IN_FLOAT32 = 2**24
_WIDEST_QUANTIZER = 8


def write(graph: Graph, finn_plus: bool = False) -> onnx.ModelProto:
    """The ONNX model of a graph; node and tensor names are the graph's, so `read` gives them back.

    Args:
        graph: of any level.
        finn_plus: write a dataflow graph as FINN's development branch and finn-plus want it: joins as
            `ElementwiseAdd` and `ElementwiseMul` in place of `AddStreams` and `ChannelwiseOp`, and no `Flatten`
            between units, which read the same stream anyway.

    Raises:
        Problem: an integer constant is too large for the file's float32, or finn-plus has no such unit.
    """
    writer = Writer(graph, finn_plus)
    for node in graph.nodes:
        writer.node(node)
    return writer.model()


class Writer:
    """Makes the ONNX nodes of a graph's operations; maps are channels last in the file, as FINN has them."""

    def __init__(self, graph: Graph, finn_plus: bool) -> None:
        self.graph = graph
        self.finn_plus = finn_plus
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.extra: list[tuple[str, TensorType]] = []
        self.datatypes: dict[str, str] = {}
        self.dataflow = any(isinstance(node.op, Unit) and not isinstance(node.op, AddBorder) for node in graph.nodes)
        # Every reader of a duplicated stream has an output of its own.
        self.copies: dict[str, list[str]] = {}
        for name, kind in graph.types.items():
            self._annotate(name, kind)

    def value(self, name: str, kind: TensorType, indices: bool = False) -> onnx.ValueInfoProto:
        """The declaration of a tensor."""
        shape = [1, *kind.shape]
        return helper.make_tensor_value_info(name, TensorProto.INT64 if indices else TensorProto.FLOAT, shape)

    def _annotate(self, name: str, kind: TensorType) -> None:
        if not kind.is_float:
            self.datatypes[name] = kind.datatype

    def model(self) -> onnx.ModelProto:
        """The finished file."""
        graph = self.graph
        made = {name for node in self.nodes for name in node.output}
        inner = [(n.name, graph.types[n.name]) for n in graph.nodes if n.name != graph.output and n.name in made]
        body = helper.make_graph(
            self.nodes,
            graph.name,
            [self.value(graph.input, graph.input_type)],
            [self.value(graph.output, graph.output_type, isinstance(graph.maker(graph.output), Best))],
            self.initializers,
            value_info=[self.value(name, kind) for name, kind in inner + self.extra],
        )
        known = made | {graph.input} | {item.name for item in self.initializers}
        for name, datatype in self.datatypes.items():
            if name in known:
                entry = onnx.StringStringEntryProto(key="finn_datatype", value=datatype)
                body.quantization_annotation.append(
                    onnx.TensorAnnotation(tensor_name=name, quant_parameter_tensor_names=[entry])
                )
        domains = sorted({node.domain for node in self.nodes} - {""})
        opsets = [helper.make_opsetid("", 13), *(helper.make_opsetid(domain, 1) for domain in domains)]
        model = helper.make_model(body, producer_name="bnnflow", opset_imports=opsets, ir_version=8)
        if graph.contract is not None:
            helper.set_model_props(model, {CONTRACT_KEY: graph.contract.to_json()})
        return model

    def _emit(self, kind: str, inputs: Sequence[str], output: str, domain: str = "", **settings: Any) -> None:
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=output, domain=domain, **settings))

    def _constant(self, name: str, value: Array, datatype: str = "") -> str:
        exact = np.asarray(value)
        array = exact.astype(np.float32)
        if exact.dtype.kind in "iu" and exact.size and np.abs(exact.astype(np.int64)).max() > _WHOLE_IN_FLOAT32:
            raise Problem("an integer constant is above 2^24, which files hold exactly", f"{name!r}")
        self.initializers.append(numpy_helper.from_array(array, name))
        if datatype:
            self.datatypes[name] = datatype
        return name

    def _a_channel(self, value: Array, kind: TensorType) -> Array:
        """Numbers of a constant, one or one per channel, in the shape in which they meet a tensor of `kind`."""
        return value

    def _quantized(self, name: str, integers: Array, scale: Array, kind: TensorType) -> str:
        """A constant that stays integers and a scale."""
        if np.abs(integers).max() >= 2**31:
            raise Problem("a quantized bias is above 2^31, which files hold", f"{name!r}")
        whole, steps = f"{name}_integers", self._constant(f"{name}_scale", scale if scale.size > 1 else scale[0])
        count = max(integers.size, scale.size)
        shaped = self._a_channel(np.broadcast_to(integers, count), kind)
        self.initializers.append(numpy_helper.from_array(shaped.astype(np.int32), whole))
        self._emit("DequantizeLinear", [whole, steps], name, axis=0)
        return name

    def _whole(self, name: str, values: Sequence[int]) -> str:
        self.initializers.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def _inner(self, name: str, kind: TensorType) -> str:
        self.extra.append((name, kind))
        self._annotate(name, kind)
        return name

    def _sources(self, node: Node) -> list[str]:
        """The ONNX tensors that a node reads."""
        return [self.copies[tensor].pop(0) if tensor in self.copies else tensor for tensor in node.inputs]

    def node(self, node: Node) -> None:
        """Append the ONNX nodes of one operation."""
        name, op, sources = node.name, node.op, self._sources(node)
        x = sources[0]
        kind, made = self.graph.types[node.input], self.graph.types[name]
        match op:
            case ChannelsLast():
                self._channels_last(x, name, kind)
            case Flatten() if (
                self.finn_plus and self.dataflow and not isinstance(self.graph.maker(node.input), ChannelsLast)
            ):
                self.copies[name] = [x] * self.graph.uses(name)
            case Flatten():
                self._emit("Flatten", [x], name, axis=1)
            case Affine():
                self._affine(x, name, op, made)
            case Bias(integers, scale):
                self._emit("Add", [x, self._quantized(f"{name}_bias", integers, scale, kind)], name)
            case PiecewiseLinear():
                self._activation(x, name, op, kind)
            case Quantize(scale, low, high, rounding):
                self._quantize(x, name, scale, (low, high), rounding)
            case Sign(zero):
                if zero < 0:
                    turned, signs = (
                        self._inner(f"{name}_{key}", TensorType(made.shape)) for key in ("turned", "signs")
                    )
                    self._emit("Neg", [x], turned)
                    self._emit("BipolarQuant", [turned, self._scalar(f"{name}_scale", 1.0)], signs, QONNX)
                    self._emit("Neg", [signs], name)
                elif zero:
                    self._emit("BipolarQuant", [x, self._scalar(f"{name}_scale", 1.0)], name, QONNX)
                else:
                    self._emit("Sign", [x], name)
            case Stairs(bounds, out_bias, out_scale):
                layout = {"out_dtype": "FLOAT32", "data_layout": "NHWC" if len(kind.shape) == 3 else "NC"}
                table = self._constant(f"{name}_bounds", bounds)
                self._emit("MultiThreshold", [x, table], name, QONNX, **layout, out_scale=out_scale, out_bias=out_bias)
            case Pad(pads, value):
                self._pad(x, name, pads, value)
            case Conv(weight, stride):
                window = self._im2col(node, x, weight.shape[1:3], stride)
                matrix = weight.reshape(len(weight), -1).T
                self._emit("MatMul", [window, self._constant(f"{name}_weight", matrix, weight_type(weight))], name)
            case Dense(weight):
                self._emit("MatMul", [x, self._constant(f"{name}_weight", weight.T, weight_type(weight))], name)
            case XnorConv(weight, stride):
                window = self._im2col(node, x, weight.shape[1:3], stride)
                self._xnor(name, window, weight.reshape(len(weight), -1))
            case XnorDense(weight):
                self._xnor(name, x, weight)
            case MaxPool(kernel, stride, pads):
                if pads != NO_PADS and not kind.is_float:
                    padded = self._inner(f"{name}_padded", _padded(kind, pads))
                    self._pad(x, padded, pads, kind.range[0])
                    x, pads = padded, NO_PADS
                shape = {"kernel_shape": list(kernel), "strides": list(stride), "pads": list(pads)}
                self._emit("MaxPoolNHWC", [x], name, QONNX, **shape)
            case SumPool(kernel, stride):
                self._sum_pool(node, x, kernel, stride)
            case Add():
                self._emit("Add", sources, name)
            case Concat():
                self._emit("Concat", sources, name, axis=len(made.shape))
            case Scale(factor):
                self._emit("Mul", [x, self._constant(f"{name}_factor", self._a_channel(factor, kind))], name)
            case AddBorder(values, rows, columns) if not self.dataflow:
                full = values[rows[:, None], columns[None, :]].reshape(1, *kind.shape)
                self._emit("Add", [x, self._constant(f"{name}_border", full)], name)
            case Threshold(bounds, out_bias, out_scale):
                table = self._constant(f"{name}_bounds", bounds, bound_type(kind, bounds))
                settings = {"out_dtype": made.datatype, "data_layout": "NHWC" if len(kind.shape) == 3 else "NC"}
                scaling = {"out_scale": float(out_scale), "out_bias": float(out_bias)}
                self._emit("MultiThreshold", [x, table], name, QONNX, **settings, **scaling)
            case Best(k):
                self._best(x, name, kind, k)
            case DuplicateStreams():
                count = self.graph.uses(name)
                last = [name] if name == self.graph.output else []
                copies = [f"{name}_{i}" for i in range(count - len(last))]
                for copy in copies:
                    self._inner(copy, made)
                self.copies[name] = list(copies)
                unit = unit_node(name, op, [kind], made, copies=len(copies) + len(last))
                self._unit(unit, [x], [*copies, *last])
            case (
                FMPadding()
                | SlidingWindow()
                | Mvau()
                | Thresholding()
                | StreamingMaxPool()
                | Pool()
                | GlobalAccPool()
                | AddStreams()
                | StreamingConcat()
                | ChannelwiseMul()
                | LabelSelect()
                | AddBorder()
            ):
                kinds = [self.graph.types[tensor] for tensor in node.inputs]
                self._unit(unit_node(name, op, kinds, made, self.finn_plus), sources, [name])
            case _:
                assert_never(op)

    def _scalar(self, name: str, value: float) -> str:
        return self._constant(name, np.array(value))

    def _channels_last(self, x: str, name: str, kind: TensorType) -> None:
        if len(kind.shape) == 3:
            self._emit("Transpose", [x], name, perm=[0, 2, 3, 1])
            return
        turned = self._inner(
            f"{name}_turned", TensorType((kind.shape[1], kind.shape[0]), kind.low, kind.high, kind.step)
        )
        self._emit("Transpose", [x], turned, perm=[0, 2, 1])
        self._emit("Unsqueeze", [turned, self._whole(f"{name}_axes", [1])], name)

    def _activation(self, x: str, name: str, op: PiecewiseLinear, kind: TensorType) -> None:
        operators = operators_of(op, name)
        for index, operator in enumerate(operators):
            made = name if index == len(operators) - 1 else self._inner(f"{name}_{index}", TensorType(kind.shape))
            constants = []
            for key, value in operator.constants.items():
                if value is None:
                    constants.append("")
                else:
                    shaped = value[0] if value.size == 1 else self._a_channel(value, kind)
                    constants.append(self._constant(f"{name}_{key}", shaped))
            self._emit(operator.kind, [x, *constants], made, **operator.settings)
            x = made

    def _affine(self, x: str, name: str, op: Affine, made: TensorType) -> None:
        scale, shift, divisor = (self._a_channel(part, made) for part in (op.scale, op.shift, op.divisor))
        self.extra.append((f"{name}_scaled", made))
        self._emit("Mul", [x, self._constant(f"{name}_scale", scale)], f"{name}_scaled")
        x = f"{name}_scaled"
        if np.any(divisor != 1):
            self.extra.append((f"{name}_divided", made))
            self._emit("Div", [x, self._constant(f"{name}_divisor", divisor)], f"{name}_divided")
            x = f"{name}_divided"
        self._emit("Add", [x, self._constant(f"{name}_shift", shift)], name)

    def _quantize(self, x: str, name: str, scale: Array, limits: Pair, rounding: str) -> None:
        """`Quant` with the zero point that turns a bit width into the limits."""
        low, high = limits
        bits = (high - low).bit_length()
        narrow = high - low == 2**bits - 2
        signed = low < 0
        zero = (-(2 ** (bits - 1)) + int(narrow) if signed else 0) - low
        odd = rounding == "HALF_ODD"
        # One signed bit is a sign in QONNX.
        fits = (narrow or high - low == 2**bits - 1) and (bits > 1 or not signed)
        moved = rounding == "ROUND_TO_ZERO" and zero != 0
        if not fits or moved or (rounding in ("ROUND", "HALF_ODD") and odd != bool(zero % 2)):
            # A wider quantizer of the right zero point, and limits behind it.
            signed, narrow, zero = True, False, int(odd)
            bits = max((high + zero).bit_length(), (-low - zero - 1).bit_length() if low + zero < 0 else 0, 1) + 1
            if scale.size > 1 or bits > _WIDEST_QUANTIZER:
                raise Problem(f"a quantizer to {low}..{high} has no bit width", f"{name!r}")
            fits = False
        # qonnx knows rounding to zero as DOWN alone.
        rounding = {"HALF_ODD": "ROUND", "ROUND_TO_ZERO": "DOWN"}.get(rounding, rounding)
        shaped = self._a_channel(scale, self.graph.types[name])
        values = (("scale", shaped), ("zero", np.array(float(zero))), ("bits", np.array(float(bits))))
        constants = [self._constant(f"{name}_{key}", value) for key, value in values]
        settings = {"signed": int(signed), "narrow": int(narrow), "rounding_mode": rounding}
        wide = name if fits else f"{name}_wide"
        self._emit("Quant", [x, *constants], wide, QONNX, **settings)
        if not fits:
            self.extra.append((wide, TensorType(self.graph.types[name].shape)))
            ends = [self._scalar(f"{name}_{key}", end * scale[0]) for key, end in (("low", low), ("high", high))]
            self._emit("Clip", [wide, *ends], name)

    def _pad(self, x: str, name: str, pads: Sides, value: float) -> None:
        top, left, bottom, right = pads
        sides = self._whole(f"{name}_pads", [0, top, left, 0, 0, bottom, right, 0])
        self._emit("Pad", [x, sides, self._scalar(f"{name}_value", value)], name)

    def _im2col(self, node: Node, x: str, kernel: Sequence[int], stride: Pair) -> str:
        source, made = self.graph.types[node.input], self.graph.types[node.name]
        name = f"{node.name}_window"
        size = int(np.prod(kernel)) * source.channels
        self._inner(name, TensorType((*made.shape[:2], size), source.low, source.high, source.step))
        settings = {"kernel_size": [int(k) for k in kernel], "stride": list(stride), "pad_amount": [0, 0, 0, 0]}
        self._emit("Im2Col", [x], name, QONNX, **settings, input_shape=str((1, *source.shape)))
        return name

    def _sum_pool(self, node: Node, x: str, kernel: Pair, stride: Pair) -> None:
        """A sum over the whole map as such, any other as a sum over the places of a sliding window."""
        kind, made = self.graph.types[node.input], self.graph.types[node.name]
        if kernel == kind.shape[:2]:
            self._emit("ReduceSum", [x, self._whole(f"{node.name}_axes", [1, 2])], node.name, keepdims=1)
            return
        window = self._im2col(node, x, kernel, stride)
        taps = np.tile(np.eye(made.channels), (kernel[0] * kernel[1], 1))
        self._emit("MatMul", [window, self._constant(f"{node.name}_taps", taps, "BINARY")], node.name)

    def _xnor(self, name: str, source: str, bits: Array) -> None:
        weight = self._constant(f"{name}_weight", bits.T, "BINARY")
        self._emit("XnorPopcountMatMul", [source, weight], name, QONNX)

    def _best(self, x: str, name: str, kind: TensorType, k: int) -> None:
        values = f"{name}_values"
        self.extra.append((values, TensorType((k,))))
        count = self._whole(f"{name}_k", [k])
        self.nodes.append(helper.make_node("TopK", [x, count], [values, name], name=name, axis=-1, largest=1, sorted=1))

    def _unit(self, unit: UnitNode, sources: list[str], outputs: list[str]) -> None:
        tables = [self._constant(*table) for table in unit.tables]
        self.nodes.append(
            helper.make_node(
                unit.kind,
                [*sources, *tables],
                outputs,
                name=unit.name,
                domain=FINN,
                backend="fpgadataflow",
                **unit.settings,
            )
        )


def _padded(kind: TensorType, pads: Sides) -> TensorType:
    height, width, channels = kind.shape
    shape = (height + pads[0] + pads[2], width + pads[1] + pads[3], channels)
    return TensorType(shape, kind.low, kind.high, kind.step)

"""Read an ONNX file of any stage: QONNX, streamlined FINN-ONNX, or dataflow nodes.

This is one of the two modules that know protobuf. Every operator that can be read is a method
`_<operator>` of `_Reader`; its first docstring line is the user's documentation.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import DecodeError

from bnnflow import Problem

from . import constants
from .graph import (
    Affine,
    AnyOp,
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
    result_type,
)


@dataclass(frozen=True, slots=True)
class _Live:
    """A tensor of the ONNX file in terms of the graph.

    shape is the ONNX shape without the batch; `first` says that its axes are channels first while
    the graph's are channels last; `order`[i] is the graph's index of ONNX element i of a flattened
    map; `window` holds kernel and stride of an `Im2Col` that a matrix product has yet to take up.
    """

    tensor: str
    shape: tuple[int, ...]
    first: bool = False
    order: Array | None = None
    window: tuple[tuple[int, int], tuple[int, int]] | None = None


def load(path: Path) -> onnx.ModelProto:
    """Parse and check an ONNX file.

    Raises:
        Problem: the file is missing, cut off, not ONNX, or not valid by the ONNX checker.
    """
    try:
        model = onnx.load(str(path))
        if not model.graph.node:
            raise Problem("this ONNX file holds no operations", str(path), "export the network again")
        _import_domains(model)
        onnx.checker.check_model(model)
    except (DecodeError, onnx.checker.ValidationError, ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else "it cannot be parsed"
        raise Problem(
            "this is not a valid ONNX file",
            str(path),
            f"it may be cut off or damaged; export it again ({reason})",
        ) from error
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise Problem(f"the ONNX file cannot be opened: {reason}", str(path), "check the path") from error
    return model


def _import_domains(model: onnx.ModelProto) -> None:
    # Brevitas before 0.12 and qonnx' model merge leave the import of their own domain out.
    known = {item.domain for item in model.opset_import}
    for domain in {node.domain for node in model.graph.node} - known - {""}:
        model.opset_import.append(onnx.helper.make_opsetid(domain, 1))


def read(source: Path | onnx.ModelProto) -> Graph:
    """The graph that an ONNX file holds, whatever batch it states.

    Raises:
        Problem: the file is damaged, or an operator, a shape or a weight cannot be represented; the
            message names the node and says what to do.
    """
    if isinstance(source, Path):
        model, name = load(source), source.stem
    else:
        model, name = source, source.graph.name
    reader = _Reader(model)
    for node in model.graph.node:
        reader.take(node)
    return reader.graph(re.sub(r"\s+", "_", name) or "graph")


@dataclass(frozen=True, slots=True)
class Surveyed:
    """How one operator of a file fares.

    Attributes:
        node, operator: its name and kind in the file.
        becomes: the operations that it becomes; "folded" for constants, "joined" where it is merged with
            the one before, "not reached" behind a refused one.
        problem: why it is refused; None where it is not.
        made: names of the graph's nodes that it becomes.
    """

    node: str
    operator: str
    becomes: str
    problem: Problem | None = None
    made: tuple[str, ...] = ()


def survey(model: onnx.ModelProto) -> list[Surveyed]:
    """One row an operator, in file order; what lies behind a refused operator is "not reached"."""
    reader, rows, lost = _Reader(model), [], set[str]()
    for node in model.graph.node:
        before, blocked, becomes = len(reader.nodes), None, "not reached"
        names: tuple[str, ...] = ()
        if lost & set(node.input):
            lost.add(node.output[0])
            if node.op_type not in supported_operators():
                blocked = Problem(f"operator {node.op_type} is not supported", f"{node.op_type} {node.name!r}")
        else:
            try:
                reader.take(node)
                names = tuple(item.name for item in reader.nodes[before:])
                becomes = ", ".join(type(item.op).__name__ for item in reader.nodes[before:]) or (
                    "joined" if node.output[0] in reader.live else "folded"
                )
            except Problem as problem:
                blocked = problem
                lost.add(node.output[0])
        rows.append(Surveyed(node.name or node.output[0], node.op_type, "" if blocked else becomes, blocked, names))
    return [replace(row, made=tuple(reader.joined.get(name, name) for name in row.made)) for row in rows]


class _Reader:
    def __init__(self, model: onnx.ModelProto) -> None:
        self.model = model
        self.constants = constants.initializers(model)
        self.live: dict[str, _Live] = {}
        self.nodes: list[Node] = []
        self.types: dict[str, TensorType] = {}
        self.counts: dict[str, int] = {}
        self.joined: dict[str, str] = {}
        self.uses = Counter(name for node in model.graph.node for name in node.input)
        self.uses.update(item.name for item in model.graph.output)
        inputs = [item for item in model.graph.input if item.name not in self.constants]
        if len(inputs) != 1 or len(model.graph.output) != 1:
            raise Problem(
                f"one input and one output are needed, this file has {len(inputs)} and {len(model.graph.output)}",
                model.graph.name,
                "export the network with a single image input and a single score output",
            )
        self._open(inputs[0])

    def _open(self, item: onnx.ValueInfoProto) -> None:
        shape = tuple(d.dim_value for d in item.type.tensor_type.shape.dim)[1:]
        if len(shape) not in (1, 3) or min(shape) < 1:
            raise Problem(
                "the input must have the shape [batch, channels, height, width] or [batch, features]",
                f"input {item.name!r} has {shape} behind the batch",
            )
        datatype = constants.datatypes(self.model).get(item.name, "")
        known = constants.integer_range(datatype)
        if known and known[1] >= 2**32:
            raise Problem(f"an input of type {datatype} is too wide", f"input {item.name!r}", "use up to 32 bits")
        self.input = _plain(item.name) or "image"
        self.types[self.input] = TensorType(shape, *known) if known else TensorType(shape)
        self.live[item.name] = _Live(self.input, shape)
        if len(shape) == 3:
            self._push("channels_last", ChannelsLast(), self.input)
            self.live[item.name] = _Live("channels_last", shape, first=True)

    def graph(self, name: str) -> Graph:
        """The finished graph."""
        output = self.model.graph.output[0].name
        live = self.live.get(output)
        if live is None or live.window or live.order is not None or len(live.shape) != 1:
            raise Problem(
                "the output must be one score a class, computed from the input",
                f"output {output!r}" + (f" of shape {live.shape}" if live else ""),
                "end the network with a dense layer",
            )
        return Graph(name, self.input, self.types[self.input], tuple(self.nodes), self.live[output].tensor)

    def take(self, node: onnx.NodeProto) -> None:
        """Read one node: fold it when all its inputs are constant, else call its operator's method."""
        where = f"{node.op_type} {node.name or node.output[0]!r}"
        live = [name for name in node.input if name in self.live]
        unknown = [name for name in node.input if name and name not in self.live and name not in self.constants]
        if unknown:
            raise Problem("an operation reads a tensor that nothing makes", f"{where} reads {unknown[0]!r}")
        if not live:
            value = self._guarded(where, constants.fold, node, [self.constants[name] for name in node.input if name])
            if value is None:
                raise Problem("this operator cannot be computed in advance", where, "store its value as a constant")
            self.constants[node.output[0]] = value
            return
        if node.op_type == "Shape":
            self.constants[node.output[0]] = np.array([1, *self.live[node.input[0]].shape])
            return
        method: Any = getattr(self, f"_{node.op_type}", None)
        if method is None:
            raise Problem(
                f"operator {node.op_type} is not supported",
                where,
                f"supported are: {', '.join(supported_operators())}",
            )
        if len(live) > 1:
            raise Problem(
                "joining two computed tensors is not supported yet",
                where,
                "networks without branches compile today",
            )
        x = self.live[live[0]]
        if x.window and node.op_type not in ("MatMul", "XnorPopcountMatMul"):
            raise Problem("Im2Col must be followed by a matrix product", where)
        self.live[node.output[0]] = self._guarded(where, method, node, x)

    def _guarded(self, where: str, work: Callable[..., Any], *arguments: Any) -> Any:
        """Call `work`; whatever a malformed operator makes it stumble over becomes a Problem at its place."""
        try:
            return work(*arguments)
        except Problem as problem:
            raise Problem(problem.what, where, problem.hint, problem.status) from problem
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise Problem(
                f"this operator's attributes or constants do not fit it ({type(error).__name__}: {error})",
                where,
                "the file may be damaged; export it again",
            ) from error

    # -- helpers -------------------------------------------------------------------------------

    def _add(self, kind: str, op: AnyOp, source: str, node: onnx.NodeProto | None = None) -> str:
        name = _plain(node.name) if node is not None else ""
        if not name or name in self.types:
            name = self._fresh(kind)
        return self._push(name, op, source)

    def _push(self, name: str, op: AnyOp, source: str) -> str:
        self.types[name] = result_type(op, self.types[source], name)
        self.nodes.append(Node(name, op, source))
        return name

    def _fresh(self, kind: str) -> str:
        while True:
            number = self.counts.get(kind, 0)
            self.counts[kind] = number + 1
            if f"{kind}{number}" not in self.types:
                return f"{kind}{number}"

    def _constant(self, node: onnx.NodeProto, index: int, what: str) -> Array:
        if index >= len(node.input) or node.input[index] not in self.constants:
            raise Problem(f"{what} must be constant")
        return self.constants[node.input[index]]

    def _per_channel(self, value: Array, x: _Live) -> Array:
        """A constant that is broadcast to `x` as (channels,) or (1,) float64 in the graph's order."""
        if not np.all(np.isfinite(value)):
            raise Problem("a constant holds NaN or infinity", hint="train again or repair the file")
        full = np.broadcast_to(np.asarray(value, np.float64), (1, *x.shape))[0]
        if x.order is not None:
            reordered = np.empty_like(full)
            reordered[x.order] = full
            full = reordered
        if x.first:
            full = np.moveaxis(full, 0, -1)
        flat = full.reshape(-1, full.shape[-1])
        if not np.all(flat == flat[0]):
            raise Problem("a constant that differs between positions of a map is not supported")
        return flat[0, :1].copy() if np.all(flat[0] == flat[0, 0]) else flat[0].copy()

    def _affine(self, node: onnx.NodeProto, x: _Live, op: Affine) -> _Live:
        before = self.nodes[-1] if self.nodes else None
        known_as = [name for name, live in self.live.items() if live.tensor == x.tensor]
        if (
            before is not None
            and before.name == x.tensor
            and isinstance(before.op, Affine)
            and len(known_as) == 1
            and self.uses[known_as[0]] == 1
            and not before.op.shift.any()
            and np.all(op.scale == 1)
            and np.all(op.divisor == 1)
        ):
            # A product and the sum behind it are one step: nothing is rounded by joining them.
            self.nodes.pop()
            del self.types[before.name]
            whole = Affine(before.op.scale, op.shift, before.op.divisor)
            self.joined[before.name] = self._add("affine", whole, before.input, node)
            return replace(x, tensor=self.joined[before.name])
        return replace(x, tensor=self._add("affine", op, x.tensor, node))

    def _elementwise(self, node: onnx.NodeProto, x: _Live) -> tuple[Array, bool]:
        left = node.input[0] in self.constants
        return self._per_channel(self.constants[node.input[0 if left else 1]], x), left

    # -- elementwise ---------------------------------------------------------------------------

    def _Add(self, node: onnx.NodeProto, x: _Live) -> _Live:
        """Add a constant, one for all or one a channel."""
        value, _ = self._elementwise(node, x)
        return self._affine(node, x, Affine(np.ones(1), value))

    def _Sub(self, node: onnx.NodeProto, x: _Live) -> _Live:
        """Subtract a constant, or subtract from one."""
        value, left = self._elementwise(node, x)
        return self._affine(node, x, Affine(-np.ones(1), value) if left else Affine(np.ones(1), -value))

    def _Mul(self, node: onnx.NodeProto, x: _Live) -> _Live:
        """Multiply by a constant, one for all or one a channel."""
        value, _ = self._elementwise(node, x)
        return self._affine(node, x, Affine(value, np.zeros(1)))

    def _Div(self, node: onnx.NodeProto, x: _Live) -> _Live:
        """Divide by a constant other than 0."""
        value, left = self._elementwise(node, x)
        if left or np.any(value == 0):
            raise Problem("division needs a constant other than 0 below the line")
        return self._affine(node, x, Affine(np.ones(1), np.zeros(1), value))

    def _BatchNormalization(self, node: onnx.NodeProto, x: _Live) -> _Live:
        """Batch normalization with constant statistics."""
        gain, bias, mean, variance = (
            np.asarray(self._constant(node, i, "a batch norm's statistics"), np.float64) for i in range(1, 5)
        )
        epsilon = constants.attributes(node).get("epsilon", 1e-5)
        if len(x.shape) == 3 and not x.first:
            raise Problem("batch norm on a channels-last map is not supported", hint="put it before the transposition")
        if not all(value.shape == (x.shape[0],) for value in (gain, bias, mean, variance)):
            raise Problem(f"batch norm for {gain.size} channels on {x.shape[0]}")
        if np.any(variance + epsilon <= 0):
            raise Problem("a batch norm's variance is not positive", hint="train again or repair the file")
        # Two steps and a divisor of its own: a threshold at an integer mean stays exactly there.
        centred = self._affine(node, x, Affine(np.ones(1), self._channels(-mean, x)))
        deviation = self._channels(np.sqrt(variance + epsilon), x)
        return self._affine(node, centred, Affine(self._channels(gain, x), self._channels(bias, x), deviation))

    def _channels(self, value: Array, x: _Live) -> Array:
        shaped = value.reshape(-1, 1, 1) if x.first and len(x.shape) == 3 else value
        return self._per_channel(shaped, x)

    def _Identity(self, node: onnx.NodeProto, x: _Live) -> _Live:
        """Removed."""
        return x

    def _Dropout(self, node: onnx.NodeProto, x: _Live) -> _Live:
        """Removed: it does nothing outside training."""
        return x

    # -- quantizers ----------------------------------------------------------------------------

    def _BipolarQuant(self, node: onnx.NodeProto, x: _Live) -> _Live:
        """+scale where x >= 0, else -scale; one positive scale."""
        scale = self._per_channel(self._constant(node, 1, "a quantizer's scale"), x)
        if scale.size != 1 or scale[0] <= 0:
            raise Problem("a bipolar quantizer needs one positive scale")
        made = replace(x, tensor=self._add("sign", Sign(), x.tensor, node))
        return made if scale[0] == 1 else self._affine(node, made, Affine(scale, np.zeros(1)))

    def _Quant(self, node: onnx.NodeProto, x: _Live) -> _Live:
        """Uniform quantizer with zero point 0, one positive scale and rounding to even, up to 8 bits."""
        scale, zero, bits = (self._constant(node, i, "a quantizer's parameters") for i in (1, 2, 3))
        settings = constants.attributes(node)
        if np.size(scale) != 1 or float(scale.reshape(-1)[0]) <= 0 or np.any(zero != 0):
            raise Problem("a quantizer needs one positive scale and zero point 0")
        if settings.get("rounding_mode", "ROUND").upper() != "ROUND":
            raise Problem(f"rounding mode {settings['rounding_mode']} is not supported", hint="use ROUND")
        width = int(bits.reshape(-1)[0])
        if not 1 <= width <= 8 or (width == 1 and settings.get("signed", 1)):
            raise Problem(f"a quantizer to {width} bits is not supported", hint="use 2 to 8 bits, or BipolarQuant")
        op = Quantize(
            float(scale.reshape(-1)[0]),
            width,
            bool(settings.get("signed", 1)),
            bool(settings.get("narrow", 0)),
        )
        return replace(x, tensor=self._add("quantize", op, x.tensor, node))

    _IntQuant = _Quant

    def _MultiThreshold(self, node: onnx.NodeProto, x: _Live) -> _Live:
        """FINN thresholds on integers; integer output scale and bias."""
        settings = constants.attributes(node)
        step, low = float(settings.get("out_scale", 1.0)), float(settings.get("out_bias", 0.0))
        if step != int(step) or low != int(low) or not 0 < step < 2**15 or abs(low) >= 2**15:
            raise Problem("thresholds need a whole positive output scale and a whole bias, below 32,768")
        if len(x.shape) == 3 and (settings.get("data_layout", "") in ("NHWC",)) == x.first:
            raise Problem("data_layout does not say where this tensor's channels are", hint="NCHW or NHWC")
        bounds = self._bounds(node, 1, x)
        return replace(x, tensor=self._add("threshold", Threshold(bounds, int(low), int(step)), x.tensor, node))

    def _bounds(self, node: onnx.NodeProto, index: int, x: _Live, sums: TensorType | None = None) -> Array:
        """Thresholds as integers in [low, high + 1], one row for all or one a channel in the graph's order."""
        kind = sums or self.types[x.tensor]
        if kind.is_float:
            raise Problem("thresholds need an integer input")
        table = np.asarray(self._constant(node, index, "thresholds"), np.float64)
        if table.ndim != 2 or np.any(np.isnan(table)) or np.any(np.diff(table, axis=1) < 0):
            raise Problem("thresholds must be a table (channels, levels) that does not fall along the levels")
        low, high = kind.range
        # On integers, x >= t and x >= ceil(t) are the same; beyond the range all bounds are alike.
        bounds = np.clip(np.ceil(table), low, high + 1).astype(np.int64)
        if sums is None and x.order is not None and len(bounds) > 1:
            bounds = _reorder_columns(bounds.T, x.order).T
        return bounds

    # -- layers --------------------------------------------------------------------------------

    def _Conv(self, node: onnx.NodeProto, x: _Live) -> _Live:
        """2-d convolution, no padding, no dilation, one group, binary weights, any stride."""
        weight = self._constant(node, 1, "a convolution's weights")
        settings = constants.attributes(node)
        if weight.ndim != 4 or not x.first:
            raise Problem("only 2-d convolutions on channels-first maps are supported")
        if settings.get("group", 1) != 1 or any(d != 1 for d in settings.get("dilations", [1, 1])):
            raise Problem("groups and dilation are not supported", hint="use groups=1, dilation=1")
        if any(settings.get("pads", [0])) or settings.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
            raise self._padding(x)
        stride = tuple(settings.get("strides", [1, 1]))
        signs, scale = _binary(np.moveaxis(np.asarray(weight, np.float64), 1, -1))
        name = self._add("conv", Conv(signs, (int(stride[0]), int(stride[1]))), x.tensor, node)
        shape = self.types[name].shape
        made = _Live(name, (shape[2], shape[0], shape[1]), first=True)
        return self._finish(node, made, scale, 2)

    def _padding(self, x: _Live) -> Problem:
        kind = self.types[x.tensor]
        if kind.is_bipolar:
            return Problem(
                "zero padding of a tensor of -1 and +1 makes a third value",
                hint="train without padding (padding=0), or pad with -1 (Pad with value -1 before the convolution)",
            )
        return Problem("padding is not supported yet", hint="use padding=0")

    def _MatMul(self, node: onnx.NodeProto, x: _Live) -> _Live:
        """Matrix product with constant binary weights."""
        weight = np.asarray(self._constant(node, 1, "a matrix product's weights"), np.float64)
        if x.window:
            kernel, stride = x.window
            signs, scale = _binary(weight.T.reshape(weight.shape[1], *kernel, -1))
            name = self._add("conv", Conv(signs, stride), x.tensor, node)
            return self._finish(node, _Live(name, self.types[name].shape), scale, 9)
        return self._dense(node, x, weight.T)

    def _Gemm(self, node: onnx.NodeProto, x: _Live) -> _Live:
        """Matrix product with constant binary weights and an optional bias."""
        settings = constants.attributes(node)
        if settings.get("transA", 0) or settings.get("alpha", 1.0) != 1.0 or settings.get("beta", 1.0) != 1.0:
            raise Problem("Gemm with transA, alpha or beta is not supported")
        weight = np.asarray(self._constant(node, 1, "a matrix product's weights"), np.float64)
        return self._dense(node, x, weight if settings.get("transB", 0) else weight.T, 2)

    def _dense(self, node: onnx.NodeProto, x: _Live, weight: Array, bias: int = 9) -> _Live:
        if len(x.shape) != 1 or weight.ndim != 2:
            raise Problem("a matrix product needs a flattened input", hint="put Flatten before it")
        if weight.shape[1] != x.shape[0]:
            raise Problem(f"weights for {weight.shape[1]} inputs on {x.shape[0]}")
        signs, scale = _binary(_reorder_columns(weight, x.order))
        name = self._add("dense", Dense(signs), x.tensor, node)
        return self._finish(node, _Live(name, (signs.shape[0],)), scale, bias)

    def _finish(self, node: onnx.NodeProto, made: _Live, scale: Array, bias: int) -> _Live:
        """Weight scale and bias of a layer as an affine operation, where they do anything."""
        shift = np.zeros(1)
        if len(node.input) > bias and node.input[bias]:
            shift = self._channels(np.asarray(self._constant(node, bias, "a bias"), np.float64), made)
        if np.all(scale == 1) and not shift.any():
            return made
        return self._affine(node, made, Affine(scale[:1] if np.all(scale == scale[0]) else scale, shift))

    def _Im2Col(self, node: onnx.NodeProto, x: _Live) -> _Live:
        """qonnx sliding window before a matrix product, channels last, without padding."""
        settings = constants.attributes(node)
        if x.first or any(settings.get("pad_amount", [0])) or settings.get("depthwise", 0):
            raise Problem("Im2Col is supported channels last, without padding, not depthwise")
        if any(d != 1 for d in settings.get("dilations", [1, 1])):
            raise Problem("dilation is not supported")
        return replace(x, window=(_pair(settings["kernel_size"]), _pair(settings["stride"])))

    def _XnorPopcountMatMul(self, node: onnx.NodeProto, x: _Live) -> _Live:
        """Number of equal bits of a row and each column of constant bits."""
        weight = self._constant(node, 1, "weights")
        if not np.all((weight == 0) | (weight == 1)) or not self.types[x.tensor].is_binary:
            raise Problem("an XNOR product needs bits (0, 1) on both sides")
        bits = weight.T.astype(np.uint8)
        if x.window:
            kernel, stride = x.window
            name = self._add("conv", XnorConv(bits.reshape(len(bits), *kernel, -1), stride), x.tensor, node)
            return _Live(name, self.types[name].shape)
        name = self._add("dense", XnorDense(_reorder_columns(bits, x.order)), x.tensor, node)
        return _Live(name, (len(bits),))

    # -- shapes and pooling --------------------------------------------------------------------

    def _MaxPool(self, node: onnx.NodeProto, x: _Live) -> _Live:
        """2-d max pooling without padding, dilation or ceil mode."""
        settings = constants.attributes(node)
        if (
            any(settings.get("pads", [0]))
            or settings.get("ceil_mode", 0)
            or settings.get("auto_pad")
            not in (
                None,
                "NOTSET",
                "VALID",
            )
        ):
            raise Problem("padding and ceil mode of a pool are not supported", hint="use padding=0, ceil_mode=False")
        if any(d != 1 for d in settings.get("dilations", [1, 1])) or not x.first:
            raise Problem("this max pool is not supported", hint="use a 2-d pool, dilation=1, channels first")
        kernel = _pair(settings["kernel_shape"])
        name = self._add("pool", MaxPool(kernel, _pair(settings.get("strides", [1, 1]))), x.tensor, node)
        shape = self.types[name].shape
        return _Live(name, (shape[2], shape[0], shape[1]), first=True)

    def _MaxPoolNHWC(self, node: onnx.NodeProto, x: _Live) -> _Live:
        """FINN max pooling, channels last, without padding."""
        settings = constants.attributes(node)
        if any(settings.get("pads", [0])) or x.first:
            raise Problem("MaxPoolNHWC is supported channels last and without padding")
        kernel, stride = _pair(settings["kernel_shape"]), _pair(settings["strides"])
        name = self._add("pool", MaxPool(kernel, stride), x.tensor, node)
        return _Live(name, self.types[name].shape)

    def _Flatten(self, node: onnx.NodeProto, x: _Live) -> _Live:
        """All axes behind the batch to one."""
        if len(x.shape) == 1:
            return x
        order = None
        if x.first:
            channels, height, width = x.shape
            places = np.arange(channels * height * width).reshape(height, width, channels)
            order = np.moveaxis(places, -1, 0).reshape(-1)
        name = self._add("flatten", Flatten(), x.tensor, node)
        return _Live(name, self.types[name].shape, order=None if order is None or _sorted(order) else order)

    def _Reshape(self, node: onnx.NodeProto, x: _Live) -> _Live:
        """Flattening of all axes behind the batch; any other reshape is refused."""
        target = [int(size) for size in self._constant(node, 1, "a shape").reshape(-1)]
        count = int(np.prod(x.shape))
        if len(target) == 2 and target[1] in (-1, count):
            return self._Flatten(node, x)
        if tuple(target[1:]) == x.shape:
            return x
        raise Problem(f"reshape to {target} is not supported", hint="only flattening is")

    def _Transpose(self, node: onnx.NodeProto, x: _Live) -> _Live:
        """Channels first to channels last and back; any other transposition is refused."""
        permutation = list(constants.attributes(node).get("perm", []))
        if permutation == [0, 2, 3, 1] and x.first:
            return replace(x, shape=(*x.shape[1:], x.shape[0]), first=False)
        if permutation == [0, 3, 1, 2] and len(x.shape) == 3 and not x.first:
            return replace(x, shape=(x.shape[2], *x.shape[:2]), first=True)
        raise Problem(f"transposition {permutation} is not supported", hint="only NCHW to NHWC and back are")

    # -- FINN dataflow nodes -------------------------------------------------------------------

    def _Thresholding(self, node: onnx.NodeProto, x: _Live) -> _Live:
        """FINN thresholding unit with binary output."""
        settings = constants.attributes(node)
        bounds = self._bounds(node, 1, x)
        bounds = np.repeat(bounds, self.types[x.tensor].channels, 0) if len(bounds) == 1 else bounds
        if bounds.shape[1] != 1 or settings.get("ActVal", 0) != 0 or x.first:
            raise Problem("thresholding units with one level and ActVal 0, channels last, are supported")
        op = Thresholding(bounds, int(settings["PE"]))
        return replace(x, tensor=self._add("thresholding", op, x.tensor, node))

    def _ConvolutionInputGenerator(self, node: onnx.NodeProto, x: _Live) -> _Live:
        """FINN sliding window unit, no dilation, not depthwise."""
        settings = constants.attributes(node)
        if settings.get("depthwise", 0) or any(d != 1 for d in settings.get("Dilation", [1, 1])) or x.first:
            raise Problem("depthwise, dilated or channels-first sliding windows are not supported")
        op = SlidingWindow(_pair(settings["ConvKernelDim"]), _pair(settings["Stride"]), int(settings["SIMD"]))
        name = self._add("window", op, x.tensor, node)
        return _Live(name, self.types[name].shape)

    def _MVAU(self, node: onnx.NodeProto, x: _Live) -> _Live:
        """FINN matrix-vector-activation unit with binary weights and at most one threshold a row."""
        settings = constants.attributes(node)
        weight = self._constant(node, 1, "weights").T
        xnor = bool(settings.get("binaryXnorMode", 0))
        if not np.all(np.isin(weight, (0, 1) if xnor else (-1, 1))):
            raise Problem("an MVAU needs binary weights: 0, 1 with binaryXnorMode, else -1, +1")
        bits = _reorder_columns((weight > 0).astype(np.uint8), x.order)
        bounds = np.zeros((0, 0), np.int64)
        if not settings.get("noActivation", 0):
            unit = Mvau(bits, bounds, xnor)
            bounds = self._bounds(node, 2, x, accumulator(unit, self.types[x.tensor]))
            if bounds.shape != (len(weight), 1) or settings.get("ActVal", 0) != 0:
                raise Problem("an MVAU needs one threshold a row and ActVal 0")
        op = Mvau(bits, bounds, xnor, int(settings["PE"]), int(settings["SIMD"]))
        name = self._add("mvau", op, x.tensor, node)
        return _Live(name, self.types[name].shape)

    def _StreamingMaxPool(self, node: onnx.NodeProto, x: _Live) -> _Live:
        """FINN streaming max pool."""
        name = self._add("pool", StreamingMaxPool(_pair(constants.attributes(node)["PoolDim"])), x.tensor, node)
        return _Live(name, self.types[name].shape)


def supported_operators() -> list[str]:
    """Names of the ONNX, QONNX and FINN operators that can be read, sorted."""
    return sorted(name[1:] for name in vars(_Reader) if re.match(r"_[A-Z]", name))


def operator_help() -> dict[str, str]:
    """What is supported of each operator, one sentence each."""
    return {name: (getattr(_Reader, f"_{name}").__doc__ or "").splitlines()[0] for name in supported_operators()}


def _plain(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) else ""


def _pair(value: Any) -> tuple[int, int]:
    return int(value[0]), int(value[1])


def _sorted(order: Array) -> bool:
    return bool(np.array_equal(order, np.arange(order.size)))


def _reorder_columns(weight: Array, order: Array | None) -> Array:
    """Columns in ONNX order to the graph's order."""
    if order is None:
        return weight
    reordered = np.empty_like(weight)
    reordered[:, order] = weight
    return reordered


def _binary(weight: Array) -> tuple[Array, Array]:
    """Signs (int8) and magnitudes (float64, (rows,)) of weights of one magnitude a row."""
    if not weight.size:
        raise Problem("the weights of this layer are empty")
    rows = np.abs(weight.reshape(len(weight), -1))
    scale = rows[:, 0]
    if not np.all(np.isfinite(rows)) or np.any(scale == 0) or not np.all(rows == scale[:, None]):
        values = len(np.unique(weight))
        raise Problem(
            f"the weights of this layer are not binary: {values} different values",
            hint="use binary weights (one magnitude a filter), such as Brevitas' SignedBinaryWeightPerTensorConst",
        )
    return np.where(weight > 0, 1, -1).astype(np.int8), scale.astype(np.float64)

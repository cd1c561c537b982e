"""The core of the reader: it walks over an ONNX file, folds what is constant, and hands each operator to its reader."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from difflib import get_close_matches
from math import prod
from typing import Any

import numpy as np
import onnx

from bnnflow import Problem, visible

from ..ir.contract import CONTRACT_KEY, InputContract, annotated, contract_of_json
from ..ir.graph import Graph, Node
from ..ir.infer import result_type
from ..ir.ops import Affine, AnyOp, ChannelsLast, Flatten, Quantize, Scale
from ..ir.tensor import Array, TensorType, integer_range
from . import constants
from .call import OPERATORS, Call, form_of, kind_of, plain_name
from .constant_folding import folded_outputs
from .constants import Constant, Levels
from .finite import check_attributes, check_made, check_read
from .layout import reads_channels_last
from .live import End, Live, PendingWindow, Signs, Steps, Turned
from .sign_tables import computed, table_of

# Types of stored inputs that say what they hold.
_STORED = {
    onnx.TensorProto.UINT8: "UINT8",
    onnx.TensorProto.INT8: "INT8",
    onnx.TensorProto.UINT16: "UINT16",
    onnx.TensorProto.INT16: "INT16",
    onnx.TensorProto.UINT4: "UINT4",
    onnx.TensorProto.INT4: "INT4",
    onnx.TensorProto.BOOL: "BINARY",
}
# qonnx' own channels-last domain gives standard names another layout.
_DOMAINS = re.compile(r"(ai\.onnx|onnx\.brevitas|(qonnx|finn|finn_plus)\.(?!.*channels_last).*)?$")
# Activations that are not read, and why.
_NO_STAIRS = {
    **dict.fromkeys(("HardSwish", "Gelu", "Swish", "Mish"), "both rises and falls"),
    **dict.fromkeys(("Sigmoid", "Tanh", "Elu", "Selu", "Celu", "Softplus", "Softsign"), "is not linear in pieces"),
}


class Reader:
    """What is known of a file while it is read: constants, live tensors, and the nodes made so far."""

    def __init__(self, model: onnx.ModelProto) -> None:
        _check_readable(model)
        self.model = model
        self.constants = constants.Constants(model)
        self.datatypes = constants.datatypes(model)
        self.live: dict[str, Live] = {}
        # By tensor of the graph, so that what is computed of one has none of its own accord.
        self.signs: dict[str, Signs] = {}
        self.nodes: list[Node] = []
        self.types: dict[str, TensorType] = {}
        self.notes: list[str] = []
        self.joined: dict[str, str] = {}
        self._places: dict[str, int] = {}
        self._finite: set[tuple[str, str, int]] = set()
        self._names: Counter[str] = Counter()
        self._counts: Counter[str] = Counter()
        self.uses = Counter(name for node in model.graph.node for name in node.input)
        self.uses.update(item.name for item in model.graph.output)
        self._left = self.uses.copy()
        inputs = [item for item in model.graph.input if item.name not in self.constants]
        if len(inputs) != 1 or len(model.graph.output) != 1:
            raise Problem(
                f"one input and one output are needed, this file has {len(inputs)} and {len(model.graph.output)}",
                visible(model.graph.name, lines=False),
                "export the network with a single image input and a single score output",
            )
        self._open(inputs[0])

    def _open(self, item: onnx.ValueInfoProto) -> None:
        kind = item.type.tensor_type
        shape = tuple(d.dim_value for d in kind.shape.dim)[1:]
        if len(shape) not in (1, 2, 3) or min(shape) < 1 or prod(shape) > constants.MOST_VALUES:
            raise Problem(
                "the input must have the shape [batch, channels, height, width], [batch, channels, length] or "
                "[batch, features]",
                f"input {item.name!r} has {shape} behind the batch",
            )
        datatype = self.datatypes.get(item.name) or _STORED.get(kind.elem_type, "")
        known = integer_range(datatype)
        if known and known[1] >= 2**32:
            raise Problem(f"an input of type {datatype} is too wide", f"input {item.name!r}", "use up to 32 bits")
        self.contract = self._contract(item.name, datatype if known is None else "")
        said = self.contract
        if known and said is not None and said.knows_data and not said.host and said.data_range != known:
            what = f"the file's input contract says {said.datatype}, its annotation {datatype}"
            raise Problem(what, f"input {item.name!r}", "compile the network again")
        self.input = plain_name(item.name) or "image"
        self.types[self.input] = TensorType(shape, *known) if known else TensorType(shape)
        if len(shape) == 1 or (len(shape) == 3 and reads_channels_last(self.model.graph, item.name)):
            self._bind(item.name, Live(self.input, shape))
            return
        name = "channels_last" if self.input != "channels_last" else "channels_last0"
        self._bind(item.name, Live(self._push(name, ChannelsLast(), self.input), shape, first=True))

    def _contract(self, name: str, datatype: str) -> InputContract | None:
        """What the file says of its input besides an integer type: a contract of ours, or FINN's fixed point."""
        texts = [entry.value for entry in self.model.metadata_props if entry.key == CONTRACT_KEY]
        if texts:
            return contract_of_json(texts[0])
        try:
            return annotated(datatype)
        except Problem as problem:
            raise problem.at(f"annotation of input {name!r}") from problem

    def graph(self, name: str) -> Graph:
        """The finished graph, without what its output does not depend on."""
        output = self.model.graph.output[0].name
        live = self.live.get(output)
        ends = live is not None and isinstance(live.pending, End)
        if live is not None and live.order is not None:
            raise Problem(
                "the output is a map that was flattened with channels first, not one score a class",
                f"output {output!r}",
                "end the network with a dense layer, or with a global pool and Flatten",
            )
        if live is None or (live.pending and not ends) or len(live.shape) > 1:
            raise Problem(
                "the output must be one score a class, computed from the input",
                f"output {output!r}" + (f" of shape {live.shape}" if live else ""),
                "end the network with a dense layer, or with a global pool and Flatten",
            )
        needed, kept = {live.tensor}, []
        for node in reversed(self.nodes):
            if node.name in needed:
                needed.update(node.inputs)
                kept.append(node)
        nodes, notes = tuple(kept[::-1]), tuple(self.notes)
        return Graph(name, self.input, self.types[self.input], nodes, live.tensor, notes, self.contract)

    # -- the walk --------------------------------------------------------------------------------

    def take(self, node: onnx.NodeProto) -> None:
        """Read one node: fold it when all its inputs are constant, else call its operator's reader."""
        if not node.output or not any(node.output):
            raise Problem("an operator makes nothing", f"{node.op_type} {node.name!r}", "the file may be damaged")
        where = f"{visible(node.op_type, lines=False)} {node.name or node.output[0]!r}"
        live = [name for name in node.input if name in self.live]
        unknown = [name for name in node.input if name and name not in self.live and name not in self.constants]
        if unknown:
            raise Problem("an operation reads a tensor that nothing makes", f"{where} reads {unknown[0]!r}")
        again = [name for name in node.output if name in self.live or name in self.constants]
        if again or len(set(filter(None, node.output))) < sum(map(bool, node.output)):
            raise Problem("two operations make the same tensor", f"{where} makes {(again or node.output)[0]!r}")
        if _DOMAINS.match(node.domain) is None:
            kind, domain = (visible(text, lines=False) for text in (node.op_type, node.domain))
            raise Problem(f"operator {kind} of domain {domain} is not supported", where)
        check_attributes(node, where)
        for index, name in enumerate(node.input):
            if name and name not in self.live and (name, node.op_type, index) not in self._finite:
                value = self.guarded(where, self.constants.__getitem__, name)
                check_read(node, where, index, name, value, not live)
                self._finite.add((name, node.op_type, index))
        self.guarded(where, self._compute if live else self._fold, node)
        check_made(node, where, {name: self.constants[name] for name in node.output if name in self.constants})
        for name in node.input:
            # A folded view keeps a whole weight tensor alive.
            self._left[name] -= 1
            if not self._left[name]:
                self.constants.release(name)

    def guarded(self, where: str, work: Callable[..., Any], *arguments: Any) -> Any:
        """Call `work`; whatever a malformed operator makes it stumble over becomes a Problem at its place."""
        try:
            return work(*arguments)
        except Problem as problem:
            raise problem.at(where) from problem
        except constants.STUMBLES as error:
            raise Problem(
                f"this operator's attributes or constants do not fit it ({type(error).__name__}: {error})",
                where,
                "the file may be damaged; export it again",
            ) from error

    def _fold(self, node: onnx.NodeProto) -> None:
        values = folded_outputs(node, [self.constants[name] if name else None for name in node.input])
        if values is None:
            raise Problem("this operator cannot be computed in advance", hint="store its value as a constant")
        for name, value in zip(node.output, values, strict=False):
            if name:
                self.constants[name] = value

    def _compute(self, node: onnx.NodeProto) -> None:
        settings = constants.attributes(node)
        kind, form = kind_of(node.op_type), form_of(node.op_type)
        if form:
            settings = {**settings, "preferred_impl_style": form}
        call = Call(kind, plain_name(node.name), tuple(node.input), tuple(node.output), settings)
        if kind in ("Shape", "Size"):
            self.constants[node.output[0]] = self._shape(call)
            return
        how = OPERATORS.get(kind)
        if how is None and kind in _NO_STAIRS:
            raise Problem(
                f"{kind} {_NO_STAIRS[kind]}, so that no thresholds stand for it and the quantizer behind it",
                hint="train with ReLU, LeakyReLU, hard tanh or hard sigmoid in its place",
            )
        if how is None:
            raise Problem(
                f"operator {visible(node.op_type, lines=False)} is not supported",
                hint=f"{_nearest(node.op_type)}`flow ops` lists what is supported",
            )
        lives = [self.live[name] for name in node.input if name in self.live]
        if not how.joins and (node.input[0] not in self.live or len(lives) > 1):
            raise Problem(
                f"{kind} of two computed tensors is not supported"
                if len(lives) > 1
                else f"the first input of {kind} must be the computed one",
            )
        for x in lives:
            if x.pending is not None and not isinstance(x.pending, how.takes):
                raise _unfinished(x.pending)
        signs = table_of(self, node) if all(x.tensor in self.signs for x in lives) else None
        table = None if signs is None else computed(self, call, lives[0], signs)
        made = how.read(self, call, lives[0]) if table is None else table
        if signs is not None and isinstance(made, Live):
            self.signs[made.tensor] = signs
        if isinstance(made, Live):
            made = {node.output[0]: made}
        for name in node.output:
            if name in made:
                self._bind(name, made[name])
            elif name and self.uses[name]:
                raise Problem(f"output {name!r} of {kind} is not supported", hint="leave it unconnected")

    def _shape(self, call: Call) -> Array:
        sizes = np.array([1, *self.live[call.inputs[0]].shape], np.int64)
        if call.kind == "Size":
            return np.array(sizes.prod(), np.int64)
        return sizes[slice(call.settings.get("start"), call.settings.get("end"))]

    def _bind(self, name: str, live: Live) -> None:
        self.live[name] = live
        self._names[live.tensor] += 1

    # -- what the operators' readers use -----------------------------------------------------------

    def constant(self, call: Call, index: int, what: str) -> Array:
        """Input `index` as numbers."""
        return _numbers(self.parameter(call, index, what))

    def parameter(self, call: Call, index: int, what: str) -> Constant:
        """Input `index` as numbers, or as integers with a scale."""
        if not call.has(index) or call.inputs[index] not in self.constants:
            raise Problem(f"{what} must be constant")
        return self.constants[call.inputs[index]]

    def whole(self, call: Call, key: str, index: int) -> tuple[int, ...] | None:
        """Whole numbers that older opsets give as an attribute and newer ones as an input; None where left out."""
        value = call.settings.get(key)
        if value is None and call.has(index):
            value = self.constant(call, index, key)
        return None if value is None else tuple(int(item) for item in np.asarray(value).reshape(-1))

    def kind(self, x: Live) -> TensorType:
        """Type of the graph's tensor."""
        return self.types[x.tensor]

    def add(self, name: str, op: AnyOp, *sources: str, call: Call | None = None) -> str:
        """Append an operation; it bears the ONNX node's name where `call` is given, else `name` and a number."""
        stated = call.name if call is not None else ""
        return self._push(stated if stated and stated not in self.types else self._fresh(name), op, *sources)

    def on(self, x: Live, name: str, op: AnyOp, call: Call | None = None) -> Live:
        """Append an operation that keeps shape and layout."""
        return replace(x, tensor=self.add(name, op, x.tensor, call=call))

    def on_map(self, x: Live, name: str, op: AnyOp, call: Call | None = None) -> Live:
        """Append an operation that makes a map of another size, laid out as `x`."""
        made = self.add(name, op, x.tensor, call=call)
        *places, channels = self.types[made].shape
        return replace(x, tensor=made, shape=x.with_places(tuple(places), channels), pending=None)

    def as_vector(self, x: Live) -> Live:
        """A map of one row and one column as the graph's vector, its ONNX shape kept."""
        if len(self.kind(x).shape) == 1:
            return x
        return self.on(x, "flatten", Flatten())

    def affine(self, call: Call, x: Live, op: Affine | Scale) -> Live:
        """Append a product or sum; what can be one step with the product before it becomes so."""
        before = self._product_before(call, x)
        if before is None or isinstance(op, Scale):
            return self.on(x, "affine" if isinstance(op, Affine) else "scale", op, call)
        node, product = before
        one = np.ones(1)
        divides = np.array_equal(op.scale, one) and not op.shift.any() and np.array_equal(product.divisor, one)
        adds = np.array_equal(op.scale, one) and np.array_equal(op.divisor, one)
        if not (divides or adds):
            return self.on(x, "affine", op, call)
        # A product and the division or sum behind it are one step: nothing is rounded by joining them.
        whole = Affine(product.scale, op.shift, op.divisor if divides else product.divisor)
        return replace(x, tensor=self._join(node, whole, call, "affine"))

    def narrowed(self, call: Call, x: Live, low: float, high: float) -> Live | None:
        """`x` within limits, by the quantizer that made it; None where these are none of its values, or others read it.

        Limits may be infinite.
        """
        node = self._before(call, x)
        if node is None or not isinstance(node.op, Quantize) or node.op.scale.size > 1:
            return None
        step = float(node.op.scale[0])
        ends = [
            whole if math.isinf(end) else round(end / step) for end, whole in ((low, node.op.low), (high, node.op.high))
        ]
        if any(whole * step != end for whole, end in zip(ends, (low, high), strict=True) if not math.isinf(end)):
            return None
        least, greatest = max(ends[0], node.op.low), min(ends[1], node.op.high)
        if least >= greatest:
            return None
        op = replace(node.op, low=least, high=greatest)
        return replace(x, tensor=self._join(node, op, call, "quantize"))

    def _join(self, node: Node, op: AnyOp, call: Call, kind: str) -> str:
        """Put an operation of two ONNX nodes in the place of the first one's; it bears the second one's name."""
        del self.types[node.name]
        self.signs.pop(node.name, None)
        place = self._places.pop(node.name)
        name = self._named(call.name) or self._fresh(kind)
        self.types[name] = result_type(op, [self.types[node.input]], name)
        self.nodes[place], self._places[name] = Node(name, op, node.inputs), place
        self.joined[node.name] = name
        return name

    def _product_before(self, call: Call, x: Live) -> tuple[Node, Affine] | None:
        """The product that made `x`, where nothing else reads it."""
        node = self._before(call, x)
        if node is not None and isinstance(node.op, Scale):
            return node, Affine(node.op.factor.astype(np.float64), np.zeros(1))
        return (node, node.op) if node is not None and isinstance(node.op, Affine) and not node.op.shift.any() else None

    def _before(self, call: Call, x: Live) -> Node | None:
        """The operation that made `x`, where nothing but `call` reads it."""
        if x.tensor not in self._places or self._names[x.tensor] > 1:
            return None
        names = [name for name in call.inputs if name in self.live and self.live[name].tensor == x.tensor]
        if len(names) > 1 or any(self.uses[name] != 1 for name in names):
            return None
        return self.nodes[self._places[x.tensor]]

    def grid(self, x: Live) -> float | None:
        """The step of the quantizer that made a tensor; None where none did, or one with steps by channel."""
        place = self._places.get(x.tensor)
        op = None if place is None else self.nodes[place].op
        return float(op.scale[0]) if isinstance(op, Quantize) and op.scale.size == 1 else None

    def _named(self, name: str) -> str:
        return name if name and name not in self.types else ""

    def _push(self, name: str, op: AnyOp, *sources: str) -> str:
        made = result_type(op, [self.types[source] for source in sources], name)
        if prod(made.shape) > constants.MOST_VALUES:
            raise Problem(f"a tensor of shape {list(made.shape)} is too large", hint="the file may be damaged")
        self.types[name] = made
        self._places[name] = len(self.nodes)
        self.nodes.append(Node(name, op, sources))
        return name

    def _fresh(self, kind: str) -> str:
        while True:
            name = f"{kind}{self._counts[kind]}"
            self._counts[kind] += 1
            if name not in self.types:
                return name


def _check_readable(model: onnx.ModelProto) -> None:
    """Refuse names that are not UTF-8, which protobuf hands out as bytes, and sparse constants."""
    graph = model.graph
    names: list[object] = [graph.name]
    for node in graph.node:
        names += [node.name, node.op_type, node.domain, *node.input, *node.output, *(a.name for a in node.attribute)]
    for items in (graph.initializer, graph.input, graph.output):
        names += [item.name for item in items]
    for note in graph.quantization_annotation:
        names.append(note.tensor_name)
        for entry in note.quant_parameter_tensor_names:
            names += [entry.key, entry.value]
    for name in names:
        if not isinstance(name, str):
            raise Problem("a name in this file is not text", str(graph.name), "the file may be damaged")
    if graph.sparse_initializer:
        raise Problem("sparse constants are not supported", repr(graph.name), "store them as dense ones")


def _numbers(value: Constant) -> Array:
    return value.value() if isinstance(value, Levels) else value


def _unfinished(pending: PendingWindow | Steps | End | Turned) -> Problem:
    if isinstance(pending, Turned):
        return Problem(
            "transpositions leave the channels between height and width, or these swapped",
            hint="only NCHW to NHWC and back are supported, in one step or several",
        )
    if isinstance(pending, PendingWindow):
        return Problem("Im2Col must be followed by a matrix product")
    if isinstance(pending, Steps):
        return Problem("QuantizeLinear must be followed by DequantizeLinear", hint="export in the QDQ form")
    return Problem(f"{pending.operator} is supported only at the end of a network", hint="remove it")


def _nearest(operator: str) -> str:
    close = get_close_matches(operator, OPERATORS, 1, 0.85)
    return f"did you mean {close[0]}? " if close else ""

"""The data types that FINN gives the tensors of a dataflow graph when it minimizes bit widths."""

from __future__ import annotations

from math import prod

from ..transforms.ir.graph import Graph, Node
from ..transforms.ir.ops import (
    AddBorder,
    AddStreams,
    ChannelsLast,
    ChannelwiseMul,
    DuplicateStreams,
    Flatten,
    FMPadding,
    GlobalAccPool,
    Mvau,
    Pool,
    SlidingWindow,
    StreamingConcat,
    StreamingMaxPool,
    Unit,
)
from ..transforms.ir.tensor import TensorType
from . import finn_formulas as finn
from .finn_formulas import FinnType


def last_unit(graph: Graph) -> str:
    """Name of the unit that no other follows; empty where there is none."""
    return next((node.name for node in reversed(graph.nodes) if isinstance(node.op, Unit)), "")


def finn_types(graph: Graph) -> dict[str, TensorType]:
    """Type of every tensor as FINN states it: each range is that of a whole data type.

    FINN works types out from types, not from values, and gives XNOR sums too few bits (`accumulator_type`); ours may
    be narrower or wider. They are what FINN's costs follow from.

    Args:
        graph: dataflow level.
    """
    kinds = {graph.input: _stated(graph.input_type)}
    last = last_unit(graph)
    for node in graph.nodes:
        kinds[node.name] = _made(graph, node, [kinds[tensor] for tensor in node.inputs], node.name == last)
    return {name: _whole(graph.types[name], kind) for name, kind in kinds.items()}


def _made(graph: Graph, node: Node, sources: list[FinnType | None], last: bool) -> FinnType | None:
    kinds = [kind for kind in sources if kind is not None]
    if len(kinds) < len(sources):
        return _stated(graph.types[node.name])
    x = kinds[0]
    match node.op:
        case Mvau(weight, xnor=xnor) if not node.op.has_bounds:
            return finn.accumulator_type(weight, *x.range, xnor, last)
        case AddStreams():
            return finn.add_type(*kinds)
        case AddBorder(values, rows, columns):
            return finn.add_type(x, finn.constant_type(values[rows][:, columns]))
        case ChannelwiseMul(factor):
            return finn.product_type(x, finn.constant_type(factor))
        case Pool(kernel, total=True):
            return finn.window_total_type(x, prod(kernel))
        case GlobalAccPool():
            return finn.global_total_type(x, prod(graph.types[node.input].shape[:2]))
        case StreamingConcat():
            return finn.concat_type(kinds)
        case (
            ChannelsLast()
            | Flatten()
            | FMPadding()
            | SlidingWindow()
            | DuplicateStreams()
            | StreamingMaxPool()
            | Pool()
        ):
            return x
        case _:
            return _stated(graph.types[node.name])


def _stated(kind: TensorType) -> FinnType | None:
    """FINN's data type of a tensor of known range, as files state it; None for floats."""
    return None if kind.is_float else FinnType(kind.bits, kind.range[0] < 0)


def _whole(kind: TensorType, finn_type: FinnType | None) -> TensorType:
    if finn_type is None:
        return TensorType(kind.shape)
    return TensorType(kind.shape, *finn_type.range, 2 if finn_type.name == "BIPOLAR" else 1)

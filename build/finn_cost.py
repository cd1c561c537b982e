"""What FINN would report of a dataflow graph: its units under its names, with its types and its estimates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from ..transforms.graph import Graph, Mvau, Node, SlidingWindow, StreamingMaxPool, TensorType, Thresholding
from . import finn_formulas as finn
from .finn_formulas import FinnCost


@dataclass(frozen=True, slots=True)
class FinnUnit:
    """One unit as FINN sees it.

    Attributes:
        name: FINN's positional name, such as MVAU_hls_0.
        node: the graph's node that it belongs to; a max pool makes two units.
        settings: PE, SIMD and memory styles, as a folding configuration holds them.
        types: data types after FINN's bit-width minimization, by FINN's attribute names.
        cost: FINN's estimate.
    """

    name: str
    node: str
    settings: dict[str, int | str]
    types: dict[str, str]
    cost: FinnCost


Part = tuple[str, dict[str, int | str], dict[str, str], FinnCost]


def finn_units(graph: Graph, classify: bool = False) -> list[FinnUnit]:
    """The units of a dataflow graph in order, as finn-plus 1.6.1 reports them; software steps are left out.

    Args:
        graph: dataflow level.
        classify: as if a `LabelSelect` followed the class sums, as FINN's users add it.
    """
    counts: dict[str, int] = {}
    units = []
    for node in graph.nodes:
        for kind, settings, types, cost in _parts(graph, node, classify):
            name = f"{kind}_{counts.get(kind, 0)}"
            counts[kind] = counts.get(kind, 0) + 1
            units.append(FinnUnit(name, node.name, settings, types, cost))
    return units


def _parts(graph: Graph, node: Node, classify: bool) -> Iterator[Part]:
    x, made = graph.types[node.input], graph.types[node.name]
    match node.op:
        case Mvau():
            sums = _mvau(node.op, x, made, last=not (node.op.has_bounds or classify))
            yield sums
            if classify and not node.op.has_bounds:
                types = {"inputDataType": sums[2]["outputDataType"]}
                yield "LabelSelect_hls", {"PE": 1}, types, finn.label_select(made.channels, 1)
        case SlidingWindow(kernel, stride, simd):
            yield _window(x, kernel, stride, simd, depthwise=False)
        case StreamingMaxPool(kernel):
            yield _window(x, kernel, kernel, x.channels, depthwise=True)
            height, width, channels = made.shape
            types = {"InputDataType": x.datatype, "OutputDataType": made.datatype}
            yield "Pool_hls", {"PE": channels}, types, finn.pool((height, width, channels), kernel, channels)
        case Thresholding(bounds, pe):
            kind = finn.bound_type(bounds, *_type_range(x))
            cost = finn.thresholding(x.channels, pe, prod(x.shape[:-1]), kind.bits, made.bits)
            types = {"inputDataType": x.datatype, "outputDataType": made.datatype, "weightDataType": kind.name}
            yield "Thresholding_rtl", {"PE": pe}, types, cost
        case _:
            pass


def _mvau(op: Mvau, x: TensorType, made: TensorType, last: bool) -> Part:
    values = op.weight if op.xnor else 2 * op.weight.astype(int) - 1
    weight = finn.weight_type(values)
    sums = finn.accumulator_type(values, *_type_range(x), op.xnor, last)
    vectors, signed = prod(x.shape[:-1]), x.range[0] < 0
    rows, columns = op.weight.shape
    cost = finn.mvau(rows, columns, op.pe, op.simd, vectors, weight.bits, x.bits, signed, sums.bits)
    types = {
        "inputDataType": x.datatype,
        "weightDataType": weight.name,
        "accDataType": sums.name,
        "outputDataType": made.datatype if op.has_bounds else sums.name,
    }
    settings: dict[str, int | str] = {"PE": op.pe, "SIMD": op.simd}
    return (
        "MVAU_hls",
        {**settings, "mem_mode": "internal_decoupled", "ram_style": "auto", "resType": "lut"},
        types,
        cost,
    )


def _window(x: TensorType, kernel: tuple[int, int], stride: tuple[int, int], simd: int, depthwise: bool) -> Part:
    height, width, channels = x.shape
    cost = finn.sliding_window((height, width, channels), kernel, stride, simd, x.bits, depthwise=depthwise)
    settings: dict[str, int | str] = {"SIMD": simd, "ram_style": "distributed"}
    types = {"inputDataType": x.datatype, "outputDataType": x.datatype}
    return "ConvolutionInputGenerator_rtl", settings, types, cost


def _type_range(x: TensorType) -> tuple[int, int]:
    """Least and greatest value of the tensor's data type, which may be wider than its values."""
    if x.is_bipolar:
        return -1, 1
    return (-(2 ** (x.bits - 1)), 2 ** (x.bits - 1) - 1) if x.range[0] < 0 else (0, 2**x.bits - 1)

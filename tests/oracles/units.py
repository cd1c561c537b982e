"""What finn-plus should say of a dataflow graph: its units under its names, with its attributes and estimates."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from bnnflow.build import finn_formulas as finn
from bnnflow.build.cost import UnitCost, estimate
from bnnflow.build.finn_reports import folding, unit_names
from bnnflow.build.finn_types import finn_types, last_unit
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import AddBorder, Affine, Best, ChannelwiseMul, LabelSelect, Mvau, Thresholding, Unit
from bnnflow.transforms.ir.tensor import TensorType
from bnnflow.transforms.writing.units import unit_node


@dataclass(frozen=True, slots=True)
class FinnUnit:
    """One unit as finn-plus sees it.

    Attributes:
        name: its positional name, such as MVAU_hls_0.
        node: the graph's node.
        attributes: of its ONNX node behind bit-width minimization, by FINN's names.
        cost: our estimate, model "finn".
    """

    name: str
    node: str
    attributes: dict[str, Any]
    cost: UnitCost


def finn_units(graph: Graph) -> list[FinnUnit]:
    """The units of a dataflow graph in order, as finn-plus 1.6.1 reports them."""
    names, settings, types = unit_names(graph, finn_plus=True), folding(graph, finn_plus=True), finn_types(graph)
    last, units = last_unit(graph), []
    for cost in estimate(graph, "finn").units:
        node, name = graph.node(cost.name), names[cost.name]
        minimized = dict(_minimized(node, types, node.name == last))
        units.append(FinnUnit(name, node.name, _stated(graph, node, types) | minimized | settings[name], cost))
    return units


def _stated(graph: Graph, node: Node, types: dict[str, TensorType]) -> dict[str, Any]:
    """What `write` states, on FINN's types; the style wished for becomes part of the operator's name."""
    assert isinstance(node.op, Unit)
    kinds = [types[tensor] for tensor in node.inputs]
    stated = unit_node(node.name, node.op, kinds, types[node.name], True, graph.uses(node.name)).settings
    return {key: value for key, value in stated.items() if key != "preferred_impl_style"}


def _minimized(node: Node, types: dict[str, TensorType], last: bool) -> Iterator[tuple[str, str]]:
    """Types of constants and sums that FINN works out from their values."""
    low, high = (0, 0) if types[node.input].is_float else types[node.input].range
    match node.op:
        case Mvau(weight, xnor=xnor):
            ends = last and not node.op.has_bounds
            yield "weightDataType", finn.minimized_weight_type(weight).name
            yield "accDataType", finn.accumulator_type(weight, low, high, xnor, ends).name
        case Thresholding(bounds):
            yield "weightDataType", finn.minimized_bound_type(bounds, low, high).name
        case AddBorder(values, rows, columns):
            yield "rhs_dtype", finn.constant_type(values[rows][:, columns]).name
        case ChannelwiseMul(factor):
            yield "rhs_dtype", finn.constant_type(factor).name
        case _:
            pass


def labelled(graph: Graph) -> Graph:
    """The graph with a `LabelSelect` in place of what is left to the host, as FINN's users add it."""
    nodes = [node for node in graph.nodes if not isinstance(node.op, Affine | Best)]
    if isinstance(nodes[-1].op, LabelSelect):
        return graph
    label = Node("label", LabelSelect(), (nodes[-1].name,))
    return replace(graph, nodes=(*nodes, label), output="label")

"""Residual units of any graph: a join whose one side is what its other side was made of; and the graph without one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .ir.graph import Graph, Node
from .ir.ops import Add, Conv, Dense


@dataclass(frozen=True, slots=True)
class ResidualUnit:
    """What a join adds to its shortcut.

    Attributes:
        name: of its first layer.
        join: the node that adds.
        shortcut: the tensor that is left of the join without the unit.
        layers: with weights, that only the unit needs, in the graph's order.
    """

    name: str
    join: str
    shortcut: str
    layers: tuple[str, ...]


def residual_units(graph: Graph) -> tuple[ResidualUnit, ...]:
    """The units that can go, in the graph's order: one side of the join reaches the other without weights.

    A shortcut that has weights of its own, as where a stage shrinks the map, is no way around its unit.
    """
    found = []
    for node in graph.nodes:
        if not isinstance(node.op, Add) or node.name == graph.output:
            continue
        for shortcut, branch in (node.inputs, node.inputs[::-1]):
            ancestors = _behind(graph, branch)
            passed = shortcut
            while passed not in ancestors and _is_plain(graph, passed):
                passed = graph.node(passed).input
            if passed not in ancestors or graph.types[shortcut].shape != graph.types[node.name].shape:
                continue
            smaller = {each.name for each in _without(graph, node.name, shortcut)}
            gone = [each.name for each in graph.nodes if each.name not in smaller]
            layers = tuple(name for name in gone if isinstance(graph.node(name).op, Conv | Dense))
            if layers:
                found.append(ResidualUnit(layers[0], node.name, shortcut, layers))
                break
    return tuple(found)


def without_unit(graph: Graph, unit: ResidualUnit) -> Graph:
    """The graph in which the unit's join is its shortcut; what nothing needs any more is left out."""
    return graph.with_nodes(tuple(_without(graph, unit.join, unit.shortcut)))


def readers_of(graph: Graph, unit: ResidualUnit) -> set[str]:
    """The nodes that read other values without the unit."""
    return {node.name for node in graph.readers(unit.join)}


def _without(graph: Graph, join: str, shortcut: str) -> list[Node]:
    nodes = []
    for node in graph.nodes:
        if node.name != join:
            inputs = tuple(shortcut if name == join else name for name in node.inputs)
            nodes.append(replace(node, inputs=inputs) if inputs != node.inputs else node)
    wanted = {graph.output}
    for node in reversed(nodes):
        if node.name in wanted:
            wanted.update(node.inputs)
    return [node for node in nodes if node.name in wanted]


def _behind(graph: Graph, tensor: str) -> set[str]:
    """A tensor, and all that it is made of."""
    found = {tensor}
    for node in reversed(graph.nodes):
        if node.name in found:
            found.update(node.inputs)
    return found


def _is_plain(graph: Graph, tensor: str) -> bool:
    """Whether a tensor is made of one other without weights."""
    op = graph.maker(tensor)
    return op is not None and not isinstance(op, Conv | Dense) and len(graph.node(tensor).inputs) == 1

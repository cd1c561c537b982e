"""Bit planes of an image, as a network takes them: which there are in a graph, and the graph without the lowest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from bnnflow import Problem

from .channels import KEEPS_CHANNELS, narrowed
from .ir.graph import Graph, Node
from .ir.ops import Add, Affine, AnyOp, Bias, ChannelsLast, Concat, Conv, Dense, Flatten, Scale, Sign, Threshold
from .ir.tensor import Array


@dataclass(frozen=True, slots=True)
class InputPlanes:
    """The highest bits of an image's values side by side.

    Attributes:
        join: the concatenation.
        parts: its inputs, each a bit of all colours, the highest first.
    """

    join: str
    parts: tuple[str, ...]


def input_planes(graph: Graph) -> tuple[InputPlanes, ...]:
    """The bit planes of a graph of the network or integer level, one entry for every place where they are joined.

    They are known by what they compute: the parts of a concatenation are followed back to the image, whose values go
    through no weights, and evaluated on every value that a pixel can have. Part k has to be one number where bit k of
    the value, counted from the highest, is 0, and a greater one where it is 1.
    """
    low, high = graph.input_type.range
    if graph.input_type.is_float or low != 0 or not 0 < high < 1 << 16:
        return ()
    pixels, bits, found = np.arange(high + 1), int(high).bit_length(), []
    values: dict[str, Array] = {graph.input: np.repeat(pixels[:, None], _colours(graph), 1).astype(np.float64)}
    for node in graph.nodes:
        if not all(tensor in values for tensor in node.inputs):
            continue
        if isinstance(node.op, Concat):
            wanted = [pixels >> (bits - 1 - place) & 1 for place in range(min(bits, len(node.inputs)))]
            parts = [values[part] for part in node.inputs]
            if len(parts) == len(wanted) and all(map(_is_bit, parts, wanted)):
                found.append(InputPlanes(node.name, node.inputs))
        elif (made := _value(node.op, [values[tensor] for tensor in node.inputs])) is not None:
            values[node.name] = made
    return tuple(found)


def columns_left(graph: Graph, left: int) -> dict[str, Array]:
    """For each layer that reads more planes than the `left` highest which of its inputs are these, bool.

    Raises:
        Problem: something reads them through which channels are not followed.
    """
    stays = _stays(graph, left)
    layers = (node for node in graph.nodes if isinstance(node.op, Conv | Dense))
    return {node.name: stays[node.input] for node in layers if node.input in stays}


def without_planes(graph: Graph, left: int) -> Graph:
    """The graph with only the `left` highest planes: it computes what it would with weights of 0 for the others.

    Args:
        graph: with `input_planes`; where several are joined that have more, all lose them.
        left: at least 1.

    Raises:
        Problem: fewer than 1, no more than that are there, or as `columns_left`.
    """
    most = max((len(one.parts) for one in input_planes(graph)), default=0)
    if not 0 < left < most:
        raise Problem(f"{left} of {most} planes cannot be what is left", graph.name, f"1 to {most - 1}")
    stays, nodes = _stays(graph, left), []
    cut = {one.join: one.parts[:left] for one in input_planes(graph) if len(one.parts) > left}
    alone = {join: parts[0] for join, parts in cut.items() if len(parts) == 1}
    for node in graph.nodes:
        if node.name in alone:
            continue  # its readers read the plane itself
        if node.name in cut:
            node = replace(node, inputs=cut[node.name])
        elif node.input in stays:
            whole = np.ones(graph.types[node.name].channels, bool)
            op = narrowed(node.op, stays.get(node.name, whole), stays[node.input])
            node = replace(node, op=op, inputs=tuple(alone.get(name, name) for name in node.inputs))
        nodes.append(node)
    return graph.with_nodes(tuple(_needed(nodes, graph.output)))


def with_planes_at_zero(graph: Graph, left: int) -> Graph:
    """The whole graph with the weights of all but the `left` highest planes at 0."""
    stays = columns_left(graph, left)
    return graph.with_nodes(tuple(_zeroed(node, stays) for node in graph.nodes))


def _zeroed(node: Node, left: Mapping[str, Array]) -> Node:
    if node.name not in left:
        return node
    assert isinstance(node.op, Conv | Dense)
    return replace(node, op=replace(node.op, weight=node.op.weight * left[node.name].astype(node.op.weight.dtype)))


def _stays(graph: Graph, left: int) -> dict[str, Array]:
    """For every tensor that the planes reach without weights which places of its channel axis stay."""
    stays = {}
    for one in input_planes(graph):
        if len(one.parts) > left:
            parts = [np.full(graph.types[part].channels, place < left) for place, part in enumerate(one.parts)]
            stays[one.join] = np.concatenate(parts)
    joins = set(stays)
    for node in graph.nodes:
        reads = node.name not in joins and any(name in stays for name in node.inputs)
        if not reads or isinstance(node.op, Conv | Dense):
            continue
        if isinstance(node.op, Flatten):
            places = int(np.prod(graph.types[node.input].shape[:-1]))
            stays[node.name] = np.tile(stays[node.input], places)
        elif isinstance(node.op, KEEPS_CHANNELS) and node.name != graph.output:
            stays[node.name] = stays[node.input]
        else:
            what = f"the planes are read by {type(node.op).__name__}, in front of any weights"
            raise Problem(what, node.name, "use method filters")
    return stays


def _needed(nodes: list[Node], output: str) -> list[Node]:
    """Without what computes dropped planes alone."""
    wanted = {output}
    for node in reversed(nodes):
        if node.name in wanted:
            wanted.update(node.inputs)
    return [node for node in nodes if node.name in wanted]


def _colours(graph: Graph) -> int:
    shape = graph.input_type.shape
    turned = any(isinstance(node.op, ChannelsLast) for node in graph.nodes)
    return shape[0] if turned else shape[-1]


def _is_bit(values: Array, bit: Array) -> bool:
    """Whether (pixel values, colours) are one number where a bit is 0, and a greater one where it is 1."""
    low, high = values[bit == 0], values[bit == 1]
    return bool(np.all(low == low[0, 0]) and np.all(high == high[0, 0]) and low[0, 0] < high[0, 0])


def _value(op: AnyOp, given: list[Array]) -> Array | None:
    """What an operation makes of every value that a pixel can have, (pixel values, colours); None of other operations.

    Values have few bits, so products and sums of float64 are exact.
    """
    x = given[0]
    made: Array
    match op:
        case ChannelsLast():
            return x
        case Affine(scale, shift, divisor):
            made = x * scale / divisor + shift
        case Bias(integers, scale):
            made = x + integers * scale
        case Scale(factor):
            made = x * factor
        case Add():
            made = given[0] + given[1]
        case Sign(zero):
            made = np.where(x == 0, float(zero), np.where(x > 0, 1.0, -1.0))
        case Threshold(bounds, bias, scale):
            made = bias + scale * (x[..., None] >= bounds).sum(-1).astype(np.float64)
        case _:
            return None
    return made

"""Which layers have sums of XNOR products, and what stands behind these sums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bnnflow import Problem

from ...transforms.ir.graph import Graph, Node
from ...transforms.ir.ops import AddBorder, ChannelwiseMul, Flatten, Mvau, Thresholding
from ...transforms.ir.tensor import Array
from ..faults.injection.layout import chosen

KEY = "approximation"


@dataclass(frozen=True, slots=True)
class BinaryLayer:
    """A unit whose sums are of XNOR products.

    Attributes:
        name: of the MVAU.
        index: its position; a part of seeds.
        op: the unit.
        thresholds: least popcounts at which the output's one bit is set, 0 to fan_in + 1 (never): int64, (MH,), or
            (height, width, MH) where a border's table stands between; None: no threshold, several, or joined sums.
        factor: of a popcount in the tensor that is compared, int64, (MH,) or (1,); 1 or more.
        low: value of the output where the bit is not set.
        bit: the tensor of that bit; "" without thresholds.
        flat: whether that tensor is the flattened map.
        between: tensors from the sums up to the one in front of the bit.
        is_score: its sums reach the network's output without a threshold: class scores.
    """

    name: str
    index: int
    op: Mvau
    thresholds: Array | None
    factor: Array
    low: int
    bit: str
    flat: bool
    between: tuple[str, ...]
    is_score: bool

    @property
    def fan_in(self) -> int:
        """Products of a sum."""
        return int(self.op.weight.shape[1])

    @property
    def unit(self) -> str:
        """The tensor that sums, border and threshold make as one unit, in the graph that `fused` gives."""
        return f"{self.bit}__map" if self.flat else self.bit


def binary_layers(graph: Graph) -> dict[str, BinaryLayer]:
    """The layers of XNOR products of a dataflow graph, in its order: of bits, or of -1 and +1 with such weights."""
    found = {}
    for index, node in enumerate(graph.nodes):
        if isinstance(node.op, Mvau) and _is_binary(graph, node, node.op):
            found[node.name] = _layer(graph, index, node, node.op)
    return found


def left_out(graph: Graph, layers: Sequence[str]) -> dict[str, str]:
    """Why each layer that is not among `layers` is computed exactly."""
    binary = binary_layers(graph)
    made = {}
    for node in graph.nodes:
        if isinstance(node.op, Mvau) and node.name not in layers:
            if node.name not in binary:
                made[node.name] = "its inputs or weights are not of one bit"
            else:
                made[node.name] = "class scores" if binary[node.name].is_score else "not chosen"
    return made


def mapped(graph: Graph, layers: Sequence[str], thresholds: bool) -> list[BinaryLayer]:
    """The layers that are approximated.

    Args:
        graph: at the dataflow level.
        layers: names; empty: all of XNOR products but class scores and, with `thresholds`, those without one threshold.
        thresholds: whether the output's bit is approximated with the sums.

    Raises:
        Problem: an unknown layer, one that is not binary or has not one threshold, or none at all.
    """
    binary = binary_layers(graph)
    if not binary:
        raise Problem("no layer has XNOR products", f"graph {graph.name!r}", "its inputs or weights have several bits")
    units = {node.name for node in graph.nodes if isinstance(node.op, Mvau)}
    for name in layers:
        if name in units and name not in binary:
            what = f"the inputs or weights of {name} are not of one bit, so it has no XNOR products"
            raise Problem(what, "approximation", f"layers of XNOR products: {', '.join(binary)}", key=KEY)
        try:
            chosen(name, tuple(binary), "layer of XNOR products")
        except Problem as problem:
            raise problem.at("approximation") from problem
        if thresholds and binary[name].thresholds is None:
            behind = "class scores" if binary[name].is_score else "several thresholds, or joined sums"
            what = f"{name} has no single threshold behind its sums, but {behind}"
            raise Problem(what, "approximation", "leave the layer out: it stays exact", key=KEY)
    if layers:
        return [binary[name] for name in binary if name in layers]
    found = [one for one in binary.values() if (one.thresholds is not None if thresholds else not one.is_score)]
    if not found:
        what = "no layer of XNOR products has one threshold" if thresholds else "all XNOR products are class scores'"
        raise Problem(what, f"graph {graph.name!r}", "name the layers" if not thresholds else "", key=KEY)
    return found


def fused(graph: Graph, layers: Sequence[BinaryLayer]) -> Graph:
    """The network with each layer's sums, border and threshold as one unit that has the bit's name.

    What the unit computes by itself is of no meaning where a border was: it is there to be replaced.
    """
    gone = {name for layer in layers for name in layer.between}
    units = {layer.bit: layer for layer in layers}
    nodes: list[Node] = []
    for node in graph.nodes:
        if node.name in units:
            layer = units[node.name]
            bounds = np.zeros((len(layer.op.weight), 1), np.int64)
            inputs = graph.node(layer.name).inputs
            nodes.append(Node(layer.unit, replace(layer.op, bounds=bounds, act_val=layer.low), inputs))
            if layer.flat:
                nodes.append(Node(node.name, Flatten(), (layer.unit,)))
        elif node.name not in gone:
            nodes.append(node)
    return graph.with_nodes(tuple(nodes))


def shifted(graph: Graph, layer: BinaryLayer, shift: Array) -> Graph:
    """The network with a layer's threshold on popcounts higher by `shift`, int64, (MH,)."""
    node = graph.node(layer.bit)
    assert isinstance(node.op, Mvau | Thresholding)
    moved = shift * layer.factor
    bounds = node.op.bounds + np.tile(moved, len(node.op.bounds) // len(moved))[:, None]
    changed = replace(node, op=replace(node.op, bounds=bounds))
    return graph.with_nodes(tuple(changed if one.name == node.name else one for one in graph.nodes))


def _is_binary(graph: Graph, node: Node, op: Mvau) -> bool:
    kind = graph.types[node.input]
    return op.xnor or (not kind.is_float and kind.is_bipolar and op.stored_bits == 1)


def _layer(graph: Graph, index: int, node: Node, op: Mvau) -> BinaryLayer:
    between, last, factor = [], node, np.ones(1, np.int64)
    fan_in = op.weight.shape[1]
    # The tensor in front of the threshold is factor * popcount + shift.
    shift: Array = np.zeros(1, np.int64)
    if not op.xnor:
        factor, shift = factor * 2, shift - fan_in
    bounds, low, flat = op.bounds, op.act_val, False
    shape = (*graph.types[node.input].shape[:-1], len(op.weight))
    while not bounds.size:
        between.append(last.name)
        reader = graph.sole_reader(last.name)
        if reader is None:
            break
        last = reader
        match reader.op:
            case AddBorder(values, rows, columns) if not flat:
                shift = shift + values[rows[:, None], columns[None, :]].reshape(shape)
            case Flatten():
                flat = True
            case ChannelwiseMul(by) if bool((by > 0).all()) and not flat:
                factor, shift = factor * by, shift * by
            case Thresholding():
                bounds, low = reader.op.bounds, reader.op.act_val
            case _:
                break
    is_score = _reaches_output(graph, node) and not bounds.size
    if bounds.shape[1:] != (1,):
        return BinaryLayer(node.name, index, op, None, factor, 0, "", False, (), is_score)
    limits = -((shift - bounds[:, 0].reshape(shape if flat else -1)) // factor)
    thresholds = np.clip(np.broadcast_to(limits, (*limits.shape[:-1], len(op.weight))), 0, fan_in + 1)
    return BinaryLayer(node.name, index, op, thresholds, factor, low, last.name, flat, tuple(between), False)


def _reaches_output(graph: Graph, node: Node) -> bool:
    """Whether a node's values come to the output without a threshold or another layer."""
    waiting: list[str] = [node.name]
    while waiting:
        name = waiting.pop()
        if name == graph.output:
            return True
        waiting += [one.name for one in graph.readers(name) if not isinstance(one.op, Mvau | Thresholding)]
    return False

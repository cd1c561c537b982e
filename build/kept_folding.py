"""The folding of one graph on a narrower one: what an accelerator keeps that is not refolded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import gcd, lcm, prod
from typing import Any

from ..transforms.ir.choices import like
from ..transforms.ir.graph import Graph, Node
from ..transforms.ir.ops import Mvau, Pool, SlidingWindow, Unit
from .schedule import divisors, whole


def keep_folding(graph: Graph, folded: Graph) -> Graph:
    """A graph with PE and SIMD of the units of the same names in another, as far as its sizes allow.

    Where a size is no multiple any more, the largest divisor below is taken: 57 channels leave PE 16 as PE 3. Units
    that the other graph has not keep their folding.

    Args:
        graph: dataflow level, such as a pruned network.
        folded: dataflow level, such as the unpruned network, folded.
    """
    known = {node.name: node.op for node in folded.nodes}
    nodes: dict[str, Node] = {}
    for node in graph.nodes:
        op, earlier = node.op, known.get(node.name)
        if isinstance(op, Unit) and type(earlier) is type(op):
            for key in ("pe", "simd"):
                if hasattr(op, key):
                    most, size = getattr(earlier, key), whole(graph, node, key)
                    change: dict[str, Any] = {key: max(d for d in divisors(size) if d <= most)}
                    op = replace(op, **change)
                op = like(op, earlier)
                if isinstance(op, SlidingWindow) and op.parallel_window and not op.depthwise:
                    op = replace(op, simd=graph.types[node.input].channels)
            window = nodes.get(node.input)
            if window is not None and isinstance(window.op, SlidingWindow):
                # A layer or pool takes the channels in the groups in which its window gives them.
                before = getattr(known.get(node.input), "simd", None)
                if isinstance(op, Pool):
                    op = replace(op, pe=window.op.simd)
                elif isinstance(earlier, Mvau) and isinstance(op, Mvau) and earlier.simd == before:
                    op = replace(op, simd=window.op.simd)
        nodes[node.name] = replace(node, op=op)
    return graph.with_nodes(tuple(nodes.values()))


def legal_unit(folded: Graph, producers: Sequence[str], readers: Sequence[str]) -> int:
    """The least number of channels of which PE of the layers that make them and SIMD of those that read them divide
    every multiple.

    Args:
        folded: dataflow level, folded.
        producers, readers: names of `Mvau` nodes.
    """
    unit = 1
    for name in producers:
        node = folded.node(name)
        unit = lcm(unit, *(getattr(op, "pe", getattr(op, "simd", 1)) for op in _behind(folded, node)))
    for name in readers:
        node = folded.node(name)
        assert isinstance(node.op, Mvau)
        source = folded.node(node.input) if node.input != folded.input else None
        columns = node.op.weight.shape[1]
        if source is not None and isinstance(source.op, SlidingWindow):
            unit = lcm(unit, source.op.simd)
            places = prod(source.op.kernel)
        else:
            # Behind a flattening, a channel is as many inputs as the map has places.
            shape = _map_before(folded, node)
            places = columns // shape
        unit = lcm(unit, node.op.simd // gcd(node.op.simd, places))
    return unit


def _behind(graph: Graph, node: Node) -> list[Unit]:
    """A unit and those behind it that work on the same channels, up to the next layer."""
    found, waiting = [], [node]
    while waiting:
        here = waiting.pop()
        if isinstance(here.op, Unit):
            found.append(here.op)
        if here is node or not isinstance(here.op, Mvau | SlidingWindow):
            waiting += [reader for reader in graph.readers(here.name) if not isinstance(reader.op, Mvau)]
    return found


def _map_before(graph: Graph, node: Node) -> int:
    """Channels of the map that a dense layer reads, behind any flattening."""
    tensor = node.input
    while tensor != graph.input and len(graph.types[tensor].shape) == 1 and graph.node(tensor).input in graph.types:
        before = graph.node(tensor)
        if isinstance(before.op, Unit):
            break
        tensor = before.input
    return graph.types[tensor].channels

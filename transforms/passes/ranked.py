"""The choice of the best classes behind a network that ends in scores."""

from __future__ import annotations

from dataclasses import replace

from bnnflow import Problem

from ..ir.graph import Graph, Node
from ..ir.ops import Affine, Best, LabelSelect
from .compile import level_of


def ranked(graph: Graph, k: int) -> Graph:
    """The graph with the choice of its top-k classes at the end, as FINN's `InsertTopK` adds it; as it is for k = 0.

    In hardware it is a `LabelSelect`, where the integers rank as the scores do; a scale and shift that all scores have
    in common changes no order and goes.

    Raises:
        Problem: the graph chooses another number of classes already, has fewer, or does not end in one score a class.
    """
    if not k:
        return graph
    here = f"graph {graph.name!r}"
    last = graph.maker(graph.output)
    if isinstance(last, Best | LabelSelect):
        if last.k != k:
            raise Problem(
                f"the network gives its {last.k} best classes already", here, f"leave --top-k out, or {last.k}"
            )
        return graph
    kind = graph.output_type
    if len(kind.shape) != 1:
        raise Problem(f"the output is no vector of class scores but {kind}", here, "leave --top-k out")
    if not 1 <= k <= kind.channels:
        raise Problem(f"the best {k} of {kind.channels} classes cannot be chosen", "--top-k", "give a smaller number")
    nodes, output = graph.nodes, graph.output
    dataflow = level_of(graph) == "dataflow"
    if dataflow and isinstance(last, Affine) and _in_common(last) and graph.uses(output) == 1:
        nodes, output = tuple(node for node in nodes if node.name != output), graph.node(output).input
    in_hardware = (dataflow and not isinstance(last, Affine | type(None))) or output != graph.output
    name = "best"
    while name in graph.types:
        name += "_"
    return replace(
        graph, nodes=(*nodes, Node(name, LabelSelect(k) if in_hardware else Best(k), (output,))), output=name
    )


def left_to_host(graph: Graph, k: int) -> list[str]:
    """A remark where the choice of the best classes, asked for by `k`, is none of the hardware; at most one."""
    if not k or not isinstance(graph.maker(graph.output), Best):
        return []
    return [f"the {k} best classes are chosen on the host: each score has a scale of its own"]


def _in_common(op: Affine) -> bool:
    """Whether one positive factor and one shift stand behind all scores."""
    return op.is_in_common and bool(op.scale[0] * op.divisor[0] > 0)

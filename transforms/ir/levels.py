"""Which operations may exist at which level of the compilation."""

from __future__ import annotations

from typing import get_args

from bnnflow import Problem

from .graph import Graph, Node
from .ops import (
    Add,
    AddBorder,
    Affine,
    Best,
    ChannelsLast,
    Concat,
    Conv,
    Dense,
    DuplicateStreams,
    Flatten,
    MaxPool,
    Op,
    Pad,
    Scale,
    SumPool,
    Threshold,
    Unit,
    XnorConv,
    XnorDense,
)

_SHAPES: tuple[type[Op], ...] = (ChannelsLast, Flatten)
_INTEGER = (*_SHAPES, Conv, Dense, MaxPool, SumPool, Pad, Add, Concat, Scale, Threshold, AddBorder)
_ON_THE_HOST = (Affine, Best)

LEVELS: dict[str, tuple[type[Op], ...]] = {
    "integer": (*_INTEGER, *_ON_THE_HOST),
    "xnor": (*_INTEGER, XnorConv, XnorDense, *_ON_THE_HOST),
    "dataflow": (*_SHAPES, *get_args(Unit), *_ON_THE_HOST),
}


def holds(graph: Graph, level: str) -> bool:
    """Whether a graph holds only operations that may exist at `level`, and class scores only at its end."""
    return all(_may_stand(graph, node, level) for node in graph.nodes)


def _may_stand(graph: Graph, node: Node, level: str) -> bool:
    ends = all(isinstance(reader.op, _ON_THE_HOST) for reader in graph.readers(node.name))
    return isinstance(node.op, LEVELS[level]) and (ends or not isinstance(node.op, _ON_THE_HOST))


def require(graph: Graph, level: str) -> None:
    """Check that a graph holds only what may exist at `level`, and class scores only at its end.

    Raises:
        Problem: names the first operation that may not be there.
    """
    for node in graph.nodes:
        if not _may_stand(graph, node, level):
            raise Problem(
                f"operation {type(node.op).__name__} is left at the {level} level",
                f"{node.name!r} in graph {graph.name!r}",
                "`flow ops` lists what compiles",
            )
        if node.name != graph.output and not graph.readers(node.name):
            raise Problem("a tensor is never read", f"{node.name!r} in graph {graph.name!r}")
        if level == "dataflow" and graph.uses(node.name) > 1 and not isinstance(node.op, DuplicateStreams):
            raise Problem("a stream has more than one reader", f"{node.name!r} in graph {graph.name!r}")

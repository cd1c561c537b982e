"""Which operations may exist at which level of the compilation."""

from __future__ import annotations

from bnnflow import Problem

from .graph import (
    Affine,
    ChannelsLast,
    Conv,
    Dense,
    Flatten,
    Graph,
    MaxPool,
    Mvau,
    Op,
    SlidingWindow,
    StreamingMaxPool,
    Threshold,
    Thresholding,
    XnorConv,
    XnorDense,
)

_SHAPES: tuple[type[Op], ...] = (ChannelsLast, Flatten)

LEVELS: dict[str, tuple[type[Op], ...]] = {
    "integer": (*_SHAPES, Conv, Dense, MaxPool, Threshold, Affine),
    "xnor": (*_SHAPES, Conv, Dense, XnorConv, XnorDense, MaxPool, Threshold, Affine),
    "dataflow": (*_SHAPES, SlidingWindow, Mvau, Thresholding, StreamingMaxPool, Affine),
}


def require(graph: Graph, level: str) -> None:
    """Check that a graph holds only what may exist at `level`, and `Affine` only as its last step.

    Raises:
        Problem: names the first operation that may not be there.
    """
    for node in graph.nodes:
        last = node.name == graph.output
        if not isinstance(node.op, LEVELS[level]) or (isinstance(node.op, Affine) and not last):
            raise Problem(
                f"operation {type(node.op).__name__} is left at the {level} level",
                f"{node.name!r} in graph {graph.name!r}",
                "networks of binary convolutions, dense layers, batch norms, signs and max pools compile",
            )
        if not last and len(graph.readers(node.name)) != 1:
            raise Problem("a tensor is read more than once or never", f"{node.name!r} in graph {graph.name!r}")

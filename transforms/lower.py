"""Lowering to FINN's dataflow units."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bnnflow import Problem

from .graph import (
    Array,
    Conv,
    Dense,
    Flatten,
    Graph,
    MaxPool,
    Mvau,
    Node,
    SlidingWindow,
    StreamingMaxPool,
    Threshold,
    Thresholding,
    XnorConv,
    XnorDense,
)
from .passes import Rewrite, Rewritten, maker_op, reader_op

_LAYERS = (Conv, Dense, XnorConv, XnorDense)
_NO_BOUNDS = np.zeros((0, 0), np.int64)


@dataclass(frozen=True, slots=True)
class FlattenEarly:
    """Move a flattening in front of the threshold that it follows, so that the threshold can be folded wide.

    Needs: the XNOR level. Removes: thresholds on maps that are read flattened and are not fused
    into a layer. Exact: thresholds act on each value alone.
    """

    name: str = "flatten-early"

    def __call__(self, graph: Graph) -> Rewritten:
        """The rewritten graph; `Problem` names what cannot be rewritten exactly."""
        rewrite = Rewrite(graph)
        swapped: dict[str, Node] = {}
        for node in rewrite.walk():
            if (
                isinstance(node.op, Threshold)
                and not isinstance(maker_op(graph, node.input), _LAYERS)
                and isinstance(reader_op(graph, node.name), Flatten)
            ):
                swapped[node.name] = node
            elif node.input in swapped:
                earlier = swapped[node.input]
                assert isinstance(earlier.op, Threshold)
                places = int(np.prod(graph.types[node.input].shape[:-1]))
                rewrite.emit(node.name, node.op, earlier.input)
                bounds = earlier.op.bounds if len(earlier.op.bounds) == 1 else np.tile(earlier.op.bounds, (places, 1))
                op = Threshold(bounds, earlier.op.low, earlier.op.step)
                rewrite.emit(earlier.name, op, node.name)
                rewrite.match(node.name, earlier.name)
            else:
                before = _name_now(swapped, graph, node.input)
                rewrite.emit(node.name, node.op, before)
                if not graph.types[node.name].is_float:
                    rewrite.match(node.name, node.name)
        return rewrite.done(_name_now(swapped, graph, graph.output))


def _name_now(swapped: dict[str, Node], graph: Graph, tensor: str) -> str:
    """Name under which an old tensor is known after flattenings moved."""
    made_by = next((node for node in graph.nodes if node.name == tensor), None)
    return made_by.input if made_by is not None and made_by.input in swapped else tensor


@dataclass(frozen=True, slots=True)
class Lower:
    """Turn layers into sliding windows and matrix-vector units with their thresholds inside.

    Needs: the XNOR level, one threshold a channel, pools whose stride is their kernel. Removes: all
    layers, thresholds and pools in favour of FINN's units, all at PE = SIMD = 1. Exact: the same
    sums of the same products; matrix columns are ordered (kernel row, kernel column, channel).
    """

    name: str = "lower"

    def __call__(self, graph: Graph) -> Rewritten:
        """The rewritten graph; `Problem` names what cannot be rewritten exactly."""
        rewrite = Rewrite(graph)
        now = {graph.input: graph.input}
        for node in rewrite.walk():
            if isinstance(node.op, Threshold) and isinstance(maker_op(graph, node.input), _LAYERS):
                continue
            old, now[node.name] = self._lower(rewrite, node, now[node.input])
            now[old] = now[node.name]
            if not graph.types[old].is_float:
                rewrite.match(old, now[old])
        return rewrite.done(now[graph.output])

    def _lower(self, rewrite: Rewrite, node: Node, source: str) -> tuple[str, str]:
        """Emit the units of one node; returns the old tensor that the last of them makes, and the new one."""
        graph, op = rewrite.graph, node.op
        if isinstance(op, _LAYERS):
            after = graph.readers(node.name)
            fused = after[0] if after and isinstance(after[0].op, Threshold) else None
            bounds = _NO_BOUNDS
            if fused is not None:
                assert isinstance(fused.op, Threshold)
                bounds = _one_level(fused.op, len(op.weight), fused.name)
            if isinstance(op, Conv | XnorConv):
                kernel = (op.weight.shape[1], op.weight.shape[2])
                source = rewrite.emit(f"{node.name}_window", SlidingWindow(kernel, op.stride), source)
            matrix = (op.weight > 0).astype(np.uint8).reshape(len(op.weight), -1)
            unit = Mvau(matrix, bounds, isinstance(op, XnorConv | XnorDense))
            return (fused.name if fused else node.name), rewrite.emit(node.name, unit, source)
        if isinstance(op, Threshold):
            channels = rewrite.types[source].channels
            return node.name, rewrite.emit(node.name, Thresholding(_one_level(op, channels, node.name)), source)
        if isinstance(op, MaxPool):
            if op.kernel != op.stride:
                raise Problem(
                    "a max pool whose stride is not its kernel has no unit yet",
                    f"{node.name!r}: kernel {op.kernel}, stride {op.stride}",
                    "use a stride equal to the kernel",
                )
            size = rewrite.types[source].shape
            if size[0] % op.kernel[0] or size[1] % op.kernel[1]:
                raise Problem(
                    f"a max pool of {op.kernel[0]}x{op.kernel[1]} does not divide its map of {size[0]}x{size[1]}",
                    f"{node.name!r}",
                    "choose kernels or an image size that give an even map before each pool",
                )
            return node.name, rewrite.emit(node.name, StreamingMaxPool(op.kernel), source)
        return node.name, rewrite.emit(node.name, op, source)


def _one_level(op: Threshold, channels: int, name: str) -> Array:
    if op.bounds.shape[1] != 1 or (op.low, op.step) != (0, 1):
        raise Problem(
            f"thresholds with {op.bounds.shape[1]} levels from {op.low} by {op.step} have no dataflow unit yet",
            f"{name!r}",
            "quantize the input to 8 bits by (x - 128) / 128, or to one bit",
        )
    return np.broadcast_to(op.bounds, (channels, 1)).copy()

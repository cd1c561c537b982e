"""Binary layers as XNOR and popcount."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bnnflow import Problem

from .graph import Affine, Conv, Dense, Graph, Node, Threshold, XnorConv, XnorDense
from .passes import Rewrite, Rewritten

_REPAIR = "put thresholds (a sign) between the two layers"


@dataclass(frozen=True, slots=True)
class XnorPopcount:
    """Store -1 and +1 as bits 0 and 1, and sums of n products y as popcounts p with y = 2 p - n.

    Needs: the integer level. Removes: {-1, +1} activations and `Conv`, `Dense` on them; layers on
    8-bit images stay. Exact: y >= T and p >= ceil((T + n) / 2) are the same on integers.
    Source: Rastegari et al., XNOR-Net, arXiv:1603.05279; thresholds as in FINN, arXiv:1612.07119.
    """

    name: str = "xnor-popcount"

    def __call__(self, graph: Graph) -> Rewritten:
        """The rewritten graph; `Problem` names what cannot be rewritten exactly."""
        rewrite = Rewrite(graph)
        # old == 2 * new - lost for tensors in `lost`; all others are unchanged.
        lost: dict[str, int] = {}
        for node in rewrite.walk():
            _step(rewrite, node, lost)
            if node.name in lost:
                rewrite.match(node.name, node.name, 2.0, -float(lost[node.name]))
            elif not graph.types[node.name].is_float:
                rewrite.match(node.name, node.name)
        output = graph.output
        if output in lost:
            # Class scores keep their values at every level.
            back = Affine(np.array([2.0]), np.array([-float(lost[output])]))
            output = rewrite.emit("scores", back, output)
        return rewrite.done(output)


def _step(rewrite: Rewrite, node: Node, lost: dict[str, int]) -> None:
    """Emit the new form of `node` and note in `lost` how its values change."""
    op, fan_in = node.op, lost.get(node.input)
    if isinstance(op, Threshold):
        bounds = op.bounds
        if fan_in is not None:
            bounds = np.clip(-((-(bounds + fan_in)) // 2), 0, fan_in + 1)
        if rewrite.graph.types[node.name].is_bipolar:
            lost[node.name] = 1
            rewrite.emit(node.name, Threshold(bounds, 0, 1), node.input)
        else:
            rewrite.emit(node.name, Threshold(bounds, op.low, op.step), node.input)
    elif isinstance(op, Conv | Dense) and fan_in is not None:
        if fan_in != 1:
            raise Problem("a hidden layer reads the sums of another layer, it is not binary", f"{node.name!r}", _REPAIR)
        bits = (op.weight > 0).astype(np.uint8)
        lost[node.name] = bits[0].size
        new = XnorConv(bits, op.stride) if isinstance(op, Conv) else XnorDense(bits)
        rewrite.emit(node.name, new, node.input)
    elif isinstance(op, Affine) and fan_in is not None:
        shift = op.shift - fan_in * op.scale / op.divisor
        rewrite.emit(node.name, Affine(2 * op.scale, shift, op.divisor), node.input)
    else:
        if fan_in is not None:
            lost[node.name] = fan_in
        rewrite.emit(node.name, op, node.input)

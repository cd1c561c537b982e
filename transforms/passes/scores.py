"""Class scores of integers: a whole number per class is added as such, so that equal scores stay equal."""

from __future__ import annotations

import numpy as np

from ..ir.graph import Graph, Node
from ..ir.ops import AddBorder, Affine, AnyOp, Best, ChannelwiseMul
from ..ir.tensor import Array
from .streamline import GREATEST


def joined_affine(op: Affine, factor: int, offset: Array) -> Affine | None:
    """`op` behind factor * x + offset as one operation; None where equal scores could round to different floats.

    Args:
        op: with one entry a channel, or one for all.
        factor, offset: whole numbers; offset int64, (channels,) or (1,).
    """
    same = op.is_in_common and bool(np.all(offset == offset[0]))
    if not same and not is_whole(op):
        return None
    return Affine(op.scale * factor, op.shift + offset * op.scale / op.divisor, op.divisor)


def is_whole(op: Affine) -> bool:
    """Whether an operation multiplies with and adds whole numbers only."""
    return bool(np.all(op.divisor == 1) and np.all(op.scale == np.rint(op.scale)) and np.all(op.shift % 1 == 0))


def units_of(graph: Graph, node: Node, places: tuple[int, ...]) -> list[AnyOp]:
    """Units that put the integers of a graph's end in the order of the class scores, and what is left to the host.

    Empty where a ranking behind needs neither.
    Nothing is to be done where one positive factor and one shift stand behind all sums; where each class has its own
    scale further on, no order of integers is that of the scores, and all is left to the host.

    Args:
        graph: the XNOR level.
        node: an `Affine`.
        places: shape of its input, integers.
    """
    op = node.op
    assert isinstance(op, Affine)
    kind, channels = graph.types[node.input], places[-1]
    scale, shift = (np.broadcast_to(v, channels).astype(np.int64) for v in (op.scale, op.shift))
    rises = bool(scale[0] > 0 and np.all(scale == scale[0]))
    if kind.is_float or not is_whole(op) or not _keeps_order(graph, node):
        return [op]
    reader = graph.sole_reader(node.name)
    ranked = reader is not None and isinstance(reader.op, Best)
    if rises and np.all(shift == shift[0]):
        return [] if ranked else [op]
    factor = int(scale[0])
    if rises and np.all((shift - shift[0]) % factor == 0):
        rest = int(shift[0]) % factor
        host = Affine(np.array([float(factor)]), np.array([float(rest)]))
        return [_constants((shift - rest) // factor, places), *([] if ranked or (factor, rest) == (1, 0) else [host])]
    if max(map(abs, kind.range)) * int(np.abs(scale).max()) + int(np.abs(shift).max()) > GREATEST:
        return [op]
    made: list[AnyOp] = [ChannelwiseMul(scale)] if np.any(scale != 1) else []
    return [*made, _constants(shift, places)] if shift.any() else made


def _constants(values: Array, places: tuple[int, ...]) -> AddBorder:
    height, width = places[:2] if len(places) == 3 else (1, 1)
    return AddBorder(values.reshape(1, 1, -1), np.zeros(height, np.int64), np.zeros(width, np.int64))


def _keeps_order(graph: Graph, node: Node) -> bool:
    """Whether nothing behind an operation at a graph's end changes which class is the best."""
    while (reader := graph.sole_reader(node.name)) is not None:
        if isinstance(reader.op, Affine):
            op = reader.op
            if not op.is_in_common or op.scale[0] * op.divisor[0] <= 0:
                return False
        elif not isinstance(reader.op, Best):
            return False
        node = reader
    return True

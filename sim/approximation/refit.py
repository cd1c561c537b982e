"""Thresholds for approximate sums: what a map of popcounts shifts, the thresholds behind it take up.

They are constants of the hardware, so this costs nothing there. A sum of segments whose seldom popcounts are cut off
unevenly is shifted by a little in every segment: with 98 segments by more than its standard deviation.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...transforms.ir.graph import Graph
from ...transforms.ir.tensor import Array
from ..segments import Segments, popcounts
from ..walk import Change, Walk
from .approximate import SumModel, approximated
from .layers import BinaryLayer, binary_layers, shifted


def refitted(graph: Graph, layers: Mapping[str, SumModel], images: Array, seed: int = 0) -> Graph:
    """The network with other thresholds behind approximate sums: each bit is as often set as with exact ones.

    Layer by layer, each behind the earlier ones' new thresholds; a channel's threshold moves by one number everywhere.
    Where several do as well, it moves least. Layers without one threshold, and such as give bits (`LocalThresholds`),
    keep theirs.

    Args:
        graph: at the dataflow level.
        layers: as for `approximated`.
        images: as the graph takes them; training images.
        seed: of what is drawn.
    """
    found = graph
    for name, how in layers.items():
        exact, now = binary_layers(graph)[name], binary_layers(found)[name]
        if exact.thresholds is None or how.on_bits:
            continue
        wanted = _above(graph, {}, exact, _whole(exact), images) >= 0
        before = {one: layers[one] for one in layers if one != name}
        above = _above(found, before, now, how.replacing(now, seed, 0), images)
        shift = np.array([_shift(above[:, c], int(wanted[:, c].sum())) for c in range(above.shape[1])], np.int64)
        found = shifted(found, now, shift)
    return found


def _whole(layer: BinaryLayer) -> Change:
    """Exact sums."""
    counts = popcounts(layer.op, Segments(layer.fan_in, layer.fan_in))

    def run(x: Array, first: int) -> Array:
        (popcount,) = counts(x)
        whole = popcount.astype(np.int64)
        return whole if layer.op.xnor else 2 * whole - layer.fan_in

    return run


def _above(graph: Graph, others: Mapping[str, SumModel], layer: BinaryLayer, sums: Change, images: Array) -> Array:
    """Popcounts by `sums` less the layer's thresholds, behind other approximate layers: (values, MH) int64."""
    seen: list[Array] = []
    given = graph.node(layer.name).input
    assert layer.thresholds is not None

    def look(values: Array, first: int) -> Array:
        made = sums(values, first)
        popcount = made if layer.op.xnor else (made + layer.fan_in) // 2
        seen.append((popcount - layer.thresholds).reshape(-1, len(layer.op.weight)))
        return values

    walk = approximated(graph, others, 0, 0)
    Walk.of(walk.graph, {given: look}, walk.wide, walk.instead).scores(images)
    return np.concatenate(seen)


def _shift(above: Array, wanted: int) -> int:
    """The least shift s in magnitude for which the number of values that reach s is nearest to `wanted`."""
    values, counts = np.unique(above, return_counts=True)
    # All shifts above one value and up to the next leave as many.
    starts = np.append(values, values[-1] + 1)
    reached = np.append(np.cumsum(counts[::-1])[::-1], 0)
    gap = np.abs(reached - wanted)
    best = np.flatnonzero(gap == gap.min())
    lows = np.where(best > 0, starts[np.maximum(best - 1, 0)] + 1, np.iinfo(np.int64).min)
    highs = np.where(best < len(values), starts[best], np.iinfo(np.int64).max)
    shifts = np.clip(0, lows, highs)
    return int(shifts[np.argmin(np.abs(shifts))])

"""One flipped weight bit after another in a layer of bits: the layer itself is not run again.

A flip moves a sum by a number that depends on the weight and on the one input value that it meets: sum + move reaches
the bound where sum reaches bound - move. With the outputs for all such bounds at hand, which the layer's own kernels
give, the outputs that a flip turns are those whose place lies between two bounds and sees the right input bit.
Images of which none turns keep their scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from ....transforms.ir.ops import Mvau
from ....transforms.ir.tensor import Array
from ...engine.packing import WORD, Window
from ...engine.plan import Planner
from ...engine.simulator import Prefix, Simulator
from ...engine.values import Value, two_valued
from .layout import Memory


@dataclass(frozen=True, slots=True)
class SingleFlips:
    """What all single flips of one layer share.

    Attributes:
        simulator: the network without faults.
        memory: of the layer's weights.
        logical: of the memory's cells.
        op: the unit.
        window: how it reads its input.
        source: words of the map that it reads, (images, height, width, words).
        levels: the two values of an input bit; -1 and +1 in XNOR units.
        behind: what the rest of the network reads, the layer's outputs among it.
        turned: by the shift of the bounds, which outputs it turns, (places of all images, words).
        scores: class scores without faults.
        near: places of which a row's output turns, by shift and row; filled when they are first needed.
    """

    simulator: Simulator
    memory: Memory
    logical: Array
    op: Mvau
    window: Window
    source: Array
    levels: tuple[int, int]
    behind: Prefix
    turned: Mapping[int, Array]
    scores: Array
    near: dict[tuple[int, int], Array] = field(default_factory=dict)

    @staticmethod
    def of(simulator: Simulator, images: Array, memory: Memory) -> SingleFlips | None:
        """Run all images once for every bound; None for layers without a single bound a row, or not on packed bits."""
        graph, kernels = simulator.graph, simulator.kernels
        layer = memory.layer
        node = graph.node(layer)
        op, x, place = node.op, graph.types[node.input], graph.nodes.index(node)
        if kernels is None or not isinstance(op, Mvau) or op.stored_bits != 1 or op.bounds.shape[1] != 1:
            return None
        if layer == graph.output or not two_valued(x):
            return None
        seen = Planner(graph, kernels, (graph.output,)).source(node, op)
        upto = graph.nodes[place + 1].name
        front, behind = simulator.prefix(images, layer), simulator.prefix(images, upto)
        if layer not in behind.values:
            return None
        source, clean = front.values[seen.tensor].bits(kernels), behind.values[layer].bits(kernels)
        levels = (-1, 1) if op.xnor else x.range
        turned = {}
        for shift in {_shift(op.xnor, sign, level) for sign in (-1, 1) for level in levels}:
            other = simulator.with_ops({layer: replace(op, bounds=op.bounds + shift)})
            words = other.prefix(images, upto).values[layer].bits(kernels) ^ clean
            turned[shift] = words.reshape(-1, words.shape[-1])
        maps = source.reshape(len(images), seen.window.height, seen.window.width, -1)
        return SingleFlips(
            simulator, memory, memory.logical(), op, seen.window, maps, levels, behind, turned, simulator.finish(behind)
        )

    def scores_with(self, cell: int) -> Array:
        """Class scores of all images with one cell of the memory flipped, (images, classes)."""
        row, column = divmod(int(self.logical[cell]), self.memory.values[1])
        window = self.window
        down, right, channel = (int(i) for i in np.unravel_index(column, (*window.kernel, window.channels)))
        sign = 1 if self.op.weight[row, column] > 0 else -1
        found = [
            places[self._sees(places, down, right, channel) == bit]
            for bit, level in enumerate(self.levels)
            for places in [self._near(_shift(self.op.xnor, sign, level), row)]
        ]
        places = np.concatenate(found)
        area = window.rows * window.columns
        hit = np.zeros(self.behind.images, bool)
        hit[places // area] = True
        images = np.flatnonzero(hit)
        scores = self.scores.copy()
        if len(images):
            values = {name: _chosen(value, images) for name, value in self.behind.values.items()}
            words = values[self.memory.layer].packed
            assert words is not None
            flat = words.reshape(len(images) * area, -1)
            number = np.cumsum(hit) - 1
            flat[number[places // area] * area + places % area, row // WORD] ^= np.uint64(1 << row % WORD)
            scores[images] = self.simulator.finish(Prefix(self.behind.upto, len(images), values))
        return scores

    def _near(self, shift: int, row: int) -> Array:
        """The places whose output of this row turns when its bound is shifted, ascending."""
        if (shift, row) not in self.near:
            words = self.turned[shift][:, row // WORD]
            self.near[shift, row] = np.flatnonzero(words & np.uint64(1 << row % WORD))
        return self.near[shift, row]

    def _sees(self, places: Array, down: int, right: int, channel: int) -> Array:
        """The input bit that meets a weight at some places."""
        window = self.window
        image, place = np.divmod(places, window.rows * window.columns)
        y, x = np.divmod(place, window.columns)
        y, x = y * window.stride[0] + down, x * window.stride[1] + right
        words = self.source[image, y, x, channel // WORD]
        seen: Array = (words >> np.uint64(channel % WORD)) & np.uint64(1)
        return seen


def _shift(xnor: bool, sign: int, level: int) -> int:
    """What the flip of a weight takes from the sum, where it meets this input value."""
    return sign * level * (1 if xnor else 2)


def _chosen(value: Value, images: Array) -> Value:
    """Some images of a value, in memory of their own."""
    if value.packed is not None:
        return Value(value.kind, value.packed[images])
    return Value(value.kind, None, value.there[images])

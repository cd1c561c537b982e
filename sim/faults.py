"""Bit flips in the weight memories of a dataflow graph, addressed as the hardware lays them out.

A memory of an MVAU has MW * MH / (PE * SIMD) words of PE * SIMD weights: word nf * SF + sf holds, at place
p * SIMD + s, the weight of row nf * PE + p and column sf * SIMD + s (FINN's packing). Fault maps are
drawn per cell of this memory, so two networks that use the same memory suffer the same map.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import sqrt

import numpy as np

from ..transforms.graph import Graph
from ..transforms.ops import Mvau
from ..transforms.tensor import Array
from .engine import Simulator


def memory(op: Mvau) -> Array:
    """The words of an MVAU's weight memory: uint8 bits, (words, PE * SIMD * bits of a weight).

    The bits of a weight stand side by side, least significant first, in two's complement; one bit stands
    for {-1, +1}, 1 for +1.
    """
    (rows, columns), bits = op.weight.shape, op.weight_bits
    cells = op.weight.astype(np.int64) > 0 if bits == 1 else op.weight.astype(np.int64)
    cells = (cells.astype(np.int64)[..., None] >> np.arange(bits)) & 1
    blocks = cells.reshape(rows // op.pe, op.pe, columns // op.simd, op.simd * bits).astype(np.uint8)
    return blocks.transpose(0, 2, 1, 3).reshape(-1, op.pe * op.simd * bits)


def from_memory(op: Mvau, words: Array) -> Mvau:
    """The MVAU whose weight memory holds `words`."""
    (rows, columns), bits = op.weight.shape, op.weight_bits
    blocks = words.reshape(rows // op.pe, columns // op.simd, op.pe, op.simd, bits)
    cells = blocks.transpose(0, 2, 1, 3, 4).reshape(rows, columns, bits)
    if op.xnor:
        return replace(op, weight=cells[..., 0])
    if bits == 1:
        return replace(op, weight=2 * cells[..., 0].astype(np.int8) - 1)
    places = 2 ** np.arange(bits)
    if op.weight.min() < 0:
        places[-1] = -places[-1]
    return replace(op, weight=(cells * places).sum(axis=-1).astype(op.weight.dtype))


def flips(seed: int, fault_map: int, layer: int, bits: int, rate: float) -> Array:
    """Which of the first `bits` cells of a layer's memory are flipped: bool, (bits,).

    A cell flips with probability `rate`, independently of all others. The cells that flip at one
    rate flip at every higher rate too, and the first cells are the same whatever `bits` is.
    """
    stream = np.random.Generator(np.random.Philox(np.random.SeedSequence([seed, fault_map, layer])))
    return stream.random(bits, dtype=np.float32) < np.float32(rate)


def inject(graph: Graph, seed: int, fault_map: int, rate: float) -> Graph:
    """The dataflow graph with one fault map in its weight memories."""
    nodes, layer = [], 0
    for node in graph.nodes:
        if isinstance(node.op, Mvau):
            words = memory(node.op)
            hit = flips(seed, fault_map, layer, words.size, rate).reshape(words.shape)
            node = replace(node, op=from_memory(node.op, words ^ hit.astype(np.uint8)))
            layer += 1
        nodes.append(node)
    return graph.with_nodes(tuple(nodes))


@dataclass(frozen=True, slots=True)
class Sweep:
    """Accuracy under faults.

    Attributes:
        rates: bit error rates, in [0, 1].
        accuracy: (rates, maps), share of images classified rightly.
        clean: the same share without faults, on the same images.
    """

    rates: tuple[float, ...]
    accuracy: Array
    clean: float

    @property
    def mean(self) -> Array:
        """Mean over the maps, (rates,)."""
        return self.accuracy.mean(axis=1)

    @property
    def half_width(self) -> Array:
        """Half of the 95 % confidence interval of the mean over maps (Student's t), (rates,); 0 for one map."""
        maps = self.accuracy.shape[1]
        if maps < 2:
            return np.zeros(len(self.rates))
        return student_t(maps - 1) * self.accuracy.std(axis=1, ddof=1) / sqrt(maps)


def sweep(
    graph: Graph,
    images: Array,
    labels: Array,
    rates: Sequence[float],
    maps: int,
    seed: int,
    progress: Callable[[int], None] = lambda done: None,
) -> Sweep:
    """Accuracy of a dataflow graph under independent flips of its weight bits.

    Args:
        graph: dataflow level, folded as it will be built.
        images, labels: what accuracy is measured on.
        rates: bit error rates.
        maps: fault maps a rate; map m of one network is map m of every other.
        seed: of the maps.
        progress: called with the number of simulated maps.
    """
    accuracy = np.zeros((len(rates), maps))
    for column in range(maps):
        for row, rate in enumerate(rates):
            found = Simulator.of(inject(graph, seed, column, rate)).classes(images)
            accuracy[row, column] = np.mean(found == labels)
            progress(column * len(rates) + row + 1)
    clean = float(np.mean(Simulator.of(graph).classes(images) == labels))
    return Sweep(tuple(rates), accuracy, clean)


def student_t(freedom: int) -> float:
    """0.975 quantile of Student's t with `freedom` >= 1 degrees of freedom, to three decimals up to 30.

    Beyond 30: Cornish-Fisher expansion, off by less than 0.001.
    """
    table: tuple[float, ...] = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)
    table += (2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101, 2.093, 2.086)
    table += (2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042)
    if freedom <= len(table):
        return table[freedom - 1]
    z = 1.959964
    return z + (z**3 + z) / (4 * freedom)

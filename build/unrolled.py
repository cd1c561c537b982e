"""LUTs of layers that are fully unrolled, one circuit a neuron with its weights built in.

With PE = MH and SIMD = MW an MVAU takes one vector a cycle and every weight is a constant: a product with +1 is a wire,
with -1 an inverter that the next LUT takes up, with 0 nothing. What is left of a neuron is a sum of as many terms as it
keeps synapses, and the comparison with its thresholds. FINN's formula (`finn_formulas.mvau_cost`) counts every weight
of such a unit as if it were in a memory, so that zeros gain nothing there; this module counts the circuit.

The sum is a compressor tree (Wallace, A suggestion for a fast multiplier, 1964) of what a 6-input LUT with two outputs
(LUT6_2 of AMD's 7 series and UltraScale) can hold:

* 6:3 counter, six bits of one weight to three: 3 LUTs;
* 3:2 counter (full adder): 1 LUT, both of whose outputs are used;
* when no weight has more than two bits left, a ripple-carry adder: 1 LUT for each weight from the lowest that has two
  bits on (the carry chain is no LUT).

A comparison of s bits with a constant is a chain: 1 LUT for the first 6 bits, 1 more for each 5 beyond. One threshold a
neuron is one comparison; several are one each, and a tree that counts those that are met. Terms of several bits
(pixels, weights above 1) add a bit to each weight that they reach; -1 times such a term is its complement plus 1, and
all such constants move into the thresholds. Weights beyond -1, 0, +1 are sums of as few +-2^k as possible (canonical
signed digits). Registers are flip-flops and not counted; what synthesis shares between neurons is not foreseen.
Estimated: these are the counts of this construction, not synthesis results. Where our own hardware is counted by its
fitted model, that counts the rows that the generator writes, and this construction is not used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from math import ceil, prod

import numpy as np

from ..transforms.ir.graph import Graph, Node
from ..transforms.ir.ops import Mvau
from ..transforms.ir.tensor import Array, TensorType
from .cost import unit
from .cost_models import CostModel
from .cost_models.bnnflow import Bnnflow

SOURCE = "estimated (compressor trees of constant weights)"
Columns = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class UnrolledCost:
    """Estimate of one fully unrolled layer.

    Attributes:
        name: of its node.
        rows, columns: MH and MW.
        synapses: weights that are not 0.
        vectors: cycles per image: one vector a cycle.
        lut: of the circuit with the synapses that are there; LUTs that are memories among them.
        dense_lut: of the same with as many terms as a neuron has inputs, all of weight -1 or +1 (of bits and ternary
            weights), else with its own.
        finn_lut: FINN's formula at PE = MH, SIMD = MW.
        folded_lut, folded_bram18, folded_cycles: at the folding that the graph has, by the same model, or by FINN's
            formula.
    """

    name: str
    rows: int
    columns: int
    synapses: int
    vectors: int
    lut: int
    dense_lut: int
    finn_lut: int
    folded_lut: int
    folded_bram18: int
    folded_cycles: int

    @property
    def kept(self) -> float:
        """Share of weights that are not 0, 0 to 1."""
        return self.synapses / (self.rows * self.columns)


def unrolled(graph: Graph, model: CostModel | None = None) -> tuple[UnrolledCost, ...]:
    """The cost of every MVAU of a dataflow graph when it is fully unrolled, in order.

    Args:
        graph: dataflow level.
        model: of our own hardware: it counts the units that the generator writes. Others: the circuit is counted as
            above.
    """
    costs = (
        (node, _cost(node.name, node.op, graph.types[node.input])) for node in graph.nodes if isinstance(node.op, Mvau)
    )
    if not isinstance(model, Bnnflow):
        return tuple(cost for _, cost in costs)
    return tuple(_by_model(node, graph.types, model, cost) for node, cost in costs)


def source(model: CostModel | None) -> str:
    """Of what `unrolled` counts by a model."""
    return model.source if isinstance(model, Bnnflow) else SOURCE


def _by_model(node: Node, types: Mapping[str, TensorType], model: Bnnflow, cost: UnrolledCost) -> UnrolledCost:
    assert isinstance(node.op, Mvau)

    def lut(op: Mvau) -> tuple[int, int]:
        found = model.unit(replace(node, op=op), types, model.widths(op, types[node.input]), [2])
        return found.lut + found.lut_ram, found.bram18

    flat = replace(node.op, pe=cost.rows, simd=cost.columns)
    ternary = not flat.xnor and int(flat.weight.min()) >= -1 and int(flat.weight.max()) <= 1
    # Signs for what is removed are drawn: rows with more in common than trained ones have would share circuits.
    signs = 2 * np.random.default_rng(0).integers(0, 2, flat.weight.shape, np.int8) - 1
    dense = replace(flat, weight=np.where(flat.weight == 0, signs, flat.weight)) if ternary else flat
    (now, blocks), (kept, _), (whole, _) = lut(node.op), lut(flat), lut(dense)
    return replace(cost, lut=kept, dense_lut=whole, folded_lut=now, folded_bram18=blocks)


def _cost(name: str, op: Mvau, x: TensorType) -> UnrolledCost:
    rows, columns = op.weight.shape
    weight = 2 * op.weight.astype(np.int64) - 1 if op.xnor else op.weight.astype(np.int64)
    full = np.where(weight == 0, 1, weight)
    levels = op.bounds.shape[1] if op.has_bounds else 0
    flat = Mvau(op.weight, op.bounds, op.xnor, op.act_val, rows, columns)
    folded = unit(name, op, x)
    return UnrolledCost(
        name,
        rows,
        columns,
        int(np.count_nonzero(weight)),
        prod(x.shape[:-1]),
        sum(_neuron(row, x.bits, levels) for row in weight),
        sum(_neuron(row, x.bits, levels) for row in full),
        unit(name, flat, x).lut,
        folded.lut,
        folded.bram18,
        folded.cycles,
    )


def _neuron(weights: Array, bits: int, levels: int) -> int:
    """LUTs of one neuron: its sum, and the comparison with its thresholds."""
    heights = columns_of(weights, bits)
    total = tree_lut(heights) + levels * comparison_lut(sum_bits(heights))
    return total + (tree_lut((levels,)) if levels > 1 else 0)


def columns_of(weights: Array, bits: int) -> Columns:
    """How many bits of each weight 2^0, 2^1, ... a neuron adds up.

    Args:
        weights: (inputs,) integers.
        bits: of each input.
    """
    heights: Counter[int] = Counter()
    for magnitude, count in zip(*np.unique(np.abs(weights), return_counts=True), strict=True):
        for shift in _digits(int(magnitude)):
            for bit in range(bits):
                heights[shift + bit] += int(count)
    return tuple(heights[weight] for weight in range(max(heights, default=-1) + 1))


def _digits(value: int) -> list[int]:
    """Exponents of the canonical signed digits of a number; their signs cost nothing."""
    found, place = [], 0
    while value:
        if value & 1:
            found.append(place)
            value -= 2 - (value & 3)
        value >>= 1
        place += 1
    return found


def sum_bits(heights: Columns) -> int:
    """Bits of the largest sum of such columns, at least 1."""
    return max(1, sum(count << weight for weight, count in enumerate(heights)).bit_length())


def comparison_lut(bits: int) -> int:
    """LUTs of `number >= constant` for a number of so many bits."""
    return 1 + max(0, ceil((bits - 6) / 5))


@dataclass(frozen=True, slots=True)
class UnrolledStep:
    """One counter of a tree: `inputs` bits of weight 2^weight become `outputs` bits of that weight and the next."""

    weight: int
    inputs: int
    outputs: int

    @property
    def lut(self) -> int:
        """LUT6_2 that it takes."""
        return 3 if self.inputs == 6 else 1


@cache
def tree(heights: Columns) -> tuple[tuple[UnrolledStep, ...], Columns]:
    """The counters of a compressor tree, stage by stage, and how many bits of each weight it leaves: at most 2.

    In every stage each column is cut into groups of six; what is left of a column that is still too high, into threes.
    A column of up to two bits waits for the final adder.
    """
    steps: list[UnrolledStep] = []
    columns = list(heights)
    while any(count > 2 for count in columns):
        after = [0] * (len(columns) + 2)
        for weight, count in enumerate(columns):
            left = count
            for size, outputs in ((6, 3), (3, 2)):
                while left >= size:
                    steps.append(UnrolledStep(weight, size, outputs))
                    left -= size
                    for place in range(outputs):
                        after[weight + place] += 1
            after[weight] += left
        while after and not after[-1]:
            after.pop()
        columns = after
    return tuple(steps), tuple(columns)


def tree_lut(heights: Columns) -> int:
    """LUTs of the sum of so many bits of each weight: counters, and the final ripple-carry adder."""
    steps, left = tree(heights)
    double = [weight for weight, count in enumerate(left) if count == 2]
    return sum(step.lut for step in steps) + (len(left) - double[0] if double else 0)

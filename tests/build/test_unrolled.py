"""The circuits that `unrolled` counts compute the sums that they are counted for."""

from __future__ import annotations

import numpy as np
import pytest

from bnnflow.build.unrolled import columns_of, comparison_lut, sum_bits, tree, tree_lut, unrolled
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import Mvau
from bnnflow.transforms.ir.tensor import TensorType


def added(heights: tuple[int, ...], rng: np.random.Generator) -> None:
    """Put random bits through the counters of a tree and compare with their plain sum."""
    bits = [list(rng.integers(0, 2, count)) for count in heights]
    wanted = sum(int(bit) << weight for weight, column in enumerate(bits) for bit in column)
    steps, left = tree(heights)
    columns = [*bits, *([] for _ in range(20))]
    for step in steps:
        taken = [columns[step.weight].pop(0) for _ in range(step.inputs)]
        assert step.inputs <= 6
        assert 2**step.outputs > step.inputs
        for place in range(step.outputs):
            columns[step.weight + place].append(int(sum(map(int, taken))) >> place & 1)
    assert tuple(len(column) for column in columns[: len(left)]) == left
    assert not any(columns[len(left) :])
    assert max(left, default=0) <= 2
    assert sum(int(bit) << weight for weight, column in enumerate(columns) for bit in column) == wanted


def test_the_tree_adds_up() -> None:
    rng = np.random.default_rng(0)
    for heights in [(n,) for n in range(70)] + [tuple(rng.integers(0, 40, rng.integers(1, 9))) for _ in range(60)]:
        added(tuple(int(count) for count in heights), rng)


def test_small_sums_are_known_circuits() -> None:
    assert [tree_lut((n,)) for n in (0, 1, 2, 3, 6)] == [0, 0, 1, 1, 3]
    assert tree_lut((1, 1, 1)) == 0
    assert tree_lut((2, 2, 2)) == 3  # a ripple-carry adder of two 3-bit numbers
    assert [comparison_lut(bits) for bits in (1, 6, 7, 11, 12)] == [1, 1, 2, 2, 3]
    assert [sum_bits((n,)) for n in (0, 1, 3, 4, 784)] == [1, 1, 2, 3, 10]


@pytest.mark.parametrize("inputs", [64, 256, 784])
def test_popcounts_cost_about_a_lut_an_input(inputs: int) -> None:
    """A counter takes away as many bits as it has LUTs (6:3, 3 of 3), a full adder one of one; carries add some."""
    assert 0.8 * inputs <= tree_lut((inputs,)) <= 1.2 * inputs


def test_constant_weights_are_shifted_bits() -> None:
    values = np.arange(-127, 128)
    for value in values:
        heights = columns_of(np.array([value]), 1)
        assert sum(heights) <= len(bin(abs(value))) // 2 + 1
    assert columns_of(np.array([1, -1, 0, 1]), 1) == (3,)
    assert columns_of(np.array([2, -3]), 1) == (1, 1, 1)  # 2; and 4 - 1
    assert columns_of(np.array([1, 1]), 8) == (2,) * 8
    assert columns_of(np.array([0, 0]), 1) == ()


def mvau(weight: np.ndarray, levels: int, bits: int, xnor: bool) -> Graph:
    bounds = np.sort(np.random.default_rng(1).integers(-3, 3, (len(weight), levels)), axis=1)
    x = TensorType((weight.shape[1],), 0, 2**bits - 1)
    return Graph("g", "x", x, (Node("fc", Mvau(weight, bounds, xnor, pe=2, simd=4), ("x",)),), "fc")


def test_a_layer_costs_what_its_neurons_cost() -> None:
    rng = np.random.default_rng(0)
    weight = rng.integers(-1, 2, (6, 40)).astype(np.int8)
    (cost,) = unrolled(mvau(weight, 1, 1, False))
    kept = np.count_nonzero(weight, axis=1)
    assert cost.synapses == kept.sum()
    assert cost.lut == sum(tree_lut((int(n),)) + comparison_lut(int(n).bit_length()) for n in kept)
    assert cost.dense_lut == 6 * (tree_lut((40,)) + 1)
    assert cost.lut < cost.dense_lut < cost.finn_lut
    assert cost.folded_cycles == 6 * 40 // 8
    (binary,) = unrolled(mvau((weight > 0).astype(np.uint8), 1, 1, True))
    assert binary.lut == binary.dense_lut == cost.dense_lut
    (four,) = unrolled(mvau(weight, 3, 1, False))
    assert four.lut - cost.lut == sum(2 * comparison_lut(int(n).bit_length()) for n in kept) + 6 * tree_lut((3,))
    (bare,) = unrolled(mvau(weight, 0, 1, False))
    assert bare.lut == sum(tree_lut((int(n),)) for n in kept)


def test_fewer_synapses_cost_less_but_for_the_grouping() -> None:
    """Cutting columns into sixes and threes favours some counts; more inputs are never more than 3 LUTs cheaper."""
    costs = [tree_lut((n,)) + comparison_lut(sum_bits((n,))) for n in range(600)]
    assert all(cost >= max(costs[: n + 1]) - 3 for n, cost in enumerate(costs))

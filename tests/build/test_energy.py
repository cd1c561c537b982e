"""Energies against figures of the table that they come from, and counts done by hand."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from bnnflow.build.energy import access_pj, add_pj, energy, energy_nj, multiply_pj
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import AddStreams, DuplicateStreams, LabelSelect, Mvau, SlidingWindow, Thresholding
from bnnflow.transforms.ir.tensor import TensorType

ADDER_BIT = 0.03 / 8
SMALL = 10 / 64
KBYTE = 8 * 1024


def test_the_table_of_horowitz() -> None:
    assert add_pj(8) == pytest.approx(0.03)
    assert add_pj(32) == pytest.approx(0.1)
    assert multiply_pj(8, 8) == pytest.approx(0.2)
    assert multiply_pj(32, 32) == pytest.approx(3.1, rel=0.04)  # one figure a bit product serves both sizes
    for size, word in ((8, 10), (32, 20), (1024, 100)):
        assert 64 * access_pj(size * KBYTE) == pytest.approx(word)


def test_between_the_table_everything_grows() -> None:
    for cost, sizes in ((add_pj, range(1, 70)), (access_pj, range(8 * KBYTE, 4096 * KBYTE, 50_000))):
        values = [cost(size) for size in sizes]
        assert all(first < second for first, second in pairwise(values))
    assert access_pj(64) == access_pj(8 * KBYTE)


def convolution(simd: int = 6) -> Graph:
    """Two channels of 4 x 4 bits, four filters of 3 x 3, one threshold each."""
    weight = (np.arange(72).reshape(4, 18) % 3 == 0).astype(np.uint8)
    layer = Mvau(weight, np.full((4, 1), 9, np.int64), True, 0, 2, simd)
    nodes = (Node("window", SlidingWindow((3, 3), (1, 1), 2), ("x",)), Node("conv", layer, ("window",)))
    return Graph("g", "x", TensorType((4, 4, 2), 0, 1), nodes, "conv")


def test_a_binary_convolution_counted_by_hand() -> None:
    window, conv = energy(convolution())
    assert (window.operations, window.memory) == (0, 0)
    # 32 bits of pixels, 4 windows of 18 bits: each through a FIFO, and each through the line buffer.
    assert window.streams == pytest.approx(SMALL * 2 * (32 + 72))
    # 16 sums of 18 bits in 3 parts, which take 2 additions of 5 bits (0 to 18), and one comparison each.
    assert conv.operations == pytest.approx(16 * (18 + (2 + 1) * 5) * ADDER_BIT)
    # 72 weights for each of 4 windows, one threshold of 5 bits for each of 16 results.
    assert conv.memory == pytest.approx(SMALL * (4 * 72 + 16 * 5))
    assert conv.streams == pytest.approx(SMALL * (72 + 16))


def test_products_of_several_bits_counted_by_hand() -> None:
    weight = np.array([[1, 1, 1, -1, 0], [0, 0, 1, 0, 0]], np.int8)  # 2 bits each
    nodes = (
        Node("fc", Mvau(weight, np.zeros((0, 0), np.int64), False, 0, 1, 5), ("x",)),
        Node("levels", Thresholding(np.array([[0, 1, 2], [3, 4, 5]])), ("fc",)),
        Node("fork", DuplicateStreams(), ("levels",)),
        Node("sum", AddStreams(), ("fork", "fork")),
        Node("best", LabelSelect(), ("sum",)),
    )
    fc, levels, fork, total, best = energy(Graph("g", "x", TensorType((5,), 0, 255), nodes, "best"))
    # 10 products of 2 x 8 bits and additions of 10 bits; sums from -255 to 765 take 11 bits.
    assert fc.operations == pytest.approx(10 * (16 * 0.2 / 64 + 0.03 + 2 * 0.07 / 24))
    assert fc.memory == pytest.approx(SMALL * 10 * 2)
    assert fc.streams == pytest.approx(SMALL * (5 * 8 + 2 * 11))
    # 3 comparisons of 11 bits a value with bounds of 0 to 5, 4 bits beside signed sums; results of 0 to 3 take 2.
    assert levels.operations == pytest.approx(2 * 3 * (0.03 + 3 * 0.07 / 24))
    assert levels.memory == pytest.approx(SMALL * 2 * 3 * 4)
    assert fork.streams == pytest.approx(SMALL * (4 + 2 * 4))
    assert total.operations == pytest.approx(2 * 3 * ADDER_BIT)
    assert best.operations == pytest.approx(2 * 3 * ADDER_BIT)


def test_folding_changes_the_partial_sums_alone() -> None:
    narrow, wide = energy(convolution(simd=2))[1], energy(convolution(simd=18))[1]
    assert narrow.operations - wide.operations == pytest.approx(16 * 8 * 5 * ADDER_BIT)
    assert (narrow.memory, narrow.streams) == (wide.memory, wide.streams)
    graph = convolution()
    for pe in (1, 4):
        other = graph.with_nodes((graph.nodes[0], replace(graph.nodes[1], op=replace(graph.nodes[1].op, pe=pe))))
        assert energy(other) == energy(graph)


def test_the_sum_is_that_of_the_units() -> None:
    units = energy(convolution())
    found = energy_nj(units)
    assert found["energy_nj"] == pytest.approx(sum(unit.total for unit in units) / 1000)
    assert found["energy_memory_nj"] == pytest.approx(units[1].memory / 1000)

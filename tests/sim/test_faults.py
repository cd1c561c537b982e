"""Weight memories as the hardware lays them out, and what fault maps do to them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnnflow.sim.faults import Sweep, flips, from_memory, inject, memory, student_t, sweep
from bnnflow.transforms.graph import Graph, Node
from bnnflow.transforms.ops import Mvau
from bnnflow.transforms.tensor import TensorType

NO_BOUNDS = np.zeros((0, 0), np.int64)


def unit(rows: int, columns: int, pe: int, simd: int) -> Mvau:
    bits = np.random.default_rng(rows * columns).integers(0, 2, (rows, columns)).astype(np.uint8)
    return Mvau(bits, NO_BOUNDS, True, 0, pe, simd)


@given(st.sampled_from([1, 2, 3, 6]), st.sampled_from([1, 2, 4, 8]))
def test_words_follow_finns_packing(pe: int, simd: int) -> None:
    """Word nf * SF + sf, bit p * SIMD + s is row nf * PE + p, column sf * SIMD + s; nothing is lost."""
    op = unit(6, 8, pe, simd)
    words = memory(op)
    assert words.shape == (48 // (pe * simd), pe * simd)
    for nf in range(6 // pe):
        for sf in range(8 // simd):
            for p in range(pe):
                for s in range(simd):
                    value = op.weight[nf * pe + p, sf * simd + s]
                    assert words[nf * (8 // simd) + sf, p * simd + s] == value
    assert from_memory(op, words) == op


def test_qonnx_free_reference_of_finn() -> None:
    """FINN writes 4 words of 4 weights for this 4x4 matrix at PE 2, SIMD 2; worked out by hand."""
    order = [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    for place in range(16):
        weight = (np.arange(16) == place).reshape(4, 4).astype(np.uint8)
        words = memory(Mvau(weight, NO_BOUNDS, True, 0, 2, 2))
        assert words.tolist() == [[int(item == place) for item in word] for word in order]


@pytest.mark.parametrize(("low", "high", "bits"), [(-1, 1, 2), (-2, 1, 2), (-7, 7, 4), (-128, 127, 8), (0, 3, 2)])
def test_weights_of_several_bits_lie_bit_by_bit(low: int, high: int, bits: int) -> None:
    """A weight's bits stand side by side, least significant first, in two's complement; a flip is one bit of one."""
    weight = np.resize(np.arange(low, high + 1), (4, 6)).astype(np.int8)
    weight[0, 0], weight[0, 1] = low, high
    op = Mvau(weight, NO_BOUNDS, False, 0, 2, 3)
    words = memory(op)
    assert words.shape == (24 // 6, 6 * bits)
    places = 2 ** np.arange(bits)
    assert np.array_equal(words[0].reshape(2, 3, bits) @ places, weight[:2, :3].astype(np.int64) % 2**bits)
    assert from_memory(op, words) == op
    words[0, 0] ^= 1
    changed = from_memory(op, words).weight.astype(int) - weight
    assert np.count_nonzero(changed) == 1 and abs(changed[0, 0]) == 1


def test_weights_of_minus_and_plus_one_take_one_bit() -> None:
    weight = np.array([[1, -1], [-1, -1]], np.int8)
    op = Mvau(weight, NO_BOUNDS, False, 0, 1, 2)
    assert memory(op).tolist() == [[1, 0], [0, 0]]
    assert from_memory(op, 1 - memory(op)).weight.tolist() == (-weight).tolist()


def test_maps_are_nested_shared_and_replayable() -> None:
    low, high = flips(3, 1, 0, 5000, 0.01), flips(3, 1, 0, 5000, 0.1)
    assert np.all(high[low]), "what flips at a low rate flips at a high one"
    assert np.array_equal(flips(3, 1, 0, 800, 0.1), high[:800]), "a smaller memory suffers the same map"
    assert not np.array_equal(flips(3, 2, 0, 5000, 0.1), high)
    assert not np.array_equal(flips(3, 1, 1, 5000, 0.1), high)
    assert not flips(3, 1, 0, 5000, 0.0).any()
    assert flips(3, 1, 0, 5000, 1.0).all()


def test_the_rate_is_the_rate() -> None:
    """Share of flipped cells within five standard deviations of a binomial draw."""
    hits = flips(0, 0, 0, 10**6, 0.03).mean()
    assert abs(hits - 0.03) < 5 * (0.03 * 0.97 / 10**6) ** 0.5


def network() -> Graph:
    nodes = (Node("a", unit(8, 16, 2, 4), ("x",)), Node("b", unit(4, 8, 4, 1), ("a",)))
    first = Mvau(nodes[0].op.weight, np.full((8, 1), 8, np.int64), True, 0, 2, 4)  # type: ignore[union-attr]
    return Graph("n", "x", TensorType((16,), 0, 1), (Node("a", first, ("x",)), nodes[1]), "b")


def test_folding_changes_the_damage() -> None:
    """The same cells of the memory are other weights at another folding."""
    wide = network()
    refolded = wide.with_nodes(
        (Node("a", Mvau(wide.nodes[0].op.weight, wide.nodes[0].op.bounds, True, 0, 8, 2), ("x",)), wide.nodes[1])
    )  # type: ignore[union-attr]
    one, two = inject(wide, 0, 0, 0.2).nodes[0].op, inject(refolded, 0, 0, 0.2).nodes[0].op
    assert isinstance(one, Mvau)
    assert isinstance(two, Mvau)
    assert not np.array_equal(one.weight, two.weight)
    assert np.array_equal(inject(wide, 0, 0, 0.0).nodes[0].op.weight, wide.nodes[0].op.weight)  # type: ignore[union-attr]


def test_sweep_measures_accuracy_on_every_map() -> None:
    graph = network()
    images = np.random.default_rng(0).integers(0, 2, (40, 16)).astype(np.uint8)
    from bnnflow.sim.reference import run

    labels = run(graph, images)["b"].argmax(axis=1)
    seen: list[int] = []
    result = sweep(graph, images, labels, (0.0, 0.3), 3, 7, seen.append)
    assert seen == [1, 2, 3, 4, 5, 6]
    assert result.accuracy[0].tolist() == [1.0, 1.0, 1.0], "without faults the network is right by construction"
    assert result.clean == 1.0
    for fault_map in range(3):
        hit = run(inject(graph, 7, fault_map, 0.3), images)["b"].argmax(axis=1)
        assert result.accuracy[1, fault_map] == np.mean(hit == labels)


@pytest.mark.parametrize(("freedom", "quantile"), [(1, 12.706), (4, 2.776), (30, 2.042), (60, 2.000), (120, 1.980)])
def test_student_t_against_the_printed_table(freedom: int, quantile: float) -> None:
    assert student_t(freedom) == pytest.approx(quantile, abs=1.5e-3)


def test_interval_of_a_worked_example() -> None:
    """Four maps with mean 0.85 and standard deviation 0.01: half width 3.182 * 0.01 / 2."""
    spread = 0.01 * np.sqrt(3 / 2)
    sweep_ = Sweep((0.1,), np.array([[0.85 - spread, 0.85 + spread, 0.85, 0.85]]), 0.9)
    assert sweep_.mean[0] == pytest.approx(0.85)
    assert sweep_.half_width[0] == pytest.approx(3.182 * 0.01 / 2)

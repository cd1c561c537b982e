"""Costs and foldings against figures that FINN itself printed."""

from __future__ import annotations

import numpy as np
import pytest

from bnnflow import CHECK_FAILED, Problem
from bnnflow.build.cost import estimate, unit
from bnnflow.build.parts import Part, part
from bnnflow.build.schedule import cycles_for, divisors, fits, schedule
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import Mvau, SlidingWindow, StreamingMaxPool, Thresholding
from bnnflow.transforms.ir.tensor import TensorType

# FINN dev, estimate step of cnv-w1a1 and tfc-w1a1 at the foldings of finn-examples:
# (MW, MH, PE, SIMD, vectors, fused thresholds, cycles, LUT, BRAM18).
FINN_MVAU = [
    (784, 64, 16, 49, (), True, 64, 5615, 22),
    (64, 64, 8, 8, (), True, 64, 766, 2),
    (784, 64, 1, 28, (), True, 1792, 493, 4),
    (64, 64, 1, 4, (), True, 1024, 331, 1),
    (64, 10, 1, 1, (), False, 640, 312, 1),
    (576, 64, 32, 32, (28, 28), True, 28224, 7340, 29),
    (576, 128, 16, 32, (12, 12), True, 20736, 3820, 15),
    (1152, 128, 16, 32, (10, 10), True, 28800, 3837, 15),
    (1152, 256, 4, 32, (3, 3), True, 20736, 1184, 24),
    (2304, 256, 1, 32, (1, 1), True, 18432, 522, 36),
    (256, 512, 1, 4, (), True, 32768, 334, 8),
    (512, 512, 1, 8, (), True, 32768, 361, 16),
    (512, 10, 5, 1, (), False, 1024, 377, 1),
]
# (map, kernel, SIMD, bits, cycles, LUT)
FINN_WINDOW = [
    ((32, 32, 3), 3, 3, 8, 8167, 348),
    ((30, 30, 64), 3, 32, 1, 14238, 428),
    ((14, 14, 64), 3, 32, 1, 2654, 364),
    ((12, 12, 128), 3, 32, 1, 3708, 396),
    ((5, 5, 128), 3, 32, 1, 376, 364),
    ((3, 3, 256), 3, 32, 1, 144, 364),
]


def mvau(columns: int, rows: int, pe: int, simd: int, fused: bool = True) -> Mvau:
    bounds = np.zeros((rows, 1) if fused else (0, 0), np.int64)
    return Mvau(np.zeros((rows, columns), np.uint8), bounds, True, 0, pe, simd)


@pytest.mark.parametrize("row", FINN_MVAU)
def test_mvau_equals_finn(row: tuple) -> None:
    columns, rows, pe, simd, vectors, fused, *wanted = row
    cost = unit("u", mvau(columns, rows, pe, simd, fused), TensorType((*vectors, columns), 0, 1))
    assert [cost.cycles, cost.lut, cost.bram18] == wanted


def test_first_layer_on_8_bits_equals_finn() -> None:
    """CNV's MVAU_0: INT8 inputs, for which FINN stores the weights as INT2; 13-bit sums."""
    weight = np.where(np.arange(64 * 27).reshape(64, 27) % 2, 1, -1).astype(np.int8)
    first = Mvau(weight, np.zeros((64, 1), np.int64), False, 0, 16, 3)
    cost = unit("u", first, TensorType((30, 30, 27), -128, 127))
    assert (cost.cycles, cost.lut, cost.bram18) == (32400, 2992, 3)


@pytest.mark.parametrize("row", FINN_WINDOW)
def test_sliding_window_equals_finn(row: tuple) -> None:
    shape, kernel, simd, bits, *wanted = row
    cost = unit("u", SlidingWindow((kernel, kernel), (1, 1), simd), TensorType(shape, 0, 2**bits - 1))
    assert [cost.cycles, cost.lut] == wanted


@pytest.mark.parametrize(("pe", "cycles", "lut"), [(49, 16, 392), (1, 784, 104)])
def test_thresholding_equals_finn(pe: int, cycles: int, lut: int) -> None:
    cost = unit("u", Thresholding(np.full((784, 1), 128, np.int64), 0, pe), TensorType((784,), 0, 255))
    assert (cost.cycles, cost.lut) == (cycles, lut)


@pytest.mark.parametrize(("size", "channels", "cycles"), [(28, 64, 980), (10, 128, 125)])
def test_max_pool_equals_finn(size: int, channels: int, cycles: int) -> None:
    assert unit("u", StreamingMaxPool((2, 2)), TensorType((size, size, channels), 0, 1)).cycles == cycles


def chain() -> Graph:
    """784 bits, 64 neurons, 10 classes."""
    nodes = (Node("a", mvau(784, 64, 1, 1), ("x",)), Node("b", mvau(64, 10, 1, 1, False), ("a",)))
    return Graph("chain", "x", TensorType((784,), 0, 1), nodes, "b")


@pytest.mark.parametrize("fps", [100, 12_345, 1e6, 1e7])
def test_schedule_keeps_the_rate_at_least_cost(fps: float) -> None:
    """No other legal folding of a unit that keeps the rate is cheaper: all are tried."""
    big = Part("any", 10**6, 10**4)
    folded = schedule(chain(), fps, 100, big)
    cost = estimate(folded)
    assert cost.fps(100) >= fps
    x = TensorType((784,), 0, 1)
    for pe in divisors(64):
        for simd in divisors(784):
            other = unit("a", mvau(784, 64, pe, simd), x)
            if other.cycles <= cycles_for(fps, 100):
                mine = cost.units[0]
                assert mine.lut / 10**6 + mine.bram18 / 10**4 <= other.lut / 10**6 + other.bram18 / 10**4 + 1e-12


def test_a_rate_that_no_folding_reaches_says_what_can_be(golden) -> None:  # type: ignore[no-untyped-def]
    pool = Graph("pool", "x", TensorType((8, 8, 4), 0, 1), (Node("p", StreamingMaxPool((2, 2)), ("x",)),), "p")
    with pytest.raises(Problem) as caught:
        schedule(pool, 2e6, 100, part("xc7z020clg400-1"))
    assert caught.value.status == CHECK_FAILED
    golden("problems/target_too_fast", str(caught.value))
    assert estimate(schedule(pool, 1_250_000, 100, part("xc7z020"))).cycles == 80


def test_a_rate_that_does_not_fit_says_what_does(golden) -> None:  # type: ignore[no-untyped-def]
    small = Part("small", 3000, 20)
    with pytest.raises(Problem) as caught:
        schedule(chain(), 5e6, 100, small)
    assert caught.value.status == CHECK_FAILED
    golden("problems/target_does_not_fit", str(caught.value))
    rate = float(caught.value.hint.split("at most ")[1].split(" ")[0].replace(",", ""))
    assert fits(estimate(schedule(chain(), rate, 100, small)), small), "the rate that is offered must fit"


def test_unknown_part(golden) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Problem) as caught:
        part("xc7z200")
    golden("problems/unknown_part", str(caught.value))

"""FINN's formulas against figures that FINN and finn-plus printed; `make oracles` compares thousands of units."""

from __future__ import annotations

import numpy as np
import pytest

from bnnflow.build import finn_formulas as finn
from bnnflow.build.finn_cost import finn_units
from bnnflow.build.finn_formulas import FinnCost, FinnType
from bnnflow.transforms.graph import Graph, Mvau, Node, SlidingWindow, StreamingMaxPool, TensorType


def test_matrix_units_equal_finn() -> None:
    """TFC and CNV at the foldings of finn-examples, and weights in LUTs, UltraRAM and products in DSP slices."""
    assert finn.mvau(64, 784, 16, 49, 1, 1, 1, False, 10) == FinnCost(64, 5615, 22)
    assert finn.mvau(64, 27, 16, 3, 900, 2, 8, True, 13) == FinnCost(32400, 2992, 3)
    assert finn.mvau(256, 2304, 1, 32, 1, 1, 1, False, 12) == FinnCost(18432, 522, 36)
    assert finn.mvau(64, 64, 8, 8, 1, 1, 1, False, 7, ram_style="distributed").bram18 == 0
    assert finn.mvau(64, 64, 8, 8, 1, 1, 1, False, 7, ram_style="ultra").uram == 1
    assert finn.mvau(64, 64, 8, 8, 1, 4, 4, True, 14, dsp=True).dsp == 64


def test_windows_and_pools_equal_finn() -> None:
    """CNV's first window and first max pool in finn-plus: a depthwise window on whole pixels, then a pool."""
    assert finn.sliding_window((32, 32, 3), (3, 3), (1, 1), 3, 8) == FinnCost(8167, 348)
    assert finn.sliding_window((28, 28, 64), (2, 2), (2, 2), 64, 1, depthwise=True) == FinnCost(842, 428)
    assert finn.pool((14, 14, 64), (2, 2), 64) == FinnCost(784)
    assert finn.sliding_window((8, 8, 8), (1, 1), (1, 1), 2, 2) == FinnCost(258, 304)


def test_thresholds_equal_finn() -> None:
    assert finn.thresholding(784, 1, 1, 8, 1) == FinnCost(784, 104)
    assert finn.thresholding(784, 49, 1, 8, 1) == FinnCost(16, 392)
    assert finn.thresholding(3, 1, 1024, 8, 8) == FinnCost(3072, 128)


@pytest.mark.parametrize(
    ("value", "name"),
    [(0, "BINARY"), (1, "BINARY"), (2, "UINT2"), (127, "UINT7"), (-1, "BIPOLAR"), (-2, "INT2"), (-3, "INT3")],
)
def test_smallest_types_equal_qonnx(value: int, name: str) -> None:
    assert finn.smallest_type(value).name == name


def test_types_of_weights_and_sums() -> None:
    signs = np.array([[1, -1, 1, 1], [-1, -1, -1, 1]])
    assert finn.weight_type(signs) == FinnType(2, True)
    assert finn.weight_type(np.ones((2, 2), np.int64)).name == "BINARY"
    assert finn.weight_type(np.array([[-8, 7]])).name == "INT4"
    assert finn.accumulator_type(signs, 0, 255, False, last=False).name == "INT11"
    bits = (signs > 0).astype(np.int64)
    assert finn.accumulator_type(bits, 0, 1, True, last=False).name == "INT3", "though the popcount can be 4"
    assert finn.accumulator_type(bits, 0, 1, True, last=True).name == "INT8"


def test_a_bound_type_narrower_than_the_input_also_holds_one_less_than_the_least_bound() -> None:
    assert finn.bound_type(np.array([[128]]), 0, 255).name == "UINT8"
    assert finn.bound_type(np.array([[0, 5]]), 0, 255).name == "INT4"
    assert finn.bound_type(np.array([[1, 5]]), 0, 255).name == "UINT3"
    assert finn.bound_type(np.array([[0]]), -128, 127).name == "INT2"


def test_units_of_a_graph_are_named_in_order_and_a_max_pool_is_two_units() -> None:
    empty = np.zeros((0, 0), np.int64)
    nodes = (
        Node("w", SlidingWindow((3, 3), (1, 1), 2), "x"),
        Node("m", Mvau(np.ones((4, 18), np.uint8), np.zeros((4, 1), np.int64), True), "w"),
        Node("p", StreamingMaxPool((2, 2)), "m"),
        Node("w2", SlidingWindow((2, 2), (1, 1), 4), "p"),
        Node("y", Mvau(np.ones((3, 16), np.uint8), empty, True), "w2"),
    )
    graph = Graph("g", "x", TensorType((6, 6, 2), 0, 1), nodes, "y")
    names = [unit.name for unit in finn_units(graph, classify=True)]
    assert names == [
        "ConvolutionInputGenerator_rtl_0",
        "MVAU_hls_0",
        "ConvolutionInputGenerator_rtl_1",
        "Pool_hls_0",
        "ConvolutionInputGenerator_rtl_2",
        "MVAU_hls_1",
        "LabelSelect_hls_0",
    ]
    assert finn_units(graph)[-1].types["outputDataType"] == "UINT8", "sums that leave are whole bytes"

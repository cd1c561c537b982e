"""FINN's formulas against figures that FINN and finn-plus printed; `make oracles` compares thousands of units."""

from __future__ import annotations

import numpy as np
import pytest

from bnnflow.build import finn_formulas as finn
from bnnflow.build.cost import estimate
from bnnflow.build.finn_formulas import FinnCost, FinnType
from bnnflow.build.finn_reports import unit_names
from bnnflow.build.finn_types import finn_types
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import (
    AddBorder,
    AddStreams,
    DuplicateStreams,
    Flatten,
    LabelSelect,
    Mvau,
    Pool,
    SlidingWindow,
    Thresholding,
)
from bnnflow.transforms.ir.tensor import TensorType


def test_matrix_units_equal_finn() -> None:
    """TFC and CNV at the foldings of finn-examples, and weights in LUTs, UltraRAM and products in DSP slices."""
    assert finn.mvau_cost(64, 784, 16, 49, 1, 1, 1, False, 10) == FinnCost(64, 5615, 22)
    assert finn.mvau_cost(64, 27, 16, 3, 900, 2, 8, True, 13) == FinnCost(32400, 2992, 3)
    assert finn.mvau_cost(256, 2304, 1, 32, 1, 1, 1, False, 12) == FinnCost(18432, 522, 36)
    assert finn.mvau_cost(64, 64, 8, 8, 1, 1, 1, False, 7, ram_style="distributed").bram18 == 0
    assert finn.mvau_cost(64, 64, 8, 8, 1, 1, 1, False, 7, ram_style="ultra").uram == 1
    assert finn.mvau_cost(64, 64, 8, 8, 1, 4, 4, True, 14, dsp=True).dsp == 64


def test_windows_and_pools_equal_finn() -> None:
    """CNV's first window and first max pool in finn-plus: a depthwise window on whole pixels, then a pool."""
    assert finn.sliding_window_cost((32, 32, 3), (3, 3), (1, 1), 3, 8) == FinnCost(8167, 348)
    assert finn.sliding_window_cost((28, 28, 64), (2, 2), (2, 2), 64, 1, depthwise=True) == FinnCost(842, 428)
    assert finn.pool_cost((14, 14, 64), (2, 2), 64) == FinnCost(784)
    assert finn.sliding_window_cost((8, 8, 8), (1, 1), (1, 1), 2, 2) == FinnCost(258, 304)


def test_thresholds_equal_finn() -> None:
    assert finn.thresholding_cost(784, 1, 1, 8, 1) == FinnCost(784, 104)
    assert finn.thresholding_cost(784, 49, 1, 8, 1) == FinnCost(16, 392)
    assert finn.thresholding_cost(3, 1, 1024, 8, 8) == FinnCost(3072, 128)


@pytest.mark.parametrize(
    ("value", "name"),
    [(0, "BINARY"), (1, "BINARY"), (2, "UINT2"), (127, "UINT7"), (-1, "BIPOLAR"), (-2, "INT2"), (-3, "INT3")],
)
def test_smallest_types_equal_qonnx(value: int, name: str) -> None:
    assert finn.smallest_type(value).name == name


def test_types_of_weights_and_sums() -> None:
    signs = np.array([[1, -1, 1, 1], [-1, -1, -1, 1]])
    assert finn.minimized_weight_type(signs) == FinnType(2, True)
    assert finn.minimized_weight_type(np.ones((2, 2), np.int64)).name == "BINARY"
    assert finn.minimized_weight_type(np.array([[-8, 7]])).name == "INT4"
    assert finn.accumulator_type(signs, 0, 255, False, last=False).name == "INT11"
    bits = (signs > 0).astype(np.int64)
    assert finn.accumulator_type(bits, 0, 1, True, last=False).name == "INT3", "though the popcount can be 4"
    assert finn.accumulator_type(bits, 0, 1, True, last=True).name == "INT8"


def test_a_bound_type_narrower_than_the_input_also_holds_one_less_than_the_least_bound() -> None:
    assert finn.minimized_bound_type(np.array([[128]]), 0, 255).name == "UINT8"
    assert finn.minimized_bound_type(np.array([[0, 5]]), 0, 255).name == "INT4"
    assert finn.minimized_bound_type(np.array([[1, 5]]), 0, 255).name == "UINT3"
    assert finn.minimized_bound_type(np.array([[0]]), -128, 127).name == "INT2"


EMPTY = np.zeros((0, 0), np.int64)


def branched(*more: Node, output: str = "sums") -> Graph:
    """Popcounts with a border beside a shortcut, their sum in a pool, and class sums of it."""
    half = Mvau(np.repeat(np.array([[0, 1], [1, 0], [1, 1], [0, 0]], np.uint8), 9, axis=1), EMPTY, True)
    ones = np.ones((2, 2, 4), np.int64)
    nodes = (
        Node("fork", DuplicateStreams(), ("x",)),
        Node("window", SlidingWindow((3, 3), (1, 1), 2), ("fork",)),
        Node("window2", SlidingWindow((3, 3), (1, 1), 2), ("fork",)),
        Node("counts", half, ("window",)),
        Node("counts2", half, ("window2",)),
        Node("border", AddBorder(ones - 2, np.array([0, 1, 1, 0]), np.array([0, 1, 1, 0])), ("counts",)),
        Node("joined", AddStreams(), ("border", "counts2")),
        Node("bits", Thresholding(np.full((4, 1), 9)), ("joined",)),
        Node("pool_window", SlidingWindow((2, 2), (2, 2), 1, depthwise=True), ("bits",)),
        Node("pool", Pool((2, 2)), ("pool_window",)),
        Node("window3", SlidingWindow((2, 2), (1, 1), 4), ("pool",)),
        Node("sums", Mvau(np.ones((3, 16), np.uint8), EMPTY, True), ("window3",)),
        *more,
    )
    return Graph("g", "x", TensorType((6, 6, 2), 0, 1), nodes, output)


def test_units_are_numbered_by_operator_as_finn_plus_names_them() -> None:
    names = list(unit_names(branched(), finn_plus=True).values())
    assert names == [
        "DuplicateStreams_hls_0",
        "ConvolutionInputGenerator_rtl_0",
        "ConvolutionInputGenerator_rtl_1",
        "MVAU_hls_0",
        "MVAU_hls_1",
        "ElementwiseAdd_hls_0",
        "ElementwiseAdd_hls_1",
        "Thresholding_rtl_0",
        "ConvolutionInputGenerator_rtl_2",
        "Pool_hls_0",
        "ConvolutionInputGenerator_rtl_3",
        "MVAU_hls_2",
    ]
    assert unit_names(branched())["joined"] == "AddStreams_hls_0"
    assert unit_names(branched())["border"] == "ElementwiseAdd_hls_0"


def test_types_follow_from_types_as_in_finn() -> None:
    """XNOR sums have too few bits, each sum one bit more than its wider operand; sums at the end are whole bytes."""
    graph = branched()
    types = finn_types(graph)
    assert [types[name].datatype for name in ("x", "counts", "border", "joined")] == ["BINARY", "INT6", "INT7", "INT8"]
    assert graph.types["counts"].datatype == "UINT5" and types["sums"].datatype == "UINT8"
    flat = Node("flat", Flatten(), ("sums",))
    labelled = branched(flat, Node("label", LabelSelect(), ("flat",)), output="label")
    assert finn_types(labelled)["sums"].datatype == "UINT5"


def test_the_types_are_what_finns_costs_follow_from() -> None:
    graph = branched()
    cost = estimate(graph, "finn")
    bits = next(unit for unit in cost.units if unit.name == "bits")
    kind = finn.minimized_bound_type(np.full((4, 1), 9), -128, 127)
    assert bits.lut == finn.thresholding_cost(4, 1, 16, kind.bits, 1).lut
    assert cost.latency_cycles < sum(unit.cycles for unit in cost.units), "one of two branches counts"


@pytest.mark.parametrize(
    ("made", "name"),
    [
        (finn.add_type(FinnType(4, False), FinnType(4, False)), "UINT5"),
        (finn.add_type(FinnType(4, False), FinnType(3, True)), "INT6"),
        (finn.add_type(FinnType(3, False), FinnType(4, True)), "INT5"),
        (finn.add_type(FinnType(1, True), FinnType(1, True)), "INT2"),
        (finn.product_type(FinnType(4, False), FinnType(3, True)), "INT7"),
        (finn.global_total_type(FinnType(2, True), 16), "INT6"),
        (finn.window_total_type(FinnType(2, False), 4), "UINT4"),
        (finn.concat_type([FinnType(1, False), FinnType(4, False)]), "UINT4"),
        (finn.concat_type([FinnType(4, False), FinnType(2, True)]), "INT5"),
        (finn.constant_type(np.array([1, 3])), "UINT2"),
        (finn.constant_type(np.array([0, 3])), "INT3"),
    ],
)
def test_types_of_joins_and_pools(made: FinnType, name: str) -> None:
    assert made.name == name

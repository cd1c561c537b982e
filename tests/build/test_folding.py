"""FINN's folding files on dataflow graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bnnflow import USER_INPUT, Problem
from bnnflow.build.finn_reports import folding, unit_names
from bnnflow.build.parts import part
from bnnflow.build.schedule import apply_folding, divisors, schedule
from bnnflow.sim import reference
from bnnflow.transforms.compile import stages
from bnnflow.transforms.graph import Graph
from bnnflow.transforms.ops import Mvau, Pool, SlidingWindow
from bnnflow.transforms.read import read
from tests.networks import Builder, random_network

Golden = Callable[[str, str], None]


def pooled() -> Graph:
    """Two convolutions, an overlapping pool (with a depthwise window) and a dense layer."""
    build = Builder(np.random.default_rng(0))
    build.add("Sub", build.constant(127.5))
    build.sign()
    build.add("Conv", build.binary_weight(8, 2, 3, 3), kernel_shape=[3, 3])
    build.batch_norm()
    build.sign()
    build.add("MaxPool", kernel_shape=[3, 3], strides=[1, 1])
    build.add("Conv", build.binary_weight(4, 8, 3, 3), kernel_shape=[3, 3])
    build.batch_norm()
    build.sign()
    build.add("Flatten", axis=1)
    build.add("Gemm", build.binary_weight(3, 16), transB=1)
    return stages(read(build.model((2, 8, 8), 3, annotate=True)))[-1].graph


@pytest.fixture(scope="module")
def graph() -> Graph:
    return pooled()


def foldings(graph: Graph) -> dict[str, tuple[int, int]]:
    return {n.name: (getattr(n.op, "pe", 0), getattr(n.op, "simd", 0)) for n in graph.nodes}


def test_what_we_write_is_what_we_read(graph: Graph) -> None:
    """The folding file of a scheduled graph makes the same graph of one that is not folded."""
    folded = schedule(graph, 200_000, 100, part("xc7z020"))
    assert foldings(folded) != foldings(graph)
    assert apply_folding(graph, folding(folded)) == folded
    assert apply_folding(graph, {}) == graph


def test_the_results_stay_the_same(graph: Graph) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 2, 8, 8))
    wanted = reference.run(graph, images)[graph.output]
    for fps in (1_000, 200_000):
        folded = apply_folding(graph, folding(schedule(graph, fps, 100, part("xc7z020"))))
        assert np.array_equal(reference.run(folded, images)[folded.output], wanted)


@pytest.mark.parametrize("name", ["MVAU_hls_1", "MVAU_rtl_1", "MVAU_1"])
def test_the_style_in_a_name_does_not_matter(graph: Graph, name: str) -> None:
    mvaus = [node.name for node in graph.nodes if isinstance(node.op, Mvau)]
    changed = apply_folding(graph, {name: {"PE": 2, "SIMD": 4, "ram_style": "block", "resType": "lut"}})
    assert foldings(changed) == foldings(graph) | {mvaus[1]: (2, 4)}


def test_defaults_go_to_the_operators_that_they_name(graph: Graph) -> None:
    only = apply_folding(graph, {"Defaults": {"PE": [1, ["all"]], "SIMD": [2, ["MVAU_hls"]], "depth": [32, ["all"]]}})
    for node in only.nodes:
        if isinstance(node.op, Mvau):
            assert (node.op.pe, node.op.simd) == (1, 2)
        elif isinstance(node.op, SlidingWindow):
            assert node.op.simd == 1
    named = apply_folding(graph, {"Defaults": {"SIMD": [2, ["MVAU"]]}, "MVAU_hls_0": {"SIMD": 9}})
    assert [n.op.simd for n in named.nodes if isinstance(n.op, Mvau)] == [9, 2, 2], "a name goes before the defaults"


REFUSED: dict[str, dict[str, Any]] = {
    "unknown_name": {"MVAU_hls_0": {"PE": 2}, "MVAU_hls_7": {"PE": 2}, "StreamingMaxPool_hls_0": {"PE": 1}},
    "unknown_attribute": {"MVAU_hls_0": {"PE": 2, "pe": 4}, "ConvolutionInputGenerator_rtl_0": {"PE": 2}},
    "not_dividing": {"MVAU_hls_0": {"PE": 3, "SIMD": 5}, "MVAU_hls_1": {"PE": 0}, "MVAU_hls_2": {"SIMD": "4"}},
    "pool_and_window": {"Pool_hls_0": {"PE": 4}},
    "parallel_window": {"ConvolutionInputGenerator_rtl_0": {"SIMD": 2, "parallel_window": 1}},
    "no_mapping": {"Defaults": {"PE": 2}, "MVAU_hls_0": 4},
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_named(graph: Graph, name: str, golden: Golden) -> None:
    """FINN only warns on unknown names and swallows what it cannot set."""
    with pytest.raises(Problem) as caught:
        apply_folding(graph, REFUSED[name])
    assert caught.value.status == USER_INPUT
    golden(f"problems/folding_{name}", str(caught.value))


def test_every_divisor_is_accepted_and_nothing_else(graph: Graph) -> None:
    units = {finn: graph.node(ours) for ours, finn in unit_names(graph).items()}
    unit = units["MVAU_hls_0"].op
    assert isinstance(unit, Mvau)
    for whole, key in zip(unit.weight.shape, ("PE", "SIMD"), strict=True):
        for value in range(1, whole + 2):
            if value in divisors(whole):
                apply_folding(graph, {"MVAU_hls_0": {key: value}})
            else:
                with pytest.raises(Problem, match=f"{key} {value} of MVAU_hls_0 does not divide {whole}"):
                    apply_folding(graph, {"MVAU_hls_0": {key: value}})


def test_a_pool_and_its_window_are_folded_alike(graph: Graph) -> None:
    names = unit_names(graph)
    pool = next(node for node in graph.nodes if isinstance(node.op, Pool))
    changed = apply_folding(graph, {names[pool.name]: {"PE": 4}, names[pool.input]: {"SIMD": 4}})
    assert foldings(changed)[pool.name][0] == foldings(changed)[pool.input][1] == 4


def test_files_of_other_networks_are_refused() -> None:
    """finn-examples' file of one network does not land silently on another."""
    other = stages(read(random_network(2, 1, 1)))[-1].graph
    with pytest.raises(Problem, match="no unit is named"):
        apply_folding(other, folding(pooled()))

"""FINN's folding files on dataflow graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from bnnflow import USER_INPUT, Problem
from bnnflow.build.finn_reports import folding, unit_names
from bnnflow.build.folding_file import apply_folding, read_folding
from bnnflow.build.parts import part
from bnnflow.build.schedule import divisors, schedule
from bnnflow.sim import reference
from bnnflow.transforms.ir.graph import Graph
from bnnflow.transforms.ir.ops import Mvau, Pool, SlidingWindow, Thresholding
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.reading.read import read
from tests.random_qonnx import Builder, random_network

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


ONES: dict[str, Any] = {"Defaults": {"PE": [1, ["all"]], "SIMD": [1, ["all"]]}}


def foldings(graph: Graph) -> dict[str, tuple[int, int]]:
    return {n.name: (getattr(n.op, "pe", 0), getattr(n.op, "simd", 0)) for n in graph.nodes}


def test_what_we_write_is_what_we_read(graph: Graph) -> None:
    """The folding file of a scheduled graph makes the same graph of one that is not folded."""
    folded = schedule(graph, 200_000, 100, part("xc7z020"))
    assert foldings(folded) != foldings(graph)
    assert apply_folding(graph, folding(folded)) == folded
    assert apply_folding(graph, ONES) == graph


def test_the_results_stay_the_same(graph: Graph) -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 2, 8, 8))
    wanted = reference.run(graph, images)[graph.output]
    for fps in (1_000, 200_000):
        folded = apply_folding(graph, folding(schedule(graph, fps, 100, part("xc7z020"))))
        assert np.array_equal(reference.run(folded, images)[folded.output], wanted)


@pytest.mark.parametrize("name", ["MVAU_hls_1", "MVAU_1", "MatrixVectorActivation_1", "StreamingFCLayer_Batch_1"])
def test_names_of_all_versions_mean_the_same_unit(graph: Graph, name: str) -> None:
    mvaus = [node.name for node in graph.nodes if isinstance(node.op, Mvau)]
    changed = apply_folding(graph, ONES | {name: {"PE": 2, "SIMD": 4, "ram_style": "block", "resType": "lut"}})
    assert foldings(changed) == foldings(graph) | {mvaus[1]: (2, 4)}


def test_defaults_go_to_the_operators_that_they_name(graph: Graph) -> None:
    swg = "ConvolutionInputGenerator"
    stated = {"PE": [1, ["all"]], "SIMD": [2, ["MVAU_hls"], 1, [swg]], "depth": [32, ["all"]]}
    only = apply_folding(graph, {"Defaults": stated})
    for node in only.nodes:
        if isinstance(node.op, Mvau):
            assert (node.op.pe, node.op.simd) == (1, 2)
        elif isinstance(node.op, SlidingWindow):
            assert node.op.simd == 1
    named = apply_folding(graph, {"Defaults": stated, "MVAU_hls_0": {"SIMD": 9}})
    assert [n.op.simd for n in named.nodes if isinstance(n.op, Mvau)] == [9, 2, 2], "a name goes before the defaults"


WINDOW = "ConvolutionInputGenerator_rtl_0"
REFUSED: dict[str, dict[str, Any]] = {
    "unknown_name": {"MVAU_hls_0": {"PE": 2}, "MVAU_hls_7": {"PE": 2}, "StreamingMaxPool_hls_0": {"PE": 1}},
    "unknown_attribute": {"MVAU_hls_0": {"PE": 2, "pe": 4}, WINDOW: {"PE": 2}},
    "not_dividing": {"MVAU_hls_0": {"PE": 3, "SIMD": 5}, "MVAU_hls_1": {"PE": 0}, "MVAU_hls_2": {"SIMD": "4"}},
    "pool_and_window": {"Defaults": ONES["Defaults"], "Pool_hls_0": {"PE": 4}},
    "parallel_window": {"Defaults": ONES["Defaults"], WINDOW: {"SIMD": 1, "parallel_window": 1}},
    "no_mapping": {"Defaults": {"PE": 2}, "MVAU_hls_0": 4},
    "unknown_value": {
        "MVAU_hls_0": {"ram_style": "foo", "resType": "DSP", "mem_mode": 1},
        WINDOW: {"ram_style": "ultr"},
    },
    "wrong_type": {"MVAU_hls_0": {"PE": True, "SIMD": 2.0, "runtime_writeable_weights": "0", "slr": "x"}},
    "left_out": {"MVAU_hls_0": {"PE": 2}, "Thresholding_rtl_0": {}},
    "one_unit_twice": {"MVAU_hls_0": {"PE": 2, "SIMD": 9}, "MVAU_0": {"PE": 1}},
    "mixed_forms": {"Thresholding_hls_0": {"PE": 1}, "Thresholding_rtl_0": {"PE": 1}},
    "no_such_form": {"MVAU_rtl_0": {"PE": 1, "SIMD": 1}, "ConvolutionInputGenerator_hls_0": {"SIMD": 1}},
    "other_form": {"Thresholding_rtl_0": {"PE": 1, "ram_style": "block"}},
    "fixed_by_the_network": {"MVAU_hls_0": {"MW": 27, "MH": 8, "binaryXnorMode": 0}},
    "labels": {"LabelSelect_hls_0": {"PE": 1}},
    "default_of_nothing": {
        "Defaults": {"PEE": [1, ["all"]], "PE": [1, ["MVAUU_hls"]], "SIMD": [2], "ram_style": [1, 2]}
    },
    "inserted": {"StreamingFIFO_rtl_0": {"depth": -1, "width": 2}, "IODMA_hls_0": {"intfWidth": "64"}},
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
                apply_folding(graph, ONES | {"MVAU_hls_0": {key: value}})
            else:
                with pytest.raises(Problem, match=f"{key} {value} of MVAU_hls_0 does not divide {whole}"):
                    apply_folding(graph, ONES | {"MVAU_hls_0": {key: value}})


def test_a_pool_and_its_window_are_folded_alike(graph: Graph) -> None:
    names = unit_names(graph)
    pool = next(node for node in graph.nodes if isinstance(node.op, Pool))
    changed = apply_folding(graph, ONES | {names[pool.name]: {"PE": 4}, names[pool.input]: {"SIMD": 4}})
    assert foldings(changed)[pool.name][0] == foldings(changed)[pool.input][1] == 4


def test_files_of_other_networks_are_refused() -> None:
    """finn-examples' file of one network does not land silently on another."""
    other = stages(read(random_network(2, 1, 1)))[-1].graph
    with pytest.raises(Problem, match="no unit is named"):
        apply_folding(other, folding(pooled()))


def test_thresholds_of_older_versions_are_of_the_form_hls(graph: Graph) -> None:
    """finn-examples wrote Thresholding_Batch with a ram_style, and "const" and "decoupled" for places of memories."""
    for name in ("Thresholding_Batch_0", "Thresholding_hls_0"):
        made = apply_folding(graph, ONES | {name: {"PE": 2, "ram_style": "block", "mem_mode": "const"}})
        unit = next(node.op for node in made.nodes if isinstance(node.op, Thresholding))
        assert (unit.form, unit.pe, unit.ram_style, unit.mem_mode) == ("hls", 2, "block", "internal_embedded")
        assert "Thresholding_hls_0" in unit_names(made).values()
    older = apply_folding(graph, ONES | {"MatrixVectorActivation_0": {"mem_mode": "decoupled"}})
    assert older == apply_folding(graph, ONES)


def test_what_the_file_leaves_out_keeps_the_folding_for_a_rate(graph: Graph) -> None:
    rest = schedule(graph, 200_000, 100, part("xc7z020"))
    config = {"MVAU_hls_1": {"PE": 4, "SIMD": 1, "resType": "dsp"}}
    made = apply_folding(graph, config, rest=rest)
    mvau = [node.name for node in graph.nodes if isinstance(node.op, Mvau)][1]
    assert foldings(made) == foldings(rest) | {mvau: (4, 1)}


def test_what_is_for_fifos_or_changes_nothing_is_handed_back(graph: Graph) -> None:
    more = {"MVAU_hls_0": {"inFIFODepths": [32], "slr": 1, "mem_port": "", "numInputVectors": [1, 6, 6]}}
    more |= {"StreamingFIFO_rtl_3": {"depth": 64, "impl_style": "vivado", "ram_style": "ultra", "inFIFODepths": [0]}}
    more |= {"StreamingDataWidthConverter_rtl_0": {"inFIFODepths": [2]}, "IODMA_hls_0": {"intfWidth": 64}}
    applied = read_folding(graph, ONES | more)
    assert applied.graph == apply_folding(graph, ONES)
    assert applied.fifos == {"MVAU_hls_0": {"inFIFODepths": [32]}, "StreamingFIFO_3": {"depth": 64}}
    assert applied.idle == ("slr",)

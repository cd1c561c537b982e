"""The GPU's kernels compute what the reference computes, bit for bit; here compiled for the processor."""

from __future__ import annotations

import platform
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bnnflow.flow.device.cuda_kernels import CudaKernels
from bnnflow.sim import reference
from bnnflow.sim.engine.plan import Planner
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.transforms.ir.graph import Graph
from bnnflow.transforms.ir.ops import Conv, Dense, Mvau, Threshold, XnorConv
from tests.cuda_host import Host, compiler, library
from tests.random_graphs import Builder, images_for, random_graph, two_layers

pytestmark = [
    pytest.mark.skipif(compiler() is None, reason="no C++ compiler is installed (c++, g++ or clang++)"),
    pytest.mark.skipif(platform.system() != "Linux", reason="threads are emulated by ucontext, as Linux has it"),
]
POPC, TENSOR = (7, 5), (9, 0)
BOTH = pytest.mark.parametrize("capability", [POPC, TENSOR], ids=["popc", "tensor"])
SIZES = [(16, 2), (8, 1), (32, 4)]


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kernels")


def simulator(graph: Graph, folder: Path, capability: tuple[int, int], places: int = 16, tiles: int = 2) -> Simulator:
    host = Host(library(folder, f"-DPLACES={places}", f"-DTILES={tiles}"), capability)
    kernels = CudaKernels(torch.device("cpu"), 2**16, host, capability == TENSOR, places, tiles)
    assert kernels.tensor_cores == CudaKernels.of(torch.device("cpu"), 1, host).tensor_cores
    return Simulator(graph, "cuda", 1, kernels, Planner(graph, kernels, (graph.output,)).steps(), 3)


@BOTH
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
@example(seed=0)
def test_scores_of_random_graphs(folder: Path, capability: tuple[int, int], seed: int) -> None:
    graph = random_graph(seed)
    images = images_for(graph, 4)
    assert np.array_equal(
        simulator(graph, folder, capability).scores(images), reference.run(graph, images)[graph.output]
    )


@BOTH
@pytest.mark.parametrize(("places", "tiles"), SIZES)
@pytest.mark.parametrize(("channels", "filters"), [(1, 63), (63, 65), (64, 64), (130, 3)])
def test_any_number_of_channels_in_any_tile(
    folder: Path, capability: tuple[int, int], places: int, tiles: int, channels: int, filters: int
) -> None:
    graph = two_layers(channels, filters)
    images = images_for(graph, 40)
    made = simulator(graph, folder, capability, places, tiles)
    assert np.array_equal(made.scores(images, 40), Simulator.of(graph).scores(images))
    assert all(step.native for step in made.steps)


@BOTH
def test_windows_longer_than_shared_memory(folder: Path, capability: tuple[int, int]) -> None:
    """90 words a window, all bits unequal to the first filter and equal to the second."""
    build = Builder(1, (3, 3, 640), 0, 1)
    weight = build.bits(5, 3, 3, 640)
    weight[0], weight[1] = 0, 1
    x = build.add(XnorConv(weight), "image")
    y = build.add(Threshold(build.bounds(build.type(x), 5, 1), 0, 1), x)
    for output in (x, y):
        graph = build.graph(output)
        images = images_for(graph, 6)
        images[0], images[1] = 0, 1
        made = simulator(graph, folder, capability).scores(images)
        assert np.array_equal(made, reference.run(graph, images)[output])


@pytest.mark.parametrize("low", [-128, 0, 3000, 30_000])
@pytest.mark.parametrize("bounded", [False, True])
def test_bytes_of_any_range_and_extreme_weights(folder: Path, low: int, bounded: bool) -> None:
    build = Builder(2, (2, 3, 37), low, low + 255)
    weight = np.full((4, 1, 2, 37), -128, np.int8)
    weight[1], weight[2] = 127, build.weights(1, 2, 37)
    x = build.add(Conv(weight), "image")
    if bounded:
        x = build.add(Threshold(build.bounds(build.type(x), 4, 1), 0, 1), x)
    graph = build.graph(x)
    images = np.random.default_rng(0).integers(low, low + 256, (6, 2, 3, 37))
    images[0], images[1] = low, low + 255
    made = simulator(graph, folder, POPC)
    assert all(step.native for step in made.steps)
    assert np.array_equal(made.scores(images), reference.run(graph, images)[graph.output])


def test_bounds_beyond_32_bits_are_never_or_always_reached(folder: Path) -> None:
    build = Builder(3, (20,), 0, 255)
    x = build.add(Dense(build.weights(4, 20)), "image")
    y = build.add(Threshold(np.array([[-(2**40)], [2**40], [-(2**31)], [2**31]]), 0, 1), x)
    graph = build.graph(y)
    images = images_for(graph, 5)
    made = simulator(graph, folder, POPC).scores(images)
    assert np.array_equal(made, np.tile([1.0, 0, 1, 0], (5, 1)))


@BOTH
def test_prefixes_and_replaced_units_are_those_of_the_processor(folder: Path, capability: tuple[int, int]) -> None:
    """What fault campaigns do: from a node on, with other weights there."""
    checked = 0
    for seed in range(12):
        graph = random_graph(seed)
        images = images_for(graph, 5)
        made, wanted = simulator(graph, folder, capability), Simulator.of(graph)
        for node in graph.nodes:
            if isinstance(node.op, Conv | Dense | XnorConv | Mvau):
                from dataclasses import replace

                other = {node.name: replace(node.op, weight=node.op.weight[::-1])}
                found = made.finish(made.prefix(images, node.name), other)
                assert np.array_equal(found, wanted.finish(wanted.prefix(images, node.name), other))
                checked += 1
    assert checked > 10

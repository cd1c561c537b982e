"""The simulator on torch tensors computes what the reference and the processor's kernels compute, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bnnflow import TOOL_MISSING, Problem
from bnnflow.flow.device.engine import torch_simulator
from bnnflow.flow.device.torch_kernels import _byte_counts, _pack
from bnnflow.sim import reference
from bnnflow.sim.engine.packing import pack_bits
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.transforms.ir.ops import Conv, Threshold, XnorConv
from tests.random_graphs import Builder, images_for, random_graph, two_layers

HERE = ["cpu-torch", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.mark.parametrize("device", HERE)
@settings(max_examples=60)
@given(seed=st.integers(0, 10**6))
@example(seed=0)
def test_scores_of_random_graphs(device: str, seed: int) -> None:
    graph = random_graph(seed)
    images = images_for(graph, 5)
    wanted = reference.run(graph, images)[graph.output]
    simulator = torch_simulator(graph, device)
    assert np.array_equal(simulator.scores(images), wanted)
    assert np.array_equal(simulator.scores(images, 2), wanted), "in blocks"


@pytest.mark.parametrize("device", HERE)
@pytest.mark.parametrize(("channels", "filters"), [(1, 63), (63, 65), (64, 64), (130, 3)])
def test_any_number_of_channels(device: str, channels: int, filters: int) -> None:
    graph = two_layers(channels, filters)
    images = images_for(graph, 40)
    assert np.array_equal(torch_simulator(graph, device).scores(images), Simulator.of(graph).scores(images))


@pytest.mark.parametrize("device", HERE)
def test_chains_run_on_the_device_alone(device: str) -> None:
    """No step of a chain of convolutions, pools and dense layers goes by numpy; so they run on GPUs as a whole."""
    assert all(step.native for step in torch_simulator(two_layers(70, 66), device).steps)


@pytest.mark.parametrize("device", HERE)
def test_sums_beyond_what_a_byte_of_counts_holds(device: str) -> None:
    """90 words a window, all bits unequal to the first filter and equal to the second."""
    build = Builder(1, (3, 3, 640), 0, 1)
    weight = build.bits(5, 3, 3, 640)
    weight[0], weight[1] = 0, 1
    x = build.add(XnorConv(weight), "image")
    y = build.add(Threshold(build.bounds(build.type(x), 5, 1), 0, 1), x)
    for output in (x, y):
        graph = build.graph(output)
        images = images_for(graph, 6)
        made = torch_simulator(graph, device).scores(images)
        assert np.array_equal(made, reference.run(graph, images)[output])


@pytest.mark.parametrize("device", HERE)
@pytest.mark.parametrize("low", [-128, 0, 3000, 30_000])
def test_bytes_of_any_range_and_extreme_weights(device: str, low: int) -> None:
    build = Builder(2, (2, 3, 37), low, low + 255)
    weight = np.full((4, 1, 2, 37), -128, np.int8)
    weight[1], weight[2] = 127, build.weights(1, 2, 37)
    graph = build.graph(build.add(Conv(weight), "image"))
    images = np.random.default_rng(0).integers(low, low + 256, (6, 2, 3, 37))
    images[0], images[1] = low, low + 255
    wanted = reference.run(graph, images)[graph.output]
    assert np.array_equal(torch_simulator(graph, device).scores(images), wanted)


def test_counts_of_words() -> None:
    words = np.random.default_rng(0).integers(0, 2**64, 500, dtype=np.uint64)
    words[:3] = 0, 2**64 - 1, 2**63
    found = _byte_counts(torch.from_numpy(words.view(np.int64).copy())).numpy()
    assert np.array_equal(found.view(np.uint8), np.bitwise_count(words.view(np.uint8)))


@given(st.integers(1, 200))
def test_packing_is_that_of_the_simulator(channels: int) -> None:
    flags = np.random.default_rng(channels).integers(0, 2, (3, 2, channels)).astype(bool)
    assert np.array_equal(_pack(torch.from_numpy(flags)).numpy().view(np.uint64), pack_bits(flags))


def test_bad_arguments_are_refused(golden, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    graph = two_layers(3, 3)
    images = images_for(graph, 3)
    simulator = torch_simulator(graph, "cpu-torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    text = []
    for run, status in (
        (lambda: torch_simulator(graph, "tpu"), 2),
        (lambda: torch_simulator(graph, "cuda"), TOOL_MISSING),
        (lambda: simulator.scores(images, 0), 2),
        (lambda: simulator.scores(images[:, :2]), 2),
        (lambda: simulator.scores(images - 1000.0), 2),
    ):
        with pytest.raises(Problem) as caught:
            run()
        assert caught.value.status == status
        text.append(str(caught.value))
    golden("problems/torch_engine_arguments", "\n\n".join(text))
    assert simulator.scores(images[:0]).shape == (0, 7)

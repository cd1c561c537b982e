"""Timing of dataflow graphs: by hand, by FINN's formulas of cycles, and by what every pipeline must keep."""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from bnnflow import Problem
from bnnflow.build.cost import unit_cycles
from bnnflow.build.schedule import divisors
from bnnflow.sim import pipeline
from bnnflow.sim.pipeline import Timing, simulate
from bnnflow.transforms.ir.graph import Graph
from bnnflow.transforms.ir.ops import (
    NO_BOUNDS,
    AddStreams,
    AnyOp,
    DuplicateStreams,
    Flatten,
    FMPadding,
    GlobalAccPool,
    LabelSelect,
    Mvau,
    Pool,
    SlidingWindow,
    StreamingConcat,
    StreamingMaxPool,
    Threshold,
    Thresholding,
)
from bnnflow.transforms.ir.tensor import Array, TensorType
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.reading.read import read
from tests.drawn_networks import Drawn, networks
from tests.random_graphs import Builder


def bits(*shape: int) -> Array:
    return np.random.default_rng(0).integers(0, 2, shape).astype(np.uint8)


def mvau(rows: int, columns: int, pe: int = 1, simd: int = 1) -> Mvau:
    return Mvau(bits(rows, columns), np.ones((rows, 1), np.int64), True, 0, pe, simd)


def sign(channels: int, pe: int = 1) -> Thresholding:
    return Thresholding(np.ones((channels, 1), np.int64), 0, pe)


def chain(shape: tuple[int, ...], *ops: AnyOp) -> Graph:
    build, x = Builder(0, shape, 0, 1), "image"
    for op in ops:
        x = build.add(op, x)
    return build.graph(x)


def convolutions() -> Graph:
    """A padded and a plain convolution, a maximum, and classes."""
    return chain(
        (8, 8, 4),
        FMPadding((1, 1, 1, 1), 0, 2),
        SlidingWindow((3, 3), (1, 1), 2),
        mvau(6, 36, 2, 4),
        StreamingMaxPool((2, 2)),
        SlidingWindow((3, 3), (1, 1), 3),
        mvau(4, 54, 1, 6),
        SlidingWindow((2, 2), (1, 1), 2, True),
        Pool((2, 2), False, 2),
        Flatten(),
        mvau(8, 4, 1, 2),
        Mvau(bits(5, 8), NO_BOUNDS, True, 0, 1, 4),
        LabelSelect(2),
    )


def residual(size: int = 6, channels: int = 4) -> Graph:
    """A convolution beside a skip, joined, and then both again as channels."""
    build = Builder(0, (size, size, channels), 0, 1)
    fork = build.add(DuplicateStreams(2), "image")
    x = build.add(FMPadding((1, 1, 1, 1), 0, 2), fork)
    x = build.add(SlidingWindow((3, 3), (1, 1), 2), x)
    x = build.add(mvau(channels, 9 * channels, 2, 6), x)
    x = build.add(AddStreams(2), fork, x)
    x = build.add(sign(channels, 2), x)
    fork = build.add(DuplicateStreams(2), x)
    x = build.add(SlidingWindow((1, 1), (1, 1), 1), fork)
    x = build.add(mvau(2, channels, 1, 1), x)
    x = build.add(StreamingConcat(2), fork, x)
    return build.graph(build.add(GlobalAccPool(2), x))


def conserved(found: Timing) -> None:
    """Every word that is written is read, no FIFO holds more than it can, and every cycle is accounted for."""
    assert len(found.finished) == found.images
    for fifo in found.fifos:
        assert fifo.written == fifo.read == fifo.words * found.images
        assert fifo.peak >= 1
        assert not fifo.depth or fifo.peak <= fifo.depth
    for unit in found.units:
        assert min(unit.busy, unit.starved, unit.blocked) >= 0


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize(("shape", "kernel", "stride"), [((8, 9), (3, 3), (1, 1)), ((9, 9), (3, 2), (2, 2))])
def test_parallel_windows_take_as_many_cycles_as_finn_says(
    shape: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], depthwise: bool
) -> None:
    """FINN: height * width * fold + 2; the 2 are pipeline stages, which are left out here."""
    unit = SlidingWindow(kernel, stride, 2 if depthwise else 6, depthwise, parallel_window=1)
    found = simulate(chain((*shape, 6), unit), 3, 0)
    wanted = shape[0] * shape[1] * (3 if depthwise else 1)
    assert found.interval is not None and 0 <= wanted + 2 - found.interval <= 2
    assert found.fifos[-1].width == unit.simd * kernel[0] * kernel[1]


def test_one_unit_by_hand() -> None:
    """Word k enters in cycle k, is turned in cycle k + 1, and the next image follows without a gap."""
    found = simulate(chain((5,), sign(5)), 3)
    assert found.finished == (6, 11, 16)
    assert (found.interval, found.latency, found.intervals) == (5, 6, (5, 5))
    assert found.fps(100) == 20e6
    (unit,) = found.units
    assert (unit.busy, unit.starved, unit.blocked) == (15, 1, 0)
    # A word is there until the cycle in which it is read, and in that cycle the next one is written.
    assert [fifo.peak for fifo in found.fifos] == [2, 2]


def test_a_latency_delays_words_and_costs_no_rate() -> None:
    """A unit of three stages: each word comes three cycles later, and as many places more keep one word a cycle."""
    graph = chain((4,), sign(4), sign(4))
    plain, late = simulate(graph, 3), simulate(graph, 3, latencies={"t0": 3})
    assert late.finished == tuple(cycle + 3 for cycle in plain.finished)
    assert late.interval == plain.interval == 4
    assert [fifo.peak for fifo in late.fifos] == [fifo.peak for fifo in plain.fifos]


def test_a_fifo_of_one_word_passes_every_other_cycle() -> None:
    assert simulate(chain((5,), sign(5)), 2, depth=1).finished == (10, 20)


def test_a_matrix_by_hand() -> None:
    """SF = 2, NF = 3: words in cycles 1 and 2; results in cycles 2, 4 and 6; then the next vector."""
    found = simulate(chain((4,), mvau(3, 4, 1, 2)), 2)
    assert found.finished == (7, 13)
    assert found.units[0].busy == 12


def test_two_matrices_by_hand() -> None:
    """The second unit needs the whole vector, and reads none of the next while it works: the first one is blocked.

    Unit 1 (SF 2, NF 4) writes in cycles 2, 4, 6, 8; unit 2 (SF 4, NF 3) reads in 3, 5, 7, 9 and writes in 9, 13, 17.
    Unit 1 writes in 10, 12, waits with the third result (due in 14) until unit 2 has read in 18, writes in 19 and 21;
    unit 2 reads in 18, 19, 20, 22 and writes in 22, 26, 30.
    """
    graph = chain((4,), mvau(4, 4, 1, 2), mvau(3, 4))
    found = simulate(graph, 2)
    assert found.finished == (18, 31)
    first, second = found.units
    assert (first.blocked, first.busy) == (5, 16)
    assert (second.starved, second.blocked, second.busy) == (31 - 24, 0, 24)
    assert simulate(graph, 2, depth=0).finished == (18, 30)


def test_converters_count_words() -> None:
    """To wider words and back: 12 values as words of 1, 4 and 6; 4 and 6 meet at 12."""
    found = simulate(chain((12,), sign(12), sign(12, 4), sign(12, 6)), 2)
    conserved(found)
    assert [(fifo.width, fifo.words) for fifo in found.fifos] == [
        (1, 12),
        (1, 12),
        (4, 3),
        (4, 3),
        (12, 1),
        (6, 2),
        (6, 2),
    ]
    assert [unit.name for unit in found.units if unit.kind == "Converter"] == ["t0_to_t1", "t1_to_t2", "t1_to_t2_1"]
    assert found.interval == 12


@pytest.mark.parametrize(("depthwise", "stride"), [(False, 1), (True, 1), (False, 2)])
def test_a_window_by_hand(depthwise: bool, stride: int) -> None:
    """The first window after (3 - 1) * 6 + 3 pixels of 2 words; then a word of a window a cycle."""
    op = SlidingWindow((3, 3), (stride, stride), 2, depthwise)
    found = simulate(chain((6, 6, 4), op), 3)
    conserved(found)
    pixels, windows = 36 * 2, (16 if stride == 1 else 4) * 18
    assert found.latency is not None
    if stride == 1 and not depthwise:
        # The first word is read in cycle 1; the last window ends the image. The next image is read meanwhile, which
        # FINN's unit, whose cycles these are, does not do.
        assert found.latency == 1 + 15 * 2 + windows == 1 + unit_cycles(op, TensorType((6, 6, 4), 0, 1))
        assert found.interval == windows
    else:
        assert max(pixels, windows) <= found.latency <= 1 + pixels + windows


@pytest.mark.parametrize("pe", [1, 2])
def test_the_slowest_unit_sets_the_interval(pe: int) -> None:
    graph = convolutions()
    slow = next(node for node in graph.nodes if isinstance(node.op, Mvau))
    assert isinstance(slow.op, Mvau)
    folded = replace(slow, op=replace(slow.op, pe=pe))
    graph = graph.with_nodes(tuple(folded if node is slow else node for node in graph.nodes))
    cycles = {node.name: unit_cycles(node.op, graph.types[node.input], graph.types[node.name]) for node in graph.nodes}
    found = simulate(graph, 4, depth=0)
    conserved(found)
    assert found.interval == max(cycles.values())
    assert found.latency is not None and found.latency < sum(cycles.values())
    for unit in found.units:
        if unit.kind in ("Mvau", "Pool", "FMPadding"):
            assert unit.busy == 4 * cycles[unit.name]
        if unit.kind == "StreamingMaxPool":
            # A pixel a cycle; FINN's unit writes its maxima in cycles of their own.
            assert unit.busy == 4 * 8 * 8 < 4 * cycles[unit.name]
    # Small FIFOs can only be slower.
    small = simulate(graph, 4, depth=2)
    conserved(small)
    assert all(a >= b for a, b in zip(small.finished, found.finished, strict=True))


def test_a_skip_deadlocks_and_runs_with_the_depth_that_is_found() -> None:
    graph = residual()
    found = simulate(graph, 3, depth=2)
    stuck = found.deadlock
    assert stuck is not None
    assert found.interval is None and found.fps(100) is None and not found.finished
    assert stuck.fifo == "t0 -> t4"
    assert any(wait == "t0 waits for a place in t0 -> t4" for wait in stuck.waits)
    assert stuck.enough["t0 -> t4"] > 2 * 6  # words of a row and more: the window's lines
    mended = simulate(graph, 3, depth=2, depths=stuck.enough)
    assert mended.deadlock is None
    conserved(mended)
    assert simulate(graph, 3, depth=2, depths=dict.fromkeys(stuck.enough, 0)).finished == mended.finished
    assert {f.name: f.peak for f in mended.fifos if f.name in stuck.enough} == stuck.enough
    conserved(simulate(graph, 3, depth=0))


def test_the_same_every_time() -> None:
    for graph in (residual(), convolutions()):
        assert simulate(graph, 2) == simulate(graph, 2)


@settings(
    max_examples=10, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck), derandomize=True
)
@given(networks(), st.integers(0, 3))
def test_random_networks(net: Drawn, seed: int) -> None:
    """Branches, joins, pools and borders of drawn networks, folded at random."""
    graph = stages(read(net.model))[-1].graph
    rng = np.random.default_rng(seed)
    nodes = []
    for node in graph.nodes:
        if isinstance(node.op, Mvau):
            pe, simd = (int(rng.choice(divisors(size))) for size in node.op.weight.shape)
            node = replace(node, op=replace(node.op, pe=pe, simd=simd))
        nodes.append(node)
    graph = graph.with_nodes(tuple(nodes))
    free = simulate(graph, 2, depth=0)
    conserved(free)
    for depth in (1, 2, 5):
        found = simulate(graph, 2, depth)
        with mock.patch.object(pipeline, "available", return_value=False):
            assert simulate(graph, 2, depth) == found, "kernels move words as Python does"
        if found.deadlock is not None:
            found = simulate(graph, 2, depth, found.deadlock.enough)
        conserved(found)
        assert all(a >= b for a, b in zip(found.finished, free.finished, strict=True))


def test_images_do_not_change_those_before() -> None:
    graph = convolutions()
    assert simulate(graph, 5).finished[:3] == simulate(graph, 3).finished


def test_what_cannot_be_simulated_is_refused() -> None:
    with pytest.raises(Problem, match="Threshold is no unit"):
        simulate(chain((4,), Threshold(np.ones((4, 1), np.int64), 0, 1)))
    with pytest.raises(Problem, match="no FIFO 'a -> b'"):
        simulate(convolutions(), depths={"a -> b": 3})
    with pytest.raises(Problem, match="0 images"):
        simulate(convolutions(), 0)
    with pytest.raises(Problem, match="negative"):
        simulate(convolutions(), depth=-1)


@pytest.mark.parametrize("depth", [0, 1, 2, 5])
@pytest.mark.parametrize("name", ["convolutions", "residual"])
def test_kernels_move_words_as_python_does(name: str, depth: int, monkeypatch: pytest.MonkeyPatch) -> None:
    graph = {"convolutions": convolutions, "residual": residual}[name]()
    late = dict.fromkeys((node.name for node in graph.nodes), 3)
    compiled = simulate(graph, 4, depth, None, late)
    monkeypatch.setattr(pipeline, "available", lambda: False)
    assert simulate(graph, 4, depth, None, late) == compiled

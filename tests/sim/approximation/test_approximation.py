"""Approximate sums on compiled networks, held against loops over plain integers."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import floor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnnflow import Problem
from bnnflow.sim.approximation import (
    BinaryLayer,
    CapMin,
    Confusion,
    LocalThresholds,
    XnorErrors,
    approximated,
    binary_layers,
    histograms,
    judge,
    local_thresholds,
    mapped,
    read_confusion,
    read_xnor_errors,
    refitted,
)
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.sim.inputs import image_inputs
from bnnflow.sim.reference import run
from bnnflow.sim.segments import Segments, operand_counts, popcounts
from bnnflow.transforms.ir.graph import Graph
from bnnflow.transforms.ir.ops import NO_BOUNDS, Mvau
from tests.sim.approximation.approximation_graphs import IMAGES, NETWORKS, bipolar, compiled_by_name, plain
from tests.sim.faults.fault_graphs import cnn, mlp

GRAPHS = [*NETWORKS, "signs"]


def graph_and_inputs(name: str, count: int = 1) -> tuple[Graph, np.ndarray]:
    if name == "signs":
        graph = bipolar(compiled_by_name("rows"))
        return graph, 2 * np.random.default_rng(0).integers(0, 2, (count, *graph.input_type.shape)) - 1
    graph = compiled_by_name(name)
    return graph, image_inputs(graph, IMAGES[:count])


def test_all_that_is_binary_is_found() -> None:
    found = binary_layers(graph_and_inputs("zero padding, pools before norms")[0])
    shapes = {name: None if one.thresholds is None else one.thresholds.shape for name, one in found.items()}
    # conv0 reads pixels; the border's table makes a threshold of each place
    assert shapes == {"conv1": (4, 4, 6), "conv2": (4, 4, 5), "dense0": (12,), "dense1": None}
    assert [name for name, one in found.items() if one.is_score] == ["dense1"]
    several = binary_layers(cnn())
    assert all(one.thresholds is None or one.op.bounds.shape[1] == 1 for one in several.values() if one.op.has_bounds)


@pytest.mark.parametrize("name", GRAPHS)
def test_thresholds_on_popcounts_are_the_networks(name: str) -> None:
    """A popcount that reaches its threshold sets the bit, and no other: with one segment all is exact."""
    graph, x = graph_and_inputs(name, 20)
    layers = mapped(graph, (), thresholds=True)
    walk = approximated(graph, {one.name: LocalThresholds(one.fan_in) for one in layers})
    assert len(walk.instead) == len(layers) > 0
    assert np.array_equal(walk.scores(x), Simulator.of(graph).scores(x))
    exact = {one.name: CapMin(tuple(range(8))) for one in layers}
    assert np.array_equal(approximated(graph, exact).scores(x), Simulator.of(graph).scores(x))


def segment_popcounts(x: list[int], weight: list[int], size: int) -> list[tuple[int, int]]:
    equal = [int(a == b) for a, b in zip(x, weight, strict=True)]
    parts = [equal[start : start + size] for start in range(0, len(equal), size)]
    return [(sum(part), len(part)) for part in parts]


def decided(how: LocalThresholds, x: list[int], weight: list[int], threshold: int) -> int:
    parts, half = segment_popcounts(x, weight, how.gates), Fraction(1, 2)
    votes = seen = shared = 0
    for number, (popcount, length) in enumerate(parts, start=1):
        seen += length
        if how.balanced:
            so_far = floor((threshold - half) * Fraction(seen, len(x)) + half * number + half)
            local, shared = max(0, min(length, so_far - shared)) if threshold else 0, so_far
        else:
            local = floor(Fraction(threshold * length, len(x)) + half)
        votes += popcount >= (local if threshold <= len(x) else length + 1)
    return int(2 * votes > len(parts))


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("gates", [7, 16])
def test_local_thresholds_are_a_plain_loop(name: str, gates: int) -> None:
    graph, x = graph_and_inputs(name)
    layers = mapped(graph, (), thresholds=True)
    assert any(one.fan_in % gates for one in layers) or name in ("rows", "signs")
    for how in (LocalThresholds(gates), LocalThresholds(gates, balanced=True)):
        made = approximated(graph, {one.name: how for one in layers}).scores(x)

        def loop(
            layer: BinaryLayer, given: list[int], weight: list[int], threshold: int, how: LocalThresholds = how
        ) -> int:
            return decided(how, given, weight, threshold)

        assert np.array_equal(made, plain(graph, x, {}, {one.name: loop for one in layers}, binary_layers(graph)))


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("size", [5])
def test_levels_are_a_plain_loop(name: str, size: int) -> None:
    graph, x = graph_and_inputs(name)
    layers = mapped(graph, (), thresholds=False)
    levels = tuple(np.random.default_rng(size).integers(0, size + 1, size + 1).tolist())
    kept = CapMin(tuple(np.clip(np.arange(size + 1), 2, 3).tolist()))
    for how in (CapMin(levels), kept):

        def loop(layer: BinaryLayer, given: list[int], weight: list[int], how: CapMin = how) -> int:
            parts = segment_popcounts(given, weight, size)
            products = sum(2 * how.levels[popcount] - length for popcount, length in parts)
            return (products + len(given)) // 2 if layer.op.xnor else products

        made = approximated(graph, {one.name: how for one in layers}).scores(x)
        assert np.array_equal(made, plain(graph, x, {one.name: loop for one in layers}, {}, binary_layers(graph)))


@given(st.integers(1, 40), st.integers(1, 50), st.data())
def test_thresholds_of_segments(fan_in: int, size: int, data: st.DataObject) -> None:
    """By fractions in proportion to the length, never and always stay so, and none is out of reach but then."""
    threshold = data.draw(st.integers(0, fan_in + 1))
    divided = Segments(fan_in, size)
    local = local_thresholds(np.array([threshold]), divided)[:, 0]
    assert len(local) == divided.count == len(divided.lengths) and sum(divided.lengths) == fan_in
    for least, length in zip(local.tolist(), divided.lengths, strict=True):
        if threshold > fan_in:
            assert least == length + 1
        else:
            assert 0 <= least <= length and abs(least - threshold * length / fan_in) <= 0.5
    balanced = local_thresholds(np.array([threshold]), divided, balanced=True)[:, 0]
    if divided.count == 1:
        assert local[0] == balanced[0] == threshold
    inner = all(0 < least < length for least, length in zip(balanced.tolist(), divided.lengths, strict=True))
    if inner:  # limits between popcounts sum to that of the whole sum
        assert abs((balanced - 0.5).sum() - (threshold - 0.5)) <= 0.5
    if threshold in (0, fan_in + 1):
        assert np.array_equal(balanced, local)


def test_histograms_count_every_segment() -> None:
    graph, x = graph_and_inputs("zero padding, pools before norms", 3)
    layers = mapped(graph, (), thresholds=False)
    found = histograms(graph, layers, x, 16)
    tensors = run(graph, x)
    for layer in layers:
        given = tensors[graph.node(layer.name).input].reshape(-1, layer.fan_in)
        wanted = np.zeros(17, np.int64)
        for one in given.tolist():
            for weight in layer.op.weight.tolist():
                for popcount, _ in segment_popcounts(one, weight, 16):
                    wanted[popcount] += 1
        assert np.array_equal(found[layer.name], wanted)


def test_the_most_frequent_levels_are_kept() -> None:
    counts = np.array([0, 1, 5, 9, 7, 7, 1, 0])
    assert CapMin.keeping(counts, 1).levels == (3,) * 8
    assert CapMin.keeping(counts, 3).levels == (3, 3, 3, 3, 4, 5, 5, 5)
    assert CapMin.keeping(counts, 4).levels == (2, 2, 2, 3, 4, 5, 5, 5)
    assert CapMin.keeping(counts, 8).levels == tuple(range(8))
    assert CapMin.keeping(counts, 4).range_ratio == 7 / 3 and CapMin.keeping(counts, 4).kept == 4


def test_confusions_are_drawn_as_they_say() -> None:
    """Rows without chance are maps; others occur as often as their rows say, the same again by the same seed."""
    graph, x = graph_and_inputs("rows", 30)
    layers = mapped(graph, (), thresholds=False)
    levels = (1, 1, 2, 3, 3, 3)
    certain = Confusion(np.eye(6)[list(levels)])
    both = Confusion(np.eye(6), CapMin(levels))
    wanted = approximated(graph, {one.name: CapMin(levels) for one in layers}).scores(x)
    for how in (certain, both):
        assert np.array_equal(approximated(graph, {one.name: how for one in layers}).scores(x), wanted)
    chances = np.random.default_rng(0).dirichlet(np.ones(6), 6)
    read = Confusion(chances).read(np.repeat(np.arange(6), 20_000).astype(np.float32), np.random.default_rng(1))
    shares = np.stack([np.bincount(part.astype(int), minlength=6) / 20_000 for part in read.reshape(6, -1)])
    assert np.abs(shares - chances).max() < 0.02
    noisy = {one.name: Confusion(chances) for one in layers}
    again = [approximated(graph, noisy, 3, trial).scores(x) for trial in (0, 0, 1)]
    assert np.array_equal(again[0], again[1]) and not np.array_equal(again[0], again[2])


def test_operands_are_counted_and_err_as_they_say() -> None:
    rng = np.random.default_rng(0)
    op = Mvau(rng.integers(0, 2, (3, 20)).astype(np.uint8), NO_BOUNDS, True)
    x = rng.integers(0, 2, (4, 20)).astype(np.uint8)
    found = operand_counts(op, x)
    for weight in (0, 1):
        for bit in (0, 1):
            wanted = [
                [sum(w == weight and v == bit for w, v in zip(row, one, strict=True)) for row in op.weight] for one in x
            ]
            assert np.array_equal(found[weight][bit], wanted)
    (whole,) = popcounts(op, Segments(20, 20))(x)
    assert np.array_equal(found[0][0] + found[1][1], whole)
    graph, y = graph_and_inputs("signs", 5)
    name = next(iter(binary_layers(graph)))
    layer = binary_layers(graph)[name]
    # All products of weight 1 turned: what those of inputs 0 give counts, and those of inputs 1 do not.
    change = XnorErrors(((0.0, 0.0), (1.0, 1.0))).replacing(layer, 0, 0)
    counts = operand_counts(layer.op, y)
    assert np.array_equal(change(y, 0), 2 * (counts[0][0] + counts[1][0]) - layer.fan_in)
    many = XnorErrors(((0.1, 0.0), (0.0, 0.4))).replacing(layer, 0, 0)(np.repeat(y, 2000, axis=0), 0)
    mean = ((many + layer.fan_in) / 2).reshape(5, 2000, -1).mean(axis=1)
    assert np.abs(mean - (0.9 * counts[0][0] + 0.6 * counts[1][1])).max() < 0.2


def test_refitted_thresholds_set_bits_as_often() -> None:
    graph, x = graph_and_inputs("zero padding, pools before norms", 30)
    layers = mapped(graph, (), thresholds=False)
    same = refitted(graph, {one.name: CapMin(tuple(range(9))) for one in layers}, x)
    assert same == graph
    maps = {one.name: CapMin(tuple(np.clip(np.arange(9), 5, 7).tolist())) for one in layers}
    better = refitted(graph, maps, x)
    exact = run(graph, x)

    def gap(of: Graph) -> float:
        name = layers[0].name
        bit = binary_layers(of)[name].bit
        walk = approximated(of, {name: maps[name]})
        seen = []
        type(walk).of(walk.graph, {bit: lambda v, first: (seen.append(v), v)[1]}, walk.wide, walk.instead).scores(x)
        shares = np.concatenate(seen).reshape(-1, exact[bit].shape[-1]).mean(axis=0)
        return float(np.abs(shares - exact[bit].reshape(-1, exact[bit].shape[-1]).mean(axis=0)).mean())

    assert gap(better) < gap(graph) / 2


def refusals(tmp_path: Path) -> dict[str, Callable[[], object]]:
    for name, text in {
        "rows.csv": "1,0\n0.5,0.4\n",
        "wide.csv": "1,0,0\n0,1,0\n",
        "words.csv": "p,q\n1,0\n",
        "odd.csv": "1,-0.5\n0,1\n",
        "two.csv": "1,0\n0,1\n",
        "rates.csv": "0,0.1\n1.5,0\n",
        "one.csv": "0.1\n",
    }.items():
        (tmp_path / name).write_text(text)
    graph, rows = graph_and_inputs("zero padding, pools before norms")[0], mlp()
    return {
        "an unknown layer": lambda: mapped(graph, ["conv7"], thresholds=True),
        "a layer of pixels": lambda: mapped(graph, ["conv0"], thresholds=True),
        "scores": lambda: mapped(graph, ["dense1"], thresholds=True),
        "no gates": lambda: LocalThresholds(0),
        "no level": lambda: CapMin.keeping(np.ones(33), 0),
        "too many levels": lambda: CapMin.keeping(np.ones(33), 34),
        "a level out of range": lambda: CapMin((0, 1, 3)),
        "a row that does not sum to 1": lambda: read_confusion(tmp_path / "rows.csv", 1),
        "not square": lambda: read_confusion(tmp_path / "wide.csv", 2),
        "words": lambda: read_confusion(tmp_path / "words.csv", 1),
        "no probabilities": lambda: read_confusion(tmp_path / "odd.csv", 1),
        "another size": lambda: read_confusion(tmp_path / "two.csv", 32),
        "no file": lambda: read_confusion(tmp_path / "none.csv", 32),
        "a map of another size": lambda: Confusion(np.eye(3), CapMin((0, 1))),
        "rates out of range": lambda: read_xnor_errors(tmp_path / "rates.csv"),
        "one rate": lambda: read_xnor_errors(tmp_path / "one.csv"),
        "only scores": lambda: mapped(mlp(0, (12, 3)), (), thresholds=False),
        "no thresholds": lambda: mapped(mlp(0, (12, 3)), (), thresholds=True),
        "no bits": lambda: mapped(cnn_without_bits(rows), (), thresholds=True),
    }


def cnn_without_bits(graph: Graph) -> Graph:
    from bnnflow.transforms.ir.graph import Node
    from bnnflow.transforms.ir.tensor import TensorType

    node = Node("d0", Mvau(np.ones((3, 4), np.int8), NO_BOUNDS, False), ("x",))
    return Graph("integers", "x", TensorType((4,), 0, 9), (node,), "d0")


def test_what_is_refused(tmp_path: Path, golden: Callable[[str, str], None]) -> None:
    for name, act in refusals(tmp_path).items():
        with pytest.raises(Problem) as caught:
            act()
        golden(f"problems/approximation_{name.replace(' ', '_')}", str(caught.value))


def test_a_named_layer_of_scores_is_mapped_where_levels_are() -> None:
    graph, x = graph_and_inputs("rows", 10)
    assert [one.name for one in mapped(graph, ["dense2"], thresholds=False)] == ["dense2"]
    found = judge(graph, {"dense2": CapMin((1, 1, 2, 2))}, x)
    assert len(found.classes) == 10 and found.changed == int((found.classes != found.exact).sum())

"""Verification finds the first differing layer, image and channel, and simulators refuse bad images."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bnnflow import CHECK_FAILED, Problem
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.sim.verify import Level, images_with_float_ties, verify, verify_scores
from bnnflow.transforms.ir.graph import Node
from bnnflow.transforms.ir.ops import Mvau, Sign
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.passes.rewrite import FloatTies
from bnnflow.transforms.reading.read import read
from tests.random_qonnx import random_network


@pytest.fixture(scope="module")
def levels() -> list[Level]:
    made = stages(read(random_network(5, 2, 1, "after-sign", "bits8")))
    return [Level(stage.level, stage.graph, stage.equivalences) for stage in made]


@pytest.fixture(scope="module")
def images(levels: list[Level]) -> np.ndarray:
    shape = (50, *levels[0].graph.input_type.shape)
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


def broken(level: Level, name: str) -> Level:
    """The level with every weight bit of one unit flipped."""

    def flip(node: Node) -> Node:
        if node.name != name:
            return node
        assert isinstance(node.op, Mvau)
        return replace(node, op=replace(node.op, weight=1 - node.op.weight))

    return replace(level, graph=level.graph.with_nodes(tuple(map(flip, level.graph.nodes))))


def test_all_levels_agree(levels: list[Level], images: np.ndarray) -> None:
    done: list[int] = []
    verified = verify(levels, images, 20, done.append)
    assert done == [20, 40, 50]
    assert [item.name for item in verified] == ["integer", "xnor", "dataflow"]
    assert all(item.images == 50 and item.values >= 50 * 10 for item in verified)


def test_a_broken_layer_is_found_and_named(levels: list[Level], images: np.ndarray, golden) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(Problem) as caught:
        verify([*levels[:-1], broken(levels[-1], "dense1")], images)
    assert caught.value.status == CHECK_FAILED
    golden("problems/verification_failed", str(caught.value))
    with pytest.raises(Problem, match="conv0"):
        verify([*levels[:-1], broken(levels[-1], "conv0")], images)


def test_scores_of_another_program_are_held_against_integers(levels: list[Level], images: np.ndarray) -> None:
    graph = levels[-1].graph
    scores = Simulator.of(graph).scores(images).astype(np.float32)
    assert verify_scores("other", graph, images, scores).values == 150
    scores[7, 2] += 0.37 * 2
    with pytest.raises(Problem, match="other") as caught:
        verify_scores("other", graph, images, scores)
    assert "image 7, class 2" in caught.value.where


def test_only_images_with_float_ties_may_differ(levels: list[Level], images: np.ndarray) -> None:
    """A float tie is about images that hold a value at the threshold; all others are judged as strictly as ever."""
    graph, network = levels[-1].graph, levels[0].graph
    tensor = next(node for node in network.nodes if isinstance(node.op, Sign)).input
    values = Simulator.of(network).tensors(images)[tensor]
    width = float(np.quantile(np.abs(values[..., 0]).min(axis=(1, 2)), 0.3))
    tied = images_with_float_ties(network, [FloatTies(tensor, (0,), (0.0,), (width,))], images)
    assert 0 < tied.sum() < len(images)
    assert np.array_equal(tied, (np.abs(values[..., 0]) <= width).any(axis=(1, 2)))
    moved = images_with_float_ties(network, [FloatTies(tensor, (0,), (0.5,), (width,))], images)
    assert np.array_equal(moved, (np.abs(values[..., 0] - 0.5) <= width).any(axis=(1, 2))), "the edge need not be 0"
    alike = images_with_float_ties(network, [FloatTies(tensor, (0,), (0.0,), (width,), alike=True)], images)
    assert np.array_equal(alike, (np.abs(values) <= width).any(axis=(1, 2, 3))), "of any channel"
    scores = Simulator.of(graph).scores(images)
    scores[np.flatnonzero(tied)[0], 0] += 0.74
    assert verify_scores("other", graph, images, scores, tied).differences == 1
    scores[np.flatnonzero(~tied)[0], 0] += 0.74
    with pytest.raises(Problem, match="other"):
        verify_scores("other", graph, images, scores, tied)


def test_any_batch_gives_the_same_scores(levels: list[Level], images: np.ndarray) -> None:
    simulator = Simulator.of(levels[-1].graph)
    whole = simulator.scores(images)
    for batch in (1, 7, 50, 1000):
        assert np.array_equal(simulator.scores(images, batch), whole)
    assert simulator.scores(images[:0]).shape == (0, 3)


def test_bad_images_are_refused(levels: list[Level], images: np.ndarray, golden) -> None:  # type: ignore[no-untyped-def]
    simulator = Simulator.of(levels[-1].graph)
    nan = images.astype(np.float32)
    nan[3, 0, 0, 0] = np.nan
    cases = {
        "input_nan": nan,
        "input_divided": images / 255.0,
        "input_shape": images[:, :, :-1],
        "input_text": images.astype(str),
    }
    for name, bad in cases.items():
        with pytest.raises(Problem) as caught:
            simulator.scores(bad)
        golden(f"problems/{name}", str(caught.value))

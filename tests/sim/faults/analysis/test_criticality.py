"""Exhaustive single-bit criticality against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnflow import Problem
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.sim.faults import Subject, memories
from bnnflow.sim.faults.analysis.criticality import criticality, equal_columns
from bnnflow.sim.faults.injection.maps import replaced
from bnnflow.transforms.ir.graph import Graph
from tests.sim.faults.fault_graphs import cnn, mlp, pixels


def brute_force(graph: Graph, images: np.ndarray, labels: np.ndarray, layer: str) -> tuple[np.ndarray, np.ndarray]:
    memory = next(m for m in memories(graph) if m.layer == layer)
    op = graph.node(layer).op
    words = memory.words(op)
    clean = Simulator.of(graph).classes(images)
    changed, right = np.zeros(memory.size, np.int64), np.zeros(memory.size, np.int64)
    for cell, logical in enumerate(memory.logical().tolist()):
        hit = words.copy()
        hit.reshape(-1)[cell] ^= 1
        found = Simulator.of(replaced(graph, {layer: memory.holding(op, hit)})).classes(images)
        changed[logical], right[logical] = (found != clean).sum(), (found == labels).sum()
    shape = (*memory.values, memory.bits)
    return changed.reshape(shape), right.reshape(shape)


CASES = [(mlp, layer) for layer in ("d0", "d1", "d2")] + [(cnn, layer) for layer in ("conv0", "conv1", "conv2", "fc")]


@pytest.mark.parametrize(("make", "layer"), CASES)
@pytest.mark.parametrize("seed", range(2))
def test_equal_to_brute_force(make: object, layer: str, seed: int) -> None:
    """8-bit pixels and bipolar weights, 3-bit weights in a branch, XNOR with pool and border, class scores."""
    graph = make(seed)  # type: ignore[operator]
    images = pixels(seed, graph, 30)
    labels = np.random.default_rng(seed).integers(0, 3, 30)
    found = criticality(graph, images, labels, layer, block=13)
    changed, right = brute_force(graph, images, labels, layer)
    assert np.array_equal(found.changed, changed)
    assert np.array_equal(found.right, right)
    assert found.clean == (Simulator.of(graph).classes(images) == labels).sum()
    worst = [entry[3] for entry in found.worst(3)]
    assert worst == sorted(changed[changed > 0].tolist(), reverse=True)[:3], "bits that change nothing are not named"


def test_something_is_critical() -> None:
    graph = mlp()
    found = criticality(graph, pixels(0, graph, 40), np.zeros(40, np.int64), "d1")
    assert 0 < found.critical <= found.changed.size


def test_without_labels_the_networks_own_classes_count() -> None:
    graph = mlp()
    images = pixels(0, graph, 40)
    own = criticality(graph, images, Simulator.of(graph).classes(images), "d1")
    found = criticality(graph, images, None, "d1")
    assert np.array_equal(found.changed, own.changed) and np.array_equal(found.right, own.right)
    assert np.array_equal(found.right, 40 - found.changed) and found.clean == 40


BAD = {
    "empty": (lambda x: x[:0], np.zeros(0, np.int64)),
    "empty_unlabelled": (lambda x: x[:0], None),
    "count": (lambda x: x, np.zeros(3, np.int64)),
    "shape": (lambda x: x, np.zeros((4, 1), np.int64)),
    "floats": (lambda x: x, np.zeros(4)),
    "no_class": (lambda x: x, np.full(4, 99)),
    "negative": (lambda x: x, np.full(4, -1)),
}


@pytest.mark.parametrize("name", BAD)
def test_labels_that_do_not_fit(name: str) -> None:
    graph, (cut, labels) = mlp(), BAD[name]
    images = cut(pixels(0, graph, 4))
    with pytest.raises(Problem):
        criticality(graph, images, labels, "d1")
    if labels is not None:
        with pytest.raises(Problem):
            Subject(graph, images, labels)


def test_unknown_layers(golden: object) -> None:
    with pytest.raises(Problem) as found:
        criticality(mlp(), pixels(0, mlp(), 4), np.zeros(4, np.int64), "d8")
    golden("problems/faults_criticality_layer", str(found.value))  # type: ignore[operator]


@settings(max_examples=200, deadline=None)
@given(data=st.data(), places=st.integers(1, 5), flips=st.integers(1, 8))
def test_groups_are_of_equal_columns(data: st.DataObject, places: int, flips: int) -> None:
    numbers = st.lists(st.integers(-2, 2), min_size=flips, max_size=flips)
    change = np.array(data.draw(st.lists(numbers, min_size=places, max_size=places)))
    groups = equal_columns(change)
    assert sorted(np.concatenate(groups).tolist()) == list(range(flips))
    columns = [{tuple(change[:, flip]) for flip in group.tolist()} for group in groups]
    assert all(len(each) == 1 for each in columns) and len(set.union(*columns)) == len(groups)

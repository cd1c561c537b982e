"""Gradients of units' weights against differences of the loss, and their module against the simulator."""

from __future__ import annotations

import numpy as np
import pytest

from bnnflow.flow.pruning.weight_gradients import WeightGradients
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.sim.faults import FaultModel, Rates, memories
from bnnflow.sim.faults.analysis.criticality import flip_changes
from bnnflow.sim.faults.analysis.progressive import Goal
from bnnflow.sim.faults.injection.maps import faulty_ops, replaced
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import (
    NO_BOUNDS,
    AddBorder,
    Flatten,
    FMPadding,
    Mvau,
    SlidingWindow,
    StreamingMaxPool,
    Thresholding,
)
from bnnflow.transforms.ir.tensor import Array, TensorType
from tests.sim.faults.fault_graphs import bits, cnn, mlp, pixels


def padded() -> Graph:
    """8x8 bits, an XNOR convolution with a border of zeros whose table is a unit of its own, and classes."""
    rng = np.random.default_rng(5)
    conv = Mvau(bits(5, 6, 18), NO_BOUNDS, True)
    nodes = (
        Node("pad", FMPadding((1, 1, 1, 1), 0), ("x",)),
        Node("window", SlidingWindow((3, 3), (1, 1), 2), ("pad",)),
        Node("conv", conv, ("window",)),
        Node("border", AddBorder(rng.integers(-3, 4, (3, 3, 6)), *2 * (np.array([0, *[1] * 6, 2]),)), ("conv",)),
        Node("sign", Thresholding(rng.integers(7, 11, (6, 1)), 0, 1), ("border",)),
        Node("pool", StreamingMaxPool((2, 2)), ("sign",)),
        Node("flat", Flatten(), ("pool",)),
        Node("fc", Mvau(bits(6, 3, 96), NO_BOUNDS, True), ("flat",)),
    )
    return Graph("padded", "x", TensorType((8, 8, 2), 0, 1), nodes, "fc")


GRAPHS = {"mlp": mlp, "cnn": lambda: cnn(2), "padded": padded}


def goal_of(graph: Graph, images: Array, unit: float, targeted: bool = False) -> Goal:
    classes = np.random.default_rng(1).integers(0, 3, len(images))
    return Goal(classes, targeted, unit)


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("name", GRAPHS)
def test_of_the_last_layer_they_are_those_of_the_loss(name: str, targeted: bool) -> None:
    """Scores are linear in its weights: a flip's change of the loss, for a unit that makes it small, is the slope's."""
    graph = GRAPHS[name]()
    images = pixels(0, graph, 20)
    goal = goal_of(graph, images, 1e6, targeted)
    memory = memories(graph)[-1]
    op = graph.node(memory.layer).op
    assert isinstance(op, Mvau)
    slopes = WeightGradients(graph, images).of(images, goal)(graph)[memory.layer]
    before = goal.loss(Simulator.of(graph).scores(images))
    for cell in range(memory.size):
        words = memory.words(op).reshape(-1).copy()
        words[cell] ^= 1
        after = goal.loss(Simulator.of(replaced(graph, {memory.layer: memory.holding(op, words)})).scores(images))
        place = divmod(int(memory.logical()[cell]), memory.values[1])
        # The gradient is by v of -1 and +1, which a flip changes by 2.
        wanted = 2 * slopes[place] * flip_changes(op, memory)[(*place, 0)]
        assert after - before == pytest.approx(wanted, abs=2e-12, rel=1e-4)


@pytest.mark.parametrize("name", GRAPHS)
def test_the_module_follows_any_weights(name: str) -> None:
    """With a twentieth of all bits flipped, 3-bit weights among them, the module's answers are the simulator's."""
    graph = GRAPHS[name]()
    images = pixels(3, graph, 40)
    kept = WeightGradients(graph, images)
    goal = goal_of(graph, images, 2.0)
    wanted = kept.of(images, goal)
    for trial in range(3):
        made = replaced(graph, faulty_ops(graph, memories(graph), FaultModel(), Rates.of(0.05), 0, trial))
        other = wanted(made)
        fresh = WeightGradients(made, images)
        assert kept.scores(images) == pytest.approx(Simulator.of(made).scores(images))
        last = memories(graph)[-1].layer
        assert np.allclose(other[last], fresh.of(images, goal)(made)[last])


def test_layers_that_are_not_asked_for_have_none() -> None:
    graph = mlp()
    images = pixels(3, graph, 10)
    found = WeightGradients(graph, images).of(images, goal_of(graph, images, 1.0), ["d1"])(graph)
    assert list(found) == ["d1"] and found["d1"].shape == (6, 8)

"""Single flips without running their layer again give what the network with the flipped weight gives."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from bnnflow.sim.engine.simulator import Simulator
from bnnflow.sim.faults import Point, Rates, Subject, memories
from bnnflow.sim.faults.analysis.criticality import criticality
from bnnflow.sim.faults.injection.maps import replaced
from bnnflow.sim.faults.injection.single import SingleFlips
from bnnflow.sim.faults.injection.trials import population
from bnnflow.sim.reference import run
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import NO_BOUNDS, Mvau, SlidingWindow
from bnnflow.transforms.ir.tensor import TensorType
from tests.sim.faults.fault_graphs import bits, cnn, mlp, pixels


def bipolar(seed: int, low: int = -1, step: int = 2) -> Graph:
    """Weights of -1 and +1 on inputs of two values, strides of two, more rows than a word has bits."""
    rng = np.random.default_rng(seed)

    def weight(rows: int, columns: int) -> np.ndarray:
        return 2 * bits(seed + rows, rows, columns).astype(np.int8) - 1

    nodes = (
        Node("window", SlidingWindow((3, 2), (2, 1)), ("x",)),
        Node("conv", Mvau(weight(70, 18), rng.integers(-3, 4, (70, 1)), False, pe=5, simd=3), ("window",)),
        Node("window1", SlidingWindow((2, 3), (1, 1)), ("conv",)),
        Node("fc", Mvau(weight(3, 420), NO_BOUNDS, False), ("window1",)),
    )
    return Graph("bipolar", "x", TensorType((5, 4, 3), low, low + step, step), nodes, "fc")


def zero_one(seed: int) -> Graph:
    return bipolar(seed, 0, 1)


CASES: list[tuple[Callable[[int], Graph], str]] = [
    (mlp, "d0"),
    (mlp, "d1"),
    (cnn, "conv2"),
    (bipolar, "conv"),
    (zero_one, "conv"),
]


@pytest.mark.parametrize("backend", ["auto", "numpy"])
@pytest.mark.parametrize(("make", "layer"), CASES)
def test_equal_to_the_flipped_network(make: Callable[[int], Graph], layer: str, backend: str) -> None:
    graph = make(3)
    low, high = graph.input_type.range
    images = low + graph.input_type.step * pixels(0, graph, 7).astype(np.int64) if low < 0 else pixels(0, graph, 7)
    images = np.clip(images, low, high) if high > 1 else np.where(images > low, high, low)
    memory = next(memory for memory in memories(graph) if memory.layer == layer)
    flips = SingleFlips.of(Simulator.of(graph, backend), images, memory)
    assert flips is not None
    op, changed = graph.node(layer).op, 0
    clean = run(graph, images)[graph.output]
    for cell in np.random.default_rng(0).permutation(memory.size)[:60].tolist():
        words = memory.words(op)
        words.reshape(-1)[cell] ^= 1
        wanted = run(replaced(graph, {layer: memory.holding(op, words)}), images)[graph.output]
        changed += not np.array_equal(wanted, clean)
        assert np.array_equal(flips.scores_with(cell).reshape(wanted.shape), wanted)
    assert changed


@pytest.mark.parametrize("layer", ["conv0", "conv1", "fc"])
def test_layers_without_a_short_cut(layer: str) -> None:
    """Three bounds on pixels; weights of three bits; no bounds."""
    graph = cnn()
    memory = next(memory for memory in memories(graph) if memory.layer == layer)
    assert SingleFlips.of(Simulator.of(graph), pixels(0, graph, 3), memory) is None
    dense = next(memory for memory in memories(graph) if memory.layer == "conv2")
    assert SingleFlips.of(Simulator.of(graph, "blas"), pixels(0, graph, 3), dense) is None


def test_trials_of_all_cells_are_what_criticality_counts() -> None:
    """Over layers with a short cut and without, in a random order of all their cells."""
    graph = cnn()
    images, labels = pixels(0, graph, 12), np.arange(12) % 3
    subject, point = Subject(graph, images, labels), Point("weights", (), "single", Rates.of(0.0))
    trials = [subject.trial(point, trial) for trial in range(population(graph, point))]
    found = [criticality(graph, images, labels, memory.layer) for memory in memories(graph)]
    assert sum(trial.changed for trial in trials) == sum(int(one.changed.sum()) for one in found)
    assert sum(trial.right for trial in trials) == sum(int(one.right.sum()) for one in found)

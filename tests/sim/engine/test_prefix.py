"""Going on from a cached prefix gives what the whole network gives."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bnnflow.sim.engine.simulator import Simulator
from bnnflow.sim.faults import FaultModel, Rates, memories
from bnnflow.sim.faults.injection.layout import KINDS
from bnnflow.sim.faults.injection.maps import faulty_ops, replaced
from bnnflow.sim.reference import run
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import NO_BOUNDS, AddStreams, DuplicateStreams, Mvau
from bnnflow.transforms.ir.tensor import TensorType
from tests.sim.faults.fault_graphs import cnn, pixels


@pytest.mark.parametrize("place", range(len(cnn().nodes)))
def test_every_node_is_a_place_to_go_on_from(place: int) -> None:
    graph = cnn()
    x, name = pixels(0, graph, 9), graph.nodes[place].name
    simulator = Simulator.of(graph)
    start = simulator.prefix(x, name)
    assert np.array_equal(simulator.finish(start, {}), simulator.scores(x))
    later = {node.name for node in graph.nodes[place:]}
    hit = faulty_ops(graph, memories(graph, KINDS), FaultModel(), Rates.of(0.2), 0, 1)
    ops = {layer: op for layer, op in hit.items() if layer in later}
    wanted = run(replaced(graph, ops), x)[graph.output]
    assert np.array_equal(simulator.finish(start, ops), wanted)
    assert np.array_equal(simulator.with_ops(ops).scores(x), wanted)


def test_sums_that_only_faults_reach_do_not_overflow() -> None:
    """Two sums of 100 bits with weights of +1 lie in 0..100 each; with all weights turned, in -200..0 together."""
    ones = Mvau(np.ones((2, 100), np.int8), NO_BOUNDS, False)
    nodes = (
        Node("fork", DuplicateStreams(), ("x",)),
        Node("a", ones, ("fork",)),
        Node("b", ones, ("fork",)),
        Node("join", AddStreams(), ("a", "b")),
    )
    graph = Graph("sums", "x", TensorType((100,), 0, 1), nodes, "join")
    ops = {name: replace(ones, weight=-ones.weight) for name in ("a", "b")}
    x = np.ones((2, 100), np.uint8)
    simulator = Simulator.of(graph)
    assert simulator.finish(simulator.prefix(x, "fork"), ops).tolist() == [[-200, -200]] * 2
    assert simulator.with_ops(ops).scores(x).tolist() == [[-200, -200]] * 2

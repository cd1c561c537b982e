"""Units of residual joins are found in any graph, and the graph without one is the network without it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bnnflow.models.data.load import load_dataset
from bnnflow.models.networks.network import NetworkSpec
from bnnflow.models.prune.surgery import drop_blocks
from bnnflow.sim.engine.simulator import Simulator
from bnnflow.sim.reconstruction import on_integers
from bnnflow.transforms.passes.compile import stages
from bnnflow.transforms.residual_units import residual_units, without_unit
from tests.sim.test_norms import CNN, exported, lively

IMAGES = load_dataset("digits").train_images[:200]
THRESHOLDED = NetworkSpec("resnet", (1, 8, 8), 10, (6,), (4, 8), padding=-1, depths=(2, 2), join="thresholded")
INTEGER = replace(THRESHOLDED, join="integer")


@pytest.mark.parametrize(
    ("spec", "block", "unit"), [(THRESHOLDED, "block1", 1), (THRESHOLDED, "block3", 2), (INTEGER, "block1", 1)]
)
@pytest.mark.parametrize("level", ["network", "integer"])
def test_a_graph_without_a_unit_is_the_network_without_it(
    spec: NetworkSpec, block: str, unit: int, level: str, tmp_path: Path
) -> None:
    network = lively(spec, IMAGES)
    graph = exported(network, tmp_path)
    if level == "integer":
        graph = on_integers(graph)[0]
    units = residual_units(graph)
    assert all(len(one.layers) == (2 if spec is THRESHOLDED else 1) for one in units)
    smaller = without_unit(graph, units[unit])
    assert {node.name for node in graph.nodes} - {node.name for node in smaller.nodes} >= set(units[unit].layers)
    (tmp_path / "small").mkdir()
    wanted = exported(drop_blocks(network, [block]), tmp_path / "small")
    classes = [
        Simulator.of(next(s.graph for s in stages(one) if s.level == "xnor")).classes(IMAGES)
        for one in (smaller, wanted)
    ]
    np.testing.assert_array_equal(classes[0], classes[1])
    assert len(residual_units(smaller)) == len(units) - 1


def test_chains_have_none_and_shortcuts_of_another_shape_are_no_way_around(tmp_path: Path) -> None:
    assert residual_units(exported(lively(CNN, IMAGES), tmp_path)) == ()
    # The first unit of the second stage doubles the channels.
    found = [one.name for one in residual_units(exported(lively(THRESHOLDED, IMAGES), tmp_path))]
    assert found == ["conv1", "conv3", "conv7"]

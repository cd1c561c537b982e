"""Layers of a graph under the names of a network's layers, also where the file numbers shortcuts with the others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bnnflow.flow.pruning.allocator import hardware_costs
from bnnflow.flow.pruning.sets import set_scores
from bnnflow.flow.pruning.structure import layer_graph
from bnnflow.flow.recipe.file import load_recipe
from bnnflow.flow.stages.validate import validate
from bnnflow.models.networks.network import Network
from bnnflow.models.networks.spec import NetworkSpec
from bnnflow.models.prune.structure import SpecStructure
from bnnflow.models.relevance.sample import Sample
from bnnflow.transforms.channels import channel_groups
from bnnflow.transforms.passes.accept import AcceptInput

# Widths of stages differ, so that a name that is one off is of another width.
SPECS = {
    shortcut: NetworkSpec("resnet", (1, 8, 8), 10, (), (4, 8, 16), padding=1, depths=(1, 2, 1), shortcut=shortcut)
    for shortcut in ("pool", "conv")
}


@pytest.mark.parametrize("shortcut", SPECS)
def test_groups_of_the_graph_are_those_of_the_network(shortcut: str) -> None:
    network = Network(SPECS[shortcut], 0).eval()
    found = {group.name: group for group in channel_groups(AcceptInput()(layer_graph(network)).graph)}
    own = SpecStructure(network.spec).groups
    assert any("short" in name for group in own for name in group.rows) == (shortcut == "conv")
    for group in own:
        same = found[group.name]
        assert same.width == group.width and not same.reason
        assert {name: len(rows) for name, rows in same.rows.items()} == {n: len(rows) for n, rows in group.rows.items()}


def test_every_layer_gets_places_of_its_own_channels() -> None:
    network = Network(SPECS["conv"], 0).eval()
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (40, 1, 8, 8)).astype(np.uint8)
    sample = Sample(images[:20], np.arange(20) % 10, images[20:])
    places = set_scores(network, sample, 0)
    layers = {layer.name: layer.outputs for layer in network.spec.layers()[:-1]}
    assert {name: len(values) for name, values in places.items()} == layers
    assert set(SpecStructure(network.spec).scores(network, places)) == {
        g.name for g in SpecStructure(network.spec).groups
    }


def test_a_budget_sees_what_goes_from_every_stage(tmp_path: Path) -> None:
    """Before anything is trained, and as pruning counts it."""
    path = tmp_path / "net.yaml"
    path.write_text(
        "data: {name: digits}\n"
        "model: {arch: resnet, channels: [4, 8, 16], depths: [1, 2, 1], shortcut: conv, padding: 1}\n"
        "prune: {epochs: 0, unit: 4, allocation: sensitivity, budget: {lut: 2450}}\n"
        "target: {fps: 1000}\n"
    )
    recipe = load_recipe(path, [])
    assert validate(recipe).checked.problem is None
    network = Network(SPECS["conv"], 0).eval()
    costs = hardware_costs(recipe, layer_graph(network))
    whole = costs({})
    for name, width in SpecStructure(network.spec).widths.items():
        if width > 4:
            assert costs({name: 4})["weight_bits"] < whole["weight_bits"]

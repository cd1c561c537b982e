"""Thresholds that are fitted again are those of batch norms that are measured again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bnnflow.models.data.load import load_dataset
from bnnflow.sim.norms import reestimate_graph
from bnnflow.sim.reconstruction import on_integers
from bnnflow.sim.refit import refit
from bnnflow.transforms.channels import channel_groups, cut, staying
from bnnflow.transforms.ir.ops import Threshold
from tests.sim.test_norms import NETWORKS, exported, lively
from tests.sim.test_reconstruction import MULTI_BIT

CASES = {**NETWORKS, "two bits": (MULTI_BIT, {"conv0": [0, 3], "conv1": [0, 1, 4], "dense0": [2, 3, 7]})}


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("joins", "scores a class")])
def test_as_norms_measured_on_the_same_images(name: str, tmp_path: Path) -> None:
    spec, keep = CASES[name]
    images = load_dataset("digits").train_images[:200]
    whole = reestimate_graph(exported(lively(spec, images), tmp_path), images)
    kept = {group: np.array(channels) for group, channels in keep.items()}
    groups = {group.name: group for group in channel_groups(whole)}
    changed = {layer for group in kept for layer in groups[group].readers}
    by_norms, _ = on_integers(reestimate_graph(cut(whole, kept), images, changed))
    integer, names = on_integers(whole)
    new = {old: name for name, old in names.items()}
    here = {new[group]: channels for group, channels in kept.items()}
    smaller = cut(integer, here)
    refitted = refit(integer, smaller, staying(integer, here), images, {new[layer] for layer in changed})
    seen = 0
    for node in refitted.nodes:
        if isinstance(node.op, Threshold):
            other = by_norms.node(node.name).op
            assert isinstance(other, Threshold)
            low, high = refitted.types[node.input].range
            one, two = (np.clip(op.bounds, low, high + 1) for op in (node.op, other))
            # Bounds between two reachable sums are the same; eps in norms and rounding move some by one such gap.
            step = refitted.types[node.input].step
            differ = np.abs(np.broadcast_to(one, two.shape) - two) > step
            assert not differ.any(), node.name
            seen += one.size
            assert (np.diff(one, axis=1) >= 0).all()
    assert seen
    assert any(
        not np.array_equal(refitted.node(n.name).op.bounds, n.op.bounds)
        for n in smaller.nodes
        if isinstance(n.op, Threshold)
    )


def test_what_is_never_or_always_reached_stays_so(tmp_path: Path) -> None:
    from dataclasses import replace

    spec, _ = NETWORKS["mlp"]
    images = load_dataset("digits").train_images[:100]
    integer, _ = on_integers(exported(lively(spec, images), tmp_path))
    nodes = []
    for node in integer.nodes:
        if node.name == "sign2" or (isinstance(node.op, Threshold) and node.input == "dense1"):
            low, high = integer.types[node.input].range
            bounds = np.array(np.broadcast_to(node.op.bounds, (12, node.op.bounds.shape[1])))
            bounds[0], bounds[1] = high + 5, low - 3
            node = replace(node, op=replace(node.op, bounds=bounds))
        nodes.append(node)
    integer = integer.with_nodes(tuple(nodes))
    keep = {"dense0": np.arange(5)}
    made = refit(integer, cut(integer, keep), staying(integer, keep), images, {"dense1"})
    node = next(n for n in made.nodes if isinstance(n.op, Threshold) and n.input == "dense1")
    low, high = made.types["dense1"].range
    assert (node.op.bounds[0] > high).all() and (node.op.bounds[1] <= low).all()


@pytest.mark.parametrize("count", [999, 1000])
def test_cutting_constant_channels_moves_no_threshold(count: int, tmp_path: Path) -> None:
    """What never changes adds the same to every image: thresholds move by just that, whatever the images' number."""
    from dataclasses import replace

    spec, _ = NETWORKS["mlp"]
    images = load_dataset("digits").train_images[:count]
    integer, _ = on_integers(exported(lively(spec, images[:200]), tmp_path))
    first = next(n for n in integer.nodes if isinstance(n.op, Threshold) and n.input == "dense0")
    assert isinstance(first.op, Threshold)
    bounds = np.array(np.broadcast_to(first.op.bounds, (16, first.op.bounds.shape[1])))
    bounds[:6] = integer.types["dense0"].range[0]
    constant = replace(first, op=replace(first.op, bounds=bounds))
    integer = integer.with_nodes(tuple(constant if n.name == first.name else n for n in integer.nodes))
    keep = {"dense0": np.arange(6, 16)}
    made = refit(integer, cut(integer, keep), staying(integer, keep), images, {"dense1"})
    from bnnflow.sim.engine.simulator import Simulator

    assert np.array_equal(Simulator.of(made).scores(images), Simulator.of(integer).scores(images))

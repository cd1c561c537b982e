"""Thresholds of a graph without batch norms, re-estimated after channels were cut.

Where a file's norms are thresholds already, nothing says which mean and variance a threshold t was made with; but
whatever norm it was, measuring it again maps t to m' + (t - m) s' / s, m and s being mean and standard deviation of
what the threshold sees in the whole graph, m' and s' in the cut one. A sum of integers reaches that where it reaches
the next whole number, so the mended graph is one of integers again, and what it computes is exact.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import numpy as np

from ..transforms.ir.graph import Graph
from ..transforms.ir.ops import Threshold
from ..transforms.ir.tensor import Array
from .engine.simulator import Prefix, Simulator
from .norms import Moments, behind


def refit(whole: Graph, cut: Graph, stays: Mapping[str, Array], images: Array, layers: Collection[str]) -> Graph:
    """The cut graph, its thresholds at and behind some layers fitted to what they see now.

    Thresholds are mended in the order of execution, each seeing what those in front of it give.

    Args:
        whole: of the integer level.
        cut: of `transforms.channels.cut`, with the same names.
        stays: of `transforms.channels.staying`.
        images: (images, *input shape) to measure on.
        layers: whose sums changed.

    Raises:
        Problem: there are no images.
    """
    reached = behind(cut, layers)
    wanted = [node.name for node in cut.nodes if isinstance(node.op, Threshold) and node.name in reached]
    was: dict[str, tuple[Array, Array]] = {}
    simulator, prefix = Simulator.of(whole), None
    for name in _by_sources(whole, wanted):
        source = whole.node(name).input
        prefix = simulator.resume(prefix, source) if prefix else simulator.prefix(images, source)
        was[name] = _mean_and_deviation(simulator, prefix, source)
    prefix = None
    for name in _by_sources(cut, wanted):
        node = cut.node(name)
        simulator = Simulator.of(cut)
        prefix = simulator.resume(prefix, node.input) if prefix else simulator.prefix(images, node.input)
        channels, (mean, spread), op = stays[name], was[name], node.op
        assert isinstance(op, Threshold)
        now = _mean_and_deviation(simulator, prefix, node.input)
        bounds = _fitted(op.bounds, mean[channels], spread[channels], *now)
        low, high = whole.types[whole.node(name).input].range
        never, always = op.bounds > high, op.bounds <= low
        # What is never or always reached stays so.
        bounds = np.where(never, np.iinfo(np.int32).max, np.where(always, np.iinfo(np.int32).min, bounds))
        least, most = cut.types[node.input].range
        bounds = np.clip(bounds, least, most + 1)
        changed = replace(node, op=replace(op, bounds=bounds))
        cut = cut.with_nodes(tuple(changed if one.name == node.name else one for one in cut.nodes))
    return cut


def _by_sources(graph: Graph, names: Collection[str]) -> list[str]:
    """Nodes in the order of what they read, which is an order of execution, too."""
    place = {node.name: index for index, node in enumerate(graph.nodes)}
    return sorted(names, key=lambda name: place[graph.node(name).input])


def _mean_and_deviation(simulator: Simulator, prefix: Prefix, tensor: str) -> tuple[Array, Array]:
    """Mean and standard deviation, (channels,) float64, of a tensor of integers."""
    mean, variance = Moments.of(simulator, prefix, tensor).mean_and_variance()
    return mean, np.sqrt(variance)


def _fitted(bounds: Array, mean: Array, spread: Array, mean_now: Array, spread_now: Array) -> Array:
    """Whole numbers, ascending along levels, (channels, levels) int64; without any spread the mean alone moves."""
    ratio = np.where((spread > 0) & (spread_now > 0), spread_now / np.where(spread > 0, spread, 1.0), 1.0)
    # Written so that equal moments leave a bound where it is; less than a millionth is rounding.
    moved = bounds * ratio[:, None] + (mean_now - mean * ratio)[:, None]
    made: Array = np.ceil(moved - 1e-6).astype(np.int64)
    return made

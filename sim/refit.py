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
    wanted = [node for node in cut.nodes if isinstance(node.op, Threshold) and node.name in reached]
    before = Simulator.of(whole)
    old: Prefix | None = None
    new: Prefix | None = None
    for node in wanted:
        after = Simulator.of(cut)
        old = before.resume(old, node.name) if old else before.prefix(images, node.name)
        new = after.resume(new, node.name) if new else after.prefix(images, node.name)
        mean, spread = _mean_and_deviation(before, old, node.input)
        channels = stays[node.name]
        op = cut.node(node.name).op
        assert isinstance(op, Threshold)
        bounds = _fitted(op.bounds, mean[channels], spread[channels], *_mean_and_deviation(after, new, node.input))
        low, high = whole.types[node.input].range
        never, always = op.bounds > high, op.bounds <= low
        # What is never or always reached stays so.
        bounds = np.where(never, np.iinfo(np.int32).max, np.where(always, np.iinfo(np.int32).min, bounds))
        least, most = cut.types[node.input].range
        bounds = np.clip(bounds, least, most + 1)
        changed = replace(node, op=replace(op, bounds=bounds))
        cut = cut.with_nodes(tuple(changed if one.name == node.name else one for one in cut.nodes))
    return cut


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

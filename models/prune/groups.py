"""Which filters and neurons of a network can only be removed together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from bnnflow import Problem

from ..networks.layers import MapNorm, RowNorm
from ..networks.network import Network
from ..networks.spec import NetworkSpec, WeightLayer


@dataclass(frozen=True, slots=True)
class Group:
    """Channels that stay or go in several layers at once, because residual joins add them.

    Attributes:
        name: of the first of the layers, as in `NetworkSpec.layers`.
        width: number of channels that stay or go one by one.
        copies: how often each channel occurs among the filters of each layer: channel c is filters c, c + width, ...;
            more than 1 behind shortcuts that repeat channels.
        single: True where each channel is the bits of one sign, so that a constant can take its place.
    """

    name: str
    width: int
    copies: Mapping[str, int]
    single: bool

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers that make the channels."""
        return tuple(self.copies)

    def rows(self, layer: str, kept: np.ndarray) -> np.ndarray:
        """The filters of `layer` that the channels `kept` are."""
        made: np.ndarray = np.concatenate([kept + copy * self.width for copy in range(self.copies[layer])])
        return made


def groups(spec: NetworkSpec) -> tuple[Group, ...]:
    """Every layer but the last, which makes the class scores, in groups in the order of their first layers.

    In a chain each layer is a group of its own. Of a residual network the layers of a stage are one group, with
    shortcut "pool" those of all stages; convolutions whose results are not joined are on their own.
    """
    members: dict[str | int, list[WeightLayer]] = {}
    for layer in spec.layers()[:-1]:
        linked = 0 if spec.shortcut == "pool" else layer.stage
        members.setdefault(layer.name if layer.stage < 0 else linked, []).append(layer)
    made = []
    for layers in members.values():
        width = layers[0].outputs
        copies = {layer.name: layer.outputs // width for layer in layers}
        made.append(Group(layers[0].name, width, copies, layers[0].stage < 0))
    return tuple(made)


def group_scores(spec: NetworkSpec, scores: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Scores of channels, (width,) a group: the sum over the filters that a channel is.

    Args:
        spec: the network's shape.
        scores: of each layer but the last, (filters,).

    Raises:
        Problem: a layer's scores are missing, of another number than its filters, or not finite.
    """
    filters = {layer.name: layer.outputs for layer in spec.layers()}
    made = {}
    for group in groups(spec):
        total = np.zeros(group.width)
        for layer, copies in group.copies.items():
            given = np.asarray(scores.get(layer, ()), np.float64)
            if given.shape != (filters[layer],):
                raise Problem(f"{given.size} scores for {filters[layer]} filters", layer, "give one to each")
            if not np.isfinite(given).all():
                raise Problem(f"the score of filter {int(np.argmin(np.isfinite(given)))} is not a number", layer)
            total += given.reshape(copies, group.width).sum(axis=0)
        made[group.name] = total
    return made


def normed(spec: NetworkSpec) -> list[str]:
    """For each of `norms`: the layer whose sums, behind the join where they are joined, the norm reads."""
    skipped = "short" if spec.arch == "resnet" and spec.join == "integer" else "-"
    return [layer.name for layer in spec.layers()[:-1] if not layer.name.startswith(skipped)]


def norms(network: Network) -> list[MapNorm | RowNorm]:
    """The batch norms of a network in the order of execution, but for that of the class scores."""
    score = network.layers["score"]
    return [module for module in network.modules() if isinstance(module, MapNorm | RowNorm) and module is not score]

"""What can be removed of a network, in the one form that the schedule of pruning asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from bnnflow import Problem

from ..networks.network import Network
from ..networks.own import OwnNetwork
from ..networks.spec import NetworkSpec
from ..training.flips import FlipCounts
from .groups import group_scores
from .groups import groups as spec_groups
from .surgery import remove
from .widths import spared

N = TypeVar("N", Network, OwnNetwork)
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True, slots=True)
class MaskedGroup:
    """Channels of a network that stay or go at once in all layers that make and read them.

    Attributes:
        name: of the group; as `transforms.channels` calls it in the graph, where the network is a user's or a file.
        width: number of channels.
        rows: by layer that makes them, int64, (filters,): the channel that each filter is, -1 for none of these.
        columns: by layer that reads them, int64, (inputs,): the channel that each input is, -1 for none of these.
    """

    name: str
    width: int
    rows: Arrays
    columns: Arrays


class Structure(Protocol[N]):
    """The groups of channels of a network, scores of them, and the network without some."""

    @property
    def groups(self) -> tuple[MaskedGroup, ...]:
        """The groups, and which layers make and read their channels; layers by the names of `weight_layers`."""
        ...

    @property
    def widths(self) -> dict[str, int]:
        """Channels of the unpruned network, by group."""
        ...

    def scores(self, network: N, scores: Arrays) -> dict[str, np.ndarray]:
        """Scores of the channels that are left, by group, from those of each layer's filters."""
        ...

    def remove(self, network: N, keep: Arrays) -> N:
        """The network with `keep` of the channels that are left, ascending, by group; others stay whole."""
        ...

    def flips(self, flips: FlipCounts, kept: Arrays) -> FlipCounts:
        """What training counted of the unpruned network, for one with the channels `kept`."""
        ...

    def layer_macs(self, network: N) -> dict[str, int]:
        """Products of an image, by layer."""
        ...

    def macs(self, network: N) -> int:
        """Products of an image."""
        ...


@dataclass(frozen=True, slots=True)
class SpecStructure:
    """Of a network of `NetworkSpec`, which becomes physically smaller."""

    spec: NetworkSpec

    @property
    def groups(self) -> tuple[MaskedGroup, ...]:
        """See `Structure`."""
        layers, made = self.spec.layers(), []
        filters = {layer.name: layer.outputs for layer in layers}
        for group in spec_groups(self.spec):
            rows = {name: np.arange(filters[name]) % group.width for name in group.layers}
            # Where a map becomes features, a channel is a block of them.
            columns = {
                layer.name: np.repeat(rows[layer.source], layer.inputs // filters[layer.source])
                for layer in layers
                if layer.source in rows
            }
            made.append(MaskedGroup(group.name, group.width, rows, columns))
        return tuple(made)

    @property
    def widths(self) -> dict[str, int]:
        """See `Structure`."""
        return {group.name: group.width for group in spec_groups(self.spec)}

    def scores(self, network: Network, scores: Arrays) -> dict[str, np.ndarray]:
        """See `Structure`."""
        return group_scores(network.spec, scores)

    def remove(self, network: Network, keep: Arrays) -> Network:
        """See `Structure`."""
        return remove(network, keep)

    def flips(self, flips: FlipCounts, kept: Arrays) -> FlipCounts:
        """See `Structure`."""
        parts = spec_groups(self.spec)
        return flips.cut({layer: part.rows(layer, kept[part.name]) for part in parts for layer in part.layers})

    def layer_macs(self, network: Network) -> dict[str, int]:
        """See `Structure`."""
        return {layer.name: layer.macs for layer in network.spec.layers()}

    def macs(self, network: Network) -> int:
        """See `Structure`."""
        return network.spec.macs()


@dataclass(frozen=True, slots=True)
class MaskedStructure:
    """Of a user's own module, whose forward method nobody may change: readers take removed channels for 0.

    That is what the network computes without these channels. The module keeps its size; its graph is cut when it is
    exported.

    Attributes:
        groups: that can be removed.
        places: by layer, how often an image uses each of its weights: positions of the map, times kernel area for
            convolutions.
    """

    groups: tuple[MaskedGroup, ...]
    places: Mapping[str, int]

    @property
    def widths(self) -> dict[str, int]:
        """See `Structure`."""
        return {group.name: group.width for group in self.groups}

    def of_what_is_left(self, network: OwnNetwork) -> MaskedStructure:
        """The structure of a network from which channels are gone already, its groups without them."""
        left, groups = self.kept(network), []
        for group in self.groups:
            # The last place is that of -1.
            number = np.full(group.width + 1, -1)
            number[left[group.name]] = np.arange(len(left[group.name]))
            rows, columns = (
                {layer: number[channels] for layer, channels in each.items()} for each in (group.rows, group.columns)
            )
            groups.append(MaskedGroup(group.name, len(left[group.name]), rows, columns))
        return MaskedStructure(tuple(groups), self.places)

    def kept(self, network: OwnNetwork) -> dict[str, np.ndarray]:
        """Ascending channels that are left of each group."""
        made = {}
        for group in self.groups:
            stays = np.ones(group.width, bool)
            for layer, columns in group.columns.items():
                gone = columns[list(network.spec.unread.get(layer, ()))]
                stays[gone[gone >= 0]] = False
            made[group.name] = np.flatnonzero(stays)
        return made

    def scores(self, network: OwnNetwork, scores: Arrays) -> dict[str, np.ndarray]:
        """See `Structure`.

        Raises:
            Problem: a layer's scores are missing or not finite.
        """
        left, made = self.kept(network), {}
        for group in self.groups:
            total = channel_scores(group.width, group.rows, scores)
            stays = left[group.name]
            # Layers that are concatenated make some of the channels each; the lowest may be all that one makes.
            layers = (np.flatnonzero(np.isin(stays, channels)) for channels in group.rows.values())
            made[group.name] = spared(total[stays], layers)
        return made

    def remove(self, network: OwnNetwork, keep: Arrays) -> OwnNetwork:
        """See `Structure`."""
        left = self.kept(network)
        unread = {layer: set(inputs) for layer, inputs in network.spec.unread.items()}
        for group in self.groups:
            if group.name not in keep:
                continue
            stays = left[group.name][keep[group.name]]
            for layer, columns in group.columns.items():
                gone = np.flatnonzero((columns >= 0) & ~np.isin(columns, stays))
                unread.setdefault(layer, set()).update(gone.tolist())
        return network.without({layer: tuple(sorted(inputs)) for layer, inputs in unread.items()})

    def flips(self, flips: FlipCounts, kept: Arrays) -> FlipCounts:
        """See `Structure`; the module has all its filters still."""
        return flips

    def layer_macs(self, network: OwnNetwork) -> dict[str, int]:
        """See `Structure`; of the layers of the exported graph."""
        left, made = self.kept(network), {}
        makers = {layer: (group, rows) for group in self.groups for layer, rows in group.rows.items()}
        for name, layer in network.weight_layers():
            if name in self.places:
                filters, inputs = layer.weight.shape[:2]
                if name in makers:
                    group, rows = makers[name]
                    filters = int(np.isin(rows, left[group.name]).sum())
                made[name] = self.places[name] * filters * (inputs - len(network.spec.unread.get(name, ())))
        return made

    def macs(self, network: OwnNetwork) -> int:
        """See `Structure`; of the layers of the exported graph."""
        return sum(self.layer_macs(network).values())


def channel_scores(width: int, rows: Arrays, scores: Arrays) -> np.ndarray:
    """Scores of the channels of a group: those of all filters that are a channel, added.

    Args:
        width: number of channels.
        rows: by layer that makes them, the channel that each filter is, -1 for none.
        scores: by layer, one for each filter.

    Raises:
        Problem: a layer's scores are missing or not finite.
    """
    total = np.zeros(width)
    for layer, channels in rows.items():
        given = np.asarray(scores.get(layer, ()), np.float64)
        if given.shape != channels.shape or not np.isfinite(given).all():
            raise Problem(f"no finite score for each of {len(channels)} filters", layer)
        there = channels >= 0
        np.add.at(total, channels[there], given[there])
    return total

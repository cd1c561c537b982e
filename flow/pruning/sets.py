"""Sets of channels of a torch network, chosen in its exported graph."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from ...transforms.channels import channel_groups
from ...transforms.ir.graph import Graph
from ...transforms.passes.accept import AcceptInput
from .structure import graph_and_structure

if TYPE_CHECKING:
    from ...models.networks.network import Network
    from ...models.networks.own import OwnNetwork
    from ...models.relevance.sample import Sample


def set_scores(
    network: Network | OwnNetwork, sample: Sample, seed: int, properties: Mapping[str, str] | None = None
) -> dict[str, np.ndarray]:
    """For each filter of the layers that can be cut, the place of its channel in the order of `removal_order`.

    Filters of a user's own module that its layers leave unread already come before all others.

    Args:
        network: trained; as it is.
        sample: images and labels to choose by.
        seed: of what is drawn.
        properties: as for `graph_of`.

    Raises:
        Problem: the network cannot be exported or compiled, or has nothing to cut.
    """
    from ...models.prune.structure import MaskedStructure
    from ...sim.inputs import image_inputs
    from ...sim.reconstruction import removal_order

    exported, structure = graph_and_structure(network, properties)
    graph = AcceptInput()(exported).graph
    orders = removal_order(graph, image_inputs(graph, sample.images), sample.labels, seed)
    if not isinstance(structure, MaskedStructure):
        return layer_places(graph, orders)
    made: dict[str, np.ndarray] = {}
    left = structure.kept(network)  # type: ignore[arg-type]
    for own in structure.groups:
        places = np.full(own.width, -1.0)
        places[left[own.name]] = orders[own.name]
        made |= {layer: places[channels] for layer, channels in own.rows.items()}
    return made


def layer_places(graph: Graph, orders: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """For each filter of the layers that can be cut, the place of its channel in the order of its group."""
    made: dict[str, np.ndarray] = {}
    for group in channel_groups(graph):
        if group.name in orders:
            made |= {layer: orders[group.name][rows].astype(np.float64) for layer, rows in group.rows.items()}
    return made

"""What `flow models` lists."""

from __future__ import annotations

from ...models.networks import zoo
from ..results.networks import NetworkList, ZooNetwork
from .pack import trained_networks

CLASSES = 10


def listed(width: float = 1.0) -> NetworkList:
    """The networks of the zoo, with filters and neurons times `width`, and the trained ones that come with bnnflow."""
    return NetworkList(networks=zoo_networks(width), trained=trained_networks())


def zoo_networks(width: float = 1.0) -> list[ZooNetwork]:
    """Name, layers and sizes of every network of the zoo, on its own data set's images and ten classes."""
    found = []
    for row in zoo.ROWS:
        sizes = zoo.figures(zoo.zoo_spec(row.name, row.shape, CLASSES, width))
        found.append(
            ZooNetwork(
                name=row.name,
                layers=row.what,
                images="x".join(map(str, row.shape)),
                data=row.data,
                weights=sizes.weights,
                binary_macs=sizes.binary_macs,
                integer_macs=sizes.integer_macs,
                accumulator_bits=sizes.accumulators,
                weight_bytes=sizes.memory,
                source=row.source,
            )
        )
    return found

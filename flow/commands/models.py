"""The rows of `flow models`."""

from __future__ import annotations

from typing import Any

from ...models.networks import zoo

CLASSES = 10


def rows(width: float = 1.0) -> list[dict[str, Any]]:
    """Name, layers and sizes of every network of the zoo, on its own data set's images and ten classes."""
    found = []
    for row in zoo.ROWS:
        sizes = zoo.figures(zoo.zoo_spec(row.name, row.shape, CLASSES, width))
        found.append(
            {
                "name": row.name,
                "layers": row.what,
                "images": "x".join(map(str, row.shape)),
                "data": row.data,
                "weights": sizes.weights,
                "binary_macs": sizes.binary_macs,
                "integer_macs": sizes.integer_macs,
                "accumulator_bits": list(sizes.accumulators),
                "weight_bytes": sizes.memory,
                "source": row.source,
            }
        )
    return found

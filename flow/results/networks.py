"""Which networks and data sets there are, and packed files of trained networks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ...models.files.packed_file import Provenance


@dataclass(frozen=True, slots=True, kw_only=True)
class ZooNetwork:
    """A network that a recipe can name.

    Attributes:
        name: as in `model: {arch: NAME}`.
        layers: in words.
        images: their shape, "CxHxW".
        data: data set that it is made for.
        weights: how many.
        binary_macs, integer_macs: products of an image, of two binary factors and of others.
        accumulator_bits: least and greatest width of a sum.
        weight_bytes: memory of the weights.
        source: where its shape was published.
    """

    name: str
    layers: str
    images: str
    data: str
    weights: int
    binary_macs: int
    integer_macs: int
    accumulator_bits: tuple[int, int]
    weight_bytes: int
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedNetwork(Provenance):
    """A trained network in a packed file.

    Attributes:
        name: of the file, without its ending.
        spec: fields of its shape.
        bytes: size of the file.
    """

    name: str
    spec: Mapping[str, Any]
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedFile(TrainedNetwork):
    """What `flow pack` wrote.

    Attributes:
        file: its path.
    """

    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkList:
    """What `flow models` lists.

    Attributes:
        networks: those that a recipe can name.
        trained: those that come with bnnflow.
    """

    networks: list[ZooNetwork]
    trained: list[TrainedNetwork]


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchedDataSet:
    """What `flow data get` fetched.

    Attributes:
        name: as in `data: {name: ...}`.
        folder: of its files.
    """

    name: str
    folder: str

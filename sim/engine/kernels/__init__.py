"""Kernels of the packed simulator: what a backend has to offer.

Every method prepares one operation and returns a function of a batch. `bits` are uint64 words as
`sim/engine/packing.py` lays them out, contiguous, (images, ..., words); `ints` are integer arrays (images, ...,
channels).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from ....transforms.ir.ops import Sides
from ....transforms.ir.tensor import Array
from ..packing import Window

Run = Callable[[Array], Array]


class Arrays(Protocol):
    """Where a backend's arrays lie: this computer's memory, or a device's."""

    def host(self, x: Array) -> Array:
        """A numpy array of the same values; words may be int64."""
        ...

    def copied(self, x: Array) -> Array:
        """The same, in memory of its own."""
        ...

    def joined(self, parts: Sequence[Array]) -> Array:
        """Batches one behind the other."""
        ...


class NumpyArrays:
    """`Arrays` of numpy."""

    __slots__ = ()

    def host(self, x: Array) -> Array:
        """See `Arrays`."""
        return x

    def copied(self, x: Array) -> Array:
        """See `Arrays`."""
        return x.copy()

    def joined(self, parts: Sequence[Array]) -> Array:
        """See `Arrays`."""
        return np.concatenate(parts)


class Kernels(Arrays, Protocol):
    """A backend. All results are exact; methods may be called from any thread."""

    def xnor_bits(self, window: Window, weight: Array, bounds: Array, classes: Array) -> Run:
        """Bits to bits: 1 where the number of equal bits reaches the bound.

        Args:
            window: of the layer.
            weight: (filters, kernel h, kernel w, channels); what is above 0 is a one.
            bounds: int64, (classes, filters).
            classes: int64, (rows, columns), the class of each pixel.
        """
        ...

    def xnor_sums(self, window: Window, weight: Array, factor: int, shift: Array) -> Run:
        """Bits to int32: factor * (number of equal bits) + shift; shift is int64, (filters,)."""
        ...

    def dot_bits(self, window: Window, weight: Array, low: int, bounds: Array) -> Run:
        """Integers of at least `low` and at most low + 255 to bits: 1 where the sum of products reaches the bound.

        Args:
            window: of the layer.
            weight: int8, (filters, kernel h, kernel w, channels).
            low: least input.
            bounds: int64, (filters,).
        """
        ...

    def dot_sums(self, window: Window, weight: Array, low: int) -> Run:
        """The same sums of products, int32."""
        ...

    def pool(self, window: Window) -> Run:
        """Bits to bits: 1 where one bit of the window is."""
        ...

    def compare(self, bounds: Array, channels: int) -> Run:
        """Integers to bits: 1 where a value reaches its channel's bound; bounds are int64, (channels or 1,)."""
        ...

    def levels(self, bounds: Array, channels: int) -> Run:
        """Integers within int32 to uint8: number of bounds reached; int64, (channels or 1, at most 255 levels)."""
        ...

    def channels_last(self, x: Array) -> Array:
        """(images, channels, height, width) to (images, height, width, channels)."""
        ...

    def border(self, shape: tuple[int, int], pads: Sides, fill: Array) -> Run:
        """Rows and columns around maps of (height, width), of bits or integers; fill is one pixel of theirs."""
        ...

    def by_numpy(self, made: Array, source: Array) -> Array:
        """`made`, which numpy made of `source`, as a view or by copying."""
        ...

    def apply(self, function: Callable[[Array], Array], source: Array) -> Array:
        """What `function`, in numpy and by copying, makes of `source`."""
        ...

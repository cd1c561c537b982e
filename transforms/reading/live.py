"""Tensors of an ONNX file in terms of the graph: where the channels are, and in which order values lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bnnflow import Problem

from ..ir.tensor import Array

# A flattened tensor in ONNX's order: parts of (channels, positions), the graph's being (positions, channels).
Order = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class PendingWindow:
    """An `Im2Col` that a matrix product has yet to take up."""

    kernel: tuple[int, int]
    stride: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Steps:
    """A `QuantizeLinear` that a `DequantizeLinear` has yet to take up; limits hold the zero point."""

    scale: Array
    zero: int
    low: int
    high: int


@dataclass(frozen=True, slots=True)
class End:
    """An operator behind which a network must end."""

    operator: str


@dataclass(frozen=True, slots=True)
class Turned:
    """Transpositions on the way between channels first and channels last; those behind them have to complete it.

    Attributes:
        axes: the graph's axis (places, then channels) that each ONNX axis behind the batch is.
    """

    axes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Signs:
    """Values of a tensor of the graph that depends on another one only through its sign.

    Attributes:
        source: the graph's tensor.
        values: where it is below, at and above 0; arrays without axes, of the file's type.
    """

    source: str
    values: tuple[Array, Array, Array]

    def __eq__(self, other: object) -> bool:
        return self is other


@dataclass(frozen=True, slots=True)
class Live:
    """A tensor of the ONNX file that depends on the image.

    Attributes:
        tensor: the graph's tensor.
        shape: the ONNX shape without the batch. A map of one row and one column may be a vector in the graph.
        first: its channels come first, while the graph's come last.
        order: of a flattened map, where it is not the graph's.
        pending: what the next operator has to complete.
    """

    tensor: str
    shape: tuple[int, ...]
    first: bool = False
    order: Order | None = None
    pending: PendingWindow | Steps | End | Turned | None = None

    @property
    def is_map(self) -> bool:
        """True for (channels, height, width), (channels, length) and the like."""
        return len(self.shape) > 1

    @property
    def channel_axis(self) -> int:
        """Axis of the channels, the batch not counted."""
        if isinstance(self.pending, Turned):
            return self.pending.axes.index(len(self.shape) - 1)
        return 0 if self.first or not self.is_map else len(self.shape) - 1

    @property
    def channels(self) -> int:
        """Number of channels; of a vector, its length."""
        return self.shape[self.channel_axis]

    @property
    def places(self) -> tuple[int, int]:
        """(height, width) of a map; a 1-d map has one row."""
        sizes = [size for axis, size in enumerate(self.shape) if axis != self.channel_axis]
        return (1, sizes[0]) if len(sizes) == 1 else (sizes[0], sizes[1])

    @property
    def is_point(self) -> bool:
        """True where all but the channels is of size 1."""
        return self.channels == int(np.prod(self.shape))

    def with_places(self, places: tuple[int, ...], channels: int) -> tuple[int, ...]:
        """The ONNX shape of a map laid out as this one, with other sizes."""
        sizes = places[len(places) - len(self.shape) + 1 :]
        return (channels, *sizes) if self.first else (*sizes, channels)


def flattened(x: Live) -> Order | None:
    """Order of the values of `x` when it is flattened in ONNX."""
    places = int(np.prod(x.places)) if x.is_map else 1
    return ((x.channels, places),) if x.first and x.channels > 1 and places > 1 else x.order


def joined_order(orders: list[tuple[int, Order | None]]) -> Order | None:
    """Order of vectors of (length, order), one behind the other."""
    if all(order is None for _, order in orders):
        return None
    parts: list[tuple[int, int]] = []
    for length, order in orders:
        for channels, places in order or ((length, 1),):
            if places == 1 and parts and parts[-1][1] == 1:
                parts[-1] = (parts[-1][0] + channels, 1)
            else:
                parts.append((channels, places))
    return tuple(parts)


def graph_order(values: Array, order: Order | None) -> Array:
    """Values along the last axis in ONNX's order, brought to the graph's."""
    if order is None:
        return values
    made, start = np.empty(values.shape, values.dtype), 0
    for channels, places in order:
        end = start + channels * places
        part = values[..., start:end].reshape(*values.shape[:-1], channels, places)
        made[..., start:end].reshape(*values.shape[:-1], places, channels)[...] = part.swapaxes(-1, -2)
        start = end
    return made


def per_channel(value: Array, x: Live) -> Array:
    """A constant that is broadcast to `x` as (channels,) or (1,) float64 in the graph's order.

    Raises:
        Problem: its shape does not fit, it differs between positions, or it is not finite.
    """
    value = np.asarray(value)
    spare = len(x.shape) + 1 - value.ndim
    sizes = (1,) * max(0, spare) + value.shape
    if spare < 0 or any(size not in (1, full) for size, full in zip(sizes, (1, *x.shape), strict=True)):
        raise Problem(
            f"a constant of shape {list(value.shape)} does not fit a tensor of shape {[1, *x.shape]}",
            hint="give one value, or one per channel",
        )
    if not np.all(np.isfinite(value)):
        raise Problem("a constant holds NaN or infinity", hint="train again or repair the file")
    rows = np.moveaxis(value.reshape(sizes)[0], x.channel_axis, -1)
    rows = rows.reshape(-1, rows.shape[-1])
    if len(rows) > 1 and not np.all(rows == rows[0]):
        raise Problem("a constant that differs between positions of a map is not supported")
    row = rows[0].astype(np.float64)
    return row[:1].copy() if np.all(row == row[0]) else graph_order(row, x.order)


def divisor_of(value: Array, x: Live) -> Array:
    """As `per_channel`, but (channels,) where the file has one for each, be they equal: as a batch norm has them.

    One for all is what someone fixed, and no deviation that was measured (`sim/norms.py`).
    """
    row = per_channel(value, x)
    return np.repeat(row, x.channels) if row.size == 1 and np.size(value) == x.channels else row


def on_channels(value: Array, x: Live) -> Array:
    """(channels,) values as `per_channel` wants them."""
    return per_channel(np.asarray(value).reshape(-1, *(1,) * (len(x.shape) - 1 - x.channel_axis)), x)

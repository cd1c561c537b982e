"""The portable backend: numpy on packed words. The fallback, and a second opinion on the generated kernels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ....transforms.ir.ops import Sides
from ....transforms.ir.tensor import Array
from ..packing import Window, pack_bits
from . import NumpyArrays, Run

# Words in one round of xor, count and add: their buffers stay in the second cache.
_ROUND = 2**16


@dataclass(frozen=True, slots=True)
class NumpyKernels(NumpyArrays):
    """Kernels by `numpy.bitwise_count`; sums of products of bytes by float matrix products, which are exact here."""

    def xnor_bits(self, window: Window, weight: Array, bounds: Array, classes: Array) -> Run:
        """See `Kernels`."""
        rows = _weights(weight)
        above = np.clip(window.fan_in - bounds, -1, window.fan_in) + 1
        limits = above.astype(np.uint16 if len(rows) < 1024 else np.int32)
        same = len(limits) == 1

        def run(bits: Array) -> Array:
            unequal = _unequal(_windows(bits, window), rows)
            return pack_bits(unequal < (limits[0] if same else limits[classes]))

        return run

    def xnor_sums(self, window: Window, weight: Array, factor: int, shift: Array) -> Run:
        """See `Kernels`."""
        rows = _weights(weight)
        start = (shift + factor * window.fan_in).astype(np.int32)
        return lambda bits: start - np.int32(factor) * _unequal(_windows(bits, window), rows).astype(np.int32)

    def dot_bits(self, window: Window, weight: Array, low: int, bounds: Array) -> Run:
        """See `Kernels`."""
        sums = _products(window, weight)
        # Sums of float32 stay below 2^24, and bounds beyond are never or always reached.
        limits = np.clip(bounds, -(2**24), 2**24).astype(np.float32)
        exact = bounds.astype(np.float64)

        def run(ints: Array) -> Array:
            made = sums(ints)
            return pack_bits(made >= (limits if made.dtype == np.float32 else exact))

        return run

    def dot_sums(self, window: Window, weight: Array, low: int) -> Run:
        """See `Kernels`."""
        sums = _products(window, weight)
        return lambda ints: sums(ints).astype(np.int32)

    def pool(self, window: Window) -> Run:
        """See `Kernels`."""
        (height, width), (down, right) = window.kernel, window.stride

        def run(bits: Array) -> Array:
            maps = bits.reshape(len(bits), window.height, window.width, -1)
            made: Array = np.zeros((len(bits), window.rows, window.columns, window.words), np.uint64)
            for y in range(height):
                for x in range(width):
                    part = maps[:, y : y + down * window.rows : down, x : x + right * window.columns : right]
                    np.bitwise_or(made, part[:, : window.rows, : window.columns], out=made)
            return made

        return run

    def compare(self, bounds: Array, channels: int) -> Run:
        """See `Kernels`."""
        return lambda ints: pack_bits(ints >= bounds)

    def levels(self, bounds: Array, channels: int) -> Run:
        """See `Kernels`."""

        def run(ints: Array) -> Array:
            total = np.zeros(ints.shape, np.uint8)
            for level in range(bounds.shape[1]):
                total += ints >= bounds[:, level]
            return total

        return run

    def channels_last(self, x: Array) -> Array:
        """See `Kernels`."""
        return np.ascontiguousarray(np.moveaxis(x, 1, -1))

    def border(self, shape: tuple[int, int], pads: Sides, fill: Array) -> Run:
        """See `Kernels`."""
        (height, width), (top, left, bottom, right) = shape, pads

        def run(x: Array) -> Array:
            made = np.empty((len(x), height + top + bottom, width + left + right, fill.size), fill.dtype)
            made[...] = fill
            made[:, top : top + height, left : left + width] = x.reshape(len(x), height, width, -1)
            return made

        return run

    def by_numpy(self, made: Array, source: Array) -> Array:
        """See `Kernels`."""
        return made

    def apply(self, function: Callable[[Array], Array], source: Array) -> Array:
        """See `Kernels`."""
        return function(source)


def _weights(weight: Array) -> Array:
    """(filters, kernel h, kernel w, channels) to words, (tap words, filters)."""
    return np.ascontiguousarray(pack_bits(weight > 0).reshape(len(weight), -1).T)


def _windows(bits: Array, window: Window) -> Array:
    """The words of all windows: (images, rows, columns, tap words)."""
    maps = bits.reshape(len(bits), window.height, window.width, -1)
    if window.kernel == (window.height, window.width):
        return maps.reshape(len(bits), 1, 1, -1)
    # The values of a kernel row lie side by side.
    maps = np.ascontiguousarray(maps)
    image, line, pixel, size = maps.strides
    (height, width), (down, right), values = window.kernel, window.stride, maps.shape[3]
    shape = (len(maps), window.rows, window.columns, height, width * values)
    seen = np.lib.stride_tricks.as_strided(maps, shape, (image, down * line, right * pixel, line, size))
    made = np.empty(shape, maps.dtype)
    for row in range(height):
        made[:, :, :, row] = seen[:, :, :, row]
    return made.reshape(*shape[:3], -1)


def _unequal(windows: Array, weights: Array) -> Array:
    """Numbers of unequal bits, (images, rows, columns, filters); uint16, or int32 where sums are larger."""
    taps, filters = weights.shape
    flat = windows.reshape(-1, taps)
    made = np.empty((len(flat), filters), np.uint16 if taps < 1024 else np.int32)
    step = max(1, _ROUND // filters)
    differ, count = np.empty((step, filters), np.uint64), np.empty((step, filters), np.uint8)
    some = np.empty((step, filters), np.uint8)
    for start in range(0, len(flat), step):
        part = np.ascontiguousarray(flat[start : start + step].T)[:, :, None]
        size = part.shape[1]
        one, number, few = differ[:size], count[:size], some[:size]
        target = made[start : start + size]
        target[...] = 0
        # A byte holds the counts of three words.
        for first in range(0, taps, 3):
            np.bitwise_xor(part[first], weights[first], out=one)
            np.bitwise_count(one, out=few)
            for tap in range(first + 1, min(first + 3, taps)):
                np.bitwise_xor(part[tap], weights[tap], out=one)
                np.bitwise_count(one, out=number)
                np.add(few, number, out=few)
            np.add(target, few, out=target)
    return made.reshape(*windows.shape[:-1], filters)


def _products(window: Window, weight: Array) -> Run:
    """Sums of products as exact floats, (images, rows, columns, filters)."""
    most = int(np.abs(weight.astype(np.int32)).reshape(len(weight), -1).sum(axis=1).max(initial=0))
    matrix = np.ascontiguousarray(
        weight.reshape(len(weight), -1).T.astype(np.float32 if most * 512 < 2**24 else np.float64)
    )

    def run(ints: Array) -> Array:
        maps = ints.reshape(len(ints), window.height, window.width, window.channels).astype(matrix.dtype)
        seen = _windows(maps, window)
        return (seen.reshape(-1, seen.shape[-1]) @ matrix).reshape(*seen.shape[:-1], -1)

    return run

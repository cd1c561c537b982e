"""The generated backend: prepares parameters for the kernels of `source.py` and calls them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...transforms.tensor import Array
from ..packing import Window, address, aligned, blocked, pack, roomy, with_room, words_of
from . import Run
from .source import NARROW, WIDE, Machine

# Tap words whose weights, 512 bytes each, fit into the first cache beside the activations.
_FIRST_CACHE = 56
_MOST = np.iinfo(np.int32).max


@dataclass(frozen=True, slots=True)
class NativeKernels:
    """Kernels compiled for one processor.

    Attributes:
        machine: what they were written for.
        functions: by name; each takes an array of int64 parameters and releases the interpreter lock.
        owner: what keeps their memory alive.
    """

    machine: Machine
    functions: dict[str, Callable[[object], None]]
    owner: object

    def call(self, name: str, *parameters: int) -> None:
        """Run one kernel."""
        self.functions[name]((ctypes.c_int64 * len(parameters))(*parameters))

    def xnor_bits(self, window: Window, weight: Array, bounds: Array, classes: Array) -> Run:
        """See `Kernels`."""
        filters, words, fan_in = len(weight), window.words, window.fan_in
        weights = blocked(pack(weight > 0).reshape(filters, -1), WIDE)
        blocks, taps, _ = weights.shape
        limits = aligned((len(bounds), blocks * WIDE), np.int64, -1)
        limits[:, :filters] = np.clip(fan_in - bounds, -1, fan_in)
        geometry = _Geometry.of(window, words)
        offsets, area = window.offsets(words), window.rows * window.columns
        starts = np.ascontiguousarray(classes.ravel() * limits.shape[1], np.int64)
        name = "xnor_bits_pairs" if taps > _FIRST_CACHE and geometry.wide else "xnor_bits"
        fixed = (taps, address(offsets), blocks, blocks)
        at_weights, at_limits = address(weights), address(limits)

        def run(bits: Array, kept: tuple[Array, ...] = (weights, limits, offsets)) -> Array:
            bits = np.ascontiguousarray(bits)
            made = np.empty((len(bits), window.rows, window.columns, blocks), np.uint64)
            counts = geometry.counts(len(bits))
            first = starts if area > 1 else np.zeros(len(bits), np.int64)
            kernel = "xnor_bits" if counts[2] < 2 else name
            self.call(kernel, address(bits), at_weights, at_limits, address(made), *counts, *fixed, address(first))
            return made

        return run

    def xnor_sums(self, window: Window, weight: Array, factor: int, shift: Array) -> Run:
        """See `Kernels`."""
        filters, words = len(weight), window.words
        width = NARROW if filters <= NARROW else WIDE
        weights = blocked(pack(weight > 0).reshape(filters, -1), width)
        blocks, taps, _ = weights.shape
        begin = aligned((blocks * width,), np.int32, 0)
        begin[:filters] = shift + factor * window.fan_in
        geometry, offsets = _Geometry.of(window, words), window.offsets(words)
        name = "xnor_sums_narrow" if width == NARROW else "xnor_sums"
        fixed = (taps, address(offsets), blocks, blocks * width, factor)
        at_weights, at_begin = address(weights), address(begin)

        def run(bits: Array, kept: tuple[Array, ...] = (weights, begin, offsets)) -> Array:
            bits = np.ascontiguousarray(bits)
            made = roomy((len(bits), window.rows, window.columns, blocks * width), np.int32)
            counts = geometry.counts(len(bits))
            kernel = "xnor_sums_narrow_fours" if width == NARROW and counts[2] >= 4 else name
            self.call(kernel, address(bits), at_weights, at_begin, address(made), *counts, *fixed)
            return made[..., :filters]

        return run

    def dot_bits(self, window: Window, weight: Array, low: int, bounds: Array) -> Run:
        """See `Kernels`."""
        limits = aligned((words_of(len(weight)) * WIDE,), np.int32, _MOST)
        sums = low * weight.reshape(len(weight), -1).sum(axis=1, dtype=np.int64)
        limits[: len(weight)] = np.clip(bounds - sums, -_MOST, _MOST)
        return self._dot("dot_bits", window, weight, low, limits)

    def dot_sums(self, window: Window, weight: Array, low: int) -> Run:
        """See `Kernels`."""
        starts = aligned((words_of(len(weight)) * WIDE,), np.int32, 0)
        starts[: len(weight)] = low * weight.reshape(len(weight), -1).sum(axis=1, dtype=np.int64)
        return self._dot("dot_sums", window, weight, low, starts)

    def _dot(self, name: str, window: Window, weight: Array, low: int, limits: Array) -> Run:
        filters, fan_in, taps = len(weight), window.fan_in, self.machine.taps
        groups, blocks = -(-fan_in // taps), words_of(filters)
        padded = np.zeros((blocks * WIDE, groups * taps), np.int8 if taps == 4 else np.int16)
        padded[:filters, :fan_in] = weight.reshape(filters, fan_in)
        weights = aligned((blocks, groups, WIDE, taps), padded.dtype)
        weights[...] = padded.reshape(blocks, WIDE, groups, taps).transpose(0, 2, 1, 3)
        geometry = _Geometry.of(window, window.channels)
        row, line = window.kernel[1] * window.channels, window.width * window.channels
        if window.kernel[1] == window.width:  # whole rows of the map lie side by side
            fixed = (1, row * window.kernel[0], 0)
        else:
            fixed = (window.kernel[0], row, line)
        # A window's last 16 bytes must not reach into the window beside it.
        patch = (4 // taps) * -(-((fixed[0] - 1) * fixed[1] + -(-fixed[1] // 16) * 16) // 4) * 4
        bits = name == "dot_bits"
        pixel, kind = (blocks, np.uint64) if bits else (blocks * WIDE, np.int32)
        at_weights, at_limits = address(weights), address(limits)

        def run(ints: Array, kept: tuple[Array, ...] = (weights, limits)) -> Array:
            source = with_room(_bytes(ints, low))
            shape = (len(ints), window.rows, window.columns, pixel)
            size = int(np.prod(shape))
            made = np.empty(size + pixel + 64, kind)[:size].reshape(shape)
            counts = geometry.counts(len(ints))
            scratch = roomy(((counts[2] + 1) * patch,), np.uint8)
            self.call(
                name, address(source), at_weights, at_limits, address(made), *counts, *fixed,
                groups, blocks, pixel, address(scratch), patch,
            )  # fmt: skip
            return made if bits else made[..., :filters]

        return run

    def pool(self, window: Window) -> Run:
        """See `Kernels`."""
        words = window.words
        offsets = window.offsets(words).reshape(-1, words)[:, 0]
        offsets = np.ascontiguousarray(np.pad(offsets, (0, -len(offsets) % 4), mode="edge"))
        geometry = _Geometry.of(window, words, False)
        groups = len(offsets) // 4

        def run(bits: Array) -> Array:
            bits = np.ascontiguousarray(bits)
            made = np.empty((len(bits), window.rows, window.columns, words), np.uint64)
            counts = geometry.counts(len(bits))
            self.call("pool", address(bits), address(made), *counts, groups, address(offsets), words)
            return made

        return run

    def compare(self, bounds: Array, channels: int) -> Run:
        """See `Kernels`."""
        words = words_of(channels)
        bytes_, masks = np.zeros(words * 64, np.uint8), pack((np.broadcast_to(bounds, channels) <= 255)[None])[0]
        bytes_[:channels] = np.clip(bounds, 0, 255)
        sums = np.full(words * 64, _MOST, np.int32)
        sums[:channels] = np.clip(bounds - 1, -_MOST - 1, _MOST)

        def run(ints: Array) -> Array:
            pixels = ints.size // channels
            made = np.empty((*ints.shape[:-1], words), np.uint64)
            if ints.dtype == np.uint8:
                source = with_room(ints)
                limits = (address(bytes_), address(masks))
                self.call("compare_bytes", address(source), *limits, address(made), pixels, channels, words)
            elif ints.dtype.kind in "iub" and (ints.dtype.itemsize < 4 or ints.dtype == np.int32):
                source, stride = _numbers(ints)
                self.call("compare_sums", address(source), stride, address(sums), address(made), pixels, words)
            else:
                return pack(ints >= bounds)
            return made

        return run

    def levels(self, bounds: Array, channels: int) -> Run:
        """See `Kernels`."""
        words, levels = words_of(channels), bounds.shape[1]
        limits = np.full((levels, words * 64), _MOST, np.int32)
        limits[:, :channels] = np.clip(bounds - 1, -_MOST - 1, _MOST).T

        def run(ints: Array) -> Array:
            source, stride = _numbers(ints)
            made, pixels = roomy(ints.shape, np.uint8), ints.size // channels
            self.call(
                "count_levels", address(source), stride, address(limits), levels, address(made),
                channels, pixels, words,
            )  # fmt: skip
            return made

        return run

    def channels_last(self, x: Array) -> Array:
        """See `Kernels`."""
        count, channels, height, width = x.shape
        if x.dtype.itemsize != 1 or channels == 1:
            return np.ascontiguousarray(np.moveaxis(x, 1, -1))
        x = np.ascontiguousarray(x)
        made = roomy((count, height, width, channels), x.dtype)
        if channels == 3 and height * width % 16 == 0:
            self.call("three_channels_last", address(x), address(made), count, height * width // 16)
        else:
            self.call("channels_last", address(x), address(made), count, channels, height * width)
        return made


@dataclass(frozen=True, slots=True)
class _Geometry:
    """Counts and strides of the loops over images, rows and columns; a one-window layer runs over images alone."""

    rows: int
    columns: int
    strides: tuple[int, int, int]
    merged: bool

    @staticmethod
    def of(window: Window, pixel: int, merge: bool = True) -> _Geometry:
        """Of a map whose pixels have `pixel` elements."""
        line = window.width * pixel
        strides = (window.height * line, window.stride[0] * line, window.stride[1] * pixel)
        merged = merge and window.rows == window.columns == 1
        return _Geometry(window.rows, window.columns, strides, merged)

    @property
    def wide(self) -> bool:
        """True where two columns at a time waste little."""
        return self.merged or self.columns >= 2

    def counts(self, images: int) -> tuple[int, ...]:
        """images, rows, columns and three strides."""
        if self.merged:
            return (1, 1, images, 0, 0, self.strides[0])
        return (images, self.rows, self.columns, *self.strides)


def _bytes(ints: Array, low: int) -> Array:
    """The integers as uint8, less `low`."""
    if ints.dtype == np.uint8 and low == 0:
        return ints
    if low == 0:
        return ints.astype(np.uint8)
    return (ints.astype(np.int32) - low).astype(np.uint8)


def _numbers(ints: Array) -> tuple[Array, int]:
    """int32 with room behind it, and how many lie from pixel to pixel."""
    base = ints.base
    if ints.dtype == np.int32 and ints.ndim == 4 and isinstance(base, np.ndarray) and not ints.flags.c_contiguous:
        # Sums of a layer whose channels fill no whole block.
        stride, (count, rows, columns, channels) = ints.strides[2], ints.shape
        end = address(ints) + ints.strides[0] * count - stride + 256 * words_of(channels)
        if ints.strides == (rows * columns * stride, columns * stride, stride, 4) and end <= address(base) + base.nbytes:
            return ints, stride // 4
    return with_room(np.ascontiguousarray(ints, np.int32)), ints.shape[-1]

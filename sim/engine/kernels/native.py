"""The generated backend: prepares parameters for the kernels of `source.py` and calls them."""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from ....transforms.ir.ops import Sides
from ....transforms.ir.tensor import Array
from ..packing import Window, address, aligned_array, blocked, pack_bits, roomy, with_room, words_of
from . import NumpyArrays, Run
from .machine import LOOKED_UP_PIXELS, NARROW, WIDE, Machine
from .source_xnor import LOOKED_UP

# Tap words whose weights, 512 bytes each, fit into the first cache beside the activations.
_FIRST_CACHE = 56
_MOST = np.iinfo(np.int32).max
_MOST_LOOKED_UP = np.iinfo(np.int16).max - 1
"""The greatest fan-in whose sums, and the limit behind them, are held in 16 bits."""


Parameter = int | Array


class Tape(threading.local):
    """The kernels that the current thread has called, while it records them.

    Attributes:
        calls: address of each kernel, and its parameters; None while nothing is recorded.
        kept: arrays that they point to.
        broken: numpy made data on the way, which a replay would not make again.
    """

    calls: list[tuple[int, ctypes.Array[ctypes.c_int64]]] | None = None
    kept: list[Parameter]
    broken: bool = False


@dataclass(frozen=True, slots=True)
class Recording:
    """Kernels that can be run again on the same memory, in one call."""

    kernels: NativeKernels
    pairs: ctypes.Array[ctypes.c_int64]
    kept: tuple[object, ...]

    def replay(self) -> None:
        """Run them all."""
        self.kernels.call("replay", ctypes.addressof(self.pairs), len(self.pairs) // 2)


@dataclass(frozen=True, slots=True)
class NativeKernels(NumpyArrays):
    """Kernels compiled for one processor.

    Attributes:
        machine: what they were written for.
        functions: by name; each takes an array of int64 parameters and releases the interpreter lock.
        addresses: of the functions.
        owner: what keeps their memory alive.
        tape: what is being recorded.
    """

    machine: Machine
    functions: dict[str, Callable[[object], None]]
    addresses: dict[str, int]
    owner: object
    tape: Tape

    @staticmethod
    def at(machine: Machine, addresses: dict[str, int], owner: object) -> NativeKernels:
        """The kernels at these addresses."""
        prototype = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
        functions: dict[str, Callable[[object], None]] = {n: prototype(a) for n, a in addresses.items()}
        return NativeKernels(machine, functions, addresses, owner, Tape())

    def call(self, name: str, *parameters: Parameter) -> None:
        """Run one kernel on numbers and arrays."""
        values = [p if isinstance(p, int) else address(p) for p in parameters]
        packed = (ctypes.c_int64 * len(values))(*values)
        self.functions[name](packed)
        if self.tape.calls is not None:
            self.tape.calls.append((self.addresses[name], packed))
            self.tape.kept += parameters

    def record(self, run: Callable[[], None]) -> Recording | None:
        """Run something and record the kernels that it calls; None where it made data by numpy too."""
        tape = self.tape
        tape.calls, tape.kept, tape.broken = [], [], False
        try:
            run()
            if tape.broken or not tape.calls:
                return None
            numbers = [number for kernel, packed in tape.calls for number in (kernel, ctypes.addressof(packed))]
            pairs = (ctypes.c_int64 * len(numbers))(*numbers)
            return Recording(self, pairs, (tape.calls, tape.kept))
        finally:
            tape.calls, tape.kept = None, []

    def by_numpy(self, made: Array, source: Array) -> Array:
        """Note whether numpy made `made` of `source` by copying."""
        if made is not source and not np.may_share_memory(made, source):
            self.tape.broken = True
        return made

    def apply(self, function: Callable[[Array], Array], source: Array) -> Array:
        """See `Kernels`."""
        return self.by_numpy(function(source), source)

    def xnor_bits(self, window: Window, weight: Array, bounds: Array, classes: Array) -> Run:
        """See `Kernels`."""
        if self.machine.looks_up and window.fan_in <= _MOST_LOOKED_UP:
            return self._looked_up(window, weight, bounds, classes)
        filters, words, fan_in = len(weight), window.words, window.fan_in
        weights = blocked(pack_bits(weight > 0).reshape(filters, -1), WIDE)
        blocks, taps, _ = weights.shape
        limits = aligned_array((len(bounds), blocks * WIDE), np.int64, 0)
        limits[:, :filters] = np.clip(fan_in + 1 - bounds, 0, fan_in + 1)
        geometry = _Geometry.of(window, words)
        offsets, area = window.offsets(words), window.rows * window.columns
        starts = np.ascontiguousarray(classes.ravel() * limits.shape[1], np.int64)
        name = "xnor_bits_pairs" if taps > _FIRST_CACHE and geometry.wide else "xnor_bits"
        fixed = (taps, offsets, blocks, blocks)

        def run(bits: Array) -> Array:
            made = np.empty((len(bits), window.rows, window.columns, blocks), np.uint64)
            counts = geometry.counts(len(bits))
            first = starts if area > 1 else np.zeros(len(bits), np.int64)
            kernel = "xnor_bits" if counts[2] < 2 else name
            self.call(kernel, bits, weights, limits, made, *counts, *fixed, first)
            return made

        return run

    def _looked_up(self, window: Window, weight: Array, bounds: Array, classes: Array) -> Run:
        """`xnor_bits` by tables."""
        filters, fan_in = len(weight), window.fan_in
        packed = blocked(pack_bits(weight > 0).reshape(filters, -1), WIDE)
        blocks, taps, _ = packed.shape
        bytes_ = packed.view(np.uint8).reshape(blocks, taps, WIDE, 8).transpose(0, 1, 3, 2)
        weights = aligned_array((blocks, taps, 8, 2, WIDE), np.uint8)
        weights[:, :, :, 0], weights[:, :, :, 1] = bytes_ & 15, bytes_ >> 4
        limits = np.zeros((len(bounds), blocks * WIDE), np.int16)
        limits[:, :filters] = np.clip(fan_in + 1 - bounds, 0, fan_in + 1)
        limits = np.ascontiguousarray(limits.reshape(-1, LOOKED_UP // 2, 2).swapaxes(1, 2)).reshape(limits.shape)
        geometry, offsets = _Geometry.of(window, window.words), window.offsets(window.words)
        starts = np.ascontiguousarray(classes.ravel() * limits.shape[1], np.int64)
        fixed, area = (taps, offsets, blocks, blocks), window.rows * window.columns

        def run(bits: Array) -> Array:
            made = np.empty((len(bits), window.rows, window.columns, blocks), np.uint64)
            first = starts if area > 1 else np.zeros(len(bits), np.int64)
            counts = geometry.counts(len(bits))
            pixels = max(LOOKED_UP_PIXELS, key=partial(_share_of_tiles, counts[2]))
            self.call(f"xnor_bits_tables{pixels}", bits, weights, limits, made, *counts, *fixed, first)
            return made

        return run

    def xnor_sums(self, window: Window, weight: Array, factor: int, shift: Array) -> Run:
        """See `Kernels`."""
        filters, words = len(weight), window.words
        width = NARROW if filters <= NARROW else WIDE
        weights = blocked(pack_bits(weight > 0).reshape(filters, -1), width)
        blocks, taps, _ = weights.shape
        begin = aligned_array((blocks * width,), np.int32, 0)
        begin[:filters] = shift + factor * window.fan_in
        geometry, offsets = _Geometry.of(window, words), window.offsets(words)
        name = "xnor_sums_narrow" if width == NARROW else "xnor_sums"
        fixed = (taps, offsets, blocks, blocks * width, factor)

        def run(bits: Array) -> Array:
            made = roomy((len(bits), window.rows, window.columns, blocks * width), np.int32)
            counts = geometry.counts(len(bits))
            kernel = "xnor_sums_narrow_fours" if width == NARROW and counts[2] >= 4 else name
            self.call(kernel, bits, weights, begin, made, *counts, *fixed)
            return made[..., :filters]

        return run

    def dot_bits(self, window: Window, weight: Array, low: int, bounds: Array) -> Run:
        """See `Kernels`."""
        limits = aligned_array((words_of(len(weight)) * WIDE,), np.int32, _MOST)
        sums = low * weight.reshape(len(weight), -1).sum(axis=1, dtype=np.int64)
        limits[: len(weight)] = np.clip(bounds - sums, -_MOST, _MOST)
        return self._dot("dot_bits", window, weight, low, limits)

    def dot_sums(self, window: Window, weight: Array, low: int) -> Run:
        """See `Kernels`."""
        starts = aligned_array((words_of(len(weight)) * WIDE,), np.int32, 0)
        starts[: len(weight)] = low * weight.reshape(len(weight), -1).sum(axis=1, dtype=np.int64)
        return self._dot("dot_sums", window, weight, low, starts)

    def _dot(self, name: str, window: Window, weight: Array, low: int, limits: Array) -> Run:
        filters, fan_in, taps = len(weight), window.fan_in, self.machine.taps
        groups, blocks = -(-fan_in // taps), words_of(filters)
        padded = np.zeros((blocks * WIDE, groups * taps), np.int8 if taps == 4 else np.int16)
        padded[:filters, :fan_in] = weight.reshape(filters, fan_in)
        weights = aligned_array((blocks, groups, WIDE, taps), padded.dtype)
        weights[...] = padded.reshape(blocks, WIDE, groups, taps).transpose(0, 2, 1, 3)
        geometry = _Geometry.of(window, window.channels)
        row, line = window.kernel[1] * window.channels, window.width * window.channels
        # Where windows are as wide as the map, their rows lie side by side.
        whole = window.kernel[1] == window.width
        fixed = (1, row * window.kernel[0], 0) if whole else (window.kernel[0], row, line)
        # A window's last 16 bytes must not reach into the window beside it.
        patch = (4 // taps) * -(-((fixed[0] - 1) * fixed[1] + -(-fixed[1] // 16) * 16) // 4) * 4
        bits = name == "dot_bits"
        pixel, kind = (blocks, np.uint64) if bits else (blocks * WIDE, np.int32)

        def run(ints: Array) -> Array:
            source = self.by_numpy(with_room(_bytes(ints, low)), ints)
            shape = (len(ints), window.rows, window.columns, pixel)
            size = int(np.prod(shape))
            made = np.empty(size + pixel + 64, kind)[:size].reshape(shape)
            counts = geometry.counts(len(ints))
            scratch = roomy(((counts[2] + 1) * patch,), np.uint8)
            self.call(name, source, weights, limits, made, *counts, *fixed, groups, blocks, pixel, scratch, patch)
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
            made = np.empty((len(bits), window.rows, window.columns, words), np.uint64)
            self.call("pool", bits, made, *geometry.counts(len(bits)), groups, offsets, words)
            return made

        return run

    def compare(self, bounds: Array, channels: int) -> Run:
        """See `Kernels`."""
        words = words_of(channels)
        bytes_, masks = np.zeros(words * 64, np.uint8), pack_bits((np.broadcast_to(bounds, channels) <= 255)[None])[0]
        bytes_[:channels] = np.clip(bounds, 0, 255)
        sums = np.full(words * 64, _MOST, np.int32)
        sums[:channels] = np.clip(bounds - 1, -_MOST - 1, _MOST)

        def run(ints: Array) -> Array:
            pixels = ints.size // channels
            made = np.empty((*ints.shape[:-1], words), np.uint64)
            if ints.dtype == np.uint8:
                source = self.by_numpy(with_room(ints), ints)
                self.call("compare_bytes", source, bytes_, masks, made, pixels, channels, words)
            elif ints.dtype.kind in "iub" and (ints.dtype.itemsize < 4 or ints.dtype == np.int32):
                source, stride = _numbers(ints)
                self.by_numpy(source, ints)
                self.call("compare_sums", source, stride, sums, made, pixels, words)
            else:
                return self.by_numpy(pack_bits(ints >= bounds), ints)
            return made

        return run

    def levels(self, bounds: Array, channels: int) -> Run:
        """See `Kernels`."""
        words, levels = words_of(channels), bounds.shape[1]
        limits = np.full((levels, words * 64), _MOST, np.int32)
        limits[:, :channels] = np.clip(bounds - 1, -_MOST - 1, _MOST).T

        def run(ints: Array) -> Array:
            source, stride = _numbers(ints)
            self.by_numpy(source, ints)
            made, pixels = roomy(ints.shape, np.uint8), ints.size // channels
            self.call("count_levels", source, stride, limits, levels, made, channels, pixels, words)
            return made

        return run

    def channels_last(self, x: Array) -> Array:
        """See `Kernels`."""
        count, channels, height, width = x.shape
        if x.dtype.itemsize != 1 or channels == 1:
            return self.by_numpy(np.ascontiguousarray(np.moveaxis(x, 1, -1)), x)
        x = self.by_numpy(np.ascontiguousarray(x), x)
        made = roomy((count, height, width, channels), x.dtype)
        if channels == 3 and height * width % 16 == 0:
            self.call("three_channels_last", x, made, count, height * width // 16)
        else:
            self.call("channels_last", x, made, count, channels, height * width)
        return made

    def border(self, shape: tuple[int, int], pads: Sides, fill: Array) -> Run:
        """See `Kernels`."""
        (height, width), (top, left, bottom, right) = shape, pads
        size = fill.nbytes
        line, larger = width * size, (width + left + right) * size
        image = (height + top + bottom) * larger
        fixed = (height, height * line, line, image, larger, line // 16, line % 16)

        def run(x: Array) -> Array:
            made = roomy((len(x), height + top + bottom, width + left + right, fill.size), fill.dtype)
            made[:, :top], made[:, top + height :] = fill, fill
            made[:, top : top + height, :left], made[:, top : top + height, left + width :] = fill, fill
            x = self.by_numpy(np.ascontiguousarray(x, fill.dtype), x)
            self.call("copy_rows", x, made[:, top:, left:], len(x), *fixed)
            return made

        return run


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


def _share_of_tiles(columns: int, pixels: int) -> float:
    """How fast so many columns at a time are in a row of these; the last tile may overlap the one before."""
    return LOOKED_UP_PIXELS[pixels] * columns / (-(-columns // pixels) * pixels) if columns >= pixels else 0.0


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
        if (
            ints.strides == (rows * columns * stride, columns * stride, stride, 4)
            and end <= address(base) + base.nbytes
        ):
            return ints, stride // 4
    return with_room(np.ascontiguousarray(ints, np.int32)), ints.shape[-1]

"""The packed simulator's kernels by torch's bitwise and integer operations, on any device that torch has.

Words of 64 bits stay on the device; population counts are by adding bits, then pairs, then nibbles in parallel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...sim.engine.kernels import Run
from ...sim.engine.packing import WORD, Window, pack_bits, words_of
from ...transforms.ir.ops import Sides
from ...transforms.ir.tensor import Array

_PAIRS, _NIBBLES, _BYTES = 0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F
_EVEN, _ADD = 0x00FF00FF00FF00FF, 0x0001000100010001
# Words whose counts a byte holds, at most 8 each.
_FULL = 31


@dataclass(frozen=True, slots=True)
class TorchKernels:
    """`sim.kernels.Kernels` on torch tensors; every method takes numpy arrays too.

    Attributes:
        device: where tensors lie.
        round: words in one round of exclusive or and count: they stay in a processor's cache, or fill a GPU.
    """

    device: torch.device
    round: int

    def tensor(self, x: Any) -> Tensor:
        """A tensor on the device; words are int64 there."""
        if isinstance(x, Tensor):
            return x
        x = np.ascontiguousarray(x)
        x = x.view(np.int64) if x.dtype == np.uint64 else x
        return torch.from_numpy(x if x.flags.writeable else x.copy()).to(self.device)

    def xnor_bits(self, window: Window, weight: Array, bounds: Array, classes: Array) -> Run:
        """See `Kernels`."""
        rows = self._weights(weight)
        most = np.clip(window.fan_in - bounds, -1, window.fan_in).astype(np.int32)
        limits = self.tensor(most[0] if len(most) == 1 else most[classes])

        def run(bits: Any) -> Any:
            return _pack(self._unequal(_windows(self.tensor(bits), window), rows) <= limits)

        return run

    def xnor_sums(self, window: Window, weight: Array, factor: int, shift: Array) -> Run:
        """See `Kernels`."""
        rows = self._weights(weight)
        start = self.tensor((shift + factor * window.fan_in).astype(np.int32))

        def run(bits: Any) -> Any:
            return start - factor * self._unequal(_windows(self.tensor(bits), window), rows)

        return run

    def dot_bits(self, window: Window, weight: Array, low: int, bounds: Array) -> Run:
        """See `Kernels`."""
        sums, limits = self._products(window, weight, low), self.tensor(np.array(bounds, np.int64))

        def run(ints: Any) -> Any:
            return _pack(sums(ints) >= limits)

        return run

    def dot_sums(self, window: Window, weight: Array, low: int) -> Run:
        """See `Kernels`."""
        return self._products(window, weight, low)

    def pool(self, window: Window) -> Run:
        """See `Kernels`."""
        (height, width), (down, right) = window.kernel, window.stride

        def run(bits: Any) -> Any:
            x = self.tensor(bits)
            maps = x.reshape(len(x), window.height, window.width, -1)
            made = torch.zeros((len(x), window.rows, window.columns, window.words), dtype=x.dtype, device=x.device)
            for row in range(height):
                for column in range(width):
                    part = maps[
                        :, row : row + down * window.rows : down, column : column + right * window.columns : right
                    ]
                    made |= part[:, : window.rows, : window.columns]
            return made

        return run

    def compare(self, bounds: Array, channels: int) -> Run:
        """See `Kernels`."""
        limits = self.tensor(np.array(bounds, np.int64))

        def run(ints: Any) -> Any:
            return _pack(self.tensor(ints) >= limits)

        return run

    def levels(self, bounds: Array, channels: int) -> Run:
        """See `Kernels`."""
        limits = self.tensor(np.array(bounds, np.int64))

        def run(ints: Any) -> Any:
            x = self.tensor(ints)
            total = torch.zeros(x.shape, dtype=torch.uint8, device=x.device)
            for level in range(limits.shape[1]):
                total += x >= limits[:, level]
            return total

        return run

    def channels_last(self, x: Array) -> Array:
        """See `Kernels`."""
        return self.tensor(x).movedim(1, -1).contiguous()  # type: ignore[return-value]

    def border(self, shape: tuple[int, int], pads: Sides, fill: Array) -> Run:
        """See `Kernels`."""
        (height, width), (top, left, bottom, right) = shape, pads
        pixel = self.tensor(fill)

        def run(x: Any) -> Any:
            x = self.tensor(x)
            made = pixel.expand(len(x), height + top + bottom, width + left + right, -1).clone()
            made[:, top : top + height, left : left + width] = x.reshape(len(x), height, width, -1)
            return made

        return run

    def by_numpy(self, made: Array, source: Array) -> Array:
        """See `Kernels`."""
        return made

    def apply(self, function: Callable[[Array], Array], source: Array) -> Array:
        """See `Kernels`; by way of this computer's memory."""
        return self.tensor(function(self.host(source)))  # type: ignore[return-value]

    def host(self, x: Any) -> Array:
        """See `Arrays`."""
        made: Array = x.cpu().numpy() if isinstance(x, Tensor) else x
        return made

    def copied(self, x: Any) -> Array:
        """See `Arrays`."""
        return self.tensor(x).clone()  # type: ignore[return-value]

    def joined(self, parts: Sequence[Any]) -> Array:
        """See `Arrays`."""
        return torch.cat([self.tensor(part) for part in parts])  # type: ignore[return-value]

    def _weights(self, weight: Array) -> Tensor:
        """(filters, kernel h, kernel w, channels) to words, (tap words, filters)."""
        return self.tensor(np.ascontiguousarray(pack_bits(weight > 0).reshape(len(weight), -1).T))

    def _unequal(self, windows: Tensor, weights: Tensor) -> Tensor:
        """Numbers of unequal bits, (images, rows, columns, filters) int32."""
        taps, filters = weights.shape
        flat = windows.reshape(-1, taps)
        made = torch.zeros((len(flat), filters), dtype=torch.int32, device=flat.device)
        step = max(1, self.round // filters)
        for start in range(0, len(flat), step):
            part, target = flat[start : start + step], made[start : start + step]
            for first in range(0, taps, _FULL):
                counts = _byte_counts(part[:, first, None] ^ weights[first])
                for tap in range(first + 1, min(first + _FULL, taps)):
                    counts += _byte_counts(part[:, tap, None] ^ weights[tap])
                # Sums of bytes in four lanes of 16 bits, then all four in the uppermost.
                lanes = ((counts >> 8) & _EVEN).add_(counts & _EVEN)
                target += ((lanes * _ADD) >> 48) & 0xFFFF
        return made.reshape(*windows.shape[:-1], filters)

    def _products(self, window: Window, weight: Array, low: int) -> Callable[[Any], Any]:
        """Sums of products, int32; by float matrix products, which are exact here.

        float32 where no partial sum reaches 2^24 and every factor has 11 bits, which the shortened factors of
        some GPUs (TF32) hold; else float64.
        """
        flat = weight.reshape(len(weight), -1).astype(np.int64)
        largest = max(abs(low), abs(low + 255))
        short = largest < 2**11 and int(np.abs(flat).sum(axis=1).max(initial=0)) * largest < 2**24
        matrix = self.tensor(flat.T.astype(np.float32 if short else np.float64))

        def run(ints: Any) -> Any:
            x = self.tensor(ints)
            maps = x.reshape(len(x), window.height, window.width, window.channels).to(matrix.dtype)
            return (_windows(maps, window) @ matrix).to(torch.int32)

        return run


def _windows(maps: Tensor, window: Window) -> Tensor:
    """All windows of (images, height, width, values): (images, rows, columns, kernel h * kernel w * values)."""
    maps = maps.reshape(len(maps), window.height, window.width, -1)
    if window.kernel == (window.height, window.width):
        return maps.reshape(len(maps), 1, 1, -1)
    (height, width), (down, right) = window.kernel, window.stride
    seen = maps.unfold(1, height, down).unfold(2, width, right).permute(0, 1, 2, 4, 5, 3)
    return seen.reshape(*seen.shape[:3], -1)


def _byte_counts(x: Tensor) -> Tensor:
    """Numbers of ones in every byte of 64-bit words; overwrites them.

    Shifts of negative words bring ones in from the left, which the masks take away.
    """
    x -= (x >> 1) & _PAIRS
    x = (x & _NIBBLES).add_((x >> 2) & _NIBBLES)
    x += x >> 4
    x &= _BYTES
    return x


def _pack(flags: Tensor) -> Tensor:
    """(..., channels) bool to int64 words (..., words), bit c % 64 of word c / 64 for channel c; little-endian."""
    channels = flags.shape[-1]
    flags = torch.nn.functional.pad(flags.to(torch.uint8), (0, WORD * words_of(channels) - channels))
    eights = flags.reshape(*flags.shape[:-1], -1, 8)
    places = 1 << torch.arange(8, dtype=torch.uint8, device=flags.device)
    return (eights * places).sum(-1, dtype=torch.uint8).view(torch.int64)

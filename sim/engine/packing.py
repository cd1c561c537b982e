"""Bits in 64-bit words: activations channels last, 64 channels a word; weights 64 output channels a vector.

Bit c % 64 of word c / 64 holds channel c. Bits behind the last channel are 0 in activations and weights
alike, so that their exclusive or adds nothing to a count.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ...transforms.ir.infer import window_count
from ...transforms.ir.ops import Pair
from ...transforms.ir.tensor import Array

WORD = 64
SLACK = 64 * 4
"""Bytes that kernels may touch behind an array."""


@dataclass(frozen=True, slots=True)
class Window:
    """How a layer or pool reads a map of (height, width, channels): windows of `kernel` moved by `stride`.

    A dense layer reads one window as large as the map.
    """

    height: int
    width: int
    channels: int
    kernel: Pair
    stride: Pair
    rows: int = field(init=False)
    columns: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", window_count(self.height, self.kernel[0], self.stride[0]))
        object.__setattr__(self, "columns", window_count(self.width, self.kernel[1], self.stride[1]))

    @property
    def words(self) -> int:
        """Words of one pixel."""
        return words_of(self.channels)

    @property
    def fan_in(self) -> int:
        """Values in a window."""
        return self.kernel[0] * self.kernel[1] * self.channels

    def offsets(self, words: int) -> Array:
        """Where a window's words lie behind its first, when a pixel has `words` of them; int64, (taps * words,)."""
        rows = np.arange(self.kernel[0], dtype=np.int64)[:, None] * (self.width * words)
        return (rows + np.arange(self.kernel[1] * words, dtype=np.int64)).ravel()


def words_of(channels: int) -> int:
    """Words that hold `channels` bits."""
    return -(-channels // WORD)


def pack_bits(flags: Array) -> Array:
    """(..., channels), bool or numbers that are not 0 for ones, to uint64 (..., words)."""
    channels = flags.shape[-1]
    packed = np.packbits(flags, axis=-1, bitorder="little")
    if packed.shape[-1] % 8:
        whole = np.zeros((*packed.shape[:-1], 8 * words_of(channels)), np.uint8)
        whole[..., : packed.shape[-1]] = packed
        packed = whole
    return packed.view("<u8")


def unpack_bits(words: Array, channels: int) -> Array:
    """uint64 (..., words) to uint8 {0, 1}, (..., channels)."""
    return np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=-1, count=channels, bitorder="little")


def blocked(rows: Array, width: int) -> Array:
    """(output channels, tap words) to (blocks, tap words, width), 64-byte aligned; channels added are 0."""
    channels, taps = rows.shape
    blocks = -(-channels // width)
    made = aligned_array((blocks, taps, width), rows.dtype)
    full = channels // width
    made[:full] = rows[: full * width].reshape(full, width, taps).transpose(0, 2, 1)
    if full < blocks:
        made[full] = 0
        made[full, :, : channels - full * width] = rows[full * width :].T
    return made


def aligned_array(shape: tuple[int, ...], dtype: np.typing.DTypeLike, fill: int | None = None) -> Array:
    """A new array whose first byte lies on a multiple of 64; without `fill` its values are arbitrary."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory = np.empty(size + 64, np.uint8)
    start = -address(memory) % 64
    made = memory[start : start + size].view(dtype).reshape(shape)
    if fill is not None:
        made.fill(fill)
    return made


def roomy(shape: tuple[int, ...], dtype: np.typing.DTypeLike) -> Array:
    """A new array of arbitrary values, with SLACK bytes behind it."""
    kind = np.dtype(dtype)
    size = int(np.prod(shape))
    return np.empty(size + SLACK // kind.itemsize, kind)[:size].reshape(shape)


def with_room(array: Array) -> Array:
    """The array itself where it is contiguous and SLACK bytes behind it are its memory too, else a copy."""
    base = array.base
    if isinstance(base, np.ndarray) and array.flags.c_contiguous and base.flags.c_contiguous:
        end, limit = address(array) + array.nbytes, address(base) + base.nbytes
        if end + SLACK <= limit:
            return array
    made = roomy(array.shape, array.dtype)
    made[...] = array
    return made


def address(array: Array) -> int:
    """Where the first byte of an array lies."""
    found: int = array.__array_interface__["data"][0]
    return found

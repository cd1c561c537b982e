"""Words of a stream as bytes, little end first: what a host sends to the hardware and reads from it; and constants."""

from __future__ import annotations

import numpy as np

from ...transforms.ir.tensor import Array, TensorType
from ...transforms.streams import Stream
from ..memories import words_hex

# Bits of a constant in one assignment, so that no line is long for a tool.
_PIECE = 4096


def value_bits(kind: TensorType) -> int:
    """Bits of a value of a stream; -1 and +1 are in two's complement like any other, and so have 2."""
    return 2 if kind.is_bipolar else kind.bits


def word_bytes(stream: Stream) -> int:
    """Bytes of a word: AXI-Stream pads to whole ones."""
    return -(-stream.width * value_bits(stream.type) // 8)


def to_words(values: Array, stream: Stream) -> Array:
    """(images, words, bytes) uint8 of a stream's tensor.

    Args:
        values: (images, ...) integers in the order of the stream, channels last.
    """
    bits = value_bits(stream.type)
    held = values.reshape(len(values), stream.words, stream.width).astype(np.int64)
    spread = (held[..., None] >> np.arange(bits) & 1).astype(np.uint8)
    return np.packbits(spread.reshape(len(values), stream.words, -1), axis=2, bitorder="little")


def from_words(words: Array, stream: Stream) -> Array:
    """(images, values) int64 of (images, words, bytes) uint8: `to_words` back."""
    bits, images = value_bits(stream.type), len(words)
    spread = np.unpackbits(words, axis=2, count=stream.width * bits, bitorder="little")
    held = spread.reshape(images, -1, bits).astype(np.int64)
    values = (held << np.arange(bits)).sum(2)
    if stream.type.range[0] < 0:
        values -= (values >> (bits - 1)) << bits
    return values


def checksum(values: Array, stream: Stream) -> int:
    """Sum modulo 2^64 over all words of a stream, each times its number from 1 on, as FIFOs add it up in simulation.

    A word counts as the sum of its parts of 64 bits, part i times 2 i + 1. Equal streams have equal sums; others that
    have are possible and unlikely.

    Args:
        values: (images, ...) integers in the order of the stream.
    """
    words = to_words(values, stream)
    words = words.reshape(-1, words.shape[2])
    parts = -(-words.shape[1] // 8)
    whole = np.zeros((len(words), 8 * parts), np.uint8)
    whole[:, : words.shape[1]] = words
    numbers = whole.view("<u8").astype(np.uint64)
    folded = (numbers * (2 * np.arange(parts, dtype=np.uint64) + 1)).sum(1, dtype=np.uint64)
    return int((folded * np.arange(1, len(words) + 1, dtype=np.uint64)).sum(dtype=np.uint64))


def packed(values: list[int], bits: int = 32) -> str:
    """Numbers side by side as a SystemVerilog constant, the first lowest."""
    return f"{len(values) * bits}'h{words_hex(np.array([values]), bits)[0]}"


def wired(wire: str, width: int, word: str) -> str:
    """Assignments of a word in hexadecimal to a wire of so many bits, in pieces that every tool reads."""
    digits = word.rjust(-(-width // 4), "0")
    lines = []
    for low in range(0, width, _PIECE):
        bits = min(_PIECE, width - low)
        end = len(digits) - low // 4
        piece = digits[max(0, end - _PIECE // 4) : end]
        lines.append(f"  assign {wire}[{low + bits - 1}:{low}] = {bits}'h{piece};")
    return "\n".join(lines)

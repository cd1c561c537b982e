"""Triple modular redundancy."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ....transforms.ir.tensor import Array
from ..injection.layout import Memory
from .base import CODES, Code


@CODES.add
@dataclass(frozen=True, slots=True)
class Tmr(Code):
    """Three copies and a majority vote of each bit."""

    name = "tmr"

    def stored(self, memory: Memory) -> Memory:
        """The copies side by side."""
        return replace(memory, width=3 * memory.width, lanes=3 * memory.lanes)

    def encode(self, memory: Memory, words: Array) -> Array:
        """The words three times."""
        return np.concatenate([words] * 3, axis=1)

    def decode(self, memory: Memory, stored: Array) -> Array:
        """What two of three say."""
        copies = stored.reshape(memory.depth, 3, memory.width)
        return (copies.sum(axis=1) >= 2).astype(np.uint8)

    def lut(self, memory: Memory) -> int:
        """One a bit."""
        return memory.width

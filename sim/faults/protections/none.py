"""No protection."""

from __future__ import annotations

from dataclasses import dataclass

from ....transforms.ir.tensor import Array
from ..injection.layout import Memory
from .base import CODES, Code


@CODES.add
@dataclass(frozen=True, slots=True)
class Uncoded(Code):
    """The memory as it is."""

    name = "none"
    coded = False

    def stored(self, memory: Memory) -> Memory:
        """The memory itself."""
        return memory

    def encode(self, memory: Memory, words: Array) -> Array:
        """The words."""
        return words

    def decode(self, memory: Memory, stored: Array) -> Array:
        """What is stored."""
        return stored

    def lut(self, memory: Memory) -> int:
        """None."""
        return 0

"""What a code must say: how a memory is stored with it, what is read from that, and what the decoder costs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ....transforms.entries import Registry
from ....transforms.ir.tensor import Array
from ..injection.layout import Memory


@dataclass(frozen=True, slots=True)
class Code(ABC):
    """How a memory is protected; its options are the fields of a dataclass, all with defaults.

    Attributes:
        name: in texts.
        options: how each of its options is written, by an example.
        coded: it stores more than the data.
    """

    name: ClassVar[str]
    options: ClassVar[tuple[str, ...]] = ()
    coded: ClassVar[bool] = True

    @classmethod
    def option(cls, text: str) -> Mapping[str, Any]:
        """The fields that an option sets; none: there is no such option."""
        return {}

    def __str__(self) -> str:
        return self.name

    @abstractmethod
    def stored(self, memory: Memory) -> Memory:
        """The memory that holds data and check bits: what faults are drawn on."""

    @abstractmethod
    def encode(self, memory: Memory, words: Array) -> Array:
        """Data and check bits as they are stored, (depth, width) of `stored`, from (depth, width) of `memory`."""

    @abstractmethod
    def decode(self, memory: Memory, stored: Array) -> Array:
        """What the unit reads: data bits behind correction, (depth, width) of `memory`."""

    @abstractmethod
    def lut(self, memory: Memory) -> int:
        """LUTs of 6 inputs of the decoder, by the rules of `injection.protect.ProtectionCost`."""


def _form(code: type[Code]) -> str:
    return code.name + (f"[:{'|'.join(code.options)}]" if code.options else "")


CODES: Registry[Code] = Registry(_form)

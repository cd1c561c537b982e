"""What flows between the steps of a simulation: a batch of one tensor, as packed bits, as integers, or both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...transforms.ir.tensor import Array, TensorType
from .generic import holding
from .kernels import Arrays, Kernels
from .packing import unpack_bits


def two_valued(kind: TensorType) -> bool:
    """True where one bit tells a tensor's two values apart; the bit is 1 for the greater."""
    return not kind.is_float and kind.range[1] - kind.range[0] == kind.step


@dataclass(slots=True)
class Value:
    """A batch of a tensor. At least one form is there; the other is made when it is first asked for.

    Attributes:
        kind: of the tensor.
        packed: uint64 words, (images, ..., words), contiguous; the places may be of any shape.
        plain: (images, *shape), any dtype that holds the values.
    """

    kind: TensorType
    packed: Array | None = None
    plain: Array | None = None

    def bits(self, kernels: Kernels) -> Array:
        """Packed words of a tensor of two values."""
        if self.packed is None:
            assert self.plain is not None
            high = np.array([self.kind.range[1]], np.int64)
            self.packed = kernels.compare(high, self.kind.channels)(self.plain)
        return self.packed

    def ints(self, kernels: Kernels | None = None) -> Array:
        """Ordinary numbers."""
        if self.plain is None:
            assert self.packed is not None
            self.plain = self._unpacked(self.packed) if kernels is None else kernels.apply(self._unpacked, self.packed)
        return self.plain

    def _unpacked(self, words: Array) -> Array:
        shape = (len(words), *self.kind.shape)
        flags = unpack_bits(words.reshape(*shape[:-1], -1), self.kind.channels)
        low, high = self.kind.range
        if (low, high) == (0, 1):
            return flags
        made: Array = np.array([low, high], np.dtype(holding(self.kind)).type)[flags]
        return made

    def numbers(self) -> Array:
        """Ordinary numbers in a type that says what they are: integers, or float64."""
        plain, kind = self.ints(), holding(self.kind)
        return plain.astype(kind, copy=False) if plain.dtype.kind == "f" or self.kind.is_float else plain

    def part(self, start: int, stop: int) -> Value:
        """Some of the images, sharing memory."""
        packed = None if self.packed is None else self.packed[start:stop]
        plain = None if self.plain is None else self.plain[start:stop]
        return Value(self.kind, packed, plain)

    def compact(self, arrays: Arrays) -> Value:
        """The same tensor in its smallest form alone, in memory of its own."""
        if self.packed is not None:
            return Value(self.kind, arrays.copied(self.packed))
        if isinstance(self.plain, np.ndarray):
            return Value(self.kind, None, np.ascontiguousarray(self.numbers()))
        return Value(self.kind, None, arrays.copied(self.there))

    def on_host(self, arrays: Arrays) -> Value:
        """The same tensor in numpy arrays."""
        if all(x is None or isinstance(x, np.ndarray) for x in (self.packed, self.plain)):
            return self
        packed = None if self.packed is None else arrays.host(self.packed).view(np.uint64)
        return Value(self.kind, packed, None if self.plain is None else arrays.host(self.plain))

    @staticmethod
    def joined(parts: list[Value], arrays: Arrays) -> Value:
        """Batches one behind the other; all hold the same form."""
        first = parts[0]
        if first.packed is not None:
            return Value(first.kind, arrays.joined([part.there for part in parts]))
        return Value(first.kind, None, arrays.joined([part.ints() for part in parts]))

    @property
    def there(self) -> Array:
        """The form that is there: packed words, or else ordinary numbers."""
        array = self.packed if self.packed is not None else self.plain
        assert array is not None
        return array

    def __len__(self) -> int:
        """Images."""
        return len(self.there)

"""What a tensor holds: shape, integer range and data type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def frozen(array: Array) -> Array:
    """The array, read-only from now on, so that operations take it without a copy; for arrays just made."""
    array = np.ascontiguousarray(array)
    array.flags.writeable = False
    return array


@dataclass(frozen=True, slots=True)
class TensorType:
    """What a tensor holds: the shape of one image and, for integers, the range of its values.

    Attributes:
        shape: sizes without the batch; the last axis holds the channels.
        low, high: least and greatest integer that can occur; both None for floats.
        step: distance of neighbouring values; 2 for sums of odd numbers such as {-1, +1}.
    """

    shape: tuple[int, ...]
    low: int | None = None
    high: int | None = None
    step: int = 1

    @property
    def is_float(self) -> bool:
        """True where no integer range is known."""
        return self.low is None or self.high is None

    @property
    def is_bipolar(self) -> bool:
        """True for values in {-1, +1}."""
        return (self.low, self.high, self.step) == (-1, 1, 2)

    @property
    def is_binary(self) -> bool:
        """True for values in {0, 1}."""
        return (self.low, self.high) == (0, 1)

    @property
    def range(self) -> tuple[int, int]:
        """(low, high) of an integer tensor; AssertionError for floats."""
        assert self.low is not None and self.high is not None, "a float tensor has no integer range"
        return self.low, self.high

    @property
    def bits(self) -> int:
        """Bits of one value in hardware, two's complement where negative; 32 for floats."""
        if self.is_float:
            return 32
        if self.is_bipolar:
            return 1
        low, high = self.range
        if low >= 0:
            return max(1, high.bit_length())
        return max((-low - 1).bit_length(), high.bit_length()) + 1

    @property
    def datatype(self) -> str:
        """The data type's name in FINN and qonnx: FLOAT32, BIPOLAR, BINARY, UINT8, INT13, ..."""
        if self.is_float:
            return "FLOAT32"
        if self.is_bipolar:
            return "BIPOLAR"
        if self.is_binary:
            return "BINARY"
        return f"{'INT' if self.range[0] < 0 else 'UINT'}{self.bits}"

    @property
    def channels(self) -> int:
        """Size of the last axis."""
        return self.shape[-1]

    def __str__(self) -> str:
        text = f"[{', '.join(map(str, self.shape))}]"
        if self.is_float:
            return f"float{text}"
        return f"int{text} in {self.low}..{self.high}" + (f" step {self.step}" if self.step != 1 else "")


def bipolar(shape: tuple[int, ...]) -> TensorType:
    """The type of values in {-1, +1}."""
    return TensorType(shape, -1, 1, 2)


def integer_range(datatype: str) -> tuple[int, int, int] | None:
    """(low, high, step) of a FINN integer data type's name; None for any other type."""
    if datatype == "BIPOLAR":
        return -1, 1, 2
    if datatype == "BINARY":
        return 0, 1, 1
    if datatype == "TERNARY":
        return -1, 1, 1
    for prefix, signed in (("UINT", False), ("INT", True)):
        digits = datatype.removeprefix(prefix)
        if datatype.startswith(prefix) and digits.isdecimal() and len(digits) < 4:
            bits = int(digits)
            if bits == 0:
                return None
            return (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1, 1) if signed else (0, 2**bits - 1, 1)
    return None


def signed_bits(low: int, high: int) -> int:
    """Bits of two's complement that hold all from `low` to `high`."""
    return max(max(high, 0).bit_length(), (-low - 1).bit_length() if low < 0 else 0) + 1

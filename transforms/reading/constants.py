"""Constants of an ONNX file: initializers, attributes, data types, and quantized constants."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx import numpy_helper

from bnnflow import Problem

from ..ir.tensor import Array

# No tensor of a network for small devices comes near; a damaged size that does is refused before it is allocated.
MOST_VALUES = 2**28
_NARROW = tuple(np.dtype(kind) for kind in (ml_dtypes.int2, ml_dtypes.uint2, ml_dtypes.int4, ml_dtypes.uint4))
_MADE = 2**24
_KEPT = 2**18

# What a malformed attribute or constant makes numpy and protobuf stumble over.
STUMBLES = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    MemoryError,
    NotImplementedError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class Levels:
    """A quantized constant: integers * scale, the scale float32 and broadcast to the integers."""

    integers: Array
    scale: Array

    def __post_init__(self) -> None:
        shape = tuple(self.integers.shape)
        if self.scale.ndim > len(shape) or np.broadcast_shapes(shape, self.scale.shape) != shape:
            raise Problem(f"a scale of shape {list(self.scale.shape)} does not fit weights of shape {list(shape)}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the integers."""
        return tuple(self.integers.shape)

    def value(self) -> Array:
        """The numbers as float32."""
        return np.asarray(self.integers.astype(np.float32) * self.scale, np.float32)

    def full_scale(self) -> Array:
        """The scale with as many axes as the integers have."""
        return self.scale.reshape((1,) * (self.integers.ndim - self.scale.ndim) + self.scale.shape)


Constant = Array | Levels


class Constants:
    """The constants known so far, by name; arrays of initializers are made when they are asked for.

    Large initializers are not kept as arrays: what a layer needs of them is made once.
    """

    def __init__(self, model: onnx.ModelProto) -> None:
        self._stored = {item.name: item for item in model.graph.initializer}
        if len(self._stored) < len(model.graph.initializer):
            raise Problem("two constants have the same name", repr(model.graph.name), "the file may be damaged")
        self._known: dict[str, Constant] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._known or name in self._stored

    def __getitem__(self, name: str) -> Constant:
        if name in self._known:
            return self._known[name]
        array = to_array(self._stored[name])
        if array.size <= _KEPT:
            self._known[name] = array
        return array

    def __setitem__(self, name: str, value: Constant) -> None:
        self._known[name] = value

    def array(self, name: str) -> Array:
        """The constant as an array, whatever it is made of."""
        value = self[name]
        return value.value() if isinstance(value, Levels) else value

    def release(self, name: str) -> None:
        """Forget the value of a constant that nothing reads any more."""
        self._known.pop(name, None)


def to_array(tensor: onnx.TensorProto) -> Array:
    """A tensor's numbers.

    Raises:
        Problem: its data do not fit its shape, lie in another file, or are no numbers.
    """
    where, sizes = f"constant {tensor.name!r}", list(tensor.dims)
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise Problem("a constant lies in another file", where, "store the network in a single file")
    if any(size < 0 for size in sizes) or prod(sizes) > MOST_VALUES:
        raise Problem(f"a constant of shape {sizes} is impossible", where, "the file may be damaged")
    try:
        array = numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, NotImplementedError, OverflowError) as error:
        raise Problem(f"a constant's data do not fit its shape {sizes}", where, "the file may be damaged") from error
    if array.dtype.kind not in "fiub" and array.dtype not in _NARROW:
        raise Problem(f"a constant of type {array.dtype} is not supported", where, "store numbers")
    return array


def is_integer(kind: np.dtype[Any]) -> bool:
    """Whether a type is of integers, of those of fewer than 8 bits too."""
    return kind.kind in "iu" or kind in _NARROW


def integer_range(kind: np.dtype[Any]) -> tuple[int, int]:
    """Least and greatest integer of a type, those of fewer than 8 bits too.

    Raises:
        Problem: it is of no integers.
    """
    if not is_integer(kind):
        raise Problem(f"numbers of type {kind} are no integers", hint="quantize to integers")
    ends = ml_dtypes.iinfo(kind)
    return int(ends.min), int(ends.max)


def quantized_type(zeros: Array | None, stated: int) -> np.dtype[Any]:
    """What QuantizeLinear makes: the type of its zero point, else `output_dtype` where it is not 0, else uint8.

    Raises:
        Problem: both are there and differ.
    """
    named = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(stated)) if stated else None
    if zeros is None:
        return named or np.dtype(np.uint8)
    if named is not None and named != zeros.dtype:
        raise Problem(f"QuantizeLinear gives {named} by output_dtype and {zeros.dtype} by its zero point")
    return zeros.dtype


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """A node's attributes as Python values: int, float, str, list or array."""
    values: dict[str, Any] = {}
    for attribute in node.attribute:
        value = onnx.helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            value = value.decode()
        elif isinstance(value, onnx.TensorProto):
            value = to_array(value)
        values[attribute.name] = value
    return values


def datatypes(model: onnx.ModelProto) -> dict[str, str]:
    """FINN data type names of tensors (quantization annotation `finn_datatype`)."""
    found = {}
    for item in model.graph.quantization_annotation:
        for entry in item.quant_parameter_tensor_names:
            if entry.key == "finn_datatype":
                found[item.tensor_name] = entry.value
    return found


# -- quantization of constants -----------------------------------------------------------------------

ROUNDINGS: dict[str, Callable[[Array], Array]] = {
    "ROUND": np.round,
    "HALF_EVEN": np.round,
    "CEIL": np.ceil,
    "FLOOR": np.floor,
    "UP": lambda x: np.sign(x) * np.ceil(np.abs(x)),
    "DOWN": np.trunc,
    "ROUND_TO_ZERO": np.trunc,
    "HALF_UP": lambda x: np.sign(x) * np.floor(np.abs(x) + x.dtype.type(0.5)),
    "HALF_DOWN": lambda x: np.sign(x) * np.ceil(np.abs(x) - x.dtype.type(0.5)),
}


@dataclass(frozen=True, slots=True)
class Width:
    """Integers that a QONNX quantizer makes before its zero point is taken off, and how it rounds to them."""

    bits: int
    signed: bool
    narrow: bool
    rounding: str
    zero: int

    @property
    def is_sign(self) -> bool:
        """True for one signed bit, which QONNX takes for -1 and +1."""
        return self.bits == 1 and self.signed

    @property
    def limits(self) -> tuple[int, int]:
        """Least and greatest integer."""
        if self.is_sign:
            return -1, 1
        if self.signed:
            return -(2 ** (self.bits - 1)) + self.narrow, 2 ** (self.bits - 1) - 1
        return 0, 2**self.bits - 1 - self.narrow


def width(settings: dict[str, Any], bits: Array, zero: Array) -> Width:
    """Bits, zero point, narrow range and rounding of a `Quant`, `IntQuant` or `Trunc` node.

    Raises:
        Problem: bits or zero point are not one whole number, or the rounding is unknown.
    """
    stated = "".join(str(settings.get("rounding_mode", "ROUND"))).upper()
    if stated not in ROUNDINGS:
        raise Problem(f"rounding mode {stated} is unknown", hint=f"known are: {', '.join(ROUNDINGS)}")
    whole = [one_number(value, what) for value, what in ((bits, "bit width"), (zero, "zero point"))]
    if not all(value.is_integer() for value in whole) or not 1 <= whole[0] <= 32 or abs(whole[1]) > 2**31:
        raise Problem(f"a quantizer of {whole[0]:g} bits with zero point {whole[1]:g} is not supported")
    signed, narrow = bool(settings.get("signed", 1)), bool(settings.get("narrow", 0))
    return Width(int(whole[0]), signed, narrow, stated, int(whole[1]))


def one_number(value: Array, what: str) -> float:
    """The number that a constant of one value, or of equal values, holds."""
    flat = np.asarray(value).reshape(-1)
    if not flat.size or not np.all(flat == flat[0]):
        raise Problem(f"a quantizer's {what} must be one number")
    return float(flat[0])


def quantize(x: Array, scale: Array, kind: Width) -> Levels:
    """A constant as QONNX `Quant` makes it of `x`, in the precision of `x`."""
    scale = np.asarray(scale, np.float32)
    if not np.all(np.isfinite(scale)) or np.any(scale == 0):
        raise Problem("a quantizer's scale is 0, infinite or no number")
    low, high = kind.limits
    made = np.empty(bounded(np.broadcast_shapes(x.shape, scale.shape), x.size), _holds(kind))
    steps = np.broadcast_to(scale, made.shape) if scale.size > 1 else scale.reshape(())
    source = np.broadcast_to(x, made.shape)
    for part in blocks(made.shape):
        levels = np.asarray(source[part] / (steps[part] if steps.ndim else steps) + np.float32(kind.zero))
        if not np.all(np.isfinite(levels)):
            raise Problem("a quantized constant holds NaN or infinity", hint="train again or repair the file")
        cut = np.where(levels >= 0, 1, -1) if kind.is_sign else ROUNDINGS[kind.rounding](np.clip(levels, low, high))
        made[part] = cut.astype(np.int64) - kind.zero if made.dtype == np.int64 else cut - kind.zero
    return Levels(made, scale)


def bipolar_constant(x: Array, scale: Array) -> Levels:
    """A constant as QONNX `BipolarQuant` makes it of `x`."""
    made = np.empty(bounded(np.broadcast_shapes(x.shape, np.shape(scale)), x.size), np.int8)
    source = np.broadcast_to(x, made.shape)
    for part in blocks(made.shape):
        made[part] = np.where(source[part] >= 0, np.int8(1), np.int8(-1))
    return Levels(made, np.asarray(scale, np.float32))


def bounded(shape: tuple[int, ...], given: int = 0) -> tuple[int, ...]:
    """The shape of what is made of `given` values; Problem where it is out of all proportion."""
    if prod(shape) > max(_MADE, given):
        raise Problem(f"a tensor of shape {list(shape)} is too large", hint="the file may be damaged")
    return shape


def blocks(shape: tuple[int, ...], size: int = 2**18) -> Iterator[Any]:
    """Slices of the first axis, so that what is made of a part stays in the cache."""
    if not shape:
        yield ()
        return
    rows = max(1, size // max(1, prod(shape[1:])))
    for start in range(0, shape[0], rows):
        yield slice(start, start + rows)


def smallest(low: int, high: int) -> type[np.signedinteger[Any]]:
    """The smallest of int8, int16 and int64 that holds the range."""
    for kind in (np.int8, np.int16):
        if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
            return kind
    return np.int64


def _holds(kind: Width) -> type[np.signedinteger[Any]]:
    low, high = kind.limits
    return smallest(low - kind.zero, high - kind.zero)

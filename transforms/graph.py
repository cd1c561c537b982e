"""The graph: a typed, immutable list of operations over named tensors.

One graph type serves every level, from the float network as it was read to the dataflow graph
that is built in hardware. What may exist at which level is stated in `levels.py`. Maps are
channels last, (height, width, channels), everywhere behind `ChannelsLast`; shapes never hold the
batch. Arrays inside operations are read-only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt

from bnnflow import Problem

Array = npt.NDArray[Any]


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


@dataclass(frozen=True, slots=True)
class Op:
    """Base of all operations. Arrays handed in are copied and made read-only."""

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if isinstance(value, np.ndarray):
                value = np.ascontiguousarray(value)
                if value.flags.writeable:
                    value = value.copy()
                    value.flags.writeable = False
                object.__setattr__(self, item.name, value)

    def __eq__(self, other: object) -> bool:
        if type(self) is not type(other):
            return False
        return all(_same(getattr(self, f.name), getattr(other, f.name)) for f in fields(self))

    __hash__ = None  # type: ignore[assignment]


def _same(a: object, b: object) -> bool:
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    return type(a) is type(b) and a == b


@dataclass(frozen=True, slots=True, eq=False)
class ChannelsLast(Op):
    """(channels, height, width) to (height, width, channels)."""


@dataclass(frozen=True, slots=True, eq=False)
class Affine(Op):
    """x * scale / divisor + shift, in floats; each float64, (channels,) or (1,) for all channels.

    The divisor stands on its own because 1 / 3 is no float: what is divided exactly stays exact.
    """

    scale: Array
    shift: Array
    divisor: Array = field(default_factory=lambda: np.ones(1))


@dataclass(frozen=True, slots=True, eq=False)
class Quantize(Op):
    """scale * clip(round_half_even(x / scale)) to `bits` bits (QONNX `Quant`, zero point 0).

    The range is [-2^(bits-1), 2^(bits-1) - 1] when signed (one less below when narrow), else
    [0, 2^bits - 1].
    """

    scale: float
    bits: int
    signed: bool
    narrow: bool = False

    @property
    def limits(self) -> tuple[int, int]:
        """Least and greatest integer level."""
        if self.signed:
            return -(2 ** (self.bits - 1)) + int(self.narrow), 2 ** (self.bits - 1) - 1
        return 0, 2**self.bits - 1 - int(self.narrow)


@dataclass(frozen=True, slots=True, eq=False)
class Sign(Op):
    """+1 where x >= 0, else -1 (QONNX `BipolarQuant` with scale 1)."""


@dataclass(frozen=True, slots=True, eq=False)
class Conv(Op):
    """Convolution without padding. weight: int8 {-1, +1}, (filters, kernel h, kernel w, channels)."""

    weight: Array
    stride: tuple[int, int] = (1, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Dense(Op):
    """Matrix product. weight: int8 {-1, +1}, (neurons, inputs)."""

    weight: Array


@dataclass(frozen=True, slots=True, eq=False)
class MaxPool(Op):
    """Maximum over windows of `kernel`, moved by `stride`, without padding; the rest is cut off."""

    kernel: tuple[int, int]
    stride: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Flatten(Op):
    """(height, width, channels) to one axis, channels fastest."""


@dataclass(frozen=True, slots=True, eq=False)
class Threshold(Op):
    """low + step * (number of bounds that x reaches), a channel (FINN `MultiThreshold`).

    bounds: int64, (channels or 1, levels), ascending along levels; x reaches a bound when x >= bound.
    """

    bounds: Array
    low: int
    step: int


@dataclass(frozen=True, slots=True, eq=False)
class XnorConv(Op):
    """Number of equal bits of window and weight. weight: uint8 {0, 1}, shape as in `Conv`."""

    weight: Array
    stride: tuple[int, int] = (1, 1)


@dataclass(frozen=True, slots=True, eq=False)
class XnorDense(Op):
    """Number of equal bits of input and weight. weight: uint8 {0, 1}, (neurons, inputs)."""

    weight: Array


@dataclass(frozen=True, slots=True, eq=False)
class SlidingWindow(Op):
    """FINN `ConvolutionInputGenerator`: (h, w, c) to (oh, ow, kernel h * kernel w * c), simd values a cycle."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    simd: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Mvau(Op):
    """FINN `MVAU`: matrix-vector product and, with bounds, thresholds to {0, 1}.

    weight: uint8 {0, 1}, (MH, MW): bit 1 stands for +1. With `xnor`, inputs are bits and the sum is
    the number of equal bits; otherwise inputs are integers and the sum is that of +-input.
    bounds: int64, (MH, 1), or (0, 0) for none (the sums leave the unit).
    pe divides MH, simd divides MW; one image takes vectors * (MH / pe) * (MW / simd) cycles.
    """

    weight: Array
    bounds: Array
    xnor: bool
    pe: int = 1
    simd: int = 1

    @property
    def has_bounds(self) -> bool:
        """True where thresholds are fused into the unit."""
        return self.bounds.size > 0


@dataclass(frozen=True, slots=True, eq=False)
class Thresholding(Op):
    """FINN `Thresholding`: `Threshold` to {0, 1} as a unit of its own; pe channels a cycle."""

    bounds: Array
    pe: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class StreamingMaxPool(Op):
    """FINN `StreamingMaxPool`: pooling with stride = kernel on sizes that it divides."""

    kernel: tuple[int, int]


AnyOp = (
    ChannelsLast
    | Affine
    | Quantize
    | Sign
    | Conv
    | Dense
    | MaxPool
    | Flatten
    | Threshold
    | XnorConv
    | XnorDense
    | SlidingWindow
    | Mvau
    | Thresholding
    | StreamingMaxPool
)


@dataclass(frozen=True, slots=True)
class Node:
    """One operation in a graph: reads tensor `input`, makes tensor `name`."""

    name: str
    op: AnyOp
    input: str


@dataclass(frozen=True, slots=True)
class Graph:
    """Operations in the order of execution, with the type of every tensor.

    Attributes:
        name: for people.
        input: name of the input tensor.
        input_type: its type; (channels, height, width) for images.
        nodes: each reads the input or an earlier node's tensor.
        output: name of the tensor that holds the class scores.
        types: type of every tensor, inferred.

    Raises:
        Problem: names that are used twice or unknown; shapes that do not fit.
    """

    name: str
    input: str
    input_type: TensorType
    nodes: tuple[Node, ...]
    output: str
    types: Mapping[str, TensorType] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        types = {self.input: self.input_type}
        for node in self.nodes:
            if node.name in types:
                raise Problem("two tensors have the same name", f"tensor {node.name!r} of {self.name!r}")
            if node.input not in types:
                raise Problem("an operation reads a tensor that nothing makes", f"{node.name!r} reads {node.input!r}")
            types[node.name] = result_type(node.op, types[node.input], node.name)
        if self.output not in types:
            raise Problem("the output is a tensor that nothing makes", f"tensor {self.output!r} of {self.name!r}")
        object.__setattr__(self, "types", MappingProxyType(types))

    @property
    def output_type(self) -> TensorType:
        """Type of the output tensor."""
        return self.types[self.output]

    def node(self, name: str) -> Node:
        """The node that makes tensor `name`; KeyError if there is none."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    def readers(self, tensor: str) -> tuple[Node, ...]:
        """The nodes that read `tensor`."""
        return tuple(node for node in self.nodes if node.input == tensor)

    def with_nodes(self, nodes: tuple[Node, ...], output: str | None = None) -> Graph:
        """The same graph with other nodes; types are inferred again."""
        return replace(self, nodes=nodes, output=self.output if output is None else output)

    def __str__(self) -> str:
        from .text import print_graph

        return print_graph(self)

    @staticmethod
    def parse(text: str) -> Graph:
        """The graph that `str` printed; Problem with the line where it cannot be read."""
        from .text import parse_graph

        return parse_graph(text)


def window_count(size: int, kernel: int, stride: int) -> int:
    """Positions of a window of `kernel` values, moved by `stride`, in `size` values; at least 1 or 0."""
    if kernel < 1 or stride < 1:
        raise Problem(f"a window of {kernel} moved by {stride} is impossible")
    return 0 if size < kernel else (size - kernel) // stride + 1


def result_type(op: AnyOp, x: TensorType, name: str = "") -> TensorType:
    """Type of what `op` makes of a tensor of type `x`.

    Raises:
        Problem: the shapes do not fit; `name` says where.
    """
    match op:
        case ChannelsLast():
            _need(len(x.shape) == 3, "a map of three axes is needed", name, x)
            return replace(x, shape=(x.shape[1], x.shape[2], x.shape[0]))
        case Affine(scale, shift, divisor):
            for size in {scale.size, shift.size, divisor.size} - {1}:
                _need(size == x.channels, f"{size} factors for {x.channels} channels", name, x)
            return TensorType(x.shape)
        case Quantize():
            return TensorType(x.shape)
        case Sign():
            return bipolar(x.shape)
        case Conv(weight, stride) | XnorConv(weight, stride):
            _need(len(x.shape) == 3 and x.channels == weight.shape[3], f"kernel {weight.shape} on", name, x)
            shape = (*_windows(x, weight.shape[1:3], stride, name), weight.shape[0])
            return _sums(op, x, shape)
        case Dense(weight) | XnorDense(weight):
            _need(x.shape == weight.shape[1:], f"weights {weight.shape} on", name, x)
            return _sums(op, x, weight.shape[:1])
        case MaxPool(kernel, stride):
            return replace(x, shape=(*_windows(x, kernel, stride, name), x.channels))
        case StreamingMaxPool(kernel):
            _need(
                len(x.shape) == 3 and not (x.shape[0] % kernel[0] or x.shape[1] % kernel[1]),
                "pool on",
                name,
                x,
            )
            return replace(x, shape=(x.shape[0] // kernel[0], x.shape[1] // kernel[1], x.channels))
        case Flatten():
            return replace(x, shape=(int(np.prod(x.shape)),))
        case Threshold(bounds, low, step):
            _need(bounds.shape[0] in (1, x.channels), f"{bounds.shape[0]} rows of thresholds on", name, x)
            return TensorType(x.shape, low, low + step * bounds.shape[1], step)
        case Thresholding(bounds, pe):
            _need(bounds.shape[0] == x.channels, f"{bounds.shape[0]} rows of thresholds on", name, x)
            _need(x.channels % pe == 0, f"PE {pe} does not divide the channels of", name, x)
            return TensorType(x.shape, 0, bounds.shape[1])
        case SlidingWindow(kernel, stride, simd):
            _need(
                len(x.shape) == 3 and x.channels % simd == 0,
                f"SIMD {simd} does not divide the channels of",
                name,
                x,
            )
            return replace(x, shape=(*_windows(x, kernel, stride, name), kernel[0] * kernel[1] * x.channels))
        case Mvau(weight, _, _, pe, simd):
            _need(x.channels == weight.shape[1], f"weights {weight.shape} on", name, x)
            _need(weight.shape[0] % pe == 0, f"PE {pe} does not divide {weight.shape[0]} rows on", name, x)
            _need(
                weight.shape[1] % simd == 0,
                f"SIMD {simd} does not divide {weight.shape[1]} columns on",
                name,
                x,
            )
            shape = (*x.shape[:-1], weight.shape[0])
            return TensorType(shape, 0, 1) if op.has_bounds else _sums(op, x, shape)
        case _:
            assert_never(op)


def accumulator(op: Mvau, x: TensorType) -> TensorType:
    """Type of the sums inside an MVAU, before its thresholds: popcount in [0, MW], or the exact range."""
    return _sums(op, x, (*x.shape[:-1], op.weight.shape[0]))


def _sums(op: Conv | Dense | XnorConv | XnorDense | Mvau, x: TensorType, shape: tuple[int, ...]) -> TensorType:
    fan_in = int(np.prod(op.weight.shape[1:]))
    if isinstance(op, XnorConv | XnorDense) or (isinstance(op, Mvau) and op.xnor):
        return TensorType(shape, 0, fan_in)
    if x.is_float:
        return TensorType(shape)
    low, high = x.range
    positive = np.count_nonzero(op.weight.reshape(len(op.weight), -1) > 0, axis=1)
    negative = fan_in - positive
    least = int((positive * low - negative * high).min())
    greatest = int((positive * high - negative * low).max())
    return TensorType(shape, least, greatest, 2 if x.is_bipolar else 1)


def _windows(x: TensorType, kernel: tuple[int, ...], stride: tuple[int, int], name: str) -> tuple[int, int]:
    _need(len(x.shape) == 3, "a map of three axes is needed", name, x)
    height = window_count(x.shape[0], kernel[0], stride[0])
    width = window_count(x.shape[1], kernel[1], stride[1])
    _need(height > 0 and width > 0, f"a window of {kernel[0]}x{kernel[1]} does not fit", name, x)
    return height, width


def _need(condition: bool, what: str, name: str, x: TensorType) -> None:
    if not condition:
        raise Problem(f"shapes do not fit: {what} {x}", f"operation {name!r}" if name else "")

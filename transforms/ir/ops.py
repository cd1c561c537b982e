"""The vocabulary: every operation that a graph of any level may hold.

Maps are (height, width, channels). Arrays inside operations are read-only. What may exist at which
level is stated in `levels.py`; which tensors an operation makes, in `infer.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import numpy as np

from .tensor import Array, signed_bits

Pair = tuple[int, int]
Sides = tuple[int, int, int, int]  # top, left, bottom, right

NO_PADS: Sides = (0, 0, 0, 0)
NO_BOUNDS: Array = np.zeros((0, 0), np.int64)


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


# -- shapes: every level ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class ChannelsLast(Op):
    """(channels, height, width) to (height, width, channels); (channels, length) to (1, length, channels)."""


@dataclass(frozen=True, slots=True, eq=False)
class Flatten(Op):
    """(height, width, channels) to one axis, channels fastest."""


# -- floats: the network level ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Affine(Op):
    """x * scale / divisor + shift, in floats; each float64, (channels,) or (1,) for all channels.

    The divisor stands on its own because 1 / 3 is no float: what is divided exactly stays exact.
    """

    scale: Array
    shift: Array
    divisor: Array = field(default_factory=lambda: np.ones(1))

    @property
    def is_in_common(self) -> bool:
        """One factor and one shift for all channels, however many numbers say so."""
        return all(bool(np.all(part == part[0])) for part in (self.scale, self.shift, self.divisor))


@dataclass(frozen=True, slots=True, eq=False)
class Bias(Op):
    """x + integers * scale: a quantized bias as its file holds it, where floats would round the product.

    integers: int64, scale: float64, as stored in float32; each (channels,) or (1,).
    """

    integers: Array
    scale: Array


@dataclass(frozen=True, slots=True, eq=False)
class PiecewiseLinear(Op):
    """slope * x + intercept of the piece in which x lies, in floats: ReLU, leaky ReLU, hard tanh and their like.

    knots: float64, (channels or 1, k), ascending, where two pieces meet. slopes, intercepts: float64,
    (channels or 1, k + 1). closed: for each knot, whether it belongs to the piece above it, which matters where the
    function jumps. `activations` makes the usual ones.
    """

    knots: Array
    slopes: Array
    intercepts: Array
    closed: tuple[bool, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Quantize(Op):
    """scale * clip(round(x / scale), low, high), to whole multiples of a scale.

    scale: float64, positive, (channels,) or (1,). rounding: ROUND (half to even), HALF_ODD, FLOOR, CEIL
    or ROUND_TO_ZERO. (QONNX `Quant`; its zero point and bit width are in the limits.) zero_point: that a program
    adds before it rounds and takes off behind it; no value depends on it but by float32's rounding of that sum.
    """

    scale: Array
    low: int
    high: int
    rounding: str = "ROUND"
    zero_point: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Sign(Op):
    """+1 where x > 0, -1 where x < 0; at 0 it is `zero`: 1 as in QONNX `BipolarQuant`, 0 as in ONNX `Sign`, or -1."""

    zero: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Stairs(Op):
    """out_bias + out_scale * (number of bounds that x reaches), in floats: `MultiThreshold` before streamlining.

    bounds: float64, (channels or 1, levels), ascending along levels; infinite ones are always or never reached.
    """

    bounds: Array
    out_bias: float
    out_scale: float


# -- network and integer levels --------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Pad(Op):
    """Rows and columns of `value` around a map; a whole number behind the network level."""

    pads: Sides
    value: float


@dataclass(frozen=True, slots=True, eq=False)
class Conv(Op):
    """Convolution without padding. weight: int8 or int16, (filters, kernel h, kernel w, channels)."""

    weight: Array
    stride: Pair = (1, 1)


@dataclass(frozen=True, slots=True, eq=False)
class Dense(Op):
    """Matrix product. weight: int8 or int16, (neurons, inputs)."""

    weight: Array


@dataclass(frozen=True, slots=True, eq=False)
class MaxPool(Op):
    """Maximum over windows of `kernel`, moved by `stride`; what the last window does not reach is cut off.

    Padded places never win.
    """

    kernel: Pair
    stride: Pair
    pads: Sides = NO_PADS


@dataclass(frozen=True, slots=True, eq=False)
class SumPool(Op):
    """Sum over windows, without padding; an average pool is this over the window's area."""

    kernel: Pair
    stride: Pair


@dataclass(frozen=True, slots=True, eq=False)
class Add(Op):
    """Sum of two tensors of one shape."""


@dataclass(frozen=True, slots=True, eq=False)
class Concat(Op):
    """Channels of two or more tensors, one behind the other."""


@dataclass(frozen=True, slots=True, eq=False)
class Scale(Op):
    """x * factor. factor: int64, (channels,) or (1,)."""

    factor: Array


@dataclass(frozen=True, slots=True, eq=False)
class Threshold(Op):
    """out_bias + out_scale * (number of bounds that x reaches), a channel (FINN `MultiThreshold`).

    bounds: int64, (channels or 1, levels), ascending along levels; x reaches a bound when x >= bound.
    """

    bounds: Array
    out_bias: int
    out_scale: int


@dataclass(frozen=True, slots=True, eq=False)
class Best(Op):
    """Indices of the k greatest scores, best first, the lower index first among equals (ArgMax, TopK)."""

    k: int = 1


# -- the XNOR level --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class XnorConv(Op):
    """Number of equal bits of window and weight. weight: uint8 {0, 1}, shape as in `Conv`."""

    weight: Array
    stride: Pair = (1, 1)


@dataclass(frozen=True, slots=True, eq=False)
class XnorDense(Op):
    """Number of equal bits of input and weight. weight: uint8 {0, 1}, (neurons, inputs)."""

    weight: Array


@dataclass(frozen=True, slots=True, eq=False)
class AddBorder(Op):
    """x + values[rows[y], columns[x]]: what zero padding changes near the edges of a map of sums, or what each class
    adds to its sum, a vector being one place.

    values: int64, (row classes, column classes, channels). rows, columns: int64, class of each row and
    column of the map. pe channels a cycle in hardware.
    """

    values: Array
    rows: Array
    columns: Array
    pe: int = 1


# -- dataflow units --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class FMPadding(Op):
    """FINN `FMPadding`: `Pad` as a unit, simd channels a cycle. FINN itself pads with 0 only."""

    pads: Sides
    value: int
    simd: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class SlidingWindow(Op):
    """FINN `ConvolutionInputGenerator`: (h, w, c) to (oh, ow, kernel h * kernel w * c), simd values a cycle.

    A window's values are ordered (kernel row, kernel column, channel), or, when depthwise, in groups of
    simd channels: (channel / simd, kernel row, kernel column, channel % simd). parallel_window: a word holds a
    whole window of simd channels. These fields and ram_style, of the line buffer, are choices (`choices.py`).
    """

    kernel: Pair
    stride: Pair
    simd: int = 1
    depthwise: bool = False
    parallel_window: int = 0
    ram_style: str = "distributed"


@dataclass(frozen=True, slots=True, eq=False)
class Mvau(Op):
    """FINN `MVAU`: matrix-vector product and, with bounds, thresholds behind it.

    With `xnor`, inputs are bits, weight is uint8 {0, 1}, (MH, MW), and the sum is the number of equal bits;
    otherwise weight is int8 or int16 and the sum that of products. bounds: int64, (MH, levels), ascending;
    the result is act_val (FINN `ActVal`) + number of bounds reached; (0, 0) for none (the sums leave the unit).
    pe divides MH, simd divides MW; one image takes vectors * (MH / pe) * (MW / simd) cycles. The other fields are
    choices (`choices.py`): where the weights lie (mem_mode, ram_style) and the thresholds (ram_style_thresholds), what
    multiplies (res_type), and whether weights can be written while it runs.
    """

    weight: Array
    bounds: Array
    xnor: bool
    act_val: int = 0
    pe: int = 1
    simd: int = 1
    mem_mode: str = "internal_decoupled"
    ram_style: str = "auto"
    ram_style_thresholds: str = "auto"
    res_type: str = "lut"
    runtime_writeable_weights: int = 0

    @property
    def has_bounds(self) -> bool:
        """True where thresholds are fused into the unit."""
        return self.bounds.size > 0

    @property
    def weight_bits(self) -> int:
        """Bits that one weight needs: 1 for bits and for {-1, +1}, else two's complement, where negative at least 2."""
        bits = self.stored_bits
        return bits - 1 if bits > 1 and self.weight.min() >= 0 else bits

    @property
    def stored_bits(self) -> int:
        """Bits of a weight in the memories of our hardware: 1 as above, else two's complement of 2 or more."""
        if self.xnor or not np.any(np.abs(self.weight.astype(np.int64)) != 1):
            return 1
        # One bit would be taken for -1 and +1.
        return max(2, signed_bits(int(self.weight.min()), int(self.weight.max())))


@dataclass(frozen=True, slots=True, eq=False)
class Thresholding(Op):
    """FINN `Thresholding`: act_val + number of bounds reached, as a unit of its own; pe channels a cycle.

    bounds: int64, (channels, levels). form: FINN's "rtl" or "hls". The fields behind it are choices (`choices.py`):
    ram_style and mem_mode of the form hls; the depths from which on the form rtl takes block RAM and UltraRAM, 0 for
    none, and uniform_thres.
    """

    bounds: Array
    act_val: int = 0
    pe: int = 1
    form: str = "rtl"
    mem_mode: str = "internal_decoupled"
    ram_style: str = "distributed"
    depth_trigger_bram: int = 0
    depth_trigger_uram: int = 0
    uniform_thres: int = 0
    runtime_writeable_weights: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class StreamingMaxPool(Op):
    """FINN `StreamingMaxPool`: pooling with stride = kernel on sizes that it divides."""

    kernel: Pair


@dataclass(frozen=True, slots=True, eq=False)
class Pool(Op):
    """FINN `Pool` behind a depthwise sliding window: maximum or sum of each channel's window, pe channels a cycle.

    total: the sum in place of the maximum.
    """

    kernel: Pair
    total: bool = False
    pe: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class GlobalAccPool(Op):
    """FINN `GlobalAccPool`: sum over a whole map, (h, w, c) to (1, 1, c), pe channels a cycle."""

    pe: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class AddStreams(Op):
    """FINN `AddStreams`: `Add` as a unit, pe channels a cycle."""

    pe: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class DuplicateStreams(Op):
    """FINN `DuplicateStreams`: the same stream to every reader, pe channels a cycle."""

    pe: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class StreamingConcat(Op):
    """FINN `StreamingConcat`: `Concat` as a unit, simd channels a cycle; simd divides every part."""

    simd: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class ChannelwiseMul(Op):
    """FINN `ChannelwiseOp` with function mul: `Scale` as a unit. factor: int64, (channels,)."""

    factor: Array
    pe: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class LabelSelect(Op):
    """FINN `LabelSelect`: `Best` as a unit, pe scores a cycle."""

    k: int = 1
    pe: int = 1


Layer = Conv | Dense | XnorConv | XnorDense
Unit = (
    FMPadding
    | SlidingWindow
    | Mvau
    | Thresholding
    | StreamingMaxPool
    | Pool
    | GlobalAccPool
    | AddStreams
    | DuplicateStreams
    | StreamingConcat
    | ChannelwiseMul
    | LabelSelect
    | AddBorder
)
AnyOp = (
    ChannelsLast
    | Flatten
    | Affine
    | Bias
    | PiecewiseLinear
    | Quantize
    | Sign
    | Stairs
    | Pad
    | Conv
    | Dense
    | MaxPool
    | SumPool
    | Add
    | Concat
    | Scale
    | Threshold
    | Best
    | XnorConv
    | XnorDense
    | Unit
)

"""FINN's dataflow units, also under the names of their HLS and RTL forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bnnflow import Problem

from ..ir.choices import with_choices
from ..ir.infer import accumulator
from ..ir.ops import (
    NO_BOUNDS,
    AddBorder,
    AddStreams,
    Affine,
    ChannelwiseMul,
    DuplicateStreams,
    Flatten,
    FMPadding,
    GlobalAccPool,
    LabelSelect,
    Mvau,
    Pool,
    SlidingWindow,
    Stairs,
    StreamingConcat,
    StreamingMaxPool,
    Threshold,
    Thresholding,
)
from ..ir.tensor import Array
from .call import Call, Made, operator
from .core import Reader
from .elementwise import add, aligned, border_of, mul
from .layers import as_sides
from .live import End, Live, graph_order
from .quantizers import given_thresholds as table_of
from .quantizers import integer_bounds, whole_bounds
from .weights import integer_weights


def _last(x: Live, call: Call) -> None:
    if x.first and x.is_map:
        raise Problem(f"{call.kind} needs channels last", hint="put a transposition to NHWC before it")


def _stream(reader: Reader, call: Call, x: Live) -> Live:
    """The stream that a unit on single vectors reads: a map is flattened on the way, its order stays."""
    _last(x, call)
    vectors = call.settings.get("numInputVectors", [])
    if x.is_map and isinstance(vectors, list) and len(vectors) == 1:
        return replace(reader.on(x, "flatten", Flatten()), shape=(int(np.prod(x.shape)),))
    return x


@operator("MVAU", "MatrixVectorActivation")
def mvau(reader: Reader, call: Call, x: Live) -> Live:
    """FINN matrix-vector-activation unit: XNOR or integer weights of up to 16 bits, any number of thresholds a row."""
    x = _stream(reader, call, x)
    xnor = bool(call.integer("binaryXnorMode", 0))
    weight, _ = integer_weights(reader.constant(call, 1, "weights"), (1, 0), whole=True)
    weight = graph_order(weight, x.order)
    kind = reader.kind(x)
    if xnor:
        if weight.min() < 0 or weight.max() > 1 or not kind.is_binary:
            raise Problem("an MVAU with binaryXnorMode needs bits (0, 1) on both sides")
        weight = weight.astype(np.uint8)
    pe, simd = call.integer("PE", 1), call.integer("SIMD", 1)
    counts = not xnor and {call.text("inputDataType"), call.text("weightDataType")} == {"BIPOLAR"}
    if counts and not (kind.is_bipolar and np.all(np.abs(weight) == 1)):
        raise Problem("an MVAU of BIPOLAR inputs and weights needs -1 and +1 on both sides")
    acts, bipolar = not call.integer("noActivation", 0), call.text("outputDataType") == "BIPOLAR"
    low = call.integer("ActVal", 0)
    unit = Mvau(weight, NO_BOUNDS, xnor, 0, pe, simd)
    made = replace(x, shape=(*x.shape[:-1], len(weight)), order=None)
    if acts and not (counts or bipolar or kind.is_float):
        bounds = _rows(integer_bounds(reader, call, 2, accumulator(unit, kind)), len(weight))
        whole = with_choices(Mvau(weight, bounds, xnor, low, pe, simd), call.settings)
        return replace(made, tensor=reader.add("mvau", whole, x.tensor, call=call))
    sums = with_choices(unit, call.settings)
    # FINN counts equal bits of BIPOLAR inputs and weights; and maps two levels to -1 and +1, whatever ActVal is.
    made = replace(made, tensor=reader.add("mvau", sums, x.tensor, call=None if acts or counts else call))
    if counts:
        half = Affine(np.full(1, 0.5), np.full(1, weight.shape[1] / 2))
        made = reader.on(made, "affine", half, None if acts else call)
    if acts:
        made = _stairs(
            reader, call, made, _rows(table_of(reader, call, 2), len(weight)), (-1, 2) if bipolar else (low, 1)
        )
    return made


def _stairs(reader: Reader, call: Call, x: Live, table: Array, result: tuple[int, int]) -> Live:
    """Thresholds that no unit of the graph holds; `result` is what they give below all, and the height of a step."""
    kind = reader.kind(x)
    if kind.is_float:
        return reader.on(x, "threshold", Stairs(table, *map(float, result)), call)
    return reader.on(x, "threshold", Threshold(whole_bounds(table, kind), *result), call)


def _rows(bounds: Array, count: int) -> Array:
    if len(bounds) not in (1, count):
        raise Problem(f"thresholds for {len(bounds)} channels on {count}")
    return np.repeat(bounds, count, 0) if len(bounds) == 1 else bounds


@operator("Thresholding")
def thresholding(reader: Reader, call: Call, x: Live) -> Live:
    """FINN thresholding unit, any number of levels, from ActVal upwards."""
    x = _stream(reader, call, x)
    table = _rows(table_of(reader, call, 1), x.channels)
    if x.order is not None:
        table = graph_order(table.T, x.order).T
    low, kind = call.integer("ActVal", 0), reader.kind(x)
    if call.text("outputDataType") == "BIPOLAR":
        # FINN maps what it counts from ActVal on to -1 and +1.
        return _stairs(reader, call, x, table, (2 * low - 1, 2))
    if kind.is_float:
        return _stairs(reader, call, x, table, (low, 1))
    form = call.text("preferred_impl_style") or "rtl"
    op = Thresholding(whole_bounds(table, kind), low, call.integer("PE", 1), form)
    return reader.on(x, "thresholding", with_choices(op, call.settings), call)


@operator("ConvolutionInputGenerator")
def sliding_window(reader: Reader, call: Call, x: Live) -> Live:
    """FINN sliding window unit, also depthwise; no dilation."""
    _last(x, call)
    if call.integers("Dilation", 2, (1, 1)) != (1, 1):
        raise Problem("dilated sliding windows are not supported")
    kernel, stride = call.integers("ConvKernelDim", 2), call.integers("Stride", 2)
    simd, depthwise = call.integer("SIMD", 1), bool(call.integer("depthwise", 0))
    op = with_choices(SlidingWindow((kernel[0], kernel[1]), (stride[0], stride[1]), simd, depthwise), call.settings)
    return reader.on_map(x, "window", op, call)


@operator("FMPadding")
def padding(reader: Reader, call: Call, x: Live) -> Live:
    """FINN padding unit; attribute pad_value pads with another value than 0."""
    _last(x, call)
    pads = as_sides(call.integers("Padding", 4), x)
    return reader.on_map(x, "padding", FMPadding(pads, call.integer("pad_value", 0), call.integer("SIMD", 1)), call)


@operator("StreamingMaxPool")
def streaming_max_pool(reader: Reader, call: Call, x: Live) -> Live:
    """FINN streaming max pool, no ceil mode."""
    _last(x, call)
    if call.integer("CeilMode", 0):
        raise Problem("ceil mode of a pool is not supported")
    kernel = call.integers("PoolDim", 2)
    return reader.on_map(x, "pool", StreamingMaxPool((kernel[0], kernel[1])), call)


@operator("Pool")
def pool(reader: Reader, call: Call, x: Live) -> Live:
    """FINN pool behind a depthwise sliding window: Function MaxPool, or AccPool for sums."""
    _last(x, call)
    function = call.text("Function", "MaxPool")
    if function not in ("MaxPool", "AccPool"):
        raise Problem(f"a pool with function {function} is not supported", hint="use MaxPool or AccPool")
    kernel = call.integers("KernelSize", 2)
    op = Pool((kernel[0], kernel[1]), function == "AccPool", call.integer("PE", 1))
    return reader.on_map(x, "pool", op, call)


@operator("GlobalAccPool")
def global_pool(reader: Reader, call: Call, x: Live) -> Live:
    """FINN sum over a whole map."""
    _last(x, call)
    return reader.on_map(x, "pool", GlobalAccPool(call.integer("PE", 1)), call)


@operator("AddStreams", joins=True)
def add_streams(reader: Reader, call: Call, x: Live) -> Live:
    """FINN sum of two streams of one shape."""
    return _sum(reader, call, x)


def _sum(reader: Reader, call: Call, x: Live) -> Live:
    _last(x, call)
    parts = _streams(reader, call)
    if len(parts) != 2 or parts[0].shape != parts[1].shape or parts[0].order != parts[1].order:
        raise Problem("AddStreams needs two streams of one shape")
    op = AddStreams(call.integer("PE", 1))
    return replace(parts[0], tensor=reader.add("add", op, *(part.tensor for part in parts), call=call))


@operator("StreamingConcat", joins=True)
def streaming_concat(reader: Reader, call: Call, x: Live) -> Live:
    """FINN concatenation of streams along the channels."""
    _last(x, call)
    parts = _streams(reader, call)
    if any(part.places != x.places for part in parts if part.is_map) or len(parts) < 2:
        raise Problem("StreamingConcat needs two or more streams of one size")
    if any(part.order is not None for part in parts):
        raise Problem("StreamingConcat of vectors that were flattened channels first is not supported")
    op = StreamingConcat(call.integer("SIMD", 1))
    made = reader.add("concat", op, *(part.tensor for part in parts), call=call)
    return replace(parts[0], tensor=made, shape=(*x.shape[:-1], sum(part.channels for part in parts)))


def _streams(reader: Reader, call: Call) -> list[Live]:
    if not all(name in reader.live for name in call.inputs):
        raise Problem(f"{call.kind} of constants is not supported")
    return aligned(reader, [reader.live[name] for name in call.inputs])


@operator("DuplicateStreams")
def duplicate_streams(reader: Reader, call: Call, x: Live) -> dict[str, Live]:
    """FINN fork: every output is the same stream."""
    made = reader.on(x, "fork", DuplicateStreams(call.integer("PE", 1)), call)
    return {name: made for name in call.outputs if name}


@operator("ChannelwiseOp")
def channelwise(reader: Reader, call: Call, x: Live) -> Live:
    """FINN product with one whole number per channel (Func mul)."""
    if call.text("Func", "mul") != "mul":
        raise Problem(f"a ChannelwiseOp with Func {call.text('Func')} is not supported", hint="use mul")
    return _factors(reader, call, x)


def _factors(reader: Reader, call: Call, x: Live) -> Live:
    _last(x, call)
    value = reader.constant(call, 1, "factors").reshape(-1)
    if not np.all(value == np.rint(value)) or not np.all(np.abs(value) < 2**31) or value.size not in (1, x.channels):
        raise Problem("a ChannelwiseOp needs one whole number per channel")
    factor = graph_order(np.broadcast_to(value.astype(np.int64), (x.channels,)).copy(), x.order)
    return reader.on(x, "scale", ChannelwiseMul(factor, call.integer("PE", 1)), call)


@operator("ElementwiseAdd", joins=True)
def elementwise_add(reader: Reader, call: Call, x: Live) -> Made:
    """FINN sum of two streams of one shape, or of a stream and constants: whole numbers, or floats at the end."""
    if all(name in reader.live for name in call.inputs):
        return _sum(reader, call, x)
    return add(reader, call, x) if _is_float(reader, call, x) else _border(reader, call, x)


@operator("ElementwiseMul")
def elementwise_mul(reader: Reader, call: Call, x: Live) -> Made:
    """FINN product of a stream with one number per channel: whole ones, or floats at the end."""
    return mul(reader, call, x) if _is_float(reader, call, x) else _factors(reader, call, x)


def _is_float(reader: Reader, call: Call, x: Live) -> bool:
    """True for what finn-plus makes of the scale and shift of class scores."""
    value = reader.constant(call, 1, "the second operand")
    return reader.kind(x).is_float or not np.all(value == np.rint(value))


@operator("AddBorder")
def add_border(reader: Reader, call: Call, x: Live) -> Live:
    """What zero padding changes near the edges: whole numbers per class of rows, a class of columns and a channel."""
    return _border(reader, call, x)


def _border(reader: Reader, call: Call, x: Live) -> Live:
    _last(x, call)
    values = reader.constant(call, 1, "border values")
    if not np.all(values == np.rint(values)) or not np.all(np.abs(values) < 2**31) or reader.kind(x).is_float:
        raise Problem("a border needs whole numbers on both sides")
    pe = call.integer("PE", 1)
    if "rows" not in call.settings:
        return reader.on(x, "border", border_of(np.broadcast_to(values, (1, *x.shape))[0], pe), call)
    if values.ndim != 3:
        raise Problem("border values must be a table (row classes, column classes, channels)")
    rows, columns = (
        np.array(call.integers(key, size), np.int64) for key, size in zip(("rows", "columns"), x.places, strict=True)
    )
    for classes, known in ((rows, len(values)), (columns, values.shape[1])):
        if classes.min() < 0 or classes.max() >= known:
            raise Problem(f"{known} classes of rows or columns are given, another is named")
    return reader.on(x, "border", AddBorder(values.astype(np.int64), rows, columns, pe), call)


@operator("LabelSelect", takes=(End,))
def label_select(reader: Reader, call: Call, x: Live) -> Live:
    """FINN choice of the K best classes, at the end of a network."""
    x = _stream(reader, call, x)
    if x.is_map or x.order is not None:
        raise Problem("LabelSelect needs one score a class")
    count = call.integer("K", 1)
    made = reader.add("best", LabelSelect(count, call.integer("PE", 1)), x.tensor, call=call)
    return Live(made, (count,), pending=End(call.kind))

"""Quantizers of activations: QONNX, standard ONNX pairs, signs and thresholds."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from bnnflow import Problem

from ..ir.ops import Affine, Quantize, Sign, Stairs, Threshold
from ..ir.tensor import Array, TensorType
from . import constants
from .call import Call, operator
from .constants import Width
from .core import Reader
from .live import Live, Signs, Steps, Turned, graph_order, per_channel

_WIDEST = 8
_UNBOUNDED = 2**31


@operator("BipolarQuant", takes=(Turned,))
def bipolar_quant(reader: Reader, call: Call, x: Live) -> Live:
    """+scale where x >= 0, else -scale; a positive scale, one for all or one per channel."""
    scale = _scale(reader, call, x, 1)
    made = reader.on(x, "sign", Sign(), call)
    return made if np.all(scale == 1) else reader.affine(call, made, Affine(scale, np.zeros(1)))


@operator("Sign", takes=(Turned,))
def sign(reader: Reader, call: Call, x: Live) -> Live:
    """-1, 0 or +1."""
    made = reader.on(x, "sign", Sign(0), call)
    below, at, above = (np.array(value, np.float32) for value in (-1, 0, 1))
    reader.signs[made.tensor] = Signs(x.tensor, (below, at, above))
    return made


@operator("Quant", "IntQuant", takes=(Turned,))
def quant(reader: Reader, call: Call, x: Live) -> Live:
    """Uniform quantizer of up to 8 bits, any zero point, one scale or one a channel; signed: no UP, HALF_*."""
    kind = _width(reader, call, 3, 2)
    scale = _scale(reader, call, x, 1)
    if kind.is_sign:
        if kind.zero:
            raise Problem("a quantizer to one signed bit with a zero point is not supported", hint="use zero point 0")
        made = reader.on(x, "sign", Sign(), call)
        return made if np.all(scale == 1) else reader.affine(call, made, Affine(scale, np.zeros(1)))
    low, high = kind.limits
    rounding, shift = _rounding(kind)
    if shift:
        x = reader.affine(call, x, Affine(np.ones(1), scale * shift))
    return reader.on(x, "quantize", Quantize(scale, low - kind.zero, high - kind.zero, rounding, kind.zero), call)


def _rounding(kind: Width) -> tuple[str, float]:
    """The graph's rounding, and by how much of a step the input is moved before it.

    A quantizer without negative levels clips before it rounds, so that up is towards infinity there.
    """
    unsigned = kind.limits[0] >= 0
    match kind.rounding:
        case "ROUND" | "HALF_EVEN":
            return ("HALF_ODD" if kind.zero % 2 else "ROUND"), 0.0
        case "FLOOR" | "CEIL":
            return kind.rounding, 0.0
        case "DOWN" | "ROUND_TO_ZERO" if unsigned:
            return "FLOOR", 0.0
        case "DOWN" | "ROUND_TO_ZERO" if not kind.zero:
            return "ROUND_TO_ZERO", 0.0
        case "UP" if unsigned:
            return "CEIL", 0.0
        case "HALF_UP" if unsigned:
            return "FLOOR", 0.5
        case "HALF_DOWN" if unsigned:
            return "CEIL", -0.5
    zero = f" and zero point {kind.zero}" if kind.zero else ""
    raise Problem(
        f"rounding mode {kind.rounding} of a signed quantizer{zero} is not supported",
        hint="use ROUND, FLOOR or CEIL",
    )


@operator("Trunc")
def trunc(reader: Reader, call: Call, x: Live) -> Live:
    """Division by a power of two with rounding, zero point 0, to at most 8 bits; inputs as wide as they say."""
    scale = _scale(reader, call, x, 1)
    source = constants.one_number(reader.constant(call, 3, "a bit width"), "bit width")
    kind = _width(reader, call, len(call.inputs) - 1, 2, "FLOOR")
    if kind.zero:
        raise Problem("Trunc with a zero point is not supported", hint="use zero point 0")
    out = scale
    if len(call.inputs) == 5:
        shift = source - kind.bits
        # Version 1 does not clip, whatever widths it states.
        low, high = -_UNBOUNDED, _UNBOUNDED
    else:
        out = _scale(reader, call, x, 4)
        shift = constants.one_number(np.round(np.log2(out / scale)), "shift")
        low, high = kind.limits
    if not float(shift).is_integer() or not 0 <= shift <= 24 or not 1 <= source <= 32:
        raise Problem(f"Trunc by {shift:g} bits is not supported", hint="cut off 0 to 24 bits")
    made = _shortened(reader, call, x, scale, 2 ** int(shift), replace(kind, signed=low < 0), (low, high))
    step = scale * 2.0**shift
    if len(call.inputs) == 5:
        out, step = np.ones(1), np.array([2.0**shift])
    if np.all(out == step):
        return made
    return reader.affine(call, made, Affine(out, np.zeros(1), step))


def _shortened(
    reader: Reader, call: Call, x: Live, scale: Array, factor: int, kind: Width, limits: tuple[int, int]
) -> Live:
    """round(x / scale) / factor, rounded again as `kind` says: whole multiples of scale * factor."""
    rounding = kind.rounding
    if not kind.signed:
        rounding = {"DOWN": "FLOOR", "ROUND_TO_ZERO": "FLOOR", "UP": "CEIL"}.get(rounding, rounding)
    known = {"HALF_EVEN": "ROUND", "DOWN": "ROUND_TO_ZERO"}
    rounding = known.get(rounding, rounding)
    if factor == 1:
        return reader.on(x, "quantize", Quantize(scale, *limits, "ROUND"), call)
    if rounding in ("FLOOR", "CEIL"):
        # floor(round(y) / n) = floor((y + 1/2) / n) for even n: the tie below a multiple of n rounds up to it.
        half = 0.5 if rounding == "FLOOR" else -0.5
        x = reader.affine(call, x, Affine(np.ones(1), scale * half))
    elif rounding in ("ROUND", "ROUND_TO_ZERO"):
        x = reader.on(x, "quantize", Quantize(scale, -_UNBOUNDED, _UNBOUNDED))
    else:
        raise Problem(f"rounding mode {rounding} of Trunc is not supported", hint="use FLOOR, CEIL or ROUND")
    return reader.on(x, "quantize", Quantize(scale * factor, *limits, rounding), call)


def _width(reader: Reader, call: Call, bits: int, zero: int, rounding: str = "ROUND") -> Width:
    settings = {"rounding_mode": rounding, **call.settings}
    kind = constants.width(
        settings, reader.constant(call, bits, "a bit width"), reader.constant(call, zero, "a zero point")
    )
    low, high = kind.limits
    if kind.bits > _WIDEST or abs(kind.zero) > 2**16:
        raise Problem(f"a quantizer to {kind.bits} bits is not supported", hint=f"use up to {_WIDEST} bits")
    if low >= high:
        raise Problem(f"a quantizer to {kind.bits} bits that is narrow has no levels", hint="use narrow=0")
    return kind


def _scale(reader: Reader, call: Call, x: Live, index: int) -> Array:
    scale = per_channel(np.asarray(reader.constant(call, index, "a quantizer's scale"), np.float32), x)
    if np.any(scale <= 0):
        raise Problem("a quantizer's scale must be positive", hint="train again or repair the file")
    return scale


# -- standard ONNX ---------------------------------------------------------------------------------


@operator("QuantizeLinear")
def quantize_linear(reader: Reader, call: Call, x: Live) -> Live:
    """With DequantizeLinear behind it: quantizer of up to 8 bits, one scale for all or one per channel."""
    zeros = reader.constant(call, 2, "a zero point") if call.has(2) else None
    kind = constants.quantized_type(zeros, call.integer("output_dtype", 0))
    low, high = constants.integer_range(kind)
    if high - low > 255:
        raise Problem(f"a quantizer to {kind} is not supported", hint="use int8 or uint8")
    zero = 0 if zeros is None else int(constants.one_number(zeros, "zero point"))
    return replace(x, pending=Steps(_linear_scale(reader, call, x), zero, low, high))


@operator("DequantizeLinear", takes=(Steps,))
def dequantize_linear(reader: Reader, call: Call, x: Live) -> Live:
    """Behind QuantizeLinear, with its scale and zero point; of constants: integer weights with a scale."""
    steps = x.pending
    if not isinstance(steps, Steps):
        raise Problem("DequantizeLinear needs QuantizeLinear before it, or constants")
    zero = constants.one_number(reader.constant(call, 2, "a zero point"), "zero point") if call.has(2) else 0
    if zero != steps.zero or not np.array_equal(_linear_scale(reader, call, x), steps.scale):
        raise Problem("QuantizeLinear and DequantizeLinear differ in scale or zero point", hint="use the same")
    op = Quantize(steps.scale, steps.low - steps.zero, steps.high - steps.zero)
    return reader.on(replace(x, pending=None), "quantize", op, call)


def _linear_scale(reader: Reader, call: Call, x: Live) -> Array:
    scale = reader.constant(call, 1, "a quantizer's scale")
    if call.integer("block_size", 0):
        raise Problem("quantization in blocks is not supported", hint="use one scale for all or one per channel")
    if scale.size > 1:
        axis = call.integer("axis", 1)
        axis = axis + len(x.shape) + 1 if axis < 0 else axis
        if scale.ndim != 1 or not 1 <= axis <= len(x.shape):
            raise Problem("a quantizer's scale must be one number, or one per channel")
        scale = scale.reshape(-1, *(1,) * (len(x.shape) - axis))
    scale = per_channel(scale, x)
    if np.any(scale <= 0):
        raise Problem("a quantizer's scale must be positive", hint="train again or repair the file")
    return scale


# -- behind streamlining ---------------------------------------------------------------------------


@operator("MultiThreshold")
def multi_threshold(reader: Reader, call: Call, x: Live) -> Live:
    """FINN thresholds, any number of levels, output scale and bias."""
    step, low = call.number("out_scale", 1.0), call.number("out_bias", 0.0)
    if not all(map(math.isfinite, (step, low))) or step <= 0:
        raise Problem("thresholds need a positive output scale and a finite bias")
    layout = call.text("data_layout")
    last = layout.endswith("C") if layout else len(x.shape) == 2
    if x.is_map and last == x.first:
        raise Problem("data_layout does not say where this tensor's channels are", hint="NCHW or NHWC")
    op: Threshold | Stairs
    whole = step == int(step) and low == int(low) and step < 2**15 and abs(low) < 2**15
    if reader.kind(x).is_float or not whole:
        op = Stairs(_ordered(given_thresholds(reader, call, 1), x), low, step)
    else:
        op = Threshold(_ordered(integer_bounds(reader, call, 1, reader.kind(x)), x), int(low), int(step))
    return reader.on(x, "threshold", op, call)


def _ordered(bounds: Array, x: Live) -> Array:
    """Thresholds in the graph's order of channels."""
    if x.order is None or len(bounds) == 1:
        return bounds
    if len(bounds) != x.channels:
        raise Problem(f"thresholds for {len(bounds)} channels on {x.channels}")
    made: Array = graph_order(bounds.T, x.order).T
    return made


def integer_bounds(reader: Reader, call: Call, index: int, kind: TensorType) -> Array:
    """Thresholds on integers of a type: (channels or 1, levels), each in [low, high + 1]."""
    if kind.is_float:
        raise Problem("thresholds need an integer input")
    return whole_bounds(given_thresholds(reader, call, index), kind)


def whole_bounds(bounds: Array, kind: TensorType) -> Array:
    """Thresholds on integers of a type from any numbers."""
    low, high = kind.range
    # On integers, x >= t and x >= ceil(t) are the same; beyond the range all bounds are alike.
    return np.clip(np.ceil(bounds), low, high + 1).astype(np.int64)


def given_thresholds(reader: Reader, call: Call, index: int) -> Array:
    """Thresholds as they are given: float64, (channels or 1, levels)."""
    found = reader.constant(call, index, "thresholds")
    if found.ndim != 2 or not found.size or np.any(np.isnan(found)) or np.any(found[:, 1:] < found[:, :-1]):
        raise Problem("thresholds must be a table (channels, levels) without NaN that does not fall along the levels")
    return np.asarray(found, np.float64)

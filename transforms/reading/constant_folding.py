"""Nodes whose inputs are all constant, computed in advance; quantized constants stay integers with a scale."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import onnx

from bnnflow import Problem

from ..ir.tensor import Array
from .constants import (
    Constant,
    Levels,
    attributes,
    bipolar_constant,
    bounded,
    integer_range,
    is_integer,
    quantize,
    quantized_type,
    smallest,
    width,
)

Settings = dict[str, Any]
Inputs = list[Any]
Fold = Callable[[Settings, Inputs], Constant]


def folded_outputs(node: onnx.NodeProto, inputs: Sequence[Constant | None]) -> list[Constant] | None:
    """Values of a node's outputs whose inputs are all constant; None where its operator is not folded.

    Args:
        node: of any operator.
        inputs: a value for each input of the node, None for those left out.

    Raises:
        Problem: what it would make is impossibly large.
    """
    settings = attributes(node)
    with np.errstate(all="ignore"):
        if node.op_type in _VIEWS:
            return [_view(node.op_type, settings, list(inputs))]
        arrays = [x.value() if isinstance(x, Levels) else x for x in inputs]
        if node.op_type in _FOLDS:
            made = _FOLDS[node.op_type](settings, arrays)
            return [made if isinstance(made, Levels) else np.asarray(made)]
        if node.op_type == "Split":
            return _split(settings, arrays, len(node.output))
    return None


def _view(kind: str, settings: Settings, inputs: Inputs) -> Constant:
    """Operators that only move numbers: what they do to the integers they do to the scale."""
    x, work = inputs[0], _VIEWS[kind]
    rest = [item.value() if isinstance(item, Levels) else item for item in inputs[1:]]
    if not isinstance(x, Levels):
        return np.asarray(work(settings, [x, *rest]))
    made = np.asarray(work(settings, [x.integers, *rest]))
    if x.scale.size == 1:
        return Levels(made, x.scale.reshape(()))
    scale = x.full_scale()
    if kind == "Squeeze" and axes_of(settings, inputs) is None:
        # The axes of the integers: a scale is of size 1 along others, too.
        scale = scale.reshape([part for part, size in zip(scale.shape, x.integers.shape, strict=True) if size > 1])
        return Levels(made, scale)
    if kind in ("Identity", "Transpose", "Squeeze", "Unsqueeze"):
        return Levels(made, np.asarray(work(settings, [scale, *rest])))
    if scale.size == scale.shape[0] == made.shape[0]:
        return Levels(made, scale.reshape(-1, *(1,) * (made.ndim - 1)))
    return np.asarray(work(settings, [x.value(), *rest]))


def _reshape(settings: Settings, x: Inputs) -> Array:
    shape = [int(size) for size in np.asarray(x[1]).reshape(-1)]
    if not settings.get("allowzero", 0):
        shape = [x[0].shape[i] if size == 0 else size for i, size in enumerate(shape)]
    return np.asarray(x[0].reshape(shape))


def _flatten(settings: Settings, x: Inputs) -> Array:
    axis = int(settings.get("axis", 1))
    return np.asarray(x[0].reshape(prod(x[0].shape[:axis]), -1))


def axes_of(settings: Settings, inputs: Inputs) -> tuple[int, ...] | None:
    """Axes of a node, an attribute before opset 13 (18 for reductions) and an input since; None for all."""
    axes = settings.get("axes", inputs[1] if len(inputs) > 1 else None)
    return None if axes is None else tuple(int(axis) for axis in np.asarray(axes).reshape(-1))


_VIEWS: Mapping[str, Callable[[Settings, Inputs], Array]] = {
    "Flatten": _flatten,
    "Identity": lambda a, x: x[0],
    "Reshape": _reshape,
    "Squeeze": lambda a, x: np.squeeze(x[0], axes_of(a, x)),
    "Transpose": lambda a, x: np.transpose(x[0], a.get("perm")),
    "Unsqueeze": lambda a, x: np.expand_dims(x[0], axes_of(a, x) or ()),
}


def _together(function: Callable[..., Array]) -> Fold:
    """An operator on values at the same place of broadcast tensors."""

    def work(settings: Settings, x: Inputs) -> Array:
        bounded(np.broadcast_shapes(*(item.shape for item in x)), max(item.size for item in x))
        made = x[0]
        for item in x[1:]:
            made = function(made, item)
        return made

    return work


def _alone(function: Callable[[Array], Array]) -> Fold:
    return lambda settings, x: np.asarray(function(x[0]), x[0].dtype)


def _divide(a: Array, b: Array) -> Array:
    if a.dtype.kind == "f" or b.dtype.kind == "f":
        return np.asarray(a / b)
    if not np.all(b):
        raise Problem("a constant is divided by 0")
    return np.asarray(np.trunc(a / b).astype(a.dtype))


def _reduce(function: Callable[..., Array]) -> Fold:
    def work(settings: Settings, x: Inputs) -> Array:
        axes = axes_of(settings, x)
        if axes is None and settings.get("noop_with_empty_axes", 0):
            return np.asarray(x[0])
        return np.asarray(function(x[0], axis=axes, keepdims=bool(settings.get("keepdims", 1))), x[0].dtype)

    return work


def _cast(settings: Settings, x: Inputs) -> Array:
    kind = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(int(settings["to"])))
    if x[0].dtype.kind == "f" and is_integer(kind):
        low, high = integer_range(kind)
        whole = np.trunc(x[0].astype(np.float64))
        if not np.all((low <= whole) & (whole <= high)):
            what = f"a constant that {kind} does not hold is cast to it, which gives other integers in each program"
            raise Problem(what, hint="clip it before, or store integers")
    return np.asarray(x[0].astype(kind))


def _concat(settings: Settings, x: Inputs) -> Array:
    bounded((sum(item.size for item in x),))
    return np.concatenate([np.atleast_1d(item) for item in x], int(settings["axis"]))


def _constant(settings: Settings, x: Inputs) -> Array:
    value = np.asarray(next(iter(settings.values())))
    if value.dtype.kind not in "fiub":
        raise Problem("a constant of text is not supported")
    # ONNX: value_float and value_floats are float32.
    return value.astype(np.float32) if next(iter(settings)).startswith("value_float") else value


def _constant_of_shape(settings: Settings, x: Inputs) -> Array:
    value = np.asarray(settings.get("value", np.zeros(1, np.float32))).reshape(-1)
    return np.full(bounded(_sizes(x[0])), value[0])


def _expand(settings: Settings, x: Inputs) -> Array:
    return np.broadcast_to(x[0], bounded(np.broadcast_shapes(x[0].shape, _sizes(x[1])))).copy()


def _gather(settings: Settings, x: Inputs) -> Array:
    axis = int(settings.get("axis", 0))
    bounded((x[1].size, x[0].size // max(1, x[0].shape[axis])), x[0].size)
    return np.take(x[0], x[1].astype(np.int64), axis)


def _range(settings: Settings, x: Inputs) -> Array:
    start, limit, delta = (np.asarray(item).reshape(-1)[0] for item in x)
    bounded((max(0, int((float(limit) - float(start)) / float(delta))),))
    return np.arange(start, limit, delta)


def _tile(settings: Settings, x: Inputs) -> Array:
    repeats = _sizes(x[1])
    bounded((x[0].size, *repeats))
    return np.tile(x[0], repeats)


def _slice(settings: Settings, x: Inputs) -> Array:
    given: dict[str, Any] = {key: settings[key] for key in ("starts", "ends", "axes") if key in settings}
    given.update({key: x[i] for i, key in enumerate(("", "starts", "ends", "axes", "steps")) if i and i < len(x)})
    starts, ends = (np.asarray(given[key]).reshape(-1) for key in ("starts", "ends"))
    axes = given.get("axes")
    axes = np.arange(len(starts)) if axes is None else np.asarray(axes).reshape(-1)
    steps = given.get("steps")
    steps = np.ones(len(starts), np.int64) if steps is None else np.asarray(steps).reshape(-1)
    cut = [slice(None)] * x[0].ndim
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        # Going backwards, an end before the first value is beyond it: numpy would count it from the back.
        last = None if step < 0 and end < -x[0].shape[int(axis)] else int(end)
        cut[int(axis)] = slice(int(start), last, int(step))
    return np.asarray(x[0][tuple(cut)])


def _split(settings: Settings, x: Inputs, parts: int) -> list[Constant]:
    sizes = x[1] if len(x) > 1 and x[1] is not None else settings.get("split")
    axis = int(settings.get("axis", 0))
    if sizes is None:
        part = -(-x[0].shape[axis] // parts)
        places = [part * (i + 1) for i in range(parts - 1)]
    else:
        places = [int(place) for place in np.cumsum(np.asarray(sizes).reshape(-1))[:-1]]
    return list(np.split(x[0], places, axis))


def _sizes(value: Array) -> tuple[int, ...]:
    sizes = tuple(int(size) for size in np.asarray(value).reshape(-1))
    if any(size < 0 for size in sizes):
        raise Problem(f"a tensor of shape {list(sizes)} is impossible", hint="the file may be damaged")
    return sizes


def _where(settings: Settings, x: Inputs) -> Array:
    bounded(np.broadcast_shapes(*(item.shape for item in x)), max(item.size for item in x))
    return np.asarray(np.where(x[0], x[1], x[2]))


def _clip(settings: Settings, x: Inputs) -> Array:
    low, high = (x[i] if len(x) > i and x[i] is not None else settings.get(key) for i, key in ((1, "min"), (2, "max")))
    return np.asarray(np.clip(x[0], low, high), x[0].dtype)


def _quant(settings: Settings, x: Inputs) -> Levels:
    return quantize(x[0], x[1], width(settings, x[3], x[2]))


def _along(value: Array, axis: int, rank: int) -> Array:
    """One value, or one a place of an axis, with as many axes as the tensor."""
    flat = np.asarray(value).reshape(-1)
    shape = [1] * rank
    if flat.size > 1:
        shape[axis] = flat.size
    return flat.reshape(shape)


def _quantize_linear(settings: Settings, x: Inputs) -> Array:
    axis, rank = int(settings.get("axis", 1)), x[0].ndim
    given = x[2] if len(x) > 2 and x[2] is not None else None
    kind = quantized_type(given, int(settings.get("output_dtype", 0)))
    low, high = integer_range(kind)
    zero = np.zeros(1) if given is None else given
    levels = np.round(x[0] / _along(x[1], axis, rank)) + _along(zero, axis, rank).astype(np.float32)
    if not np.all(np.isfinite(levels)):
        raise Problem("a quantized constant holds NaN or infinity", hint="train again or repair the file")
    return np.asarray(np.clip(levels, low, high).astype(kind))


def _dequantize_linear(settings: Settings, x: Inputs) -> Levels:
    if settings.get("block_size", 0):
        raise Problem("quantization in blocks is not supported", hint="use one scale for all or one per filter")
    axis, rank = int(settings.get("axis", 1)), x[0].ndim
    zero = np.asarray(x[2]).reshape(-1) if len(x) > 2 and x[2] is not None else np.zeros(1, np.int64)
    low, high = integer_range(x[0].dtype)
    kind = smallest(low - int(zero.max()), high - int(zero.min()))
    integers = x[0].astype(kind) - _along(zero, axis, rank).astype(kind)
    return Levels(integers, np.asarray(_along(x[1], axis, rank), np.float32))


_FOLDS: Mapping[str, Fold] = {
    "Abs": _alone(np.abs),
    "Add": _together(np.add),
    "BipolarQuant": lambda a, x: bipolar_constant(x[0], x[1]),
    "Cast": _cast,
    "Ceil": _alone(np.ceil),
    "Clip": _clip,
    "Concat": _concat,
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "DequantizeLinear": _dequantize_linear,
    "Div": _together(_divide),
    "Equal": _together(np.equal),
    "Exp": _alone(np.exp),
    "Expand": _expand,
    "Floor": _alone(np.floor),
    "Gather": _gather,
    "And": _together(np.logical_and),
    "Greater": _together(np.greater),
    "GreaterOrEqual": _together(np.greater_equal),
    "IntQuant": _quant,
    "Less": _together(np.less),
    "LessOrEqual": _together(np.less_equal),
    "Log": _alone(np.log),
    "Max": _together(np.maximum),
    "Min": _together(np.minimum),
    "Mul": _together(np.multiply),
    "Neg": _alone(np.negative),
    "Not": _alone(np.logical_not),
    "Or": _together(np.logical_or),
    "Pow": _together(lambda a, b: np.power(a, b).astype(a.dtype)),
    "Quant": _quant,
    "QuantizeLinear": _quantize_linear,
    "Range": _range,
    "Reciprocal": _alone(lambda x: 1 / x),
    "ReduceMax": _reduce(np.max),
    "ReduceMean": _reduce(np.mean),
    "ReduceMin": _reduce(np.min),
    "ReduceProd": _reduce(np.prod),
    "ReduceSum": _reduce(np.sum),
    "Relu": _alone(lambda x: np.maximum(x, 0)),
    "Round": _alone(np.round),
    "Shape": lambda a, x: np.array(x[0].shape, np.int64)[slice(a.get("start"), a.get("end"))],
    "Sign": _alone(np.sign),
    "Size": lambda a, x: np.array(x[0].size, np.int64),
    "Slice": _slice,
    "Sqrt": _alone(np.sqrt),
    "Sub": _together(np.subtract),
    "Sum": _together(np.add),
    "Tile": _tile,
    "Where": _where,
    "Xor": _together(np.logical_xor),
}

# Operators that are computed in advance where all they read is constant.
FOLDED = frozenset((*_FOLDS, *_VIEWS, "Split"))

"""Weights as integers with one scale per filter, from quantizers or from floats that are whole multiples."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from bnnflow import Problem

from ..ir.tensor import Array
from .constants import Constant, Levels, smallest

_LARGEST = 127
_TILE = 2**18
_SAMPLE = 512


def integer_weights(constant: Constant, axes: tuple[int, ...], whole: bool) -> tuple[Array, Array]:
    """Integers and scale of a layer's weights, filters first.

    Args:
        constant: the weights in the file's order.
        axes: the order of their axes in what is returned; the first is that of the filters.
        whole: the numbers are integers already and bear no scale (a graph behind streamlining).

    Returns:
        int8 or int16 integers, and float64 scales (filters,) or (1,).

    Raises:
        Problem: the weights are not quantized, or have a scale an input channel.
    """
    if len(constant.shape) != len(axes) or not all(constant.shape):
        raise Problem(f"weights of shape {list(constant.shape)} do not fit this layer")
    if isinstance(constant, Levels):
        scale = np.transpose(constant.full_scale(), axes).astype(np.float64)
        rows = scale.reshape(len(scale), -1)
        if not np.all(rows == rows[:, :1]):
            raise Problem(
                "weights with a scale an input channel are not supported",
                hint="use one scale for all, or one per filter",
            )
        _finite(rows)
        return _narrowed(np.transpose(constant.integers, axes)), _short(rows[:, 0])
    moved = np.transpose(constant, axes)
    table = moved.reshape(len(moved), -1)
    if table.dtype.kind != "f":
        return _narrowed(moved), np.ones(1)
    made = (None if whole else _one_magnitude(table)) or _whole_numbers(table) or _multiples(table)
    return made[0].reshape(moved.shape), _short(made[1])


def _narrowed(integers: Array) -> Array:
    low, high = int(integers.min()), int(integers.max())
    if smallest(low, high) is np.int64:
        raise Problem(f"weights from {low} to {high} are too wide", hint="use weights of up to 16 bits")
    return np.ascontiguousarray(integers, smallest(low, high))


def _short(scale: Array) -> Array:
    return scale[:1] if np.all(scale == scale[0]) else scale


def _finite(values: Array) -> None:
    if not np.all(np.isfinite(values)):
        raise Problem("the weights of this layer hold NaN or infinity", hint="train again or repair the file")


def _tiles(table: Array) -> Iterator[tuple[Any, Any]]:
    """Parts that stay in the cache, long along the axis that lies together in memory."""
    rows, columns = table.shape
    if table.strides[0] >= table.strides[1]:
        wide = min(columns, _TILE)
        high = max(1, _TILE // wide)
    else:
        high = min(rows, _TILE)
        wide = max(1, _TILE // high)
    for top in range(0, rows, high):
        for left in range(0, columns, wide):
            yield slice(top, top + high), slice(left, left + wide)


def _one_magnitude(table: Array) -> tuple[Array, Array] | None:
    """Signs and magnitudes of weights of one magnitude a filter; None where they are not."""
    scale = np.abs(table[:, 0])
    if not np.all(scale > 0) or not np.all(np.isfinite(scale)):
        return None
    signs = np.empty(table.shape, np.int8)
    word = {4: np.uint32, 8: np.uint64}.get(table.dtype.itemsize)
    if word is None:
        return _one_magnitude(table.astype(np.float32))
    # Floats of one magnitude differ in their sign bit alone.
    words, magnitudes = table.view(word), np.ascontiguousarray(scale).view(word)
    sign_bit = word(8 * table.dtype.itemsize - 1)
    for part in _tiles(table):
        values = words[part] ^ magnitudes[part[0], None]
        negative = (values >> sign_bit).astype(np.int8)
        if np.any(values << word(1)):
            return None
        np.subtract(np.int8(1), negative << np.int8(1), out=signs[part])
    return signs, scale.astype(np.float64)


def _whole_numbers(table: Array) -> tuple[Array, Array] | None:
    """The weights themselves where they are whole and fit into 16 bits."""
    integers, low, high = np.empty(table.shape, np.int16), 0, 0
    for part in _tiles(table):
        values = table[part]
        least, greatest = float(values.min()), float(values.max())
        if not (least >= -(2**15) and greatest < 2**15) or not np.all(values == np.rint(values)):
            return None
        low, high = min(low, int(least)), max(high, int(greatest))
        integers[part] = values
    return integers.astype(smallest(low, high), copy=False), np.ones(1)


def _multiples(table: Array) -> tuple[Array, Array]:
    """Integers n and a scale per filter with n * scale == weight in the weights' own precision."""
    integers, scales = np.empty(table.shape, np.int8), np.ones(len(table))
    step = table.dtype.type(0)
    for index, row in enumerate(table):
        found = _coarsest(row, step)
        if found is None:
            # A sample gives the step most often; all values are sorted only where it does not.
            found = _coarsest(row, _step(row[:_SAMPLE])) or _coarsest(row, _step(row))
        if found is None:
            raise _not_quantized(row, index)
        integers[index], step = found
        scales[index] = step
    return integers, scales


def _coarsest(row: Array, step: Any) -> tuple[Array, Any] | None:
    """Levels of a row in multiples of a step, or of the greatest multiple of it that all are multiples of."""
    if not step:
        return None
    levels = _of_step(row, step)
    if levels is None:
        return None
    common = int(np.gcd.reduce(levels.astype(np.int16)))
    if common > 1:
        wider = row.dtype.type(step * common)
        fewer = _of_step(row, wider)
        if fewer is not None:
            return fewer, wider
    return levels, step


def _of_step(row: Array, step: Any) -> Array | None:
    with np.errstate(all="ignore"):
        levels = np.rint(row / step)
        fits = np.all(levels * step == row) and np.abs(levels).max() <= _LARGEST
    return levels if fits else None


def _step(row: Array) -> Any:
    """The greatest step of which all values of a row are whole multiples of up to 127; 0 where there is none."""
    _finite(row)
    values = np.unique(np.abs(row))
    values = values[values > 0]
    if not values.size:
        return row.dtype.type(1)
    greatest = values[-1]
    for count in range(values.size, _LARGEST + 1):
        step = greatest / row.dtype.type(count)
        # The step's own rounding: its neighbours may have made the same greatest weight.
        for candidate in (step, np.nextafter(step, greatest), np.nextafter(step, row.dtype.type(0))):
            if candidate > 0 and _of_step(values, candidate) is not None:
                return candidate
    return row.dtype.type(0)


def _not_quantized(row: Array, index: int) -> Problem:
    return Problem(
        f"the weights of this layer are not quantized: filter {index} has {len(np.unique(row))} different values, "
        f"not whole multiples (up to {_LARGEST}) of one number",
        hint="train it with quantized weights (Brevitas' QuantConv2d and QuantLinear with a weight quantizer)",
    )

"""Pools: the maximum, the average or the sum of windows or of a whole map."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from bnnflow import Problem

from ..ir.ops import Affine, Flatten, MaxPool, Pad, Sides, SumPool
from .call import Call, operator
from .core import Reader
from .layers import as_sides, sides, strides
from .live import Live


@operator("MaxPool")
def max_pool(reader: Reader, call: Call, x: Live) -> Live:
    """1-d and 2-d max pooling, any stride and padding, ceil mode; no dilation."""
    kernel, pads = _window(call, x)
    top, left, bottom, right = pads
    down, across = _left_over(call, x, kernel, pads)
    return reader.on_map(x, "pool", MaxPool(kernel, strides(call, x), (top, left, bottom + down, right + across)), call)


@operator("AveragePool")
def average_pool(reader: Reader, call: Call, x: Live) -> Live:
    """1-d and 2-d average pooling, any stride; padding only where it counts (count_include_pad=1); no cut windows."""
    kernel, pads = _window(call, x)
    if any(_left_over(call, x, kernel, pads)):
        what = "an average pool whose last windows are cut off (ceil_mode) divides by different areas"
        raise Problem(what, hint="use ceil_mode=False")
    if any(pads) and not call.integer("count_include_pad", 0):
        raise Problem(
            "an average pool whose padding does not count divides by different areas",
            hint="use padding=0, or count_include_pad=True",
        )
    if any(pads):
        x = reader.on_map(x, "pad", Pad(pads, 0.0))
    return _average(reader, reader.on_map(x, "pool", SumPool(kernel, strides(call, x)), call), kernel)


def _window(call: Call, x: Live) -> tuple[tuple[int, int], Sides]:
    if not x.is_map or not x.first:
        raise Problem("a pool needs a map with channels first")
    rank = len(x.shape) - 1
    if any(size != 1 for size in call.integers("dilations", rank, (1,) * rank)):
        raise Problem("dilation of a pool is not supported", hint="use dilation=1")
    sizes = call.integers("kernel_shape", rank)
    kernel = (1, sizes[0]) if rank == 1 else (sizes[0], sizes[1])
    pads = sides(call, x, kernel)
    if min(kernel) < 1 or max(pads[0], pads[2]) >= kernel[0] or max(pads[1], pads[3]) >= kernel[1]:
        raise Problem(f"a pool of {kernel[0]}x{kernel[1]} with padding {list(pads)} has windows without values")
    return kernel, pads


def _left_over(call: Call, x: Live, kernel: tuple[int, int], pads: Sides) -> tuple[int, int]:
    """Rows and columns behind the padding that the last windows of a pool in ceil mode reach into.

    Raises:
        Problem: programs differ: a window would begin behind the map, or is cut off where auto_pad is VALID.
    """
    if not call.integer("ceil_mode", 0) or call.text("auto_pad", "NOTSET").startswith("SAME"):
        return (0, 0)
    found = []
    for axis, (size, window, step) in enumerate(zip(x.places, kernel, strides(call, x), strict=True)):
        padded = size + pads[axis] + pads[axis + 2]
        last = -(-(padded - window) // step) * step
        if last >= size + pads[axis]:
            raise Problem("a pool in ceil mode has windows behind the map", hint="use ceil_mode=False")
        found.append(max(0, last + window - padded))
    if any(found) and call.text("auto_pad", "NOTSET") == "VALID":
        what = "a pool in ceil mode with auto_pad VALID has cut windows in some programs and none in others"
        raise Problem(what, hint="use pads of 0 in place of auto_pad, or ceil_mode=False")
    return (found[0], found[1])


def _average(reader: Reader, made: Live, kernel: tuple[int, int]) -> Live:
    area = Affine(np.ones(1), np.zeros(1), np.array([float(kernel[0] * kernel[1])]))
    return reader.on(made, "affine", area)


@operator("GlobalMaxPool")
def global_max_pool(reader: Reader, call: Call, x: Live) -> Live:
    """Maximum of a whole map."""
    if not x.is_map or not x.first:
        raise Problem("a pool needs a map with channels first")
    if len(reader.kind(x).shape) == 1:
        return x
    return reader.on_map(x, "pool", MaxPool(x.places, x.places), call)


@operator("GlobalAveragePool")
def global_average_pool(reader: Reader, call: Call, x: Live) -> Live:
    """Average of a whole map."""
    if not x.is_map or not x.first:
        raise Problem("a pool needs a map with channels first")
    return _whole(reader, call, x, average=True)


@operator("ReduceMean", "ReduceSum", "ReduceMax")
def reduce(reader: Reader, call: Call, x: Live) -> Live:
    """Average, sum or maximum over all places of a map (its height and width, or its length)."""
    axes = reader.whole(call, "axes", 1)
    rank = len(x.shape) + 1
    wanted = set(range(1, rank)) - {x.channel_axis + 1}
    if not axes or {axis + rank if axis < 0 else axis for axis in axes} != wanted:
        raise Problem(
            f"{call.kind} over axes {list(axes or ())} of {[1, *x.shape]} is not supported",
            hint="reduce over the height and width of a map, both at once",
        )
    if call.kind == "ReduceMax" and len(reader.kind(x).shape) == 3:
        made = reader.on_map(x, "pool", MaxPool(x.places, x.places), call)
    else:
        made = _whole(reader, call, x, average=call.kind == "ReduceMean")
    if call.integer("keepdims", 1):
        return made
    if len(reader.kind(made).shape) == 3:
        made = reader.on(made, "flatten", Flatten())
    return replace(made, shape=(x.channels,), first=False)


def _whole(reader: Reader, call: Call, x: Live, average: bool) -> Live:
    if len(reader.kind(x).shape) == 1:
        return x
    made = reader.on_map(x, "pool", SumPool(x.places, x.places), call)
    return _average(reader, made, x.places) if average else made


@operator("MaxPoolNHWC")
def max_pool_nhwc(reader: Reader, call: Call, x: Live) -> Live:
    """FINN max pooling, channels last, any stride and padding; no ceil mode."""
    if x.first or len(x.shape) != 3 or call.integer("ceil_mode", 0):
        raise Problem("MaxPoolNHWC is supported channels last and without ceil mode")
    kernel, stride = call.integers("kernel_shape", 2), call.integers("strides", 2)
    pads = as_sides(call.integers("pads", 4, (0, 0, 0, 0)), x)
    if min(kernel) < 1 or max(pads[0], pads[2]) >= kernel[0] or max(pads[1], pads[3]) >= kernel[1]:
        raise Problem(f"a pool of {kernel[0]}x{kernel[1]} with padding {list(pads)} has windows without values")
    return reader.on_map(x, "pool", MaxPool((kernel[0], kernel[1]), (stride[0], stride[1]), pads), call)

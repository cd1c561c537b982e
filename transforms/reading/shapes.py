"""Operators that move values: flattening, transposition, padding, concatenation, and the choice of the best class."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from bnnflow import Problem

from ..ir.ops import Best, Concat, Flatten, Pad
from .call import Call, operator
from .core import Reader
from .elementwise import aligned
from .layers import as_sides
from .live import End, Live, Turned, flattened, joined_order


@operator("Flatten", takes=(End,))
def flatten(reader: Reader, call: Call, x: Live) -> Live:
    """All axes behind the batch to one."""
    if isinstance(x.pending, End):
        return replace(x, shape=(prod(x.shape),))
    axis = call.integer("axis", 1)
    if axis not in (1, -len(x.shape)):
        raise Problem(f"Flatten with axis {axis} is not supported", hint="use axis 1")
    return _to_vector(reader, call, x)


def _to_vector(reader: Reader, call: Call, x: Live) -> Live:
    if not x.is_map:
        return x
    order, size = flattened(x), prod(x.shape)
    if len(reader.kind(x).shape) == 1:
        return Live(x.tensor, (size,))
    return Live(reader.add("flatten", Flatten(), x.tensor, call=call), (size,), order=order)


@operator("Reshape", takes=(End,))
def reshape(reader: Reader, call: Call, x: Live) -> Live:
    """Flattening of all axes behind the batch, and axes of size 1 added or removed."""
    stated = reader.whole(call, "shape", 1) or ()
    if isinstance(x.pending, End):
        return replace(x, shape=tuple(stated[1:]))
    keeps = not call.integer("allowzero", 0)
    full = (1, *x.shape)
    sizes = [full[i] if size == 0 and keeps and i < len(full) else size for i, size in enumerate(stated)]
    if sizes.count(-1) == 1:
        # The batch is not known here: with the first size free, the others say what an image is.
        spare = prod(size for size in sizes[1:] if size != -1)
        if sizes[0] != -1:
            sizes[sizes.index(-1)] = prod(x.shape) // max(1, spare)
    target = tuple(sizes[1:])
    if not target or min(target) < 1 or prod(target) != prod(x.shape):
        raise _not_reshaped(x, stated)
    return _shaped(reader, call, x, target)


def _shaped(reader: Reader, call: Call, x: Live, target: tuple[int, ...]) -> Live:
    """The same values in another ONNX shape, where the graph's tensor can stay or is flattened."""
    if target == x.shape:
        return x
    if len(target) == 1:
        return _to_vector(reader, call, x)
    if len(target) > 3:
        raise _not_reshaped(x, (1, *target))
    if x.is_point and x.order is None and prod(target) in target:
        # One value per channel: the channels are where the values are, first where all is of size 1.
        first = target[0] == prod(target)
        if first or target[-1] == prod(target):
            return replace(reader.as_vector(x) if x.is_map else x, shape=target, first=first)
    if x.is_map and x.order is None:
        # A map of one row with or without its row.
        for made in (_with_row(x), _without_row(x)):
            if made is not None and made.shape == target:
                return made
    raise _not_reshaped(x, (1, *target))


def _with_row(x: Live) -> Live | None:
    if len(x.shape) != 2:
        return None
    return replace(x, shape=(x.shape[0], 1, x.shape[1]) if x.first else (1, *x.shape))


def _without_row(x: Live) -> Live | None:
    if len(x.shape) != 3 or x.places[0] != 1:
        return None
    return replace(x, shape=(x.shape[0], x.shape[2]) if x.first else x.shape[1:])


def _not_reshaped(x: Live, target: tuple[int, ...]) -> Problem:
    return Problem(f"reshape of {[1, *x.shape]} to {list(target)} is not supported", hint="only flattening is")


@operator("Squeeze", takes=(End,))
def squeeze(reader: Reader, call: Call, x: Live) -> Live:
    """Remove axes of size 1 of a map."""
    axes = reader.whole(call, "axes", 1)
    full = (1, *x.shape)
    if isinstance(x.pending, End):
        return replace(x, shape=())
    if axes is None:
        raise Problem("Squeeze without axes removes the batch", hint="name the axes")
    gone = {axis + len(full) if axis < 0 else axis for axis in axes}
    if not gone or not all(0 < axis < len(full) and full[axis] == 1 for axis in gone):
        raise Problem(f"Squeeze of axes {list(axes)} of {list(full)} is not supported", hint="remove axes of size 1")
    return _shaped(reader, call, x, tuple(size for axis, size in enumerate(full) if axis and axis not in gone))


@operator("Unsqueeze", takes=(End,))
def unsqueeze(reader: Reader, call: Call, x: Live) -> Live:
    """Add axes of size 1 to a vector, or a row to a 1-d map."""
    axes = reader.whole(call, "axes", 1) or ()
    if isinstance(x.pending, End):
        return replace(x, shape=(*x.shape, 1))
    rank = len(x.shape) + 1 + len(axes)
    places = {axis + rank if axis < 0 else axis for axis in axes}
    if not places or rank > 4 or len(places) != len(axes) or not all(0 < axis < rank for axis in places):
        raise Problem(f"Unsqueeze of axes {list(axes)} of {[1, *x.shape]} is not supported")
    sizes = iter(x.shape)
    return _shaped(reader, call, x, tuple(1 if axis in places else next(sizes) for axis in range(1, rank)))


@operator("Transpose", takes=(Turned,))
def transpose(reader: Reader, call: Call, x: Live) -> Live:
    """Channels first to channels last and back, in one step or several; any other transposition is refused."""
    rank = len(x.shape) + 1
    permutation = call.integers("perm", rank, tuple(reversed(range(rank))))
    if permutation == tuple(range(rank)):
        return x
    if permutation[0] != 0 or sorted(permutation) != list(range(rank)) or not x.is_map:
        raise Problem(f"transposition {list(permutation)} is not supported", hint="only NCHW to NHWC and back are")
    last = tuple(range(rank - 1))
    first = (last[-1], *last[:-1])
    axes = x.pending.axes if isinstance(x.pending, Turned) else first if x.first else last
    axes, shape = (tuple(values[axis - 1] for axis in permutation[1:]) for values in (axes, x.shape))
    x = replace(x, shape=shape)
    for known in (last, first) if axes != first else (first,):
        # Axes of size 1 may stand anywhere.
        sizes = tuple(shape[axes.index(axis)] for axis in known)
        long = [[axis for axis in order if shape[axes.index(axis)] > 1] for order in (axes, known)]
        if axes == known or (sizes == shape and long[0] == long[1]):
            return replace(x, first=known == first, pending=None)
    return replace(x, pending=Turned(axes))


@operator("Pad")
def pad(reader: Reader, call: Call, x: Live) -> Live:
    """Rows and columns of a constant value around a map."""
    mode = call.text("mode", "constant")
    if mode != "constant":
        raise Problem(f"padding of mode {mode} is not supported", hint="pad with a constant")
    rank = len(x.shape) + 1
    stated = reader.whole(call, "pads", 1) or ()
    axes = reader.whole(call, "axes", 3) or tuple(range(rank)) if call.has(3) else tuple(range(rank))
    if len(stated) != 2 * len(axes):
        raise Problem(f"{len(stated)} pads for {len(axes)} axes")
    ends = [[0, 0] for _ in range(rank)]
    for place, axis in enumerate(axes):
        ends[axis] = [stated[place], stated[place + len(axes)]]
    if not any(map(any, ends)):
        return x
    spatial = [axis for axis in range(1, rank) if axis != x.channel_axis + 1] if x.is_map else []
    if any(any(pair) for axis, pair in enumerate(ends) if axis not in spatial):
        raise Problem("padding of channels or of the batch is not supported", hint="pad height and width")
    value = reader.constant(call, 2, "a padding value") if call.has(2) else call.number("value", 0.0)
    number = float(np.asarray(value).reshape(-1)[0]) if np.size(value) else 0.0
    if not np.isfinite(number):
        raise Problem("padding with NaN or infinity is not supported", hint="pad with a finite value")
    pads = as_sides((*(ends[axis][0] for axis in spatial), *(ends[axis][1] for axis in spatial)), x)
    return reader.on_map(x, "pad", Pad(pads, number), call)


@operator("Concat", joins=True)
def concat(reader: Reader, call: Call, x: Live) -> Live:
    """Channels of computed tensors, one behind the other; of flattened ones too."""
    if not all(name in reader.live for name in call.inputs):
        raise Problem("concatenation with constants is not supported", hint="join computed tensors only")
    parts = [reader.live[name] for name in call.inputs]
    if len(parts) == 1:
        return x
    parts = aligned(reader, parts)
    axis = call.integer("axis")
    if (axis + len(x.shape) + 1 if axis < 0 else axis) != x.channel_axis + 1:
        raise Problem(f"concatenation along axis {axis} is not supported", hint="join along the channels")
    if any(part.places != x.places for part in parts if part.is_map):
        raise Problem("maps of different sizes cannot be concatenated", hint="make heights and widths equal")
    made = reader.add("concat", Concat(), *(part.tensor for part in parts), call=call)
    channels = sum(part.channels for part in parts)
    if x.is_map:
        return replace(parts[0], tensor=made, shape=x.with_places(x.places, channels))
    order = joined_order([(part.channels, part.order) for part in parts])
    return Live(made, (channels,), order=order)


@operator("ArgMax", takes=(End,))
def argmax(reader: Reader, call: Call, x: Live) -> Live:
    """The class of the greatest score, the first among equals; at the end of a network."""
    if call.integer("select_last_index", 0):
        raise Problem("ArgMax that takes the last among equals is not supported", hint="use select_last_index=0")
    _over_classes(x, call.integer("axis", 0), call)
    made = _best(reader, call, x, 1)
    return made if call.integer("keepdims", 1) else replace(made, shape=())


@operator("TopK", takes=(End,))
def top_k(reader: Reader, call: Call, x: Live) -> dict[str, Live]:
    """Classes of the k greatest scores, best first; at the end of a network, its values unconnected."""
    count = reader.whole(call, "k", 1)
    if count is None or len(count) != 1 or not call.integer("largest", 1):
        raise Problem("TopK needs one constant k and the greatest values", hint="use largest=1")
    _over_classes(x, call.integer("axis", -1), call)
    if len(call.outputs) < 2 or not call.outputs[1]:
        raise Problem("TopK needs its indices connected", hint="end the network with the indices")
    return {call.outputs[1]: _best(reader, call, x, count[0])}


def _over_classes(x: Live, axis: int, call: Call) -> None:
    if x.is_map or axis not in (1, -1) or x.order is not None:
        raise Problem(f"{call.kind} is supported over the classes (axis 1), one score a class")
    if isinstance(x.pending, End) and x.pending.operator in ("ArgMax", "TopK"):
        raise Problem(f"{call.kind} behind {x.pending.operator} is not supported", hint="use one of them")


def _best(reader: Reader, call: Call, x: Live, count: int) -> Live:
    return Live(reader.add("best", Best(count), x.tensor, call=call), (count,), pending=End(call.kind))

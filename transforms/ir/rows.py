"""What ranges and word widths follow from, a row of a layer's weights at a time; worked out once an array."""

from __future__ import annotations

import weakref
from dataclasses import dataclass

import numpy as np

from .tensor import Array

_BLOCK = 2**22


@dataclass(frozen=True, slots=True)
class Rows:
    """Facts of a matrix of integer weights.

    Attributes:
        positive, negative: int64, (rows,), sums of the positive and of the negative weights of each row.
        bipolar: every weight is -1 or +1.
        alike: all rows' sums of magnitudes are even, or all are odd.
    """

    positive: Array
    negative: Array
    bipolar: bool
    alike: bool


_known: dict[int, tuple[weakref.ref[Array], Rows]] = {}


def rows_of(weight: Array) -> Rows:
    """The facts of a weight array, (rows, ...); kept as long as the array lives if it is read-only."""
    found = _known.get(id(weight))
    if found is not None and found[0]() is weight:
        return found[1]
    made = _measure(weight.reshape(len(weight), -1))
    if not weight.flags.writeable:
        key = id(weight)
        _known[key] = (weakref.ref(weight, lambda _: _known.pop(key, None)), made)
    return made


def _measure(rows: Array) -> Rows:
    total, size = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    bipolar, step = rows.dtype == np.int8, max(1, _BLOCK // max(1, rows.shape[1]))
    ones = np.ones(rows.shape[1], np.float32)
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        magnitudes = np.abs(part)
        if bipolar and magnitudes.min(initial=1) == 1 and magnitudes.max(initial=1) == 1:
            # Sums of -1 and +1 are exact in float32, and a product is the fastest way to them.
            total[start : start + step] = part.astype(np.float32) @ ones if part.shape[1] < 2**24 else part.sum(axis=1)
            size[start : start + step] = part.shape[1]
        else:
            bipolar = False
            total[start : start + step] = part.sum(axis=1, dtype=np.int64)
            size[start : start + step] = np.abs(part.astype(np.int32)).sum(axis=1, dtype=np.int64)
    alike = bool(np.all((size - size[:1]) % 2 == 0))
    return Rows((total + size) // 2, (total - size) // 2, bool(bipolar), alike)

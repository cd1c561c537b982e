"""What is worth keeping of rows that are to be small in every column."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from math import inf

import numpy as np

from ..transforms.ir.tensor import Array


def best(table: Array) -> list[int]:
    """Rows that no other row equals or beats in every column; of equal rows the first. In ascending order of columns.

    Args:
        table: (rows, columns) of what is to be small.
    """
    if not len(table):
        return []
    columns = [column for column in range(table.shape[1]) if np.ptp(table[:, column])]
    if not columns:
        return [0]
    order = np.lexsort([np.arange(len(table)), *(table[:, column] for column in reversed(columns))])
    held = table[order][:, columns]
    if len(columns) <= 2:
        # Sorted by the first, a row is worth keeping if it has less of the second than all before it.
        lowest = np.minimum.accumulate(np.append(inf, held[:, -1]))[:-1]
        return [int(each) for each in order[held[:, -1] < lowest]]
    if len(columns) == 3:
        return [int(order[place]) for place in _stairs(held)]
    kept: list[int] = []
    rows = np.empty_like(held)
    for place, row in enumerate(held):
        if not np.any(np.all(rows[: len(kept)] <= row, axis=1)):
            rows[len(kept)] = row
            kept.append(int(order[place]))
    return kept


def _stairs(held: Array) -> Iterator[int]:
    """Rows of three columns, sorted, that are worth keeping: the last two make stairs that only fall."""
    seconds, thirds = [-inf], [inf]
    for place, (_, second, third) in enumerate(held.tolist()):
        step = bisect_right(seconds, second) - 1
        if thirds[step] <= third:
            continue
        yield place
        start = step + 1 if seconds[step] < second else step
        end = start
        while end < len(thirds) and thirds[end] >= third:
            end += 1
        seconds[start:end], thirds[start:end] = [second], [third]

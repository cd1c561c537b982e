"""Codes that memories are stored in: check matrices and rows, for hardware and for fault models alike."""

from __future__ import annotations

from functools import lru_cache
from itertools import combinations

import numpy as np

from .ir.tensor import Array


@lru_cache(maxsize=8)
def odd_columns(checks: int, data: int) -> Array:
    """Check matrix of Hsiao's code over the data bits, (checks, data): different columns of 3, 5, ... ones.

    Each row gets about as many ones as every other. With the unit columns of the check bits, single errors have
    odd syndromes that are columns, double errors even ones that are none.

    Source: M. Y. Hsiao, A Class of Optimal Minimum Odd-weight-column SEC-DED Codes, IBM J. 1970.
    """
    chosen_columns: list[tuple[int, ...]] = []
    load = np.zeros(checks, np.int64)
    for ones in range(3, checks + 1, 2):
        free = set(combinations(range(checks), ones))
        while free and len(chosen_columns) < data:
            best = min(free, key=lambda column: (int(load[list(column)].max()), int(load[list(column)].sum()), column))
            free.remove(best)
            load[list(best)] += 1
            chosen_columns.append(best)
    made = np.zeros((checks, len(chosen_columns)), np.int64)
    for place, column in enumerate(chosen_columns):
        made[list(column), place] = 1
    return made


def words_of_a_coded_row(limit: int, ways: int, width: int, depth: int) -> int:
    """Words of a memory that are stored as one row of codewords: as many as fill them, at least one.

    Args:
        limit: bits of data of a codeword, at most.
        ways: codewords of neighbouring bits.
        width, depth: bits of a word, and words.
    """
    return min(max(1, limit * ways // width), depth)

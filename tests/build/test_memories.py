"""Memory files against what finn-plus 1.6.1 writes (`generate_params` of its units) for the same small layers."""

from __future__ import annotations

import numpy as np
import pytest

from bnnflow.build.memories import threshold_lines, threshold_table, weight_lines, weight_words
from bnnflow.sim.faults import memory
from bnnflow.transforms.ir.ops import Mvau

LEVELS = np.arange(24).reshape(4, 6) * 7 % 5
BITS = (LEVELS > 2).astype(np.int64)

# Weights (rows, columns), PE, SIMD, bits, the lines of memblock.dat.
MEMBLOCK = [
    (BITS, 2, 3, 1, ["14", "0a", "15", "14"]),  # BINARY of an XNOR layer
    (2 * BITS - 1, 2, 3, 2, ["ddf", "f77", "ddd", "ddf"]),  # INT2 beside integer inputs
    (LEVELS - 2, 4, 2, 3, ["3fa406", "1b13fa", "e901b1"]),  # INT3
    (LEVELS - 2, 1, 6, 3, ["31e86", "063d0", "10c7a", "3a18f"]),
]


@pytest.mark.parametrize(("weight", "pe", "simd", "bits", "lines"), MEMBLOCK)
def test_weight_memory_equals_finn(weight: np.ndarray, pe: int, simd: int, bits: int, lines: list[str]) -> None:
    assert weight_lines(weight, pe, simd, bits) == lines


def test_bipolar_weights_of_one_bit_are_stored_as_binary() -> None:
    assert weight_lines(2 * BITS - 1, 2, 3, 1) == weight_lines(BITS, 2, 3, 1)


@pytest.mark.parametrize(("pe", "simd"), [(1, 1), (2, 3), (4, 6), (1, 6), (4, 1)])
def test_every_bit_lies_where_fault_maps_address_it(pe: int, simd: int) -> None:
    """Line nf * SF + sf, bit p * SIMD + s holds row nf * PE + p, column sf * SIMD + s, in both modules."""
    words = weight_words(BITS, pe, simd)
    unit = Mvau(BITS.astype(np.uint8), np.zeros((0, 0), np.int64), True, pe=pe, simd=simd)
    assert np.array_equal(words.reshape(len(words), -1), memory(unit))
    folds = 6 // simd
    for line, text in enumerate(weight_lines(BITS, pe, simd, 1)):
        for bit in range(pe * simd):
            row, column = line // folds * pe + bit // simd, line % folds * simd + bit % simd
            assert int(text, 16) >> bit & 1 == BITS[row, column]


def test_threshold_table_equals_finn() -> None:
    bounds = np.array([[1, 3, 5], [0, 2, 4], [2, 2, 6], [-1, 0, 1]])
    assert threshold_table(bounds, 2).ravel().tolist() == [1, 3, 5, 2, 2, 6, 0, 2, 4, -1, 0, 1]


def test_threshold_memories_equal_finn() -> None:
    """INT7 bounds of 8 levels, searched in three stages by two lanes."""
    bounds = np.arange(28).reshape(4, 7) * 3 - 40
    assert threshold_lines(bounds, 2, output_bits=3, bits=7) == {
        (0, 0): ["61", "0b"],
        (0, 1): ["5b", "67", "05", "11"],
        (0, 2): ["58", "5e", "64", "6a", "02", "08", "0e", "14"],
        (1, 0): ["76", "20"],
        (1, 1): ["70", "7c", "1a", "26"],
        (1, 2): ["6d", "73", "79", "7f", "17", "1d", "23", "29"],
    }


def test_missing_bounds_are_stored_as_0() -> None:
    assert threshold_lines(np.array([[1, 2], [3, 5]]), 1, output_bits=2, bits=4) == {
        (0, 0): ["2", "5"],
        (0, 1): ["1", "0", "3", "0"],
    }

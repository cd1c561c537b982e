"""Parity: errors are detected, none corrected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ....transforms.ir.tensor import Array
from .base import CODES
from .codewords import Answer, Codewords


@CODES.add
@dataclass(frozen=True, slots=True)
class Parity(Codewords):
    """One bit over each word, which finds odd numbers of errors; a detected error has no better answer than zero."""

    name = "parity"
    corrects = False
    on_error: Answer = "zero"

    def columns(self, data: int) -> Array:
        """Ones."""
        return np.ones((1, data), np.int64)

    def turning_lut(self, checks: int) -> int:
        """One, which blanks the bit."""
        return 1

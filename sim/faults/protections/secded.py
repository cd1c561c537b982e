"""Single error correction, double error detection."""

from __future__ import annotations

from dataclasses import dataclass

from ....transforms.codes import odd_columns
from ....transforms.ir.tensor import Array
from .base import CODES
from .codewords import Codewords


@dataclass(frozen=True, slots=True)
class Hsiao(Codewords):
    """Hsiao's odd-weight-column code."""

    def columns(self, data: int) -> Array:
        """The first columns of `odd_columns`."""
        return odd_columns(self.checks, 64)[:, :data]


@CODES.add
@dataclass(frozen=True, slots=True)
class Secded7264(Hsiao):
    """8 check bits for 64 of data correct one error and detect two (Hsiao, 1970)."""

    name = "secded-72-64"
    data = 64
    checks = 8


@CODES.add
@dataclass(frozen=True, slots=True)
class Secded3932(Hsiao):
    """7 check bits for 32 of data correct one error and detect two (Hsiao, 1970)."""

    name = "secded-39-32"
    data = 32
    checks = 7

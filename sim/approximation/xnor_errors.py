"""XNOR gates that err by their operands.

After XNOR-LiM (IEEE TCAS-I 2022): how likely a logic-in-memory XNOR is read wrongly depends on the time that it is
given and on its operands.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from bnnflow import Problem

from ...transforms.ir.tensor import Array
from ..faults.injection.draws import stream
from ..segments import Segments, operand_counts
from ..walk import BATCH, Change
from .capmin import read_numbers
from .layers import KEY, BinaryLayer

_DRAW = 42


@dataclass(frozen=True, slots=True)
class XnorErrors:
    """Each product of weight w and input x is wrong with a probability of chances[w][x], every one anew.

    A sum with n[w][x] products of each pair is as exactly distributed: of the n[0][0] + n[1][1] that count, as many as
    the two binomial draws say do not, and of the others as many as theirs say do.

    Args:
        chances: of w and x, each 0 (which stands for -1) or 1; 0 to 1.

    Raises:
        Problem: one is out of range.
    """

    name: ClassVar[str] = "xnor-errors"
    on_bits: ClassVar[bool] = False
    """Whether it gives the bit behind the sums, and not sums."""
    drawn: ClassVar[bool] = True
    """Whether it differs from trial to trial."""

    chances: tuple[tuple[float, float], tuple[float, float]]

    def __post_init__(self) -> None:
        for weight in (0, 1):
            for x in (0, 1):
                if not 0 <= self.chances[weight][x] <= 1:
                    what = f"an error rate of {self.chances[weight][x]:g} for weight {weight} and input {x}"
                    raise Problem(what, "approximation", "from 0 to 1", key=KEY)

    @property
    def size(self) -> int:
        """Products of a segment: it knows none."""
        return 0

    def segments(self, layer: BinaryLayer) -> Segments:
        """How it divides a layer's sums: not at all."""
        return Segments(layer.fan_in, layer.fan_in)

    def replacing(self, layer: BinaryLayer, seed: int, trial: int) -> Change:
        """What the layer does in place of exact sums."""
        draws = stream(seed, trial, _DRAW, layer.index)

        def run(x: Array, first: int) -> Array:
            assert first % BATCH == 0
            rng = draws(first // BATCH)
            found = operand_counts(layer.op, x)
            total = np.zeros(1, np.int64)
            for weight in (0, 1):
                for bit in (0, 1):
                    count = found[weight][bit]
                    wrong = rng.binomial(count, self.chances[weight][bit])
                    total = total + (count - wrong if weight == bit else wrong)
            return total if layer.op.xnor else 2 * total - layer.fan_in

        return run


def read_xnor_errors(path: Path) -> XnorErrors:
    """From a CSV file of two rows and two columns without a header: row w, column x, each 0 before 1.

    Raises:
        Problem: the file cannot be read or has another shape, or a number is out of range.
    """
    table = read_numbers(path, "a table of XNOR errors")
    if table.shape != (2, 2):
        what = f"a table of XNOR errors of {' x '.join(map(str, table.shape))}"
        raise Problem(what, str(path), "row 0: weight 0 with input 0, with input 1; row 1: weight 1", key=KEY)
    (a, b), (c, d) = table.tolist()
    return XnorErrors(((a, b), (c, d)))

"""Numbers of a few exponent and mantissa bits, emulated in float32, and the search for the cheapest that suffices."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bnnflow import Problem


@dataclass(frozen=True, slots=True)
class FloatFormat:
    """Sign, `exponent` and `mantissa` bits, subnormals, no infinities; rounding to nearest, ties to even.

    The greatest binade is [2^(top - 1), 2^top): values are 0 and +-(1 + f / 2^m) 2^k, k from top - 2^e + 1 up to
    top - 1, and below that multiples of 2^(top - 2^e + 1 - m). Greater numbers saturate. `top` is 0 because momenta
    of mean gradients are below 1; the published formats do not say theirs.

    Args:
        exponent: 2 to 8 bits.
        mantissa: 0 to 23 bits.
        top: logarithm of the end of the range.

    Source: Memory-efficient training of binarized neural networks, DAC 2022 (the idea; the range is ours).
    """

    exponent: int
    mantissa: int
    top: int = 0

    def __post_init__(self) -> None:
        if not (2 <= self.exponent <= 8 and 0 <= self.mantissa <= 23):
            hint = "2 to 8 exponent bits and 0 to 23 mantissa bits, for example e5m2"
            raise Problem(f"no number format e{self.exponent}m{self.mantissa}", key="momentum_format", hint=hint)

    @staticmethod
    def parse(text: str) -> FloatFormat:
        """From text such as "e5m2".

        Raises:
            Problem: the text is no format.
        """
        found = re.fullmatch(r"e(\d)m(\d\d?)", text)
        if not found:
            raise Problem(f"no number format {text!r}", key="momentum_format", hint="for example e5m2")
        return FloatFormat(int(found[1]), int(found[2]))

    @property
    def bits(self) -> int:
        """Memory of one number."""
        return 1 + self.exponent + self.mantissa

    def __str__(self) -> str:
        return f"e{self.exponent}m{self.mantissa}"

    def round(self, x: Tensor) -> Tensor:
        """The nearest number of the format to each of `x` (float32 or float64), in the type of `x`."""
        wide = x.double()
        _, exponents = torch.frexp(wide)  # |x| in [2^(exponent - 1), 2^exponent)
        least = self.top - 2**self.exponent + 2
        step = torch.ldexp(torch.ones_like(wide), exponents.clamp(min=least) - 1 - self.mantissa)
        greatest = 2.0**self.top * (1.0 - 2.0 ** -(self.mantissa + 1))
        return (torch.round(wide / step) * step).clamp(-greatest, greatest).to(x.dtype)


@dataclass(frozen=True, slots=True)
class Trial:
    """One training in the search for a format.

    Args:
        form: of the momenta; None for float32.
        accuracy: 0 to 1.
        lost: share, 0 to 1, of the momenta that were to change and did not.
        flips: of weights, in all.
    """

    form: FloatFormat | None
    accuracy: float
    lost: float = 0.0
    flips: int = 0


def cheapest(
    trial: Callable[[FloatFormat | None], Trial],
    tolerance: float = 0.01,
    exponents: Sequence[int] = (8, 5, 4, 3),
    mantissas: Sequence[int] = (7, 3, 2, 1, 0),
    greatest_loss: float = 1.0,
) -> tuple[FloatFormat | None, list[Trial]]:
    """The format of fewest bits whose accuracy is within `tolerance` of float32 momenta; fewer lost updates break ties.

    For each number of exponent bits, mantissas are tried from wide to narrow until one is too poor; the others are
    taken to be poorer still.

    Args:
        trial: trains with a format (None: float32).
        tolerance: share of accuracy that may be lost.
        exponents, mantissas: bits that are tried.
        greatest_loss: share of updates that may be lost.

    Returns:
        The format, None where none will do, and all that were tried, float32 first.

    Raises:
        Problem: there are no such bits.
    """
    mantissas = sorted(set(mantissas), reverse=True)
    families = [[FloatFormat(e, m) for m in mantissas] for e in sorted(set(exponents), reverse=True)]
    tried = [trial(None)]
    good: list[tuple[FloatFormat, Trial]] = []
    for family in families:
        for candidate in family:
            found = trial(candidate)
            tried.append(found)
            if found.accuracy < tried[0].accuracy - tolerance or found.lost > greatest_loss:
                break
            good.append((candidate, found))
    best = min(good, key=lambda one: (one[0].bits, one[1].lost, -one[1].accuracy), default=None)
    return best and best[0], tried

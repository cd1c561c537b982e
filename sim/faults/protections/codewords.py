"""Codes of check bits: where data and check bits lie in a row, and what a syndrome says.

The check bits lie beside the data and suffer the same faults. What a decoder does with too many errors is not assumed
but computed: the code's real syndrome decides between detecting and miscorrecting.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil
from typing import Any, ClassVar, Literal, get_args

import numpy as np

from bnnflow import Problem

from ....transforms.codes import words_of_a_coded_row
from ....transforms.ir.tensor import Array
from ..injection.layout import Memory
from .base import Code

Answer = Literal["zero", "last", "keep"]


@dataclass(frozen=True, slots=True)
class Codewords(Code):
    """A systematic code over groups of bits of a word; words shorter than a codeword's data are joined.

    Attributes:
        data: bits of data of a codeword; 0: those of a word.
        checks: check bits of a codeword.
        corrects: a syndrome that is a column of the check matrix is a single error, and is corrected.
        interleave: so many neighbouring bits belong to as many different codewords.
        on_error: what a detected, uncorrectable word becomes: "zero" (all bits 0), "last" (the last good word
            read before it in address order; 0 for the first), "keep" (as it was read).
    """

    data: ClassVar[int] = 0
    checks: ClassVar[int] = 1
    corrects: ClassVar[bool] = True
    options: ClassVar[tuple[str, ...]] = ("x4", *get_args(Answer))

    interleave: int = 1
    on_error: Answer = "keep"

    def __post_init__(self) -> None:
        if self.interleave < 1:
            raise Problem("an interleaving or scrubbing of nothing", "protection", "numbers are at least 1")

    @abstractmethod
    def columns(self, data: int) -> Array:
        """Check matrix over the data bits, (check bits, data)."""

    def turning_lut(self, checks: int) -> int:
        """LUTs a data bit of finding it in the syndrome and turning it."""
        return ceil(checks / 6) + 1

    @classmethod
    def option(cls, text: str) -> Mapping[str, Any]:
        """xN interleaves; zero, last and keep say what a detected error becomes."""
        number = re.fullmatch(r"x(\d+)", text)
        if number is not None:
            return {"interleave": int(number[1])}
        return {"on_error": text} if text in get_args(Answer) else {}

    def __str__(self) -> str:
        parts = [self.name, *([f"x{self.interleave}"] if self.interleave > 1 else [])]
        return ":".join([*parts, *([self.on_error] if self.on_error != type(self)().on_error else [])])

    def stored(self, memory: Memory) -> Memory:
        """Rows of whole codewords; the last one may be partly unused."""
        plan = self._plan(memory)
        width = len(plan.codeword)
        return replace(memory, depth=ceil(memory.depth / plan.joined), width=width, lanes=1, bank=width)

    def joined(self, memory: Memory) -> int:
        """Words of the memory in a row."""
        return self._plan(memory).joined

    def encode(self, memory: Memory, words: Array) -> Array:
        """Data and check bits, codeword by codeword."""
        plan = self._plan(memory)
        made = np.zeros((ceil(memory.depth / plan.joined), len(plan.codeword)), np.uint8)
        made[:, plan.data] = _joined(words, plan.joined)
        for word in range(plan.words):
            data, check = plan.places(word)
            sums = made[:, data].astype(np.float32) @ self.columns(len(data)).T.astype(np.float32)
            made[:, check] = sums % 2
        return made

    def decode(self, memory: Memory, stored: Array) -> Array:
        """Corrected, or answered by `on_error`."""
        plan = self._plan(memory)
        made = stored.copy()
        for word in range(plan.words):
            self._correct(made, plan, word)
        return made[:, plan.data].reshape(-1, memory.width)[: memory.depth]

    def _correct(self, made: Array, plan: _Plan, word: int) -> None:
        """Correct or answer codeword number `word` of every row, in place."""
        data, check = plan.places(word)
        columns = self.columns(len(data))
        sums = made[:, data].astype(np.float32) @ columns.T.astype(np.float32)
        syndrome = (sums.astype(np.int64) + made[:, check]) % 2
        wrong = np.flatnonzero(syndrome.any(axis=1))
        places = np.concatenate([data, check])
        every = np.concatenate([columns, np.eye(len(check), dtype=np.int64)], axis=1)
        weights = 1 << np.arange(len(check))
        number = {int(value): place for place, value in zip(places, weights @ every, strict=True)}
        bad = np.zeros(len(made), bool)
        for row in wrong.tolist():
            place = number.get(int(weights @ syndrome[row])) if self.corrects else None
            if place is None:
                bad[row] = True
            else:
                made[row, place] ^= 1
        if self.on_error == "zero":
            made[np.ix_(bad, data)] = 0
        elif self.on_error == "last":
            good = np.maximum.accumulate(np.where(bad, -1, np.arange(len(made))))
            held = made[:, data][np.maximum(good, 0)]
            held[good < 0] = 0
            made[:, data] = held

    def lut(self, memory: Memory) -> int:
        """Of all codewords that are read in a cycle."""
        plan, total = self._plan(memory), 0
        for word in range(plan.words):
            data, check = plan.places(word)
            syndrome = sum(ceil(int(ones) / 5) for ones in self.columns(len(data)).sum(axis=1))
            total += syndrome + len(data) * self.turning_lut(len(check))
        return total

    def _plan(self, memory: Memory) -> _Plan:
        return _plan(self.data or memory.width, self.checks, self.interleave, memory.width, memory.depth)


@dataclass(frozen=True, slots=True)
class _Plan:
    """Where the bits of a row lie.

    joined: memory words a row. words: codewords a row. codeword: codeword of each stored bit. check: bool, is it
    a check bit.
    """

    joined: int
    words: int
    codeword: Array
    check: Array

    @property
    def data(self) -> Array:
        return np.flatnonzero(~self.check)

    def places(self, word: int) -> tuple[Array, Array]:
        """Stored places of a codeword's data and check bits."""
        mine = self.codeword == word
        return np.flatnonzero(mine & ~self.check), np.flatnonzero(mine & self.check)


@lru_cache(maxsize=256)
def _plan(limit: int, checks: int, ways: int, width: int, depth: int) -> _Plan:
    """Codewords of a row: groups of `ways` codewords over consecutive bits, dealt out in turn."""
    joined = words_of_a_coded_row(limit, ways, width, depth)
    bits = joined * width
    groups = ceil(bits / (limit * ways))
    codeword, check, share = [], [], ceil(bits / groups)
    for group in range(groups):
        mine = min(share, bits - group * share)
        every = np.arange(ways if mine >= ways else max(1, mine))
        codeword += [group * ways + every[np.arange(mine) % len(every)], group * ways + np.tile(every, checks)]
        check += [np.zeros(mine, bool), np.ones(checks * len(every), bool)]
    flat = np.unique(np.concatenate(codeword), return_inverse=True)[1]
    return _Plan(joined, int(flat.max()) + 1, flat, np.concatenate(check))


def _joined(words: Array, joined: int) -> Array:
    rest = -len(words) % joined
    return np.concatenate([words, np.zeros((rest, words.shape[1]), np.uint8)]).reshape(-1, joined * words.shape[1])

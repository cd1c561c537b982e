"""Protection of memories: which errors are left behind it, and what it costs in bits, block RAMs and LUTs.

The check bits lie beside the data and suffer the same faults. What a decoder does with too many errors is not
assumed but computed: the odd-weight-column code's real syndrome decides between detecting and miscorrecting.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations
from math import ceil

import numpy as np

from bnnflow import Problem

from ....transforms.ir.tensor import Array
from ....transforms.memories import slices
from .layout import Memory, chosen

CODES = ("none", "parity", "secded-72-64", "secded-39-32", "tmr")
_DATA = {"secded-72-64": 64, "secded-39-32": 32}


@dataclass(frozen=True, slots=True)
class Protection:
    """How a memory is protected. `Protection.parse` reads its text form.

    Attributes:
        code: one of CODES. "parity": one bit over each word; "secded": single error correction,
            double error detection on 64 or 32 data bits; "tmr": three copies and a majority vote.
        interleave: so many neighbouring bits belong to as many different codewords.
        on_error: what a detected, uncorrectable word becomes: "zero" (all bits 0), "last" (the last good word
            read before it in address order; 0 for the first), "keep" (as it was read).
        scrubs: the exposure is cut into so many intervals, at the end of each of which the decoder's output is
            written back (without a code: the memory is loaded again). Flips alone are cut; stuck cells stay.
    """

    code: str = "none"
    interleave: int = 1
    on_error: str = "keep"
    scrubs: int = 1

    def __post_init__(self) -> None:
        chosen(self.code, CODES, "protection")
        chosen(self.on_error, ("zero", "last", "keep"), "answer to detected errors")
        if self.interleave < 1 or self.scrubs < 1:
            raise Problem("an interleaving or scrubbing of nothing", "protection", "numbers are at least 1")

    @staticmethod
    def parse(text: str) -> Protection:
        """`code[:option...]`, options xN (interleaving), zero, last, keep, scrub=N: "secded-72-64:x4:scrub=10".

        Raises:
            Problem: unknown words (the hint names the closest), or options that the code has not.
        """
        code, *options = text.split(":")
        # A detected parity error has no better answer than a neutral word.
        made = Protection(chosen(code, CODES, "protection"), on_error="zero" if code == "parity" else "keep")
        for option in options:
            number = re.fullmatch(r"(x|scrub=)(\d+)", option)
            if number is not None:
                count = int(number[2])
                made = replace(made, interleave=count) if number[1] == "x" else replace(made, scrubs=count)
            else:
                chosen(option, ("x4", "scrub=10", "zero", "last", "keep"), "protection option")
                made = replace(made, on_error=option)
            if code in ("none", "tmr") and not option.startswith("scrub="):
                hint = "tmr and none take scrub=N alone; parity and secded take x4, zero, last and keep too"
                raise Problem(f"{code} has no option {option!r}", "protection", hint)
        return made

    def __str__(self) -> str:
        parts = [self.code, *([f"x{self.interleave}"] if self.interleave > 1 else [])]
        if self.on_error != ("zero" if self.code == "parity" else "keep"):
            parts.append(self.on_error)
        return ":".join([*parts, *([f"scrub={self.scrubs}"] if self.scrubs > 1 else [])])

    def stored(self, memory: Memory) -> Memory:
        """The memory that holds data and check bits: what faults are drawn on.

        Words shorter than a codeword's data are joined, as many as fit; its last row may be partly unused.
        """
        if self.code == "none":
            return memory
        plan = _plan(self, memory.width, memory.depth)
        if self.code == "tmr":
            return replace(memory, width=3 * memory.width, lanes=3 * memory.lanes)
        width = len(plan.codeword)
        return replace(memory, depth=ceil(memory.depth / plan.joined), width=width, lanes=1, bank=width)

    def encode(self, memory: Memory, words: Array) -> Array:
        """Data and check bits as they are stored, (depth, width) of `stored`."""
        if self.code == "none":
            return words
        if self.code == "tmr":
            return np.concatenate([words] * 3, axis=1)
        plan = _plan(self, memory.width, memory.depth)
        made = np.zeros((ceil(memory.depth / plan.joined), len(plan.codeword)), np.uint8)
        made[:, plan.data] = _joined(words, plan.joined)
        for word in range(plan.words):
            data, check = plan.places(word)
            sums = made[:, data].astype(np.float32) @ plan.columns(len(data)).T.astype(np.float32)
            made[:, check] = sums % 2
        return made

    def decode(self, memory: Memory, stored: Array) -> Array:
        """What the unit reads: data bits behind correction, (depth, width) of `memory`."""
        if self.code == "none":
            return stored
        if self.code == "tmr":
            copies = stored.reshape(memory.depth, 3, memory.width)
            return (copies.sum(axis=1) >= 2).astype(np.uint8)
        plan = _plan(self, memory.width, memory.depth)
        made = stored.copy()
        for word in range(plan.words):
            self._correct(made, plan, word)
        return made[:, plan.data].reshape(-1, memory.width)[: memory.depth]

    def _correct(self, made: Array, plan: _Plan, word: int) -> None:
        """Correct or answer codeword number `word` of every row, in place."""
        data, check = plan.places(word)
        columns = plan.columns(len(data))
        sums = made[:, data].astype(np.float32) @ columns.T.astype(np.float32)
        syndrome = (sums.astype(np.int64) + made[:, check]) % 2
        wrong = np.flatnonzero(syndrome.any(axis=1))
        places = np.concatenate([data, check])
        every = np.concatenate([columns, np.eye(len(check), dtype=np.int64)], axis=1)
        weights = 1 << np.arange(len(check))
        number = {int(value): place for place, value in zip(places, weights @ every, strict=True)}
        bad = np.zeros(len(made), bool)
        for row in wrong.tolist():
            place = number.get(int(weights @ syndrome[row])) if self.code != "parity" else None
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

    def cost(self, memory: Memory) -> ProtectionCost:
        """Extra bits, block RAMs and LUTs of protecting one memory."""
        stored = self.stored(memory)
        banks = memory.width // memory.bank
        plain = banks * slices(memory.bank, memory.depth).count
        if self.code == "none":
            return ProtectionCost(str(self), 0, plain, plain, 0)
        if self.code == "tmr":
            return ProtectionCost(str(self), 2 * memory.size, 3 * plain, plain, memory.width)
        plan = _plan(self, memory.width, memory.depth)
        lut = sum(plan.lut(word, self.code) for word in range(plan.words))
        return ProtectionCost(
            str(self), stored.size - memory.size, slices(stored.width, stored.depth).count, plain, lut
        )


@dataclass(frozen=True, slots=True)
class ProtectionCost:
    """What a protection costs, estimated.

    LUTs of 6 inputs: a majority vote takes one a bit; an exclusive-or of n bits takes ceil((n - 1) / 5); a decoder
    with r check bits over d data bits takes r of these over the ones of its row, and d * (ceil(r / 6) + 1) to
    find and turn the wrong bit (parity: d to blank a word). Widths that change cost no LUTs here.

    Attributes:
        extra_bits: check bits, copies and unused rests.
        bram18, bram18_plain: block RAMs with and without it, were the memory in block RAMs.
        lut: of decoders, once for each codeword that is read in a cycle.
    """

    protection: str
    extra_bits: int
    bram18: int
    bram18_plain: int
    lut: int


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

    def columns(self, data: int) -> Array:
        """Check matrix over the data bits, (check bits, data)."""
        count = int(self.check[self.codeword == 0].sum())
        return np.ones((1, data), np.int64) if count == 1 else odd_columns(count, 64)[:, :data]

    def lut(self, word: int, code: str) -> int:
        data, check = self.places(word)
        ones = self.columns(len(data)).sum(axis=1)
        syndrome = sum(ceil(int(n) / 5) for n in ones)
        return syndrome + len(data) * (1 if code == "parity" else ceil(len(check) / 6) + 1)


@lru_cache(maxsize=256)
def _plan(protection: Protection, width: int, depth: int) -> _Plan:
    """Codewords of a row: groups of `interleave` codewords over consecutive bits, dealt out in turn."""
    limit = _DATA.get(protection.code, width)
    checks = {"secded-72-64": 8, "secded-39-32": 7}.get(protection.code, 1)
    ways = protection.interleave
    joined = min(max(1, limit * ways // width), depth)
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


def _joined(words: Array, joined: int) -> Array:
    rest = -len(words) % joined
    return np.concatenate([words, np.zeros((rest, words.shape[1]), np.uint8)]).reshape(-1, joined * words.shape[1])

"""What a module is made of as its parts are added up: registers and memories exactly, logic in terms."""

from __future__ import annotations

from collections import Counter
from math import ceil, log2, prod

from ...transforms.memories import FEW_WORDS
from ..rtl.memory import Memory
from ..synth.families import FAMILIES
from .memory import Mapped, address_bits, pointed, read_only, ring

# Products of so many bits and more are made by multipliers, where both factors have two or more.
MULTIPLIER_BITS = {"xc7": 9, "xcup": 9, "ecp5": 1}
# Adders of so few bits are made without a carry chain.
_SMALL = {"xc7": 2, "xcup": 2, "ecp5": 4, "ice40": 4, "gowin": 2}
# Kinds of paths beside logic, see `clock`, and their sizes: from block RAMs, to a register or through logic, log2 of
# their number; multipliers, none; sums of inputs of several bits, bits of a product; maxima, scores in a row; ternary
# weights of few words, whose three counts are added at once, log2 of SIMD; words whose errors are corrected, from LUT
# RAM or block RAM, and such that copies vote on, log2 of a stored row's bits.
READ_AHEAD, READ_AT_ONCE, MULTIPLIED = "block RAM, read ahead", "block RAM", "multiplier"
SUMMED, RANKED, TERNARY = "sums of integers", "ranks", "ternary weights of few words"
CORRECTED, CORRECTED_BLOCK, VOTED = "corrected words", "corrected words of block RAM", "voted words"
OF_FOUR_INPUTS = tuple(name for name, family in FAMILIES.items() if family.lut_inputs == 4)
# Families that make lines of three registers and more of look-up tables.
SHIFTS = ("xc7", "xcup")
# Families whose multipliers hold the registers around them.
_REGISTERS_IN_MULTIPLIERS = ("xc7",)


class Pieces:
    """A sum that grows.

    Attributes:
        family: that it is for.
        module: of the library that it is the sum of; empty: of a part of one.
        contents: leave out bits of constants that are the same in all words, as synthesis does.
        exact: registers ("ff"), "lut_ram", "block_ram" and "dsp".
        terms: of logic, by name.
        paths: from register to register that bound the clock, by kind, with what each grows with; logic alone is not
            among them, see `clock`.
    """

    def __init__(self, family: str, module: str = "", *, contents: bool = True) -> None:
        self.family = family
        self.module = module
        self.contents = contents
        self.exact: Counter[str] = Counter()
        self.terms: dict[str, float] = {}
        self.paths: dict[str, float] = {}

    def ff(self, bits: int) -> None:
        """Registers."""
        self.exact["ff"] += bits

    def path(self, kind: str, size: float) -> None:
        """A path of a kind, of which the longest counts."""
        self.paths[kind] = max(self.paths.get(kind, 0), size)

    def term(self, name: str, amount: float) -> None:
        """Logic."""
        self.terms[name] = self.terms.get(name, 0) + amount

    def adder(self, bits: int, number: int = 1) -> None:
        """Adders of so many bits."""
        self.term("small adder" if bits <= _SMALL[self.family] else "adder", number * bits)

    def counter(self, size: int) -> None:
        """A register that counts to `size` - 1 and begins again."""
        if size > 1:
            self.ff(address_bits(size))
            self.term("counter", address_bits(size))

    def array(self, mapped: Mapped, depth: int, width: int) -> None:
        """An array that is read where a register points: what it becomes and what is added to it."""
        if mapped.takes == "ff":
            self.ff(depth * width + address_bits(depth))
            self.term("register array", depth * width)
        else:
            self.exact[mapped.takes] += mapped.amount
            self._banks(mapped, width)
            if mapped.takes == "block_ram":
                self.path(READ_AT_ONCE, log2(mapped.amount))
                # A word that is written while it is read goes around the memory.
                self.ff(width + 1)
                self.term("around", width)
                self.term("compared", address_bits(depth))
            else:
                self.ff(address_bits(depth))

    def _banks(self, mapped: Mapped, width: int) -> None:
        if mapped.banks > 1:
            self.term("bank", (mapped.banks - 1) * width)
            self.term("banks", mapped.banks)

    def pointed(self, depth: int, width: int, style: str = "auto") -> None:
        """An array read in the cycle of its address."""
        self.array(pointed(self.family, depth, width, style), depth, width)

    def ring(self, depth: int, width: int, style: str) -> Mapped:
        """An array that is read into a register, the old word while it is written (a ring, bnnflow_ram): what it is."""
        mapped = ring(self.family, depth, width, style)
        self.exact[mapped.takes] += mapped.amount
        self._banks(mapped, width)
        if mapped.takes == "block_ram":
            self.path(READ_AT_ONCE, log2(mapped.amount))
            if self.family in OF_FOUR_INPUTS:
                # The old word, and whether it is wanted.
                self.ff(2 * width + 2 + address_bits(depth))
                self.term("around", width)
                self.term("compared", address_bits(depth))
        else:
            self.ff(width)
            if mapped.takes == "ff":
                self.term("register array", depth * width)
        return mapped

    def product(self, number: int, bits: tuple[int, int], made: int, before: int) -> None:
        """Products of factors of some bits, of `made` bits in a register, with `before` bits of registers in front."""
        if made >= MULTIPLIER_BITS.get(self.family, made + 1) and min(bits) > 1:
            self.exact["dsp"] += number
            self.path(MULTIPLIED, 0)
            if self.family in _REGISTERS_IN_MULTIPLIERS:
                return
        else:
            self.term("product", number * prod(bits))
        self.ff(number * (made + before))

    def fifo(self, width: int, depth: int, latency: int = 0) -> None:
        """bnnflow_fifo."""
        places = depth + latency
        bits, count = address_bits(places), places.bit_length()
        size = 2**bits if places <= 64 else places
        # Pointers, counters, whether a word is there and whether a place is free.
        self.ff((2 * bits if places > 1 else 0) + count * (2 if latency else 1) + 2)
        self.term("fifo", 1)
        self.term("fifo counter", count * (2 if latency else 1))
        self.term("fifo address", 2 * bits)
        if size != 2**bits:
            self.term("wrap", 2 * bits)
        self.pointed(size, width)

    def memory(self, held: Memory, late: int) -> None:
        """bnnflow_memory: constants that are read in turn, `late` cycles later than they can be."""
        if held.depth == 0:
            return
        if held.joined:
            # What is late is that a word is asked for.
            self.ff(late)
            self._ahead(held)
            return
        self.counter(held.depth)
        if held.depth > 1:
            self.ff(late * address_bits(held.depth))
        if held.depth <= FEW_WORDS:
            if held.depth > 1:
                self.ff(address_bits(held.depth))
            return
        self.table(held)

    def _ahead(self, held: Memory) -> None:
        """Rows of a block RAM that are read ahead of a register, of whose words one is chosen."""
        joined, rows = held.joined, ceil(held.depth / held.joined)
        blocks = read_only(self.family, rows, joined * held.width, "block").amount
        self.exact["block_ram"] += blocks
        self.path(READ_AHEAD, log2(blocks))
        self.counter(rows)
        self.counter(joined)
        used = self.used(held)
        # The row, the number of the word that is chosen of it, whether a row is there, whether it is the last.
        self.ff(joined * used + 1)
        if joined > 1:
            self.ff(address_bits(joined) + (1 if held.depth % joined else 0))
            self.term("bank", (joined - 1) * used)
        elif self.family == "ecp5":
            # The number of the word within its row, which is always 0: synth_ecp5 does not find that.
            self.ff(1)

    def used(self, held: Memory) -> int:
        """Bits of a word of constants that are stored."""
        return held.width - held.fixed if self.contents else held.width

    def table(self, held: Memory) -> None:
        """Constants of more than a few words, read behind a register."""
        mapped = read_only(self.family, held.depth, held.width, held.style)
        if mapped.takes == "block_ram":
            self.exact["block_ram"] += mapped.amount
            self.path(READ_AT_ONCE, log2(mapped.amount))
            if mapped.banks > 1:
                self.ff(ceil(log2(mapped.banks)))
            self._banks(mapped, held.width)
        else:
            used = self.used(held)
            self.ff(used)
            self.term("rom", used * ceil(held.depth / (16 if self.family in OF_FOUR_INPUTS else 64)))

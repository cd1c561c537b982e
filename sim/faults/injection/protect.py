"""Protection of memories: which errors are left behind it, and what it costs in bits, block RAMs and LUTs.

What is stored and read is said by a code (`faults.protections`); exposure and scrubbing are the same for all.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from bnnflow import Problem

from ....transforms.ir.tensor import Array
from ..protections import CODES, Code
from .layout import Memory, chosen

_NONE = CODES["none"]()


@dataclass(frozen=True, slots=True)
class Protection:
    """How a memory is protected. `Protection.parse` reads its text form.

    Attributes:
        code: an entry of `CODES`, with its options.
        scrubs: the exposure is cut into so many intervals, at the end of each of which the decoder's output is
            written back (without a code: the memory is loaded again). Flips alone are cut; stuck cells stay.
    """

    code: Code = _NONE
    scrubs: int = 1

    def __post_init__(self) -> None:
        if self.scrubs < 1:
            raise Problem("an interleaving or scrubbing of nothing", "protection", "numbers are at least 1")

    @staticmethod
    def parse(text: str) -> Protection:
        """`code[:option...]`, the code's options and scrub=N: "parity:last", "secded-72-64:x4:scrub=10".

        Raises:
            Problem: unknown words (the hint names the closest), options that the code has not, or two that set the
                same.
        """
        name, *options = text.split(":")
        set_by: dict[str, str] = {}
        made = Protection(CODES[chosen(name, tuple(CODES), "protection")]())
        for option in options:
            number = re.fullmatch(r"scrub=(\d+)", option)
            sets = {"scrubs": int(number[1])} if number is not None else made.code.option(option)
            if not sets:
                raise _no_option(made.code, option)
            for part in sets:
                if part in set_by:
                    raise Problem(f"{set_by[part]} and {option} in {text!r}", "protection", "keep one of them")
                set_by[part] = option
            made = replace(made, **sets) if number is not None else replace(made, code=replace(made.code, **sets))
        return made

    def __str__(self) -> str:
        return ":".join([str(self.code), *([f"scrub={self.scrubs}"] if self.scrubs > 1 else [])])

    @property
    def coded(self) -> bool:
        """More than the data is stored."""
        return self.code.coded

    def stored(self, memory: Memory) -> Memory:
        """The memory that holds data and check bits: what faults are drawn on."""
        return self.code.stored(memory)

    def encode(self, memory: Memory, words: Array) -> Array:
        """Data and check bits as they are stored, (depth, width) of `stored`."""
        return self.code.encode(memory, words)

    def decode(self, memory: Memory, stored: Array) -> Array:
        """What the unit reads: data bits behind correction, (depth, width) of `memory`."""
        return self.code.decode(memory, stored)

    def cost(self, memory: Memory) -> ProtectionCost:
        """Extra bits, block RAMs and LUTs of protecting one memory."""
        stored = self.stored(memory)
        extra = stored.size - memory.size
        return ProtectionCost(str(self), extra, stored.block_rams, memory.block_rams, self.code.lut(memory))


@dataclass(frozen=True, slots=True)
class Protections:
    """How all memories of a network are protected. `Protections.parse` reads its text form.

    Attributes:
        rest: of memories that `by` does not name.
        by: of a unit ("conv1") or of one memory ("conv1.weights", "conv1.thresholds"), which counts before its unit.
    """

    rest: Protection = Protection()
    by: Mapping[str, Protection] = field(default_factory=dict)

    @staticmethod
    def parse(text: str) -> Protections:
        """`CODE` of all memories, `NAME=CODE` of one, or several of these with commas between them.

        Raises:
            Problem: as for `Protection.parse`; an empty text; a name that has two.
        """
        if not text.strip():
            raise Problem("a protection of no name", "protection", f"one of {', '.join(CODES)}, or NAME=CODE")
        found = {name: Protection.parse(code) for name, code in named(text).items()}
        rest = found.pop("", Protection())
        return Protections(rest, found)

    def __str__(self) -> str:
        by = [f"{name}={protection}" for name, protection in self.by.items()]
        return ",".join([str(self.rest), *by] if not by or self.rest.coded else by)

    @property
    def coded(self) -> bool:
        """More than the data is stored in some memory."""
        return self.rest.coded or any(one.coded for one in self.by.values())

    def at(self, memory: Memory) -> Protection:
        """That of one memory."""
        return self.by.get(memory.name, self.by.get(memory.layer, self.rest))

    def stored(self, memory: Memory) -> Memory:
        """The memory that holds data and check bits: what faults are drawn on."""
        return self.at(memory).stored(memory)

    def check(self, there: Sequence[Memory]) -> None:
        """Refuse names of nothing that holds weights or thresholds.

        Raises:
            Problem: there is no such unit or memory; the hint names the closest.
        """
        known = tuple(dict.fromkeys(name for memory in there for name in (memory.layer, memory.name)))
        for name in self.by:
            chosen(name, known, "unit or memory to protect")


# A choice: NAME=CODE, or a code alone, whose option scrub=N has the same sign.
_CHOICE = re.compile(r"(?:(?P<name>.*)(?<!:scrub)=)?(?P<code>(?:[^=]|(?<=:scrub)=)*)", re.DOTALL)


def named(text: str) -> dict[str, str]:
    """Codes by name, as a text says: "CODE" by the name "", "NAME=CODE", or several of these with commas.

    What the hardware's ports call bounds are thresholds here: one memory has one name.

    Raises:
        Problem: a name that has two.
    """
    found: dict[str, str] = {}
    for part in text.split(",") if text else ():
        choice = _CHOICE.fullmatch(part.strip())
        assert choice is not None, "any text is one"
        name = re.sub(r"\.bounds$", ".thresholds", (choice["name"] or "").strip())
        if name in found:
            what = f"{name} has two codes" if name else "all memories have two codes"
            raise Problem(what, "protection", "give one; those of single units and memories as NAME=CODE")
        found[name] = choice["code"].strip()
    return found


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


def _no_option(code: Code, option: str) -> Problem:
    """The refusal of an option that a code has not; raises where no code has it."""
    takers = [name for name, other in CODES.items() if other.option(option)]
    if not takers:
        every = dict.fromkeys(example for other in CODES.values() for example in other.options)
        chosen(option, (*every, "scrub=10"), "protection option")
    takes = ", ".join((*code.options, "scrub=N"))
    hint = f"it takes {takes}; {option} is for {', '.join(sorted(takers))}"
    return Problem(f"{code.name} has no option {option!r}", "protection", hint)

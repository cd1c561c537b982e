"""What a host can ask of a network's hardware, and how memories are stored that can be written or correct errors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

from bnnflow import Problem

# Addresses of registers in bytes; the header of bnnflow_control has them all.
MAGIC, MAP_VERSION, HASH = 0x00, 0x04, 0x08
CLEAR, BEGAN, ENDED, INTERVAL, LATENCY = 0x24, 0x28, 0x2C, 0x30, 0x34
MENDED, FAILED = 0x38, 0x3C
SET, SET_READ, SET_SINCE, SET_SETTLED = 0x40, 0x44, 0x48, 0x4C
ROW, MEMORY = 0x50, 0x54
STREAMS, DATA = 0x4000, 0x8000
# Bits of data that the registers of a row can hold.
MOST_ROW = 32 * (0x8000 // 4)


@dataclass(frozen=True, slots=True)
class Coding:
    """How a row is stored: parameters of bnnflow_code.

    Attributes:
        copies: 1, or 3 that vote.
        limit, checks, ways: bits of data of a codeword at most, its check bits, codewords of neighbouring bits.
        columns: of the check matrix, a number of `checks` bits each, `limit` of them.
        corrects: a syndrome that is a column is a single error, and is corrected.
        zeros: a codeword that cannot be corrected is read as zeros, else as it is stored.
    """

    copies: int = 1
    limit: int = 1
    checks: int = 0
    ways: int = 1
    columns: Sequence[int] = (1,)
    corrects: bool = False
    zeros: bool = False

    @property
    def coded(self) -> bool:
        """More than the data is stored."""
        return self.copies > 1 or self.checks > 0

    @property
    def mends(self) -> bool:
        """A row that has changed may be corrected."""
        return self.copies > 1 or (self.checks > 0 and self.corrects)

    def codewords(self, data: int) -> list[int]:
        """Bits of data of each codeword of a row of so many; none where there are no check bits."""
        if self.copies > 1 or not self.checks:
            return []
        groups = ceil(data / (self.limit * self.ways))
        share = ceil(data / groups)
        made = []
        for bits in [share] * (groups - 1) + [data - (groups - 1) * share]:
            words = min(bits, self.ways)
            made += [ceil((bits - place) / words) for place in range(words)]
        return made

    def stored_bits(self, data: int) -> int:
        """Bits of a stored row of so many bits of data."""
        return self.copies * data + self.checks * len(self.codewords(data))

    def parameters(self) -> dict[str, int | str]:
        """As they stand in SystemVerilog."""
        bits = max(self.checks, 1)
        return {
            "COPIES": self.copies,
            "LIMIT": self.limit,
            "CHECKS": self.checks,
            "WAYS": self.ways,
            "COLUMNS": f"{bits * self.limit}'h{sum(column << bits * i for i, column in enumerate(self.columns)):x}",
            "CORRECTS": self.corrects,
            "ZEROS": self.zeros,
        }


@dataclass(frozen=True, slots=True)
class Rows:
    """A memory as it is stored.

    Attributes:
        words: of a set, in hexadecimal, row 0 first.
        bits: of a stored row.
        joined: words that a unit reads of a row.
        coding: how a row is stored.
        code: what people call that; empty: nothing but data.
    """

    words: Sequence[str]
    bits: int
    joined: int = 1
    coding: Coding = Coding()
    code: str = ""


@dataclass(frozen=True, slots=True)
class Control:
    """What a host can ask of hardware.

    Attributes:
        sets: of weights and thresholds in the units whose `runtime_writeable_weights` is 1; 1 or more.
        coded: memories that are stored in a code, by unit and port ("weights", "bounds").
        scrub: whether those whose rows can be corrected are walked through while no unit reads them.
    """

    sets: int = 1
    coded: Mapping[tuple[str, str], Rows] = field(default_factory=dict)
    scrub: bool = False


def writes(number: int, row: int, data_bits: int, value: int) -> Iterator[tuple[int, int]]:
    """Addresses and values that a host writes to give a row of a memory its data.

    Args:
        number: of the memory, as in the manifest.
        row: set * rows + row.
        data_bits: of a row, as in the manifest.
        value: the data, bit 0 lowest.

    Raises:
        Problem: the value has more bits.
    """
    if not 0 <= value < 1 << data_bits:
        raise Problem(f"a row of memory {number} has {data_bits} bits", "data of a row", "give no more")
    for place in range(0, data_bits, 32):
        yield DATA + place // 8, value >> place & 0xFFFFFFFF
    yield ROW, row
    yield MEMORY, number

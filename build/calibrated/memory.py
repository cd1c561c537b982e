"""Which memories of a family an array becomes, by the costs that yosys weighs (pass memory_libmap, tables of 0.70).

The library has four kinds of arrays: read-only ones; those read where a register points (FIFOs, kept vectors, rows of
pools); those whose read is registered (ring buffers, vectors in front of block RAM, memories that are written); and
functions of a few address bits, which are no memory at all. With their sizes and kinds alone a mapping follows, so
block RAMs and LUT RAMs need no fit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, inf, log2

# Weights that yosys gives to multiplexers and decoders between memories, and to what it must add beside one.
_BETWEEN, _BESIDE = 0.5, 2
_POINTED, _REGISTERED, _READ_FIRST = 4, 1, 7
# Cost of a bit of a constant in logic, in LUTs, as yosys has it.
_CONSTANT_BIT = 1 / 16


@dataclass(frozen=True, slots=True)
class Kind:
    """A memory that a family has.

    Attributes:
        takes: "lut_ram" or "block_ram".
        each: how many of it one takes.
        depth: words at the first width.
        widths: each twice as wide, or with parity more, at half the depth.
        cost: in LUTs, as yosys has it.
        shared: part of the cost that falls with the share of its bits that are used.
        byte: bits that are written together; 0: all.
    """

    takes: str
    each: int
    depth: int
    widths: Sequence[int]
    cost: float
    shared: float = 0
    byte: int = 0


def _lut_ram(depth: int, width: int, each: int, cost: float, shared: float = 0) -> Kind:
    return Kind("lut_ram", each, depth, (width,), cost, shared)


def _block_ram(each: int, depth: int, widths: Sequence[int], cost: float, byte: int = 9) -> Kind:
    return Kind("block_ram", each, depth, widths, cost, byte=byte)


_AMD_BLOCKS = (
    _block_ram(1, 16_384, (1, 2, 4, 9, 18, 36), 129),
    _block_ram(2, 32_768, (1, 2, 4, 9, 18, 36, 72), 257),
    _block_ram(4, 65_536, (1, 2, 4, 9), 513),
)
KINDS: dict[str, Sequence[Kind]] = {
    "xc7": (_lut_ram(32, 6, 4, 8, 7), _lut_ram(64, 3, 4, 8, 7), *_AMD_BLOCKS),
    "xcup": (_lut_ram(32, 14, 8, 16, 16), _lut_ram(64, 7, 8, 16, 16), *_AMD_BLOCKS),
    "ecp5": (_lut_ram(16, 4, 6, 4), _block_ram(1, 16_384, (1, 2, 4, 9, 18, 36), 128)),
    "ice40": (_block_ram(1, 2048, (2, 4, 8, 16), 64, 1),),
    "gowin": (_lut_ram(16, 4, 6, 4, 4), _block_ram(1, 16_384, (1, 2, 4, 9, 18, 36), 128)),
}
# Families whose block RAMs give the old word where one is written and read at once.
_GIVES_OLD = ("xc7", "xcup")


@dataclass(frozen=True, slots=True)
class Mapped:
    """What an array becomes.

    Attributes:
        takes: "lut_ram", "block_ram", "ff" or "lut" (a table in logic).
        amount: of it.
        banks: memories behind each other, between which words are chosen.
    """

    takes: str
    amount: int
    banks: int = 1


def read_only(family: str, depth: int, width: int, style: str) -> Mapped:
    """Words that are constants, read behind a register.

    Args:
        family: name of the FPGA family.
        depth, width: words and their bits.
        style: "block" or "distributed".
    """
    cost, block = _least(family, depth, width, "block_ram", 0, writes=False)
    if style == "block":
        return block
    # Where there is no LUT RAM, yosys takes what costs least, whatever was asked for.
    return Mapped("lut", width * depth) if _has_lut_ram(family) or cost >= _CONSTANT_BIT * depth * width else block


def pointed(family: str, depth: int, width: int, style: str = "auto") -> Mapped:
    """An array that is read where a register points, in the same cycle.

    Args:
        family, depth, width: as for `read_only`.
        style: "auto" or "distributed"; what the family has not is as "auto".
    """
    if style == "distributed" and _has_lut_ram(family):
        return _least(family, depth, width, "lut_ram", _POINTED)[1]
    return _choice(family, depth, width, _POINTED, _POINTED)


def ring(family: str, depth: int, width: int, style: str) -> Mapped:
    """An array whose word is read into a register, such as a ring buffer.

    Args:
        family, depth, width: as for `read_only`.
        style: "auto", "block" or "distributed"; what the family has not is as "auto".
    """
    block = _REGISTERED if family in _GIVES_OLD else _READ_FIRST
    if style == "distributed" and _has_lut_ram(family):
        return _least(family, depth, width, "lut_ram", _REGISTERED)[1]
    if style == "block":
        return _least(family, depth, width, "block_ram", block)[1]
    return _choice(family, depth, width, _REGISTERED, block)


def _has_lut_ram(family: str) -> bool:
    return any(kind.takes == "lut_ram" for kind in KINDS[family])


def _choice(family: str, depth: int, width: int, lut_ram: int, block_ram: int) -> Mapped:
    found = [_least(family, depth, width, "lut_ram", lut_ram), _least(family, depth, width, "block_ram", block_ram)]
    registers = float(depth * width), Mapped("ff", depth * width)
    return min([registers, *found], key=lambda each: each[0])[1]


@lru_cache(10_000)
def _least(family: str, depth: int, width: int, takes: str, beside: int, writes: bool = True) -> tuple[float, Mapped]:
    """The cost of the cheapest kind of memory, and how many of it."""
    best: tuple[float, Mapped] = (inf, Mapped(takes, 0))
    for kind in KINDS[family]:
        if kind.takes == takes:
            for cost, found in _ways(kind, depth, width, beside, writes):
                if cost < best[0]:
                    best = (cost, found)
    return best


def _ways(kind: Kind, depth: int, width: int, beside: int, writes: bool) -> Iterator[tuple[float, Mapped]]:
    for place, unit in enumerate(kind.widths):
        banks = ceil(depth / (kind.depth >> place))
        byte = 1 if not writes else min(kind.byte, unit) or unit
        wide = ceil(width / byte) * byte
        number = ceil(banks * wide / unit)
        cost = (kind.cost - kind.shared) * number + kind.shared * banks * width / unit
        cost += _BETWEEN * ((banks - 1) * width + (banks if writes and banks > 1 else 0)) + _BESIDE * beside
        yield cost, Mapped(kind.takes, number * kind.each, banks)


def address_bits(depth: int) -> int:
    """Bits that count to `depth` - 1, at least one."""
    return max(1, ceil(log2(depth)))

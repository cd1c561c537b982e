"""What FPGA parts hold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PartFacts:
    """An FPGA part.

    Attributes:
        name: beginning of its full part numbers, or what a user calls it.
        family: that `flow synth` maps to; "": none.
        routed: whether `flow route` places on it.
        lut: look-up tables.
        lut_inputs: inputs of each.
        ff: flip-flops.
        block_rams: block RAMs.
        block_bits: bits of each.
        bram18: block RAMs of 18 kbit that these make, which estimates are held against.
        uram: UltraRAMs of 288 kbit.
        spram: single-port RAMs of 256 kbit.
        dsp: DSP slices or multipliers.
        memory_bits: bits of all RAMs and look-up tables together.
        grades: speed grades, slowest first; empty: not known, or there are none.
        price: "low", "middle" or "high"; "": not known.
        price_means: the class in words, an estimate for a piece.
        boards: that carry it.
        about: devices, and where the figures are from.
    """

    name: str
    family: str
    routed: bool
    lut: int
    lut_inputs: int
    ff: int
    block_rams: int
    block_bits: int
    bram18: int
    uram: int
    spram: int
    dsp: int
    memory_bits: int
    grades: tuple[str, ...]
    price: str
    price_means: str
    boards: tuple[str, ...]
    about: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PartList:
    """What `flow parts` lists.

    Attributes:
        parts: in the table's order.
    """

    parts: tuple[PartFacts, ...]

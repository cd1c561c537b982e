"""Parts in the terminal."""

from __future__ import annotations

from rich.table import Table

from ...build.parts import BLOCK_BITS, PRICES
from ..results.parts import PartFacts, PartList
from .terminal import terminal


def print_parts(found: PartList) -> None:
    """A table of parts, and what its prices mean."""
    table = Table(box=None, pad_edge=False)
    table.add_column("part", no_wrap=True)
    table.add_column("family", no_wrap=True)
    for column in ("LUT", "FF", "block RAMs", "URAM", "DSP"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("grades", no_wrap=True)
    table.add_column("price", no_wrap=True)
    table.add_column("boards", overflow="fold")
    for one in found.parts:
        blocks, grades = f"{one.block_rams:,} x {one.block_bits / 1024:g}k", one.grades
        numbers = (f"{one.lut:,}", f"{one.ff:,}", blocks, f"{one.uram:,}", f"{one.dsp:,}")
        span = " to ".join(grades[:1] + grades[1:][-1:])
        table.add_row(one.name, one.family, *numbers, span, one.price, ", ".join(one.boards))
    terminal().print(table)
    meant = "; ".join(f"{name}: {means}" for name, means in PRICES.items())
    print(f"price: an estimate for one piece in US dollars ({meant})")


def print_part(one: PartFacts) -> None:
    """All that is known of a part."""
    blocks = ", ".join(
        (
            f"{one.block_rams:,} of {_kbit(one.block_bits)}",
            *([f"used as {one.bram18:,} of 18 kbit"] if one.block_bits != BLOCK_BITS else []),
        )
    )
    rows = (
        ("part", one.name),
        ("devices, source", one.about),
        ("family of flow synth", one.family or "none: yosys does not map to it here"),
        ("placed by flow route", "yes, by nextpnr" if one.routed else "no: no open tool here places on it"),
        ("LUT", f"{one.lut:,} of {one.lut_inputs} inputs"),
        ("FF", f"{one.ff:,}"),
        ("block RAMs", blocks),
        ("UltraRAM", f"{one.uram:,} of 288 kbit" if one.uram else ""),
        ("single-port RAM", f"{one.spram:,} of 256 kbit" if one.spram else ""),
        ("DSP", f"{one.dsp:,}"),
        ("memory at most", f"{one.memory_bits:,} bits with LUTs"),
        ("speed grades", ", ".join(one.grades)),
        ("price", f"{one.price}: {one.price_means}" if one.price else ""),
        ("boards", ", ".join(one.boards)),
    )
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, said in rows:
        if said:
            table.add_row(name, said)
    terminal().print(table)


def _kbit(bits: int) -> str:
    return f"{bits / 1024:g} kbit"

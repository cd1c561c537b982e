"""What `flow tolerance` and `flow protect` show."""

from __future__ import annotations

from rich.table import Table

from bnnflow import Problem

from ..graphs.control import codes_of
from ..results.planning import JudgedAccuracy, ProtectionPlan, TolerancePlan
from .graphs import print_input
from .terminal import terminal


def print_tolerance(found: TolerancePlan) -> None:
    """Print how bad each memory may be."""
    print_input(found.input)
    table = Table("memory", "bits", "bit error rate", "against one rate for all", "alone %")
    for row in found.rates:
        times = f"{row.rate / found.uniform:,.3g}x" if found.uniform else ""
        table.add_row(row.memory, f"{row.bits:,}", f"{row.rate:g}", times, f"{100 * row.alone:.2f}")
    terminal().print(table)
    print(f"all memories at these rates: {_accuracy(found.accuracy)}, {found.clean:.2%} without faults")
    print(f"all memories at {found.uniform:g}, the highest rate of those tried: {_accuracy(found.uniform_accuracy)}")
    _print_halves(found)
    if found.output:
        kinds = "+".join(dict.fromkeys(row.memory.rpartition(".")[2] for row in found.rates))
        print(f"rates: {found.output}; flow faults --target {kinds} --table reads it")


def print_protection(found: ProtectionPlan) -> None:
    """Print which memories are worth which code."""
    print_input(found.input)
    title = f"flips at {found.rate:g} in all memories, {found.clean:.2%} without faults"
    table = Table("", "accuracy %", "95 % interval", "LUT", "BRAM18", "bits", "codes", title=title)
    for index, row in enumerate(found.front):
        one = row.accuracy
        limits = f"{100 * one.low:.2f} to {100 * one.high:.2f}"
        mark = "*" if index == found.pick else ""
        cells = (f"{100 * one.mean:.2f}", limits, f"+{row.lut:,}", f"+{row.bram18:,}", f"+{row.extra_bits:,}")
        table.add_row(mark, *cells, row.protect.replace(",", " "))
    terminal().print(table)
    print("LUTs and block RAMs: estimated, in block RAM; a row was better than those above where it was chosen")
    _print_halves(found)
    if found.output:
        print(f"plan (*): {found.output}; {_readers(found.front[found.pick].protect)}")


def _readers(protect: str) -> str:
    """What reads a plan: of hardware alone what has hardware."""
    try:
        codes_of(protect)
    except Problem as problem:
        return f"flow faults --protection reads it, flow rtl does not: {problem.what}"
    return "flow rtl --protect and flow faults --protection read it"


def _print_halves(found: TolerancePlan | ProtectionPlan) -> None:
    chosen = f"chosen on {found.images:,} images, judged on {found.judged:,} others with other fault maps"
    print(f"{chosen}, {found.maps:,} of them each time")


def _accuracy(one: JudgedAccuracy) -> str:
    return f"{one.mean:.2%} ({one.low:.2%} to {one.high:.2%})"

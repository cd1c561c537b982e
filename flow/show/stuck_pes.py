"""What `flow permute` shows."""

from __future__ import annotations

from rich.table import Table

from ..results.stuck_pes import ReplicationPlan, StuckAccuracy, StuckPes, StuckPlan
from .graphs import print_input
from .report import plural
from .terminal import terminal


def print_stuck(found: StuckPlan) -> None:
    """Print what stuck PEs cost, before and after."""
    print_input(found.input)
    title = f"accuracy % with one PE stuck, {100 * found.clean:.2f} without"
    columns = ("unit", "stuck at", "PEs", "channels", "as it is", "worst PE", "least channels on it", "95 % interval")
    table = Table(*columns, title=title, title_justify="left")
    for row in found.units:
        mean = sum(one.accuracy for one in row.before) / len(row.before)
        worst = min(row.before, key=lambda one: one.accuracy)
        cells = (f"{row.stuck}", f"{row.pes:,}", f"{row.channels:,}", f"{100 * mean:.2f}", _worst(row, worst.pe))
        after = ("-", "") if row.after is None else (f"{100 * row.after.accuracy:.2f}", _limits(row.after))
        table.add_row(row.unit, *cells, *after)
    terminal().print(table)
    for unit, reason in dict.fromkeys((row.unit, row.reason) for row in found.units if row.reason):
        print(f"channels of {unit} stay: {reason}")
    print("as it is: mean over the PEs that were tried; least channels: those that cost least stand on the stuck PE")
    how = "together, one after another" if found.together else "each alone"
    measured = f"channels measured {how}, by {found.by}"
    print(f"{measured}; chosen on {plural(found.images, 'image')}, judged on {found.judged:,} others")
    if found.permuted is not None:
        (row,) = found.units
        (one,) = row.before
        made = found.permuted
        print(f"{row.unit}, PE {made.pe} stuck at {row.stuck}: {_accuracy(one)} as it is")
        if row.after is not None and row.spared is not None:
            listed = ", ".join(map(str, row.spared))
            print(f"with channels {listed} on it: {_accuracy(row.after)}")
        if row.moved_with:
            print(f"ordered with it: {', '.join(row.moved_with)}")
        print(f"the permuted graph: {made.values:,} values of {made.tensors:,} tensors are the old ones in that order")
        if made.path is not None:
            print(f"graph: {made.path}; flow rtl, flow faults and flow cosim read it")


def print_replication(found: ReplicationPlan) -> None:
    """Print what channels that are computed three times spare and cost."""
    print_input(found.input)
    bits = " or ".join(map(str, found.stuck))
    title = f"{found.unit}: accuracy % with one PE stuck at {bits}, {100 * found.clean:.2f} without"
    columns = ("replicated", "rows", "worst PE", "mean", "voter, worst", "LUT", "BRAM18", "cycles")
    table = Table(*columns, title=title, title_justify="left")
    for row in found.front:
        voter = "-"
        if row.voter_worst is not None and row.voter_pes is not None:
            voter = f"{100 * row.voter_worst.accuracy:.2f} of {plural(row.voter_pes, 'PE')}"
        worst = f"{100 * row.worst.accuracy:.2f} (PE {row.worst_pe} at {row.worst_stuck})"
        figures = (f"{100 * row.mean:.2f}", voter, f"{row.lut:,}", f"{row.bram18:,}", f"{row.cycles:,}")
        table.add_row(f"{row.channels:,}", f"{row.rows:,}", worst, *figures)
    terminal().print(table)
    print(f"LUTs, block RAMs and cycles of the whole graph on {found.part}: {found.source}")
    print("voter, worst: one of its own PEs stuck, which nothing outvotes")
    measured = f"channels measured each alone, by {found.by}"
    print(f"{measured}; chosen on {plural(found.images, 'image')}, judged on {found.judged:,} others")
    if found.output is not None:
        print(f"graph: {found.output}; flow rtl, flow faults and flow cosim read it")


def _worst(row: StuckPes, pe: int) -> str:
    return f"{100 * min(one.accuracy for one in row.before):.2f} (PE {pe})"


def _limits(one: StuckAccuracy) -> str:
    return f"{100 * one.low:.2f} to {100 * one.high:.2f}"


def _accuracy(one: StuckAccuracy) -> str:
    return f"accuracy {one.accuracy:.2%} ({one.low:.2%} to {one.high:.2%}), {one.changed:.2%} of the classes change"

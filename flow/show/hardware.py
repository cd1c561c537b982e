"""Hardware and its simulation on the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table

from ..results.activity import Activity
from ..results.hardware import Cosim, Rtl
from ..results.routing import RoutingResult
from ..results.synthesis import Resources, SynthesisResult
from .graphs import print_input
from .report import cells_text, path_text, plural, synthesis_saved
from .terminal import rate_text, terminal


def print_rtl(found: Rtl) -> None:
    """Print what was written."""
    table = Table("unit", "module", title=f"{found.name}: {found.top}", title_justify="left")
    for column in ("latency", "memory bits"):
        table.add_column(column, justify="right")
    for unit in found.units:
        table.add_row(unit.name, unit.module, f"{unit.latency:,}", f"{unit.memory_bits:,}" if unit.memory_bits else "")
    terminal().print(table)
    print_input(found.input)
    print(
        f"{found.interval_cycles:,} cycles per image: {rate_text(found.fps)} images/s at {found.clock_mhz:g} MHz; "
        f"first image after {found.latency_cycles:,} cycles; simulated word by word"
    )
    if found.registers:
        parts = ["AXI-Lite registers (s_axi_control_*)"]
        if found.host_memories:
            held = "1 memory" if found.host_memories == 1 else f"{found.host_memories:,} memories"
            parts.append(f"{held} behind them, {plural(found.sets or 0, 'set')}")
        if found.protection:
            parts.append(f"stored in {found.protection}" + (", scrubbed" if found.scrubbed_memories else ""))
        print("; ".join(parts))
    print(f"{plural(found.files, 'file')} in {found.folder}")
    for note in found.notes:
        print(f"note: {note}")


def print_cosim(found: Cosim) -> None:
    """Print what the hardware's simulation found."""
    table = Table("stalls in, out", title=f"{found.name}: {found.top}, {found.tool}", title_justify="left")
    for column in ("images", "outputs that differ", "cycles", "seconds"):
        table.add_column(column, justify="right")
    for run in found.runs:
        stalls = f"{run.stall_in:.0%}, {run.stall_out:.0%}" if run.stall_in or run.stall_out else "none"
        table.add_row(stalls, f"{run.images:,}", f"{run.different:,}", f"{run.cycles:,}", f"{run.seconds:.2f}")
    terminal().print(table)
    print_input(found.input)
    interval = ""
    if found.interval_cycles is not None and found.predicted_interval is not None:
        interval = f"{found.interval_cycles:,} cycles per image (predicted {found.predicted_interval:,}), "
    print(f"{interval}first image after {found.latency_cycles:,} cycles (predicted {found.predicted_latency:,})")
    if found.equal:
        print(
            f"{found.outputs:,} outputs, the words of {plural(found.streams, 'stream')}, the cycles of all images and "
            "the fill of all FIFOs are as the simulators say"
        )
        return
    if (wrong := found.difference) is not None:
        where = f"; the first stream that differs is {wrong.stream}" if wrong.stream else ""
        print(f"image {wrong.image}, value {wrong.place}: {wrong.found} and not {wrong.expected}{where}")
    if (word := found.first_word) is not None:
        where = f"{word.stream}, image {word.image}, value {word.place} (channel {word.channel}), cycle {word.cycle:,}"
        print(f"first wrong word: {where}: {word.found} and not {word.expected}")
        if word.waveform:
            print(f"waveform around it in {word.waveform}")
        else:
            print("hint: -o FOLDER leaves the hardware and the waveform around that cycle there")
    for line in found.unexpected:
        print(f"differs: {line}")


def print_synthesis(found: SynthesisResult) -> None:
    """Print cells of units, of one network behind the other, and what pruning saved."""
    for title, network in found.networks.items():
        table = Table("unit", title=f"{title}: {network.family}, {network.tool}, {network.level}", title_justify="left")
        for column in ("estimated logic LUT", "logic LUT", "LUT RAM", "FF", "carry", "block RAM", "DSP", "seconds"):
            table.add_column(column, justify="right")
        for unit in network.units:
            guess = "" if unit.estimated_lut is None else f"{unit.estimated_lut:,}"
            table.add_row(unit.name, guess, *_amounts(unit.resources), "kept" if unit.kept else f"{unit.seconds:.1f}")
        table.add_section()
        table.add_row("sum", f"{network.estimated_lut:,}", *_amounts(network.total), "")
        if network.whole is not None:
            table.add_row("as one netlist", "", *_amounts(network.whole), f"{network.whole_seconds:.1f}")
        terminal().print(table)
        facts = f"block RAM: {network.block}; estimate: {network.estimated_by}"
        print(f"{network.interval_cycles:,} cycles per image; {facts}")
        for note in network.notes:
            print(f"note: {note}")
    # Chosen units of two networks are not the same work.
    whole = all(any(unit.name == "(input)" for unit in one.units) for one in found.networks.values())
    if whole and (saved := synthesis_saved(found.networks)) is not None:
        kinds = ("logic LUT", "LUT RAM", "FF", "block RAM")
        changes = ", ".join(f"{kind} {change}" for kind, change in zip(kinds, saved[1:-1], strict=True))
        print(f"pruned against unpruned, synthesized: {changes}; cycles per image {saved[-1]}")


def print_routing(found: RoutingResult) -> None:
    """Print clocks, slowest paths and cells, of one network behind the other."""
    for title, network in found.networks.items():
        where = f"{network.part}{f', grade {network.grade}' if network.grade else ''}"
        head = f"{title}: {where}, {' and '.join(network.tools)}, {network.level}"
        table = Table("unit", title=head, title_justify="left")
        for column in ("Fmax, MHz", "predicted", "seeds", "slowest path", "logic, ns", "routing, ns", "seconds"):
            table.add_column(column, justify="left" if column == "slowest path" else "right")
        modules = [network.whole] if network.whole is not None else network.units
        for one in modules:
            others = f"{min(each.fmax_mhz for each in one.seeds):.1f} to {one.fmax_mhz:.1f}"
            path, took = one.path, sum(each.seconds for each in one.seeds)
            table.add_row(
                one.name or "all",
                f"{one.fmax_mhz:.1f}",
                "" if one.predicted_mhz is None else f"{one.predicted_mhz:.1f}",
                f"{len(one.seeds)}: {others}" if len(one.seeds) > 1 else "1",
                path_text(path),
                f"{path.logic_ns:.2f}",
                f"{path.routing_ns:.2f}",
                "kept" if all(each.kept for each in one.seeds) else f"{took:.1f}",
            )
        terminal().print(table)
        for one in modules:
            print(f"{one.name or 'all'}: {cells_text(one)}")
        if (whole := network.whole) is not None and network.fps is not None:
            reached = "reached" if network.reached else "missed"
            rate = (
                f"{network.interval_cycles:,} cycles per image, {network.fps:,.0f} images/s at {whole.fmax_mhz:.1f} MHz"
            )
            print(f"{rate}; the clock of {network.clock_mhz:g} MHz is {reached}")
        for note in network.notes:
            print(f"note: {note}")


def print_activity(found: Mapping[str, Activity]) -> None:
    """Print how often bits change, of one network behind the other, and what pruning saved."""
    for title, network in found.items():
        head = f"{title}: bits that change an image, {network.level}, {network.tool}"
        table = Table("unit", title=head, title_justify="left")
        for column in ("logic", "memory", "streams", "all", "share", "counted, nJ", "share"):
            table.add_column(column, justify="right")
        for unit in network.units:
            nj = unit.counted_nj
            counted = ("", "") if nj is None else (f"{nj:.2f}", f"{nj / network.counted_nj:.1%}")
            share = f"{unit.total / network.changes:.1%}" if network.changes else ""
            counts = (f"{count:,.0f}" for count in (unit.logic, unit.memory, unit.streams, unit.total))
            table.add_row(unit.name, *counts, share, *counted)
        table.add_section()
        sums = (sum(getattr(unit, kind) for unit in network.units) for kind in ("logic", "memory", "streams"))
        table.add_row(
            "sum", *(f"{count:,.0f}" for count in (*sums, network.changes)), "", f"{network.counted_nj:.2f}", ""
        )
        terminal().print(table)
        of = "drawn images, which change more than pictures do" if network.drawn else "images"
        print(f"mean of {network.images:,} {of}; {network.interval_cycles:,} cycles per image")
        if network.saif:
            print(f"wrote {network.saif}")
    if found.keys() == {"base", "pruned"}:
        before, behind = found["base"], found["pruned"]
        change = f"bits that change {behind.changes / before.changes - 1:+.1%}"
        print(f"pruned against unpruned: {change}, energy as counted {behind.counted_nj / before.counted_nj - 1:+.1%}")


def _amounts(taken: Resources) -> list[str]:
    return [f"{getattr(taken, key):,}" for key in ("lut", "lut_ram", "ff", "carry", "block_ram", "dsp")]

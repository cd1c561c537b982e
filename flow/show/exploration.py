"""Tables and the picture of a design space, and what a calibration found."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table

from ..results.exploration import DesignChosen, Exploration, Widths
from ..run.files import check_file, write_whole
from .drawing import PRUNED, STYLE, as_file
from .report import plural
from .terminal import rate_text, terminal

if TYPE_CHECKING:
    from ...build.calibrated.clock import Clock
    from ...build.calibrated.table import Estimated
    from ...build.calibrated.table import Table as Calibration

_PICTURES = (".svg", ".pdf", ".png")
_LIMITS = (0.10, 0.25)


def check_plot(path: Path | None) -> None:
    """Refuse a picture that cannot be written, before the work."""
    if path is not None:
        check_file(path, _PICTURES)


def print_exploration(found: Exploration) -> None:
    """Print designs, fastest first, and the one that is wanted."""
    title = f"{found.name} on {found.part} at {found.clock_mhz:g} MHz"
    table = Table("design", title=title, title_justify="left")
    for column in ("images/s", "cycles", "LUT", "BRAM18", "DSP", "share of part"):
        table.add_column(column, justify="right")
    designs = {each.number: each for each in found.designs}
    for number in found.shown:
        each = designs[number]
        cells = (rate_text(each.fps), f"{each.cycles:,}", f"{each.lut:,}", f"{each.bram18:,}", f"{each.dsp:,}")
        mark = " <- chosen" if found.chosen is not None and found.chosen.number == number else ""
        table.add_row(f"{number}{mark}", *cells, f"{each.share:.1%}")
    terminal().print(table)
    proof = "searched unit by unit: better ones may exist"
    if found.exact:
        proof = "with FIFOs of two words no other is as good in all three"
    print(
        f"{len(found.shown)} of {plural(len(found.designs), 'design')} by images/s, LUT and BRAM18; {proof}; "
        f"allowed are {found.lut:,} LUT and {found.bram18:,} BRAM18"
    )
    print(f"LUTs include those that are memories; {found.source}")
    if found.chosen is not None:
        _print_chosen(found.chosen)
    if found.widths is not None:
        _print_widths(found.widths)
    for note in found.notes:
        print(f"note: {note}")


def _print_chosen(chosen: DesignChosen) -> None:
    print(
        f"design {chosen.number}: {chosen.interval_cycles:,} cycles per image, {rate_text(chosen.fps)} images/s, "
        f"first image after {chosen.latency_us:,.2f} us (simulated word by word); {chosen.lut:,} LUT, "
        f"{chosen.bram18:,} BRAM18, {chosen.dsp:,} DSP (estimated) with the FIFOs that this takes"
    )
    for name, depth in chosen.fifo_depths.items():
        print(f"  FIFO {name}: {depth:,}")
    if chosen.files:
        print(f"wrote {', '.join(chosen.files)}")


def _print_widths(found: Widths) -> None:
    """Print layers whose widths divide badly, and what the network would take with others."""
    if not found.layers:
        print(f"widths: every layer divides well for {found.cycles:,} cycles per image")
        return
    title = f"widths that divide badly for {found.cycles:,} cycles per image"
    table = Table("layer", "weights", title=title, title_justify="left")
    for column in ("products", "needed", "change", "channels", "of needed", "LUT", "BRAM18", "cycles"):
        table.add_column(column, justify="right")
    now = found.now
    taken = ("", "", "") if now is None else (f"{now.lut:,}", f"{now.bram18:,}", f"{now.cycles:,}")
    for layer in found.layers:
        cells = (layer.name, f"{layer.rows} x {layer.columns}", f"{layer.pe * layer.simd:,}", f"{layer.needed:,}")
        table.add_row(*cells, "", "as it is", f"{layer.overshoot:.2f} x", *taken)
        for each in layer.choices:
            made = each.network
            figures = (f"{made.lut:,}", f"{made.bram18:,}", f"{made.cycles:,}")
            channels = f"{each.now} -> {each.channels}"
            table.add_row("", "", "", "", each.side, channels, f"{each.overshoot:.2f} x", *figures)
    terminal().print(table)
    print(
        "products a cycle, of one that is needed; LUT, BRAM18 and cycles of the whole network, estimated by sizes alone"
    )
    if found.reason:
        print(f"note: {found.reason}")


def plot(found: Exploration, path: Path) -> None:
    """LUTs against images per second, coloured by block RAMs; designs that are shown with their numbers."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(8.0, 4.8), layout="constrained")
        axes = figure.subplots()
        fits = np.array([each.fits for each in found.designs])
        fps, luts, rams = (np.array([getattr(each, key) for each in found.designs]) for key in ("fps", "lut", "bram18"))
        axes.set_axisbelow(True)
        # Thousands of dots are one picture within the drawing.
        axes.scatter(fps[~fits], luts[~fits], s=5, color="0.85", label="beyond what is allowed", rasterized=True)
        drawn = axes.scatter(fps[fits], luts[fits], s=5, c=rams[fits], cmap="viridis", rasterized=True)
        figure.colorbar(drawn, label="block RAMs of 18 kbit")
        for number in found.shown:
            each = found.designs[number - 1]
            chosen = found.chosen is not None and found.chosen.number == number
            face = PRUNED if chosen else "white"
            axes.scatter([each.fps], [each.lut], s=22, facecolors=face, edgecolors="black", zorder=3)
            axes.annotate(
                str(number),
                (each.fps, each.lut),
                fontsize=7,
                xytext=(0, -11),
                textcoords="offset points",
                ha="center",
                bbox={"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.7},
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xlabel(f"images/s at {found.clock_mhz:g} MHz")
        axes.set_ylabel("LUTs (estimated)")
        axes.set_title(f"{found.name} on {found.part}: {plural(len(found.designs), 'design')}", loc="left")
        if not fits.all():
            axes.legend(loc="upper left", frameon=False)
        picture = as_file(figure, path.suffix[1:])
    write_whole(path, picture)


def print_calibration(found: Calibration) -> None:
    """Print how well units come out, those of the fit and others, and the worst."""
    table = Table("units", title=f"{found.family}, {found.tool}", title_justify="left")
    for column in ("number", "mean error", "worst", "within 10 %", "within 25 %", "FF, RAM, DSP as counted"):
        table.add_column(column, justify="right")
    for what, units in (("of the fit", found.fitted), ("held out", found.held_out)):
        table.add_row(what, *_errors(units))
    terminal().print(table)
    for each in sorted(found.held_out, key=lambda one: -abs(one.error))[:5]:
        print(f"{each.name}: {each.lut:,} LUT, estimated {each.estimated:,} ({each.error:+.0%})")
    if found.clock is not None:
        _print_clock(found.clock)


def _print_clock(found: Clock) -> None:
    """Print how well clocks of units come out."""
    table = Table("clocks of units", title=f"{found.part}, {', '.join(found.tools)}", title_justify="left")
    for column in ("number", "mean error", "worst", *(f"within {limit:.0%}" for limit in _LIMITS)):
        table.add_column(column, justify="right")
    for what, units in (("of the fit", found.fitted), ("held out", found.held_out)):
        errors = np.array([abs(each.error) for each in units])
        within = (f"{np.mean(errors <= limit):.0%}" for limit in _LIMITS)
        table.add_row(what, f"{len(units)}", f"{errors.mean():.1%}", f"{errors.max():.1%}", *within)
    terminal().print(table)


def _errors(units: Sequence[Estimated]) -> tuple[str, ...]:
    errors = np.array([abs(each.error) for each in units])
    within = (f"{np.mean(errors <= limit):.0%}" for limit in _LIMITS)
    exact = sum(not each.exact for each in units)
    return (f"{len(units)}", f"{errors.mean():.1%}", f"{errors.max():.1%}", *within, f"{exact} of {len(units)}")

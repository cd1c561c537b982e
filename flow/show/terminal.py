"""What all commands show: progress and JSON, and the tables of small ones.

Only the modules named `screen` and those named `cli` print.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from math import floor
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from bnnflow import visible

from ..run.typed_json import to_json

if TYPE_CHECKING:
    from ...models.data.load import DataSetPlace
    from ..results.graphs import FormatSearch
    from ..results.networks import NetworkList
    from ..run.doctor import Finding

WIDTH = 100


class _Console(Console):
    """A console that shows text as it is, and leaves a closed pipe (`flow ops | head`) to the program's status 0.

    Whatever is printed or put into a table goes through `render_str`: names in files are no markup, emoji or controls.
    """

    def render_str(self, text: str, **settings: Any) -> Text:
        """The text with controls made visible, without markup."""
        return super().render_str(visible(text), **{**settings, "markup": False, "emoji": False})

    def on_broken_pipe(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise BrokenPipeError


def rate_text(fps: float) -> str:
    """Images a second that a design reaches, rounded down: asked for again, the rate is still reached."""
    return f"{floor(fps * (1 + 1e-12)):,}" if fps >= 100 else f"{fps:.3g}"


def terminal() -> Console:
    """The console of standard output; 100 columns wide where that is no terminal."""
    console = _Console()
    return console if console.is_terminal else _Console(width=WIDTH)


def print_json(value: object) -> None:
    """Print a result as one JSON value and nothing else."""
    print(json.dumps(to_json(value), indent=2, allow_nan=False))


class Bar:
    """A progress bar on standard error; silent where that is no terminal, or when asked to be."""

    def __init__(self, title: str, total: int | None = None, quiet: bool = False) -> None:
        self._total = total
        console = _Console(stderr=True)
        columns = (TextColumn("{task.description:<11}", markup=False), BarColumn(), MofNCompleteColumn())
        times = (TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[figures]}", markup=False))
        self._bar = Progress(
            *columns, *times, console=console, transient=True, disable=quiet or not console.is_terminal
        )
        self._task = self._bar.add_task(visible(title), total=total, figures="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def update(
        self, done: int, total: int | None = None, figures: Mapping[str, float] | None = None, title: str | None = None
    ) -> None:
        """Show so many steps done, of `total` where that is given, with the latest figures; a new title where given."""
        total = self._total if total is None else total
        text = "  ".join(f"{key} {value:.4g}" for key, value in (figures or {}).items())
        title = None if title is None else visible(title)
        self._bar.update(self._task, completed=done, total=total, figures=visible(text), description=title)


def print_findings(findings: Sequence[Finding]) -> None:
    """Print what of this computer is fit for use."""
    for finding in findings:
        print(f"{'ok  ' if finding.ok else 'NOT ' if finding.needed else 'no  '} {finding.name:<16} {finding.detail}")
        if not finding.ok and finding.hint:
            print(f"     hint: {finding.hint}")
    sys.stdout.flush()


def print_models(found: NetworkList) -> None:
    """The networks of the zoo and the trained ones, one a row."""
    table = Table(box=None, pad_edge=False, title="networks", title_justify="left")
    table.add_column("network")
    for column in ("weights", "binary MACs", "integer MACs", "accumulators", "memory"):
        table.add_column(column, justify="right")
    table.add_column("data")
    for row in found.networks:
        low, high = row.accumulator_bits
        table.add_row(
            row.name,
            f"{row.weights:,}",
            f"{row.binary_macs:,}",
            f"{row.integer_macs:,}",
            f"{low}-{high} bits",
            f"{row.weight_bytes / 1024:,.1f} KiB",
            row.data,
        )
    console = terminal()
    console.print(table)
    for row in found.networks:
        console.print(f"\n{row.name}: {row.layers}; {row.source}", soft_wrap=True, highlight=False)
    table = Table(box=None, pad_edge=False, title="\ntrained, for model: {trained: NAME}", title_justify="left")
    for column in ("name", "data", "network"):
        table.add_column(column, no_wrap=True)
    for column in ("test", "epochs", "trained in", "file"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("on")
    for one in found.trained:
        accuracy, took, size = f"{one.accuracy:.2%}", f"{one.seconds:,.0f} s", f"{one.bytes / 1024:,.1f} KiB"
        table.add_row(one.name, one.data, one.network, accuracy, str(one.epochs), took, size, one.machine)
    console.print(table)


def print_formats(found: FormatSearch) -> None:
    """The trials of a search for a number format, and what was found."""
    table = Table("format", title="formats of Bop's momenta", title_justify="left")
    for column in ("bits", "lost updates", "flips", "accuracy"):
        table.add_column(column, justify="right")
    for row in found.rows:
        lost, accuracy = f"{row.lost_updates:.2%}", f"{row.accuracy:.2%}"
        table.add_row(row.format, str(row.bits), lost, f"{row.flips:,}", accuracy)
    terminal().print(table)
    images, epochs = found.images, found.epochs
    known = f"known to +-{found.uncertain:.1%} (95 %)"
    print(f"accuracy after {epochs} epochs, on {images:,} training images held out, {known}")
    print(f"cheapest: {found.cheapest or 'none'}, within {found.tolerance:.2%} of float32")


def print_data(rows: Sequence[DataSetPlace]) -> None:
    """Where each data set is, or how to get it."""
    console = terminal()
    for row in rows:
        console.print(f"{row.name:<16} {row.where or 'not found'}", soft_wrap=True, highlight=False)
        if not row.where:
            console.print(f"{'':<16} {row.how}", soft_wrap=True, highlight=False)
    console.print(
        f"{'yours':<16} data: {{name: folder, dir: FOLDER}}, {{name: npz, dir: FILE}}, {{name: module:function}}",
        soft_wrap=True,
        highlight=False,
    )


def say(text: str) -> None:
    """One line on standard error, for what takes long."""
    print(text, file=sys.stderr)

"""What `flow build`, `show` and `compare` show; it prints, as `screen` does."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.table import Table

from . import tables as report_tables
from .report import TITLES, plural
from .terminal import Bar, terminal

if TYPE_CHECKING:
    from ..run.folder import Run


class Stages:
    """The course of a build: a bar for the stage that runs, one line for each that is done."""

    def __init__(self, run: Run, quiet: bool = False) -> None:
        self._run = run
        self._quiet = quiet
        self._bar: Bar | None = None
        self._shown = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._finish()

    def announce(self, name: str) -> None:
        """A stage begins."""
        self._finish()
        self._bar = Bar(name, quiet=self._quiet)
        self._bar.__enter__()

    def progress(self, name: str) -> Callable[[int, int, dict[str, float]], None]:
        """The progress function of the running stage."""
        bar = self._bar

        def show(done: int, total: int, figures: dict[str, float]) -> None:
            if bar is not None:
                bar.update(done, total, figures)

        return show

    def _finish(self) -> None:
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
            self._bar = None
        for done in self._run.timeline[self._shown :]:
            self._shown += 1
            if not self._quiet:
                facts = self._run.manifest["stages"].get(done.name, {}).get("facts", {})
                took = "up to date" if done.skipped else f"{done.seconds:.1f} s"
                print(f"  {done.name:<11}{took:>11}   {_say(done.name, facts)}".rstrip(), flush=True)


def _say(stage: str, facts: Mapping[str, Any]) -> str:
    """A stage's facts in one line."""
    match stage:
        case "data":
            return f"{facts['train']:,} training and {facts['test']:,} test images"
        case "train":
            before, after = facts["accuracy_before_reestimation"], facts["accuracy"]
            if not facts["history"]:
                return f"test accuracy {after:.2%}, of trained weights as they are"
            zeros = ", ".join(f"{name} {share:.0%}" for name, share in facts.get("zeros", {}).items())
            said = f"test accuracy {after:.2%} ({before:.2%} before batch norms were measured anew)"
            return said + (f"; weights of 0: {zeros}" if zeros else "")
        case "prune":
            left = ", ".join(f"{name} {count:,}" for name, count in facts["kept"].items())
            of = "" if facts["unit"] == "filters and neurons" else f" {facts['unit']}"
            ended = f"; {facts['stop']}" if facts["stop"] else ""
            return f"test accuracy {facts['accuracy']:.2%}; left: {left}{of}{ended}"
        case "verify":
            values = sum(row["values"] for network in facts.values() for row in network["stages"])
            differ = sum(row["differences"] for network in facts.values() for row in network["stages"])
            images = next(iter(facts.values()))["images"]
            sizes = f"{plural(len(facts), 'network')} x {plural(images, 'image')}"
            ties = sum(row.get("ties", 0) for network in facts.values() for row in network["stages"])
            said = f"{sizes}, {values:,} values compared, {differ:,} differ"
            return said + (f"; float32 splits {plural(ties, 'tie')} of class scores" if ties else "")
        case "cost":
            networks = [(name, facts[name]) for name in TITLES if name in facts]
            return "; ".join(f"{name}: {n['lut']:,} LUT, {n['bram18']:,} BRAM18" for name, n in networks)
    return ""


def print_summary(summary: Mapping[str, Any], folder: Path) -> None:
    """Print a run's tables and where its files are."""
    console = terminal()
    copied = (summary.get("pruning") or {}).get("unpruned_copy")
    if copied:
        console.print(f"THE PRUNED NETWORK IS THE UNPRUNED ONE: {copied}", highlight=False, style="bold")
    for table in report_tables.tables(summary):
        console.print(table)
    for network, notes in (summary.get("notes") or {}).items():
        for note in notes:
            console.print(f"note ({network}): {note}", highlight=False)
    console.print(f"report: {folder / 'report.html'}", highlight=False, soft_wrap=True)


def print_comparison(summaries: Sequence[Mapping[str, Any]]) -> None:
    """Print the headline figures of several runs side by side."""
    table = Table("run", "network", "accuracy", "binary MAC", "cycles", "LUT", "BRAM18", "images/s")
    for summary in summaries:
        for name, network in summary["networks"].items():
            numbers = (network[key] for key in ("binary_macs", "cycles", "lut", "bram18", "fps"))
            cells = (f"{number:,.0f}" for number in numbers)
            table.add_row(summary["folder"], TITLES[name], f"{network['accuracy']:.2%}", *cells)
    terminal().print(table)

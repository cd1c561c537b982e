"""What `flow build`, `show` and `compare` show; it prints, as `screen` does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.table import Table

from ..results.compared_runs import RunsCompared
from ..results.hardware import CosimResult, NotWritten, RtlResult
from ..results.stages import CostResult, DataResult, PruningResult, ScheduleResult, TrainResult, VerifyResult
from ..results.summary import Summary
from ..results.synthesis import SynthesisResult
from . import tables as report_tables
from .report import TITLES, folded_by, plural
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
                if done.again:
                    print(f"note: {done.name} runs again: {done.again}", flush=True)
                took = "up to date" if done.skipped else f"{done.seconds:.1f} s"
                print(f"  {done.name:<11}{took:>11}   {_say(done.result)}".rstrip(), flush=True)


def _say(found: object) -> str:
    """A stage's result in one line; empty where there is little to say."""
    match found:
        case DataResult():
            return f"{found.train:,} training and {found.test:,} test images"
        case TrainResult():
            if not found.history:
                return f"test accuracy {found.accuracy:.2%}, of trained weights as they are"
            zeros = ", ".join(f"{name} {share:.0%}" for name, share in (found.zeros or {}).items())
            before = f"{found.accuracy_before_reestimation:.2%} before batch norms were re-estimated"
            said = f"test accuracy {found.accuracy:.2%} ({before})"
            errors = f"; trained with wrong bits: {found.errors}" if found.errors else ""
            inexact = (
                f"; trained with approximate sums, of which these accuracies are: {found.sums}" if found.sums else ""
            )
            return said + errors + inexact + (f"; weights of 0: {zeros}" if zeros else "")
        case PruningResult():
            left = ", ".join(f"{name} {count:,}" for name, count in found.kept.items())
            of = "" if found.unit == "filters and neurons" else f" {found.unit}"
            ended = f"; {found.stop}" if found.stop else ""
            return f"test accuracy {found.accuracy:.2%}; left: {left}{of}{ended}"
        case VerifyResult():
            rows = [row for network in found.networks.values() for row in network.stages]
            values, differ = sum(row.values for row in rows), sum(row.differences for row in rows)
            images, ties = next(iter(found.networks.values())).images, sum(row.ties for row in rows)
            sizes = f"{plural(len(found.networks), 'network')} x {plural(images, 'image')}"
            said = f"{sizes}, {values:,} values compared, {differ:,} differ"
            return said + (f"; float32 splits {plural(ties, 'tie')} of class scores" if ties else "")
        case RtlResult():
            told = [
                f"{name}: not written, {one.reason}"
                if isinstance(one, NotWritten)
                else f"{name}: {one.interval_cycles:,} cycles"
                for name, one in found.networks.items()
            ]
            return "; ".join(told)
        case CosimResult():
            runs = [run for one in found.networks.values() for run in one.runs]
            streams = plural(sum(one.streams for one in found.networks.values()), "stream")
            sent = plural(sum(run.images for run in runs), "image")
            return f"{sent} in {plural(len(runs), 'run')}, the words of {streams}: equal to the simulators"
        case SynthesisResult():
            sums = [(name, one.total, one.block) for name, one in found.networks.items()]
            networks = (
                f"{name}: {one.lut + one.lut_ram:,} LUT, {one.block_ram:,} {block}" for name, one, block in sums
            )
            return "; ".join(networks)
        case ScheduleResult():
            return f"folded {folded_by(found.folded_by)}"
        case CostResult():
            costs = found.networks.items()
            return "; ".join(f"{name}: {cost.lut:,} LUT, {cost.bram18:,} BRAM18" for name, cost in costs)
    return ""


def print_summary(summary: Summary, folder: Path) -> None:
    """Print a run's tables and where its files are."""
    console = terminal()
    if summary.pruning is not None and summary.pruning.unpruned_copy:
        said = f"THE PRUNED NETWORK IS THE UNPRUNED ONE: {summary.pruning.unpruned_copy}"
        console.print(said, highlight=False, style="bold")
    for table in report_tables.tables(summary):
        console.print(table)
    for network, notes in summary.notes.items():
        for note in notes:
            console.print(f"note ({network}): {note}", highlight=False)
    console.print(f"report: {folder / 'report.html'}", highlight=False, soft_wrap=True)


def print_comparison(found: RunsCompared) -> None:
    """Print the headline figures of several runs side by side, and pruned networks beside unpruned ones."""
    console = terminal()
    _print_headlines(found.runs)
    for one in found.hardware:
        for table in report_tables.comparison_tables(one, layers=True):
            console.print(table)
    for equal in found.accuracy:
        console.print(report_tables.accuracy_table(equal))
    for note in found.notes:
        console.print(f"note: {note}", highlight=False)


def _print_headlines(summaries: Sequence[Summary]) -> None:
    columns = ("asked images/s", "images/s", "cycles", "LUT", "LUT within", "BRAM18", "folded by")
    # LUTs of families are not alike.
    mixed = len({summary.target.part for summary in summaries}) > 1
    table = Table("run", *(["part"] if mixed else []), "network", "accuracy", "binary MAC", *columns)
    for summary in summaries:
        for name, network in summary.networks.items():
            by = (summary.target.folded_by or {}).get(name)
            error = "" if by is None or by.lut_error is None else f"{by.lut_error:.0%}"
            table.add_row(
                summary.folder,
                *([summary.target.part] if mixed else []),
                TITLES[name],
                f"{network.accuracy:.2%}",
                *(f"{number:,.0f}" for number in (network.binary_macs, summary.target.fps, network.fps)),
                *(f"{number:,}" for number in (network.cycles, network.lut)),
                error,
                f"{network.bram18:,}",
                "" if by is None else by.cost_model,
            )
    terminal().print(table)

"""What the commands show: progress, tables, JSON. With `screen_finer`, the only module besides `cli` that prints."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from bnnflow import CHECK_FAILED, Problem

from . import report
from .report import plural
from .runs import Run

if TYPE_CHECKING:
    from .doctor import Finding
    from .graphs import Checked

WIDTH = 100


class _Console(Console):
    """A console that leaves a closed pipe (`flow ops | head`) to the program, which ends with status 0."""

    def on_broken_pipe(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise BrokenPipeError


def _console() -> Console:
    console = _Console()
    return console if console.is_terminal else _Console(width=WIDTH)


def print_json(value: object) -> None:
    """Print one JSON value and nothing else."""
    print(json.dumps(value, indent=2, allow_nan=False))


class Bar:
    """A progress bar on standard error; silent where that is no terminal, or when asked to be."""

    def __init__(self, title: str, total: int | None = None, quiet: bool = False) -> None:
        self._total = total
        console = Console(stderr=True)
        columns = (TextColumn("{task.description:<11}"), BarColumn(), MofNCompleteColumn())
        times = (TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[figures]}"))
        self._bar = Progress(
            *columns, *times, console=console, transient=True, disable=quiet or not console.is_terminal
        )
        self._task = self._bar.add_task(title, total=total, figures="")

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
        self._bar.update(self._task, completed=done, total=total, figures=text, description=title)


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
            widths = ", ".join(f"{name} {width}" for name, width in facts["kept"].items())
            ended = f"; {facts['stop']}" if facts["stop"] else ""
            return f"test accuracy {facts['accuracy']:.2%}; left: {widths}{ended}"
        case "verify":
            values = sum(row["values"] for network in facts.values() for row in network["stages"])
            differ = sum(row["differences"] for network in facts.values() for row in network["stages"])
            images = next(iter(facts.values()))["images"]
            sizes = f"{plural(len(facts), 'network')} x {plural(images, 'image')}"
            return f"{sizes}, {values:,} values compared, {differ:,} differ"
        case "cost":
            return "; ".join(f"{name}: {n['lut']:,} LUT, {n['bram18']:,} BRAM18" for name, n in facts.items())
    return ""


def print_summary(summary: Mapping[str, Any], folder: Path) -> None:
    """Print a run's tables and where its files are."""
    console = _console()
    for table in report.tables(summary):
        console.print(table)
    for network, notes in (summary.get("notes") or {}).items():
        for note in notes:
            console.print(f"note ({network}): {note}", highlight=False)
    console.print(f"report: {folder / 'report.html'}", highlight=False, soft_wrap=True)


def read_summary(folder: Path) -> dict[str, Any]:
    """The summary of a run folder whose files are all as they were written.

    Raises:
        Problem: not a run folder, not finished, or (status 1) a file is missing or was changed.
    """
    run = Run.find(folder)
    if run is None:
        raise Problem("this is not a run folder", str(folder), "give a folder that `flow build` made")
    faults = run.check_files()
    if faults:
        raise Problem("; ".join(faults), str(run.folder), "flow build the recipe again", CHECK_FAILED)
    path = run.path("summary.json")
    if not path.is_file():
        raise Problem("this run is not finished", str(run.folder), "flow build goes on with it")
    return {**json.loads(path.read_text()), "folder": str(folder)}


def print_check(checked: Checked) -> None:
    """Print what becomes of every operator and whether the whole compiles."""
    table = Table("node", "operator", "becomes", "ends in", title="operators", title_justify="left")
    for row in checked.rows:
        refused = f"refused: {row.problem.what if row.problem else ''}"
        table.add_row(row.node, row.operator, row.becomes or refused, checked.end(row))
    _console().print(table)
    for note in checked.notes:
        print(f"note: {note}")
    if checked.problem is None:
        print("compiles to dataflow units")


def print_compiled(found: Mapping[str, Any], times: bool) -> None:
    """Print what was compiled, and how long each pass took."""
    table = Table("pass", title="passes", title_justify="left")
    for column in (
        *(["CPU seconds"] if times else []),
        "operations",
        *(["values compared"] if found["checked"] else []),
    ):
        table.add_column(column, justify="right")
    if times:
        table.add_row("read", f"{found['read_seconds']:.3f}", *([""] * (len(table.columns) - 2)))
    for row in found["passes"]:
        seconds = [f"{row['seconds']:.3f}"] if times else []
        compared = [f"{row['compared']:,}"] if found["checked"] else []
        table.add_row(row["name"], *seconds, f"{row['before']} -> {row['after']}", *compared)
    _console().print(table)
    for note in found["notes"]:
        print(f"note: {note}")
    if found["checked"]:
        print("no pass changed a bit")
    print(f"wrote {', '.join(found['files'])} to {found['folder']}")


def print_ops(operators: Mapping[str, str], passes: Sequence[Mapping[str, str]]) -> None:
    """Print the operators that can be read, and the passes."""
    table = Table("operator", "supported", title="operators of ONNX, QONNX and FINN", title_justify="left")
    for name, text in operators.items():
        table.add_row(name, text)
    _console().print(table)
    table = Table("level", "pass", "does", title="passes", title_justify="left")
    for step in passes:
        table.add_row(step["level"], step["name"], step["does"])
    _console().print(table)


def print_simulation(found: Mapping[str, Any]) -> None:
    """Print what a simulation gave."""
    print(f"{plural(found['images'], 'image')} simulated bit by bit")
    if found["accuracy"] is not None:
        print(f"accuracy {found['accuracy']:.2%}")
    if found["confusion"] and len(found["confusion"]) <= 20:
        table = Table("true \\ found", title="confusion", title_justify="left")
        for label in range(len(found["confusion"])):
            table.add_column(str(label), justify="right")
        for label, row in enumerate(found["confusion"]):
            table.add_row(str(label), *(str(count) if count else "." for count in row))
        _console().print(table)
    if found["note"]:
        print(f"note: {found['note']}")
    if found["output"]:
        print(f"class scores: {found['output']}" + "".join(f", {name}" for name in found["files"][1:]))


def print_faults(found: Mapping[str, Any]) -> None:
    """Print accuracy against fault rates, and what a larger campaign gave beyond that."""
    console = _console()
    if any(one["model"] != "single" for series in found["series"].values() for one in series):
        console.print(report.fault_table(found))
    for table in report.series_tables(found):
        console.print(table)
    if found.get("store"):
        print(f"results: {found['store']}; the same command with more maps or other rates adds to them")


def print_replay(found: Mapping[str, Any]) -> None:
    """Print what one fault map does."""
    cells = ", ".join(f"{name} {count:,}" for name, count in found["cells"].items() if count)
    print(f"fault map {found['map']}: faulty cells {cells or 'none'}")
    if "accuracy" in found:
        print(
            f"accuracy {found['accuracy']:.2%} ({found['clean']:.2%} without faults), "
            f"{found['changed']:,} of {plural(found['images'], 'image')} change their class"
        )


def print_criticality(found: Mapping[str, Any]) -> None:
    """Print how critical the weight bits of each layer are."""
    title = f"every weight bit flipped, one at a time, on {plural(found['images'], 'image')}"
    table = Table("layer", "bits", "critical", "share", "mean changed", "worst bits", title=title, title_justify="left")
    for row in found["layers"]:
        worst = ", ".join(f"{w['row']}/{w['column']}/{w['bit']}: {w['changed']:,}" for w in row["worst"][:3])
        shares = (f"{row['critical_share']:.2%}", f"{row['mean_changed']:.4%}")
        table.add_row(row["layer"], f"{row['bits']:,}", f"{row['critical']:,}", *shares, worst or "none")
    _console().print(table)
    print("critical: changes the class of an image; worst bits: row/column/bit: images whose class changes; exact")
    if found["output"]:
        print(f"images changed by every bit, (rows, columns, bits) a layer: {found['output']}")


def print_margins(found: Mapping[str, Any]) -> None:
    """Print certified flips, margins of neurons and what the attack found."""

    def three(spread: Mapping[str, int | None]) -> list[str]:
        return ["any" if spread[key] is None else f"{spread[key]:,}" for key in ("least", "p10", "median")]

    title = f"flips that provably change no class, {plural(found['images'], 'image')}"
    table = Table("where", "least", "10 % of images", "median", title=title, title_justify="left")
    table.add_row(f"weights of {found['last']} (last layer; exact)", *three(found["last_weights"]))
    if found["last_inputs"]:
        table.add_row(f"input bits of {found['last']}", *three(found["last_inputs"]))
    for row in found["layers"]:
        table.add_row(f"weights of {row['layer']}", *three(row["certified"]))
    _console().print(table)
    title = f"neurons, on {plural(found['neurons_on'], 'image')}"
    table = Table(
        "layer", "median flips", "one flip is enough", "constant", f"P(change) at {found['rate']:g}", title=title
    )
    table.title_justify = "left"
    for row in found["layers"]:
        shares = (f"{row[key]:.2%}" for key in ("one_flip_share", "constant_share", "flip_probability"))
        table.add_row(row["layer"], "" if row["median_flips"] is None else f"{row['median_flips']:g}", *shares)
    _console().print(table)
    for count, flip in enumerate(found["attack"], 1):
        place = f"row {flip['row']}, column {flip['column']}, bit {flip['bit']}"
        print(f"attack, {plural(count, 'flip')}: {flip['layer']} {place}: accuracy {flip['accuracy']:.2%}")


def print_sensitivity(found: Mapping[str, Any]) -> None:
    """Print accuracy by group and level."""
    title = (
        f"accuracy without the lowest filters of one group, ranked by {found['criterion']}; "
        f"{found['validation']:,} validation images"
    )
    shares = sorted({round(count / row["width"], 3) for row in found["groups"] for count in row["removed"][1:]})
    table = Table("group", "width", title=title, title_justify="left")
    columns = shares if len(shares) <= 8 else []
    for share in columns:
        table.add_column(f"{share:.1%}", justify="right")
    if not columns:
        table.add_column("removed: accuracy")
    for row in found["groups"]:
        cells = dict(zip(row["removed"], row["accuracy"], strict=True))
        by_share = {round(count / row["width"], 3): f"{value:.2%}" for count, value in cells.items()}
        listed = ", ".join(f"{count}: {value:.2%}" for count, value in cells.items() if count)
        texts = [by_share.get(share, "") for share in columns] or [listed]
        table.add_row(row["group"], f"{row['width']:,}", *texts)
    _console().print(table)
    if found["accuracy"] is not None:
        print(f"accuracy of the whole network {found['accuracy']:.2%}; simulated, batch norms measured anew on")
        print(f"{found['calibration']:,} calibration images")


def print_pruning(found: Mapping[str, Any]) -> None:
    """Print the steps of a pruning."""
    _console().print(report.pruning_table(found))
    print(f"test accuracy {found['accuracy']:.2%}; flow build goes on in {found['folder']}")


def print_speed(found: Mapping[str, Any]) -> None:
    """Print images a second."""
    rows = [{"network": "graph", **row} for row in found["rows"]]
    _console().print(report.speed_table({**found, "rows": rows}))


def print_estimate(found: Mapping[str, Any]) -> None:
    """Print the cost of one folded graph."""
    target = found["target"]
    table = Table(
        "unit", "FINN unit", "shape", "PE", "SIMD", "cycles", "LUT", "BRAM18", title=found["name"], title_justify="left"
    )
    for layer in found["layers"]:
        cells = (layer["pe"], layer["simd"], f"{layer['cycles']:,}", f"{layer['lut']:,}", layer["bram18"])
        mark = " <- bottleneck" if layer["bottleneck"] else ""
        table.add_row(layer["name"] + mark, layer["op"], layer["shape"], *map(str, cells))
    _console().print(table)
    print(
        f"{found['lut']:,} LUT of {target['lut']:,}, {found['bram18']:,} BRAM18 of {target['bram18']:,} "
        f"({target['part']}), {found['cycles']:,} cycles an image: {found['fps']:,.0f} images/s at "
        f"{target['clock_mhz']:g} MHz; estimated by FINN's formulas"
    )
    if "unrolled" in found:
        from .screen_finer import print_unrolled

        print_unrolled(found["unrolled"])


def print_cycles(found: Mapping[str, Any]) -> None:
    """Print where the cycles of a folded graph go."""
    console = _console()
    table = Table("unit", "kind", title=f"{found['name']}: {plural(found['images'], 'image')}", title_justify="left")
    for column in ("busy", "starved", "blocked", "estimated"):
        table.add_column(column, justify="right")
    for unit in found["units"]:
        estimated = "" if unit["estimated_cycles"] is None else f"{unit['estimated_cycles']:,}"
        cells = (f"{unit[key]:,}" for key in ("busy", "starved", "blocked"))
        table.add_row(unit["name"], unit["kind"], *cells, estimated)
    console.print(table)
    table = Table("FIFO")
    for column in ("values a word", "words an image", "depth", "most held"):
        table.add_column(column, justify="right")
    for fifo in found["fifos"]:
        depth = f"{fifo['depth']:,}" if fifo["depth"] else "unbounded"
        table.add_row(fifo["name"], str(fifo["width"]), f"{fifo['words']:,}", depth, f"{fifo['peak']:,}")
    console.print(table)
    stuck = found["deadlock"]
    if stuck is not None:
        others = " and those of the file" if found["fifo_depths"] else ""
        print(f"deadlock with FIFOs of depth {found['fifo_depth']:,}{others} after cycle {stuck['cycle']:,}:")
        for wait in stuck["waits"]:
            print(f"  {wait}")
        print(f"FIFO {stuck['fifo']} is too small; the figures above and below are those with:")
        for name, depth in stuck["enough"].items():
            print(f"  {name}: depth {depth:,}")
    print(
        f"{found['interval_cycles']:,} cycles an image ({found['estimated_cycles']:,} by FINN's formulas): "
        f"{found['fps']:,.0f} images/s at {found['clock_mhz']:g} MHz; first image after "
        f"{found['latency_cycles']:,} cycles, {found['latency_us']:,.1f} us; simulated word by word"
    )


def print_comparison(summaries: Sequence[Mapping[str, Any]]) -> None:
    """Print the headline figures of several runs side by side."""
    table = Table("run", "network", "accuracy", "binary MAC", "cycles", "LUT", "BRAM18", "images/s")
    for summary in summaries:
        for name, network in summary["networks"].items():
            numbers = (network[key] for key in ("binary_macs", "cycles", "lut", "bram18", "fps"))
            cells = (f"{number:,.0f}" for number in numbers)
            table.add_row(summary["folder"], report.TITLES[name], f"{network['accuracy']:.2%}", *cells)
    _console().print(table)


def print_rank(facts: Mapping[str, Any], show: int) -> None:
    """Each criterion with its cost and self-check, the ends of each layer's ranking, and the correlations."""
    console = _console()
    for row in facts["criteria"]:
        check = f"; self-check {row['check']:.2g} ({row['check_is']})" if row["check"] is not None else ""
        line = f"{row['criterion']}: {row['meaning']}; {row['seconds']:.1f} s, {row['images']} images{check}"
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    table = Table("layer", "criterion", "lowest: filter score", "highest: filter score")
    for layer in facts["criteria"][0]["scores"]:
        for row in facts["criteria"]:
            scores = row["scores"][layer]
            order = sorted(range(len(scores)), key=scores.__getitem__)
            ends = (order[:show], order[::-1][:show])
            table.add_row(layer, row["criterion"], *("  ".join(f"{i} {scores[i]:.3g}" for i in end) for end in ends))
    console.print(table)
    names = [row["criterion"] for row in facts["criteria"]]
    if len(names) < 2:
        return
    table = Table("layer", "rank correlation (Spearman)", *names, title_justify="left")
    for layer, matrix in facts["spearman"].items():
        for name, line in zip(names, matrix, strict=True):
            table.add_row(layer, name, *("-" if value is None else f"{value:+.2f}" for value in line))
    console.print(table)


def print_findings(findings: Sequence[Finding]) -> None:
    """Print what of this computer is fit for use."""
    for finding in findings:
        print(f"{'ok  ' if finding.ok else 'NOT ' if finding.needed else 'no  '} {finding.name:<16} {finding.detail}")
        if not finding.ok and finding.hint:
            print(f"     hint: {finding.hint}")
    sys.stdout.flush()


def print_models(rows: Sequence[Mapping[str, Any]], trained: Sequence[Mapping[str, Any]]) -> None:
    """The networks of the zoo and the trained ones, one a row."""
    table = Table(box=None, pad_edge=False, title="networks", title_justify="left")
    table.add_column("network")
    for column in ("weights", "binary MACs", "integer MACs", "accumulators", "memory"):
        table.add_column(column, justify="right")
    table.add_column("data")
    for row in rows:
        low, high = row["accumulator_bits"]
        table.add_row(
            row["name"],
            f"{row['weights']:,}",
            f"{row['binary_macs']:,}",
            f"{row['integer_macs']:,}",
            f"{low}-{high} bits",
            f"{row['weight_bytes'] / 1024:,.1f} KiB",
            row["data"],
        )
    console = _console()
    console.print(table)
    for row in rows:
        console.print(f"\n{row['name']}: {row['layers']}; {row['source']}", soft_wrap=True, highlight=False)
    table = Table(box=None, pad_edge=False, title="\ntrained, for model: {trained: NAME}", title_justify="left")
    for column in ("name", "data", "network"):
        table.add_column(column)
    for column in ("test accuracy", "epochs", "trained in", "file"):
        table.add_column(column, justify="right")
    table.add_column("on")
    for row in trained:
        accuracy, took, size = f"{row['accuracy']:.2%}", f"{row['seconds']:,.0f} s", f"{row['bytes'] / 1024:,.1f} KiB"
        table.add_row(
            row["name"], row["data"], row["network"], accuracy, str(row["epochs"]), took, size, row["machine"]
        )
    console.print(table)


def print_formats(found: Mapping[str, Any]) -> None:
    """The trials of a search for a number format, and what was found."""
    table = Table("format", title="formats of Bop's momenta", title_justify="left")
    for column in ("bits", "lost updates", "flips", "accuracy"):
        table.add_column(column, justify="right")
    for row in found["rows"]:
        lost, accuracy = f"{row['lost_updates']:.2%}", f"{row['accuracy']:.2%}"
        table.add_row(row["format"], str(row["bits"]), lost, f"{row['flips']:,}", accuracy)
    _console().print(table)
    images, epochs = found["images"], found["epochs"]
    print(f"accuracy after {epochs} epochs, on {images:,} training images held out")
    print(f"cheapest: {found['cheapest'] or 'none'}, within {found['tolerance']:.2%} of float32")


def print_data(rows: Sequence[Mapping[str, Any]]) -> None:
    """Where each data set is, or how to get it."""
    console = _console()
    for row in rows:
        console.print(f"{row['name']:<16} {row['where'] or 'not found'}", soft_wrap=True, highlight=False)
        if not row["where"]:
            console.print(f"{'':<16} {row['how']}", soft_wrap=True, highlight=False)
    console.print(
        f"{'yours':<16} data: {{name: folder, dir: FOLDER}}, {{name: npz, dir: FILE}}, {{name: module:function}}",
        soft_wrap=True,
        highlight=False,
    )


def say(text: str) -> None:
    """One line on standard error, for what takes long."""
    print(text, file=sys.stderr)

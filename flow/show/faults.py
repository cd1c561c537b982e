"""What the commands of `cli_faults` show; it prints, as `screen` does."""

from __future__ import annotations

from rich.table import Table

from ..results.fault_analysis import AttackResult, AttackStep, CriticalityResult, Margins, SearchedMargins
from ..results.faults import FaultMapCells, FaultMapReplay, GraphCampaign, PlacementResult
from . import tables as report_tables
from .graphs import print_input
from .report import certified_rows, neuron_rows, plural
from .terminal import terminal


def print_faults(found: GraphCampaign) -> None:
    """Print accuracy against fault rates, and what a larger campaign gave beyond that."""
    console = terminal()
    print_input(found.input)
    if any(one.model != "single" for series in found.series.values() for one in series):
        console.print(report_tables.fault_table(found))
    for table in report_tables.series_tables(found):
        console.print(table)
    if found.not_reached:
        print(
            f"{plural(found.not_reached, 'mean')} known less closely than ± {found.wanted:g} with the most maps "
            "that --max-maps allows"
        )
    if found.store:
        print(f"results: {found.store}; the same command with more maps or other rates adds to them")


def print_replay(found: FaultMapCells) -> None:
    """Print what one fault map does."""
    cells = ", ".join(f"{name} {count:,}" for name, count in found.cells.items() if count)
    print(f"fault map {found.map}: faulty cells {cells or 'none'}")
    if isinstance(found, FaultMapReplay):
        print(
            f"accuracy {found.accuracy:.2%} ({found.clean:.2%} without faults), "
            f"{found.changed:,} of {plural(found.images, 'image')} change their class"
        )
        _print_map_metrics(found)


def _print_map_metrics(found: FaultMapReplay) -> None:
    """What one map does beyond accuracy; intervals are of other images under the same map."""
    if found.changed_low is not None and found.changed_high is not None:
        share = f"{found.changed / found.images:.2%}"
        print(f"silent data corruption: {share} ({found.changed_low:.2%} to {found.changed_high:.2%})")
    if found.classes is not None:
        title = "classes under the map, 95 % intervals of other images"
        columns = ("class", "images", "clean %", "accuracy %", "interval", "changed %", "interval")
        table = Table(*columns, title=title, title_justify="left")
        for row in found.classes:
            mark = " (worst)" if row.label == found.worst_class else ""
            table.add_row(
                f"{row.label}{mark}",
                f"{row.images:,}",
                f"{100 * row.clean:.2f}",
                f"{100 * row.accuracy:.2f}",
                f"{100 * row.low:.2f} to {100 * row.high:.2f}",
                f"{100 * row.changed:.2f}",
                f"{100 * row.changed_low:.2f} to {100 * row.changed_high:.2f}",
            )
        terminal().print(table)
    if found.margin is not None:
        one = found.margin
        print(f"margin of the true class, in {one.unit}: {one.faulty:,.4g} ({one.clean:,.4g} without faults)")


def print_placement(found: PlacementResult) -> None:
    """Print where block RAMs are placed, and what that spares them."""
    print_input(found.input)
    title = f"{plural(found.block_rams, 'block RAM')} on {found.board}, {found.voltage:g} V"
    columns = ("memory", "block RAMs", "images changed", "faulty, at random", "faulty, placed")
    table = Table(*columns, title=title, title_justify="left")
    for row in found.layers:
        cells = (f"{row.changed:.1f}", f"{row.faulty_random:.1f}", f"{row.faulty:.1f}")
        table.add_row(row.memory, f"{row.block_rams:,}", *cells)
    table.add_row("all", f"{found.block_rams:,}", "", f"{found.faulty_random:.1f}", f"{found.faulty:.1f}")
    terminal().print(table)
    said = f"images changed: mean, of {found.images:,}, when {found.share:.0%} of a block RAM reads 0"
    print(f"{said}; faulty: expected cells in use, of the best {found.block_rams:,} of {found.memories:,} memories")
    if found.weighted is not None:
        print(
            f"faulty cells, each weighted by the images that its block RAM changes: {found.weighted:.1%} of at random"
        )
    if found.elsewhere:
        print(f"not undervolted: {', '.join(f'{name} in {where}' for name, where in found.elsewhere.items())}")
    print(f"placement: {found.output}; flow faults --placement reads it back")


def print_criticality(found: CriticalityResult) -> None:
    """Print how critical the weight bits of each layer are."""
    print_input(found.input)
    title = f"every weight bit flipped, one at a time, on {plural(found.images, 'image')}"
    table = Table("layer", "bits", "critical", "share", "mean changed", "worst bits", title=title, title_justify="left")
    for row in found.layers:
        worst = ", ".join(f"{w.row}/{w.column}/{w.bit}: {w.changed:,}" for w in row.worst[:3])
        shares = (f"{row.critical_share:.2%}", f"{row.mean_changed:.4%}")
        table.add_row(row.layer, f"{row.bits:,}", f"{row.critical:,}", *shares, worst or "none")
    terminal().print(table)
    print("critical: changes the class of an image; worst bits: row/column/bit: images whose class changes; exact")
    if found.output:
        print(f"images changed by every bit, (rows, columns, bits) a layer: {found.output}")


def print_margins(found: Margins) -> None:
    """Print certified flips, margins of neurons and what the attack found."""
    print_input(found.input)

    title = f"flips that provably change no class, {plural(found.images, 'image')}"
    columns = ("where", "bound", "least", "10 % of images", "median", "trivial")
    table = Table(*columns, title=title, title_justify="left")
    for cells in certified_rows(found):
        table.add_row(*cells)
    terminal().print(table)
    print(
        "exact: one flip more, well chosen, changes the class; lower: more may be safe; trivial: nothing is certified"
    )
    for row in found.layers:
        if isinstance(row, SearchedMargins):
            some = sorted(count for count in row.found if count is not None)
            said = f"{some[0]:,} to {some[-1]:,} flips change the class" if some else "no flips were found"
            print(f"search in {row.layer}: {said}, of {len(some)} of {plural(len(row.found), 'image')}")
    title = f"neurons, on {plural(found.neurons_on, 'image')}"
    table = Table(
        "layer", "median flips", "one flip is enough", "constant", f"P(change) at {found.rate:g}", title=title
    )
    table.title_justify = "left"
    for cells in neuron_rows(found):
        table.add_row(*cells)
    terminal().print(table)
    for count, flip in enumerate(found.attack, 1):
        place = f"row {flip.row}, column {flip.column}, bit {flip.bit}"
        print(f"attack, {plural(count, 'flip')}: {flip.layer} {place}: accuracy {flip.accuracy:.2%}")


_ENDS = {"flips": "the most flips that --flips allows", "stuck": "no candidates raise the loss any more"}


def print_attack(found: AttackResult) -> None:
    """Print how accuracy falls with the flips of an attack, and with random ones."""
    print_input(found.input)
    aim = "" if found.target is None else f" towards class {found.target}"
    title = f"bit-flip attack{aim} on {plural(found.attacked_on, 'image')}, judged on {found.images:,} others"
    columns = ["flips", "layer", "loss", "accuracy", *(["in the class"] if found.target is not None else [])]
    table = Table(*columns, title=title, title_justify="left")
    for step in _few(found.steps):
        shares = [f"{step.accuracy:.2%}", *([] if step.share is None else [f"{step.share:.2%}"])]
        table.add_row(f"{step.flips:,}", step.layer, f"{step.loss:.3f}", *shares)
    terminal().print(table)
    print(
        f"{plural(found.flips, 'flip')} of {found.bits:,} bits ({found.flips / found.bits:.3%}): accuracy "
        f"{found.accuracy:.2%} ({found.clean:.2%} without)"
    )
    if found.ended == "level":
        reached = f"accuracy of at most {found.level:.2%}"
        print(f"ended at {reached if found.target is None else f'{found.level:.2%} of the images in the class'}")
    else:
        print(f"ended: {_ENDS[found.ended]}")
    if found.random is not None:
        _print_random(found)
    print(f"flips: {', '.join(f'{name} {count:,}' for name, count in found.cells.items()) or 'none'}")
    if found.map is not None:
        print(f"map: {found.map}; flow faults --map {found.map} --images {found.images} gives the same accuracy")


def _print_random(found: AttackResult) -> None:
    control = found.random
    assert control is not None
    if control.after_as_many is not None:
        place = control.flips.index(found.flips)
        span = f"{control.low[place]:.2%} to {control.high[place]:.2%}"
        said = f"as many flips at random, {plural(control.orders, 'order')}: {control.after_as_many:.2%} ({span})"
        print(said)
    reached = [count for count in control.to_level if count is not None]
    if reached:
        span = f"{min(reached):,} to {max(reached):,}" if len(set(reached)) > 1 else f"{reached[0]:,}"
        print(f"chance level at random: {span} flips, in {len(reached)} of {plural(control.orders, 'order')}")
    else:
        print(f"chance level at random: not within {control.flips[-1]:,} flips")


def _few(steps: list[AttackStep]) -> list[AttackStep]:
    """The steps at which flips have grown by a quarter, and the last."""
    shown: list[AttackStep] = []
    for step in steps:
        if not shown or step.flips >= 1.25 * shown[-1].flips or step is steps[-1]:
            shown.append(step)
    return shown

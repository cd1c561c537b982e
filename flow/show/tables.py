"""The tables of the terminal, made from a run's summary or from what a command found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..results.comparison import EqualAccuracy, HardwareComparison
from ..results.faults import FaultCampaign, SingleFaultSeries
from ..results.routing import Routing
from ..results.speed import GraphSpeed, SpeedResult, SpeedRow
from ..results.stages import SEEN, PrunedRun
from ..results.summary import StageSummary, Summary
from ..results.synthesis import Synthesis
from . import comparison as texts
from .report import (
    TITLES,
    class_rows,
    fault_cells,
    folded_by,
    headline,
    metric_caption,
    metric_rows,
    number,
    pair_rows,
    path_text,
    percent,
    plural,
    quantity,
    source_of,
    speed_caption,
    speed_cells,
    synthesis_saved,
)

if TYPE_CHECKING:
    from rich.table import Table


def tables(summary: Summary) -> list[Table]:
    """The terminal's tables, as rich renderables: headline, layers, faults, speed, wall time.

    Args:
        summary: of the run.
    """
    made = [_headline_table(summary)]
    if summary.comparison is not None:
        made += comparison_tables(summary.comparison)
    made += _layer_tables(summary)
    if summary.synthesis:
        made.append(_synthesis_table(summary.synthesis))
    if summary.routing:
        made.append(_routing_table(summary.routing))
    if summary.faults is not None:
        made.append(fault_table(summary.faults))
        made += series_tables(summary.faults)
    if summary.speed is not None:
        rows = [(TITLES.get(row.network, row.network), row) for row in summary.speed.rows]
        made.append(speed_table(summary.speed, rows))
    if summary.stages:
        made.append(_stage_table(summary.stages))
    return made


def _table(title: str, columns: str, caption: str = "") -> Table:
    """A table whose columns are named in `columns`, separated by `|`; `>` in front puts text to the right."""
    from rich import box
    from rich.table import Table

    table = Table(title=title, caption=caption or None, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), title_justify="left")
    table.title_style, table.caption_style, table.caption_justify = "bold", "dim", "left"
    for column in columns.split("|"):
        table.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left")
    return table


def _synthesis_table(networks: Mapping[str, Synthesis]) -> Table:
    first = next(iter(networks.values()))
    caption = f"{first.tool}, sums of units, before placing; block RAM: {first.block}; estimate: {first.estimated_by}"
    columns = "network|>estimated logic LUT|>logic LUT|>LUT RAM|>FF|>block RAM|>cycles"
    table = _table(f"Synthesized for {first.family}", columns, caption)
    for name, network in networks.items():
        taken = network.total
        counts = (network.estimated_lut, taken.lut, taken.lut_ram, taken.ff, taken.block_ram, network.interval_cycles)
        table.add_row(TITLES.get(name, name), *(f"{count:,}" for count in counts))
    if (saved := synthesis_saved(networks)) is not None:
        table.add_section()
        table.add_row("change", *saved)
    return table


def _routing_table(networks: Mapping[str, Routing]) -> Table:
    first = next(iter(networks.values()))
    where = f"{first.part}, grade {first.grade}" if first.grade else first.part
    table = _table(
        f"Placed and routed on {where}", "network|>Fmax, MHz|>asked|>images/s|slowest path", "; ".join(first.tools)
    )
    for name, network in networks.items():
        assert network.whole is not None and network.fps is not None, "a build routes whole networks"
        clock = f"{network.whole.fmax_mhz:.1f}", f"{network.clock_mhz:g}"
        table.add_row(TITLES.get(name, name), *clock, f"{network.fps:,.0f}", path_text(network.whole.path))
    return table


def comparison_tables(found: HardwareComparison, *, layers: bool = False) -> list[Table]:
    """Pruned hardware beside unpruned: a table a way in which they are equal, and with `layers` one of their units."""
    made = []
    for side in texts.sides(found):
        title = f"{found.run}: pruned against unpruned, {side.title.lower()}"
        columns = "|".join(name if place in (0, 1, 7) else f">{name}" for place, name in enumerate(texts.CHANGES))
        table = _table(title, columns if side.changes else "", f"{side.said} {texts.caption(found)}")
        for row in side.changes:
            table.add_row(*row)
        made.append(table)
        if layers and side.layers:
            columns = "|".join(name if place in (0, 10) else f">{name}" for place, name in enumerate(texts.LAYERS))
            table = _table(f"{found.run}: layers, {side.title.lower()}", columns, "PE x SIMD; LUT estimated")
            for row in side.layers:
                table.add_row(*row)
            made.append(table)
    return made


def accuracy_table(found: EqualAccuracy) -> Table:
    """Networks of equal accuracy, the smallest of them marked."""
    columns = "|".join(name if place in (0, 1, 9) else f">{name}" for place, name in enumerate(texts.CANDIDATES))
    table = _table("equal accuracy", columns, texts.accuracy_said(found))
    for row in texts.accuracy_rows(found):
        table.add_row(*row)
    return table


def _headline_table(summary: Summary) -> Table:
    from rich.text import Text

    target, has_pruned = summary.target, summary.pruned is not None
    title = f"{summary.name} on {target.part}, {target.clock_mhz:g} MHz, {quantity(target.fps)} images/s asked"
    table = _table(title, "|>unpruned|>pruned|>change|unit|source" if has_pruned else "|>unpruned|unit|source")
    colours = {1: "green", -1: "yellow", 0: ""}
    for row in headline(summary):
        middle: list[str | Text] = [row.pruned, Text(row.change, colours[row.better])]
        table.add_row(row.label, row.base, *(middle if has_pruned else []), row.unit, row.source.partition(" ")[0])
    return table


def _layer_tables(summary: Summary) -> list[Table]:
    made = []
    for key, title in TITLES.items():
        network = summary.networks.get(key)
        if network is None:
            continue
        columns = "layer|op|shape|>PE|>SIMD|>cycles|>LUT|>BRAM18"
        by = (summary.target.folded_by or {}).get(key)
        folded = "" if by is None else f"; folded {folded_by({key: by})}"
        caption = f"▶ slowest, sets the throughput; {source_of(summary, 'cost')}{folded}"
        table = _table(f"layers, {title}", columns, caption)
        for layer in network.layers:
            kind = layer.op.removesuffix("_hls").removesuffix("_rtl")
            cycles = f"▶ {number(layer.cycles)}" if layer.bottleneck else number(layer.cycles)
            cells = [layer.name, kind, layer.shape, number(layer.pe), number(layer.simd), cycles]
            table.add_row(*cells, number(layer.lut), number(layer.bram18), style="bold" if layer.bottleneck else "")
        made.append(table)
    return made


def pruning_table(found: PrunedRun) -> Table:
    """The steps of a pruning: what was kept, its cost where it is known, and held-out accuracy."""
    costed = found.unpruned is not None or any(step.cost for step in found.steps)
    costs = ">binary ops|>LUT|>BRAM18|>cycles|>nJ|" if costed else ""
    columns = f"step|kept|{costs}>before %|>after %|"
    whose = "training" if found.judged_on == SEEN else "held-out training"
    caption = f"accuracy on {whose} images, right after removal and after fine-tuning"
    caption += "; costs estimated" if costed else ""
    how = f"of {found.unit}" if found.allocation is None else f"by {found.criterion}, {found.allocation}"
    table = _table(f"pruning {how}", columns, caption)
    kept, cost = ({}, {}) if found.unpruned is None else (found.unpruned.kept, found.unpruned.cost)
    table.add_row("0", _widths(kept), *(_cost_cells(cost) if costed else ()), "", percent(found.held_out_accuracy))
    for step in found.steps:
        before, after = percent(step.accuracy_before), percent(step.accuracy_after)
        mark = "undone" if step.rolled_back else ""
        costs_then = _cost_cells(step.cost or {}) if costed else ()
        table.add_row(str(step.step), _widths(step.kept), *costs_then, before, after, mark)
    return table


def _cost_cells(cost: Mapping[str, float]) -> list[str]:
    whole = (number(cost.get(key)) for key in ("ops", "lut", "bram18", "cycles"))
    return [*whole, quantity(cost.get("energy"))]


def _widths(kept: Mapping[str, int]) -> str:
    return " ".join(map(str, kept.values()))


def series_tables(faults: FaultCampaign) -> list[Table]:
    """What a fault campaign gave beyond one curve: all series, protections' costs, networks in pairs."""
    made = []
    every = [(name, one) for name, series in faults.series.items() for one in series]
    single = [(name, one) for name, one in every if isinstance(one, SingleFaultSeries)]
    rest = [(name, one) for name, one in every if not isinstance(one, SingleFaultSeries)]
    if len(rest) > sum(len(curve.mean) for curve in faults.networks.values()):
        columns = "network|target|layers|fault|>rate|protection|>seed|>maps|>accuracy %|>± maps|>± images|>worst"
        caption = "± at 95 %, points: what other fault maps would change, and what other test images would"
        rows = [[TITLES.get(name, name), *fault_cells(one)] for name, one in rest]
        # What is the same in every row is said once, above the table.
        shown = [place for place in range(12) if place > 6 or len({row[place] for row in rows}) > 1]
        names = columns.split("|")
        same = ", ".join(f"{names[p].strip('>')} {rows[0][p]}" for p in range(1, 7) if p not in shown)
        title = f"all fault series{f' ({same})' if same else ''}"
        table = _table(title, "|".join(names[place] for place in shown), caption)
        for row in rows:
            table.add_row(*(row[place] for place in shown))
        made.append(table)
    made += _undervolted_tables(faults)
    made += _metric_tables(faults)
    if single:
        table = _table("single faults", "network|target|layers|protection|>cells|>drawn|>critical|>share %|interval")
        for key, one in single:
            names = [one.target, ", ".join(one.layers), one.protection]
            counts = (number(one.population), number(one.maps), number(one.critical))
            sure = "exact" if one.maps == one.population else f"{100 * one.confidence:g} %"
            spread = f"{percent(one.critical_low, 2)} to {percent(one.critical_high, 2)} ({sure})"
            table.add_row(TITLES.get(key, key), *names, *counts, percent(one.critical_share, 2), spread)
        made.append(table)
    if faults.paired:
        first, second = (TITLES.get(name, name) for name in (faults.paired[0].first, faults.paired[0].second))
        columns = "target|layers|fault|>rate|protection|>points|>± maps|>± images|>better|>worse|>p (sign)"
        caption = (
            "on the same images and fault maps; ± at 95 %: what other maps, and other images at most, would change"
        )
        table = _table(f"{first} less {second}", columns, caption)
        for gap in faults.paired:
            if gap.equal != "rate":
                continue
            names = [gap.target, ", ".join(gap.layers), gap.model, gap.rates, gap.protection]
            halves = (f"{100 * half:.2f}" for half in (gap.half_width, gap.test_half_width))
            counts = (str(gap.wins), str(gap.losses), f"{gap.p_sign:.3f}")
            table.add_row(*names, f"{100 * gap.difference:+.2f}", *halves, *counts)
        made.append(table)
        made += _equal_tables(faults, first, second)
    costs = [(name, row) for name, rows in faults.costs.items() for row in rows]
    if costs:
        columns = "network|memory|protection|>bits|>extra bits|>BRAM18|>without|>LUT"
        table = _table("protection of memories", columns, "estimated; block RAMs were all memories in block RAMs")
        for key, cost in costs:
            numbers = (cost.bits, cost.extra_bits, cost.bram18, cost.bram18_plain, cost.lut)
            table.add_row(TITLES.get(key, key), cost.memory, cost.protection, *map(number, numbers))
        made.append(table)
    return made


def _equal_tables(faults: FaultCampaign, first: str, second: str) -> list[Table]:
    """Networks with as many faults, or in as much memory; a note where no code fits."""
    rows = pair_rows(faults, rates=False)
    if not faults.equal:
        return []
    columns = "equal|target|layers|fault|>rate|protection|>bits|>first %|>second %|>points|>± maps|>± images|>p"
    # What is the same in every row is said once, above the table.
    shown = [place for place in range(13) if place in (0, *range(4, 13)) or len({row[place] for row in rows}) > 1]
    same = ", ".join(rows[0][place] for place in (1, 2, 3) if place not in shown) if rows else ""
    fits = any(gap.equal == "memory" for gap in faults.paired)
    free = "" if fits or "memory" not in faults.equal else f"; no code fits into the memory that {first} takes"
    caption = f"{first} / {second}; faults: as many in the mean; memory: {second} with a code fits into {first}'s{free}"
    names = columns.split("|")
    title = f"under equal conditions{f' ({same})' if same else ''}"
    table = _table(title, "|".join(names[place] for place in shown), caption)
    for row in rows:
        table.add_row(*(row[place] for place in shown))
    return [table]


def _metric_tables(faults: FaultCampaign) -> list[Table]:
    """What was asked for beyond accuracy, and every class of the series that each network stands worst."""
    columns, rows = metric_rows(faults)
    if not rows:
        return []
    # What is the same in every row is said once, above the table.
    shown = [place for place in range(len(columns)) if place > 4 or len({row[place] for _, row in rows}) > 1]
    same = ", ".join(rows[0][1][place] for place in range(5) if place not in shown)
    title = f"beyond accuracy{f' ({same})' if same else ''}"
    made = [_table(title, "|".join(["network", *(columns[p] for p in shown)]), metric_caption(faults))]
    for name, row in rows:
        made[0].add_row(TITLES.get(name, name), *(row[place] for place in shown))
    for name, series in faults.series.items():
        told = [one for one in series if one.classes]
        if not told:
            continue
        one = min(told, key=lambda one: one.mean)
        title = f"classes of {TITLES.get(name, name)} ({one.target}, {', '.join(one.layers)}, {one.model} {one.rates})"
        columns_ = "class|>images|>no faults %|>accuracy %|95 % interval|>changed %|95 % interval"
        table = _table(title, columns_, "of the faults that it stands worst; of others: --json, --csv")
        for _, cells in class_rows(replace(faults, series={name: [one]})):
            table.add_row(*cells[5:])
        made.append(table)
    return made


def _undervolted_tables(faults: FaultCampaign) -> list[Table]:
    """What undervolted memories suffered; none where there are none."""
    every = [(name, one, one.undervolted) for name, series in faults.series.items() for one in series]
    found = [(name, one, hit) for name, one, hit in every if hit is not None]
    if not found:
        return []
    hold = {f"{memory} in {where}" for _, _, hit in found for memory, where in hit.elsewhere.items()}
    caption = (
        "cells a map: mean; of those that read 0 only those that held 1 are wrong; board: mean rate of all its cells"
    )
    said = f"; not undervolted: {', '.join(sorted(hold))}" if hold else ""
    columns = "network|layers|protection|>volts|>block RAMs|>bits|>cells a map|>held 1|>rate|>board"
    table = _table(f"undervolted as {found[0][2].board}", columns, caption + said)
    for name, one, hit in found:
        cells = [f"{hit.voltage:g}", number(hit.block_rams), number(hit.bits), number(hit.faulty, 1)]
        rates = (number(hit.ones, 1), f"{hit.rate:.2e}", f"{hit.board_rate:.2e}")
        table.add_row(TITLES.get(name, name), ", ".join(one.layers), one.protection, *cells, *rates)
    return [table]


def fault_table(faults: FaultCampaign) -> Table:
    """Accuracy against bit error rate, networks under any name."""
    curves = faults.networks.values()
    columns = "|".join([">bit error rate", *(f">{TITLES.get(key, key)} %|95 % interval" for key in faults.networks)])
    caption = (
        f"measured on {plural(faults.images, 'image')}, {plural(faults.maps, 'fault map')} at each rate; "
        "95 % intervals for other maps and other test images"
    )
    table = _table(f"accuracy under faults ({faults.what})", columns, caption)
    table.add_row("no faults", *(cell for curve in curves for cell in (percent(curve.clean), "")))
    for index, label in enumerate(faults.labels):
        cells = [label]
        for curve in curves:
            interval = f"{percent(curve.low[index], 1)} to {percent(curve.high[index], 1)}"
            cells += [percent(curve.mean[index]), interval]
        table.add_row(*cells)
    return table


def speed_table(speed: SpeedResult | GraphSpeed, rows: Sequence[tuple[str, SpeedRow]]) -> Table:
    """Images a second and latency of each engine, on networks by their names."""
    columns = "engine|network|>batch|>images/s|>latency ms|source|remark"
    table = _table("speed", columns, speed_caption(speed))
    for network, row in rows:
        table.add_row(row.engine, network, *speed_cells(row))
    return table


def _stage_table(stages: Sequence[StageSummary]) -> Table:
    spent = sum(stage.seconds for stage in stages if not stage.skipped)
    table = _table("wall time", "stage|>seconds|", f"{number(spent, 1)} s in this run")
    for stage in stages:
        table.add_row(stage.name, number(stage.seconds, 1), "up to date" if stage.skipped else "")
    return table

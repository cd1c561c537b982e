"""The report of a run: one HTML file that opens offline, and tables for the terminal.

Both are made from the run's `summary.json` alone. Keys that a run did not produce (pruning, faults, speed,
the pruned network) may be missing or None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

Summary = Mapping[str, Any]

TITLES = {"base": "unpruned", "pruned": "pruned"}
_TEMPLATE = "report.html.j2"
_OPTIONAL = ("faults", "notes", "pruning", "speed", "stages", "verify")


@dataclass(frozen=True, slots=True)
class Headline:
    """One row of the headline table: texts ready to show.

    Args:
        label: the quantity.
        unit: its unit; may be empty.
        base, pruned: the two values; pruned is empty where there is no pruned network.
        change: pruned against base, with a sign: percent, or points for accuracy.
        better: 1 where pruning improved it, -1 where it made it worse, 0 where neither.
        source: `measured`, `estimated`, `counted` or such.
    """

    label: str
    unit: str
    base: str
    pruned: str
    change: str
    better: int
    source: str


# label, unit, key, 1 where more is better (0: neither), kind of source
_ROWS = (
    ("test accuracy", "%", "accuracy", 1, "accuracy"),
    ("accuracy, integer network", "%", "accuracy_hw", 1, "accuracy_hw"),
    ("weights", "", "weights", -1, "counted"),
    ("weight memory", "bit", "weight_bits", -1, "counted"),
    ("binary operations (MAC)", "", "binary_macs", -1, "counted"),
    ("8-bit operations (MAC)", "", "int8_macs", -1, "counted"),
    ("neurons and filters", "", "neurons", -1, "counted"),
    ("initiation interval", "cycles", "cycles", -1, "cost"),
    ("throughput", "images/s", "fps", 1, "cost"),
    ("latency", "µs", "latency_us", -1, "cost"),
    ("LUT", "", "lut", -1, "cost"),
    ("BRAM18", "", "bram18", -1, "cost"),
)


def number(value: float | None, digits: int = 0) -> str:
    """A number with commas between thousands and a true minus sign; a dash for None."""
    if value is None:
        return "–"
    return f"{value:,.{digits}f}".replace("-", "\N{MINUS SIGN}")


def plural(count: int | str, noun: str) -> str:
    """A number of things: "1 image", "1,000 images"; `count` may be a range, "5 to 20"."""
    figure = f"{count:,}" if isinstance(count, int) else count
    return f"{figure} {noun}{'' if figure == '1' else 's'}"


def quantity(value: float | None) -> str:
    """A positive number with about three significant digits when small, whole when large."""
    if value is None:
        return "–"
    digits = 0 if value == int(value) or abs(value) >= 1000 else 1 if abs(value) >= 100 else 2
    return number(value, digits)


def percent(value: float | None, digits: int = 2) -> str:
    """A share from 0 to 1 as a percentage, without the sign."""
    return "–" if value is None else number(100 * value, digits)


def change(base: float | None, pruned: float | None) -> str:
    """Pruned against base in percent, with a sign: `−42.3 %`; a dash where it has no meaning."""
    if base is None or pruned is None or not base:
        return "–"
    return _signed(100 * (pruned / base - 1), 1) + "\N{NO-BREAK SPACE}%"


def _signed(value: float, digits: int) -> str:
    if round(value, digits) == 0:
        return f"±{0:.{digits}f}"
    return ("+" if value > 0 else "") + number(value, digits)


def headline(summary: Summary) -> list[Headline]:
    """The rows of the headline table; a row that no network has a value for is left out."""
    base = summary["networks"]["base"]
    pruned = summary["networks"].get("pruned") or {}
    rows = []
    for label, unit, key, more_is_better, source in _ROWS:
        before, after = base.get(key), pruned.get(key)
        if not before and not after:
            continue
        is_share = unit == "%"
        show = percent if is_share else quantity
        moved = 0.0 if before is None or after is None else after - before
        if is_share and after is not None and before is not None:
            text = _signed(100 * moved, 2) + "\N{NO-BREAK SPACE}points"
        else:
            text = change(before, after)
        better = more_is_better * ((moved > 0) - (moved < 0))
        rows.append(
            Headline(label, unit, show(before), show(after) if pruned else "", text, better, source_of(summary, source))
        )
    return rows


def source_of(summary: Summary, kind: str) -> str:
    """Where the figures of a kind (`accuracy`, `accuracy_hw`, `cost`, `speed`, `counted`) come from."""
    sources = {"counted": "counted", **(summary.get("sources") or {})}
    return str(sources.get(kind) or (sources.get("accuracy") if kind == "accuracy_hw" else "") or "")


def render(summary: Summary) -> str:
    """The report as one self-contained HTML text: no scripts, no links to other files, same bytes each time.

    Args:
        summary: the content of summary.json.
    """
    from jinja2 import Environment, StrictUndefined

    from . import plots

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(number=number, quantity=quantity, percent=percent)
    environment.globals.update(change=change, speed_cells=speed_cells, speed_caption=speed_caption)
    template = environment.from_string(Path(__file__).with_name(_TEMPLATE).read_text(encoding="utf-8"))
    steps = (summary.get("pruning") or {}).get("steps", [])
    networks = {TITLES[key]: summary["networks"][key] for key in TITLES if summary["networks"].get(key)}
    return template.render(
        summary=summary,
        titles=TITLES,
        networks=networks,
        headline=headline(summary),
        optional={key: summary.get(key) for key in _OPTIONAL},
        source_of=lambda kind: source_of(summary, kind),
        use=_use(summary, networks),
        fault_plot=plots.faults(summary),
        fault_series=_more_series(summary.get("faults") or {}),
        layer_plot=plots.layers(summary),
        training_plot=plots.training(summary),
        pruning_costs=bool(steps) and all("cost" in (step.get("allocation") or {}) for step in steps),
        sensitivity_plot=plots.sensitivity(_curves(steps)),
        kept_plot=plots.kept(summary.get("pruning")),
    )


def _curves(steps: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """The sensitivity curves that the steps of a pruning carry; empty where there are none."""
    return next((step["allocation"]["curves"] for step in steps if "curves" in (step.get("allocation") or {})), ())


def _use(summary: Summary, networks: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """A sentence a resource: how much of the part each network takes."""
    said = []
    for key in ("lut", "bram18"):
        available = summary["target"].get(key)
        if available:
            shares = (f"{percent(net[key] / available, 1)} % ({title})" for title, net in networks.items())
            said.append(f"{' and '.join(shares)} of the part's {number(available)} {key.upper()}")
    return said


def tables(summary: Summary) -> list[Table]:
    """The terminal's tables, as rich renderables: headline, layers, faults, speed, wall time.

    Args:
        summary: the content of summary.json.
    """
    made = [_headline_table(summary), *_layer_tables(summary)]
    if summary.get("faults"):
        made.append(fault_table(summary["faults"]))
        made += series_tables(summary["faults"])
    if summary.get("speed"):
        made.append(speed_table(summary["speed"]))
    if summary.get("stages"):
        made.append(_stage_table(summary["stages"]))
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


def _headline_table(summary: Summary) -> Table:
    target = summary["target"]
    has_pruned = bool(summary["networks"].get("pruned"))
    title = (
        f"{summary['name']} on {target['part']}, {target['clock_mhz']:g} MHz, {quantity(target['fps'])} images/s asked"
    )
    table = _table(title, "|>unpruned|>pruned|>change|unit|source" if has_pruned else "|>unpruned|unit|source")
    colours = {1: "green", -1: "yellow", 0: ""}
    for row in headline(summary):
        middle = [row.pruned, f"[{colours[row.better]}]{row.change}[/]" if row.better else row.change]
        table.add_row(row.label, row.base, *(middle if has_pruned else []), row.unit, row.source.partition(" ")[0])
    return table


def _layer_tables(summary: Summary) -> list[Table]:
    made = []
    for key, title in TITLES.items():
        network = summary["networks"].get(key)
        if not network:
            continue
        columns = "layer|op|shape|>PE|>SIMD|>cycles|>LUT|>BRAM18"
        caption = f"▶ slowest, sets the throughput; {source_of(summary, 'cost')}"
        table = _table(f"layers, {title}", columns, caption)
        for layer in network["layers"]:
            cells = [layer["name"], layer["op"], str(layer["shape"])]
            cells += [number(layer.get(figure)) for figure in ("pe", "simd", "cycles", "lut", "bram18")]
            slow = bool(layer.get("bottleneck"))
            cells[1] = cells[1].removesuffix("_hls").removesuffix("_rtl")
            cells[5] = f"▶ {cells[5]}" if slow else cells[5]
            table.add_row(*cells, style="bold" if slow else "")
        made.append(table)
    return made


def pruning_table(found: Mapping[str, Any]) -> Table:
    """The steps of a pruning: what was kept, its cost where it is known, and held-out accuracy."""
    columns = "step|kept|>binary ops|>LUT|>BRAM18|>cycles|>before %|>after %|"
    caption = "accuracy on held-out training images, right after removal and after fine-tuning; costs estimated"
    table = _table(f"pruning by {found['criterion']}, {found.get('allocation', 'uniform')}", columns, caption)
    keys = ("ops", "lut", "bram18", "cycles")
    unpruned = found.get("unpruned") or {"kept": {}, "cost": {}}
    held = found.get("held_out_accuracy")
    table.add_row("0", _widths(unpruned["kept"]), *(number(unpruned["cost"].get(k)) for k in keys), "", percent(held))
    for step in found["steps"]:
        cost = step.get("cost") or (step.get("allocation") or {}).get("cost") or {}
        before, after = percent(step["accuracy_before"]), percent(step["accuracy_after"])
        mark = "undone" if step.get("rolled_back") else ""
        cells = [str(step["step"]), _widths(step["kept"]), *(number(cost.get(key)) for key in keys), before, after]
        table.add_row(*cells, mark)
    return table


def _widths(kept: Mapping[str, int]) -> str:
    return " ".join(map(str, kept.values()))


def series_tables(faults: Mapping[str, Any]) -> list[Table]:
    """What a fault campaign gave beyond one curve: all series, protections' costs, networks in pairs."""
    made = []
    every = [(name, one) for name, series in (faults.get("series") or {}).items() for one in series]
    single = [(name, one) for name, one in every if "critical" in one]
    rest = [(name, one) for name, one in every if "critical" not in one]
    if len(rest) > sum(len(curve["mean"]) for curve in faults["networks"].values() if curve):
        columns = "network|target|layers|fault|>rate|protection|>seed|>maps|>accuracy %|>± maps|>± images|>worst"
        caption = "± 95 % interval: of the mean over maps, and what the choice of test images adds (points)"
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
    if single:
        table = _table(
            "single faults", "network|target|layers|protection|>cells|>drawn|>critical|>share %|95 % interval"
        )
        for key, one in single:
            names = [one["target"], ", ".join(one["layers"]), one["protection"]]
            counts = (number(one["population"]), number(one["maps"]), number(one["critical"]))
            spread = f"{percent(one['critical_low'], 2)} to {percent(one['critical_high'], 2)}"
            table.add_row(TITLES.get(key, key), *names, *counts, percent(one["critical_share"], 2), spread)
        made.append(table)
    if faults.get("paired"):
        first, second = (TITLES.get(name, name) for name in (faults["paired"][0][key] for key in ("first", "second")))
        columns = "target|layers|fault|>rate|protection|>points|>± maps|>better|>worse|>p (sign)"
        table = _table(f"{first} less {second}", columns, "on the same images and fault maps; 95 % interval over maps")
        for row in faults["paired"]:
            names = [row["target"], ", ".join(row["layers"]), row["model"], row["rates"], row["protection"]]
            figures = (f"{100 * row['difference']:+.2f}", f"{100 * row['half_width']:.2f}", row["wins"], row["losses"])
            table.add_row(*names, *map(str, figures), f"{row['p_sign']:.3f}")
        made.append(table)
    costs = [(name, row) for name, rows in (faults.get("costs") or {}).items() for row in rows]
    if costs:
        columns = "network|memory|protection|>bits|>extra bits|>BRAM18|>without|>LUT"
        table = _table("protection of memories", columns, "estimated; block RAMs were all memories in block RAMs")
        for key, row in costs:
            numbers = (row[figure] for figure in ("bits", "extra_bits", "bram18", "bram18_plain", "lut"))
            table.add_row(TITLES.get(key, key), row["memory"], row["protection"], *map(number, numbers))
        made.append(table)
    return made


def _more_series(faults: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Network and cells of every series, where there are more than the curves show."""
    every = [(name, fault_cells(one)) for name, series in (faults.get("series") or {}).items() for one in series]
    return every if len(every) > sum(len(curve["mean"]) for curve in faults.get("networks", {}).values()) else []


def fault_cells(one: Mapping[str, Any]) -> list[str]:
    """A series as texts: target, layers, fault, rate, protection, seed, maps, accuracy, intervals, worst map."""
    names = [one["target"], ", ".join(one["layers"]), one["model"], one["rates"], one["protection"], str(one["seed"])]
    # One map says nothing of how maps differ.
    over_maps = f"{100 * one['half_width']:.2f}" if one["maps"] > 1 else ""
    figures = [percent(one["mean"]), over_maps, f"{100 * one['test_half_width']:.2f}"]
    return [*names, str(one["maps"]), *figures, percent(one["worst"])]


def fault_table(faults: Mapping[str, Any]) -> Table:
    """Accuracy against bit error rate; `faults` as in the summary, its networks under any name."""
    networks = [key for key, curve in faults["networks"].items() if curve]
    columns = "|".join([">bit error rate", *(f">{TITLES.get(key, key)} %|95 % interval" for key in networks)])
    caption = f"measured on {plural(faults['images'], 'image')}, {plural(faults['maps'], 'fault map')} at each rate"
    table = _table(f"accuracy under faults ({faults.get('what', 'weights, flip')})", columns, caption)
    clean = (cell for key in networks for cell in (percent(faults["networks"][key]["clean"]), ""))
    table.add_row("no faults", *clean)
    for index, rate in enumerate(faults["rates"]):
        cells = [faults["labels"][index] if faults.get("labels") else f"{rate:g}"]
        for key in networks:
            mean, low, high = (faults["networks"][key][part][index] for part in ("mean", "low", "high"))
            interval = "" if str(faults["maps"]) == "1" else f"{percent(low, 1)} to {percent(high, 1)}"
            cells += [percent(mean), interval]
        table.add_row(*cells)
    return table


def speed_table(speed: Mapping[str, Any]) -> Table:
    """Images a second and latency of each engine; `speed` as in the summary."""
    columns = "engine|network|>batch|>images/s|>latency ms|source|remark"
    table = _table("speed", columns, speed_caption(speed))
    for row in speed["rows"]:
        table.add_row(row["engine"], TITLES.get(row["network"], row["network"]), *speed_cells(row))
    return table


def speed_cells(row: Mapping[str, Any]) -> list[str]:
    """A row of speeds as texts: batch, images/s, latency in ms of one image, source, remark."""
    batch, delay = row.get("batch"), row.get("latency_ms")
    remark = f"inexact: {row['inexact']}" if row.get("inexact") else ""
    pause = "–" if delay is None else f"{delay:.3g}" if delay < 100 else number(delay)
    return [number(batch), quantity(row["images_per_second"]), pause, row.get("source", "measured"), remark]


def speed_caption(speed: Mapping[str, Any]) -> str:
    """Machine, threads, how it was measured, and what is missing and why."""
    threads = f"{speed['threads']} thread{'' if speed['threads'] == 1 else 's'}"
    how = "medians of wall time; latency is that of one image in a batch of 1, the accelerator's at most"
    missing = "; ".join(f"{row['engine']}: {row['reason']}" for row in speed.get("missing") or ())
    return f"measured on {speed['device']}, {threads}; {how}" + (f". Not here: {missing}" if missing else "")


def _stage_table(stages: list[Mapping[str, Any]]) -> Table:
    spent = sum(stage["seconds"] for stage in stages if not stage["skipped"])
    table = _table("wall time", "stage|>seconds|", f"{number(spent, 1)} s in this run")
    for stage in stages:
        table.add_row(stage["name"], number(stage["seconds"], 1), "up to date" if stage["skipped"] else "")
    return table

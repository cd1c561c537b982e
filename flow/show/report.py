"""The report of a run: one HTML file that opens offline, and the texts of its figures.

It is made from the run's `summary.json` alone. Keys that a run did not produce (pruning, faults, speed,
the pruned network) may be missing or None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bnnflow import visible

Summary = Mapping[str, Any]

TITLES = {"base": "unpruned", "pruned": "pruned"}
_TEMPLATE = "report.html.j2"
_OPTIONAL = ("input", "finn", "faults", "notes", "pruning", "speed", "stages", "verify")


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
    ("weights that are not 0", "", "synapses", -1, "counted"),
    ("weight memory", "bit", "weight_bits", -1, "counted"),
    ("binary operations (MAC)", "", "binary_macs", -1, "counted"),
    ("multi-bit operations (MAC)", "", "int8_macs", -1, "counted"),
    ("neurons and filters", "", "neurons", -1, "counted"),
    ("initiation interval", "cycles", "cycles", -1, "cost"),
    ("throughput", "images/s", "fps", 1, "cost"),
    ("latency", "µs", "latency_us", -1, "cost"),
    ("LUT", "", "lut", -1, "cost"),
    ("BRAM18", "", "bram18", -1, "cost"),
    ("LUT, layers unrolled", "", "unrolled_lut", -1, "unrolled"),
    ("energy an image, 45 nm", "nJ", "energy_nj", -1, "energy"),
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


def _shown(value: object) -> object:
    """What a place of the template holds: text of files with its controls visible; markup of our own as it is."""
    return visible(value) if type(value) is str else value


def render(summary: Summary, relevance: bytes = b"") -> str:
    """The report as one self-contained HTML text: no scripts, no links to other files, same bytes each time.

    Args:
        summary: the content of summary.json.
        relevance: PNG of relevance maps; empty where there are none.
    """
    from base64 import b64encode

    from jinja2 import Environment, StrictUndefined

    from . import plots, pruning_plots

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_shown
    )
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
        pruning_costs=bool(steps) and all(step.get("cost") for step in steps),
        sensitivity_plot=pruning_plots.sensitivity(_curves(steps)),
        kept_plot=pruning_plots.kept(summary.get("pruning")),
        cost_plot=pruning_plots.costs(summary.get("pruning")),
        relevance_picture=b64encode(relevance).decode(),
        pruning_checks=any(step.get("check") is not None for step in steps),
        removed_by=removed_by,
    )


def removed_by(pruning: Mapping[str, Any]) -> str:
    """What the method of a pruning removed, and how, in words."""
    from ..recipe.methods.all import METHODS

    return METHODS.get(pruning.get("method", ""), METHODS["filters"]).headline(pruning)


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


def _more_series(faults: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Network and cells of every series, where there are more than the curves show."""
    every = [(name, fault_cells(one)) for name, series in (faults.get("series") or {}).items() for one in series]
    return every if len(every) > sum(len(curve["mean"]) for curve in faults.get("networks", {}).values()) else []


def fault_cells(one: Mapping[str, Any]) -> list[str]:
    """A series as texts: target, layers, fault, rate, protection, seed, maps, accuracy, intervals, worst map."""
    names = [one["target"], ", ".join(one["layers"]), one["model"], one["rates"], one["protection"], str(one["seed"])]
    halves = (f"{100 * one[key]:.2f}" for key in ("half_width", "test_half_width"))
    figures = [percent(one["mean"]), *halves]
    return [*names, str(one["maps"]), *figures, percent(one["worst"])]


def speed_cells(row: Mapping[str, Any]) -> list[str]:
    """A row of speeds as texts: batch, images/s, latency in ms of one image, source, remark."""
    batch, delay = row.get("batch"), row.get("latency_ms")
    remarks = [f"inexact: {row['inexact']}"] if row.get("inexact") else []
    timed, asked, compared = (row.get(key) for key in ("images", "asked", "compared"))
    if timed and asked and timed < asked:
        remarks.append(f"timed on {number(timed)} of {number(asked)} images, for time")
    if timed and compared and compared < timed:
        remarks.append(f"{number(compared)} of them compared")
    pause = "–" if delay is None else f"{delay:.3g}" if delay < 100 else number(delay)
    return [number(batch), quantity(row["images_per_second"]), pause, row.get("source", "measured"), "; ".join(remarks)]


def speed_caption(speed: Mapping[str, Any]) -> str:
    """Machine, threads, how it was measured, and what is missing and why."""
    threads = f"{speed['threads']} thread{'' if speed['threads'] == 1 else 's'}"
    how = "medians of wall time; latency is that of one image in a batch of 1, the accelerator's at most"
    missing = "; ".join(f"{row['engine']}: {row['reason']}" for row in speed.get("missing") or ())
    return f"measured on {speed['device']}, {threads}; {how}" + (f". Not here: {missing}" if missing else "")

"""The report of a run: one HTML file that opens offline, and the texts of its figures.

It is made from the run's summary alone. Parts that a run did not produce (pruning, faults, speed, the pruned network)
are None or empty.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bnnflow import visible

from ..results.fault_analysis import FlipSpread, Margins
from ..results.faults import FaultCampaign, FaultSeries, PairedSeries
from ..results.rankings import SensitivityRow
from ..results.routing import RoutedUnit, SlowestPath
from ..results.speed import GraphSpeed, SpeedResult, SpeedRow
from ..results.stages import FoldedBy, PruneStep, PruningResult, RelevanceMaps
from ..results.summary import NetworkSummary, Summary
from ..results.synthesis import Synthesis
from ..run.typed_json import from_json

TITLES = {"base": "unpruned", "pruned": "pruned"}
_TEMPLATE = "report.html.j2"


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


# label, unit, figure, 1 where more is better, kind of source
_ROWS: tuple[tuple[str, str, Callable[[NetworkSummary], float | None], int, str], ...] = (
    ("test accuracy", "%", lambda network: network.accuracy, 1, "accuracy"),
    ("accuracy, integer network", "%", lambda network: network.accuracy_hw, 1, "accuracy_hw"),
    ("weights", "", lambda network: network.weights, -1, "counted"),
    ("weights that are not 0", "", lambda network: network.synapses, -1, "counted"),
    ("weight memory", "bit", lambda network: network.weight_bits, -1, "counted"),
    ("binary operations (MAC)", "", lambda network: network.binary_macs, -1, "counted"),
    ("multi-bit operations (MAC)", "", lambda network: network.int8_macs, -1, "counted"),
    ("neurons and filters", "", lambda network: network.neurons, -1, "counted"),
    ("initiation interval", "cycles", lambda network: network.cycles, -1, "cost"),
    ("throughput", "images/s", lambda network: network.fps, 1, "cost"),
    ("latency", "µs", lambda network: network.latency_us, -1, "cost"),
    ("LUT", "", lambda network: network.lut, -1, "cost"),
    ("BRAM18", "", lambda network: network.bram18, -1, "cost"),
    ("LUT, layers unrolled", "", lambda network: network.unrolled_lut, -1, "unrolled"),
    ("energy an image, 45 nm", "nJ", lambda network: network.energy_nj, -1, "energy"),
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


def synthesis_saved(networks: Mapping[str, Synthesis]) -> list[str] | None:
    """Change by pruning of estimated LUTs, LUTs, LUT RAMs, flip-flops, block RAMs, cycles; None of one network."""
    if networks.keys() != {"base", "pruned"}:
        return None
    before, behind = (
        (one.estimated_lut, one.total.lut, one.total.lut_ram, one.total.ff, one.total.block_ram, one.interval_cycles)
        for one in (networks["base"], networks["pruned"])
    )
    pairs = zip(before, behind, strict=True)
    return [f"{100 * (new - old) / old:+.1f} %" if old else f"+{new:,}" for old, new in pairs]


def path_text(path: SlowestPath) -> str:
    """Where a slowest path begins and ends, and how many cells lie on it."""
    start, end = path.start or "harness", path.end or "harness"
    return (
        f"{plural(path.cells, 'cell')} in {start}"
        if start == end
        else f"{plural(path.cells, 'cell')}, {start} to {end}"
    )


def cells_text(unit: RoutedUnit) -> str:
    """What of a part's cells is taken, pins and buffers of the clock left out, and how much of it is harness."""
    kinds = [kind for kind in unit.used if not any(one in kind for one in ("IO", "_GB", "DCC"))]
    taken = ", ".join(f"{unit.used[kind]:,} of {unit.available[kind]:,} {kind}" for kind in kinds)
    return f"{taken}; of them harness: {unit.harness_ff:,} flip-flops, up to {unit.harness_lut:,} look-up tables"


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
    pruned = summary.pruned
    rows = []
    for label, unit, figure, more_is_better, source in _ROWS:
        before, after = figure(summary.base), None if pruned is None else figure(pruned)
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
    return "counted" if kind == "counted" else summary.sources.get(kind, "")


def folded_by(found: Mapping[str, FoldedBy]) -> str:
    """By whose cost foldings were chosen, with its error, or why not by our own hardware's."""
    said = []
    for one in dict.fromkeys(found.values()):
        more = one.why if one.lut_error is None else f"LUTs within {one.lut_error:.0%} on average"
        said.append(f"at the least cost by {one.cost_model}" + (f" ({more})" if more else ""))
    return "; ".join(said)


def _shown(value: object) -> object:
    """What a place of the template holds: text of files with its controls visible; markup of our own as it is."""
    return visible(value) if type(value) is str else value


def render(summary: Summary, relevance: bytes = b"") -> str:
    """The report as one self-contained HTML text: no scripts, no links to other files, same bytes each time.

    Args:
        summary: of the run.
        relevance: PNG of relevance maps; empty where there are none.
    """
    from base64 import b64encode

    from jinja2 import Environment, StrictUndefined

    from . import comparison, plots, pruning_plots, rivals

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_shown
    )
    environment.filters.update(number=number, quantity=quantity, percent=percent)
    environment.globals.update(change=change, speed_cells=speed_cells, speed_caption=speed_caption)
    template = environment.from_string(Path(__file__).with_name(_TEMPLATE).read_text(encoding="utf-8"))
    steps = summary.pruning.steps if summary.pruning else []
    networks = {TITLES[key]: summary.networks[key] for key in TITLES if key in summary.networks}
    return template.render(
        summary=summary,
        titles=TITLES,
        networks=networks,
        headline=headline(summary),
        source_of=lambda kind: source_of(summary, kind),
        folded_by=folded_by,
        use=_use(summary, networks),
        compared=comparison,
        rivals=rivals,
        fault_plot=plots.faults(summary),
        fault_series=_more_series(summary.faults),
        fault_metrics=metric_rows(summary.faults),
        fault_metric_note="" if summary.faults is None else metric_caption(summary.faults),
        fault_classes=class_rows(summary.faults),
        fault_curves=plots.fault_curves(summary),
        certified={
            name: (found, certified_rows(found), neuron_rows(found))
            for name, found in ((summary.faults.certified if summary.faults is not None else None) or {}).items()
        },
        fault_pairs=pair_rows(summary.faults),
        fault_pair_note=PAIR_NOTE,
        layer_plot=plots.layers(summary),
        training_plot=plots.training(summary),
        pruning_costs=bool(steps) and all(step.cost for step in steps),
        sensitivity_plot=pruning_plots.sensitivity(_sensitivity(steps)),
        kept_plot=pruning_plots.kept(summary.pruning),
        cost_plot=pruning_plots.costs(summary.pruning),
        relevance_picture=b64encode(relevance).decode(),
        relevance_of=summary.pruning.relevance
        if summary.pruning and isinstance(summary.pruning.relevance, RelevanceMaps)
        else None,
        pruning_checks=any(step.check is not None for step in steps),
        removed_by=removed_by,
        synthesis_saved=synthesis_saved,
        path_text=path_text,
        cells_text=cells_text,
    )


def removed_by(pruning: PruningResult) -> str:
    """What the method of a pruning removed, and how, in words."""
    from ..recipe.methods.all import METHODS

    return METHODS.get(pruning.method, METHODS["filters"]).headline(pruning)


def _sensitivity(steps: Sequence[PruneStep]) -> list[SensitivityRow]:
    """The sensitivity table that the steps of a pruning carry; empty where there are none."""
    found: object = next(
        (step.allocation["curves"] for step in steps if step.allocation and "curves" in step.allocation), []
    )
    return from_json(list[SensitivityRow], found)


def _use(summary: Summary, networks: Mapping[str, NetworkSummary]) -> list[str]:
    """A sentence a resource: how much of the part each network takes."""
    target = summary.target
    said = []
    for name, there, taken in (
        ("LUT", target.lut, {title: one.lut for title, one in networks.items()}),
        ("BRAM18", target.bram18, {title: one.bram18 for title, one in networks.items()}),
    ):
        shares = " and ".join(f"{percent(count / there, 1)} % ({title})" for title, count in taken.items())
        said.append(f"{shares} of the part's {number(there)} {name}")
    return said


def _more_series(faults: FaultCampaign | None) -> list[tuple[str, list[str]]]:
    """Network and cells of every series, where there are more than the curves show."""
    if faults is None:
        return []
    every = [(name, fault_cells(one)) for name, series in faults.series.items() for one in series]
    return every if len(every) > sum(len(curve.mean) for curve in faults.networks.values()) else []


def pair_rows(faults: FaultCampaign | None, rates: bool = True) -> list[list[str]]:
    """Cells of two networks side by side: what is equal, target, layers, fault, rates, protections, bits of both, both
    accuracies, difference in points, half widths, p; without `rates`, those alone that have more alike than rates."""
    rows = []
    for gap in faults.paired if faults is not None else ():
        if gap.first_mean is None or gap.second_mean is None or (gap.equal == "rate" and not rates):
            continue
        both = [f"{a} / {b}" if a != b else str(a) for a, b in _pairs(gap)]
        means = (percent(mean) for mean in (gap.first_mean, gap.second_mean))
        halves = (f"{100 * half:.2f}" for half in (gap.half_width, gap.test_half_width))
        names = [gap.equal, gap.target, ", ".join(gap.layers), gap.model]
        rows.append([*names, *both, *means, f"{100 * gap.difference:+.2f}", *halves, f"{gap.p_sign:.3f}"])
    return rows


def _pairs(gap: PairedSeries) -> list[tuple[str, str]]:
    """Rates, protections and bits of the first network and the second."""
    bits = (number(gap.bits), number(gap.second_bits)) if gap.bits and gap.second_bits else ("", "")
    rates = (gap.rates, _shorter(gap.second_rates or gap.rates))
    return [rates, (gap.protection, gap.second_protection or gap.protection), bits]


def _shorter(rates: str) -> str:
    """Rates that come of a division, with four digits."""
    try:
        return f"{float(rates):.4g}"
    except ValueError:
        return rates


def certified_rows(found: Margins) -> list[list[str]]:
    """Certified flips as texts: where, kind of bound, least, tenth percentile, median, share of trivial ones."""

    def row(where: str, exact: bool, spread: FlipSpread) -> list[str]:
        figures = (spread.least, spread.p10, spread.median)
        texts = [{None: "any", 0: "0 (trivial)"}.get(figure, f"{figure}") for figure in figures]
        return [where, "exact" if exact else "lower", *texts, f"{spread.trivial_share:.1%}"]

    rows = [row(f"weights of {found.last} (last layer)", True, found.last_weights)]
    if found.last_inputs:
        rows.append(row(f"input bits of {found.last}", True, found.last_inputs))
    return rows + [row(f"weights of {one.layer}", one.exact, one.certified) for one in found.layers]


def neuron_rows(found: Margins) -> list[list[str]]:
    """Margins of neurons as texts: layer, median flips, shares that one flip and that none turns, chance to change."""
    rows = []
    for one in found.layers:
        shares = (f"{share:.2%}" for share in (one.one_flip_share, one.constant_share, one.flip_probability))
        rows.append([one.layer, "" if one.median_flips is None else f"{one.median_flips:g}", *shares])
    return rows


PAIR_NOTE = (
    "difference: of mean accuracies, in points; ± at 95 %: what other maps, and other images at most, would change. "
    "Equal rate: a unit is hit as often in both. Equal faults: the maps of both have as many in the mean. Equal "
    "memory: the second has a code, and takes no more bits than the first without one."
)


def metric_rows(faults: FaultCampaign | None) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Names of columns (">" in front: numbers), and network and cells of every series; none where none were asked for.

    Columns: what is hit, changed classes with their interval, the class that suffers most, the margin and its fall.
    """
    if faults is None or not faults.metrics:
        return [], []
    every = [(name, one) for name, series in faults.series.items() for one in series]
    columns = ["target", "layers", "fault", ">rate", "protection", ">changed %", "95 % interval"]
    columns += ["worst class", ">fall, points", ">changed there %"] if "classes" in faults.metrics else []
    columns += [">margin", ">loss", ">± maps"] if "margin" in faults.metrics else []
    return columns, [(name, _metric_cells(one)) for name, one in every]


def _metric_cells(one: FaultSeries) -> list[str]:
    cells = [one.target, ", ".join(one.layers), one.model, one.rates, one.protection, percent(one.changed)]
    assert one.changed_low is not None and one.changed_high is not None
    cells.append(f"{percent(one.changed_low, 1)} to {percent(one.changed_high, 1)}")
    if one.classes is not None:
        worst = next(of for of in one.classes if of.label == one.worst_class)
        fall = worst.clean - worst.accuracy
        cells += [str(worst.label), f"{100 * fall:.2f}", percent(worst.changed)]
    if one.margin is not None:
        half = "not known" if one.margin.half_width is None else f"{one.margin.half_width:.3g}"
        cells += [f"{one.margin.clean:.4g}", f"{one.margin.loss:.4g}", half]
    return cells


def metric_caption(faults: FaultCampaign) -> str:
    """What the columns of `metric_rows` mean."""
    said = ["changed: images with another class than without faults (silent data corruption)"]
    if "classes" in (faults.metrics or ()):
        said.append("worst class: whose accuracy falls most; changed there: of its images")
    units = {one.margin.unit for series in faults.series.values() for one in series if one.margin is not None}
    if units:
        unit = "integers of the network's output" if units == {"integers"} else "scores of the network's output"
        said.append(f"margin: of the true class to the best other one without faults, mean over images, in {unit}")
        said.append("loss: its mean fall; ± maps: half of the loss' 95 % interval for other maps")
    return "; ".join(said)


def class_rows(faults: FaultCampaign | None) -> list[tuple[str, list[str]]]:
    """Network and cells of every class of every series: layers, fault, rate, class, images, accuracies, changed."""
    rows: list[tuple[str, list[str]]] = []
    for name, series in (faults.series if faults is not None and faults.metrics else {}).items():
        for one in series:
            for of in one.classes or ():
                cells = [one.target, ", ".join(one.layers), one.model, one.rates, one.protection, str(of.label)]
                cells += [number(of.images), percent(of.clean), percent(of.accuracy)]
                cells += [f"{percent(of.low, 1)} to {percent(of.high, 1)}", percent(of.changed)]
                cells.append(f"{percent(of.changed_low, 1)} to {percent(of.changed_high, 1)}")
                rows.append((name, cells))
    return rows


def fault_cells(one: FaultSeries) -> list[str]:
    """A series as texts: target, layers, fault, rate, protection, seed, maps, accuracy, intervals, worst map."""
    names = [one.target, ", ".join(one.layers), one.model, one.rates, one.protection, str(one.seed)]
    halves = (f"{100 * half:.2f}" for half in (one.half_width, one.test_half_width))
    return [*names, str(one.maps), percent(one.mean), *halves, percent(one.worst)]


def speed_cells(row: SpeedRow) -> list[str]:
    """A row of speeds as texts: batch, images/s, latency in ms of one image, source, remark."""
    delay, timed, asked, compared = row.latency_ms, row.images, row.asked, row.compared
    remarks = [f"inexact: {row.inexact}"] if row.inexact else []
    if timed and asked and timed < asked:
        remarks.append(f"timed on {number(timed)} of {number(asked)} images, for time")
    if timed and compared and compared < timed:
        remarks.append(f"{number(compared)} of them compared")
    pause = f"{delay:.3g}" if delay < 100 else number(delay)
    return [number(row.batch), quantity(row.images_per_second), pause, row.source, "; ".join(remarks)]


def speed_caption(speed: SpeedResult | GraphSpeed) -> str:
    """Machine, threads, how it was measured, and what is missing and why."""
    threads = plural(speed.threads, "thread")
    how = "medians of wall time; latency is that of one image alone, the accelerator's of its units one after another"
    missing = "; ".join(f"{one.engine}: {one.reason}" for one in speed.missing)
    return f"measured on {speed.device}, {threads}; {how}" + (f". Not here: {missing}" if missing else "")

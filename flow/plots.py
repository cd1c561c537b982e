"""The report's plots as inline SVG whose colours follow the page (light, dark, print)."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Summary = Mapping[str, Any]

# Stand-ins that matplotlib draws with; each becomes a CSS variable of the page.
_INK, _FAINT, _BASE, _PRUNED, _MARK = "#010101", "#020202", "#030303", "#040404", "#050505"
_VARIABLES = {_INK: "--ink", _FAINT: "--line", _BASE: "--base", _PRUNED: "--pruned", _MARK: "--mark"}
_COLOURS = {"base": _BASE, "pruned": _PRUNED}
_TITLES = {"base": "unpruned", "pruned": "pruned"}
_STYLE = {
    "svg.hashsalt": "bnnflow",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _FAINT,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "grid.color": _FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": _FAINT,
    "ytick.color": _FAINT,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}


def faults(summary: Summary) -> str:
    """Mean accuracy against bit error rate with its 95 % interval; empty where the run has none."""
    from matplotlib import rc_context

    campaign = summary.get("faults")
    if not campaign:
        return ""
    positive = [index for index, rate in enumerate(campaign["rates"]) if rate > 0]
    if not positive:
        return ""
    with rc_context(_STYLE):
        figure, (axes,) = _figure(7.2, 3.3, 1)
        rates = [campaign["rates"][index] for index in positive]
        for key, marker in (("base", "o"), ("pruned", "s")):
            curve = campaign["networks"].get(key)
            if not curve:
                continue
            mean, low, high = ([100 * curve[part][i] for i in positive] for part in ("mean", "low", "high"))
            colour = _COLOURS[key]
            axes.fill_between(rates, low, high, color=colour, alpha=0.18, linewidth=0)
            axes.plot(rates, mean, color=colour, marker=marker, markersize=5, label=_TITLES[key])
            axes.axhline(100 * curve["clean"], color=colour, linewidth=1, linestyle=(0, (2, 3)))
        axes.set_xscale("log")
        axes.set_xlabel("bit error rate in the weight memories (dotted: no faults)")
        axes.set_ylabel("accuracy, %")
        axes.legend(loc="lower left")
        return _svg(figure, "faults")


def layer_rows(summary: Summary) -> list[dict[str, Any]]:
    """One row for each layer of the unpruned network, with the pruned network's layer of that name beside it."""
    networks = summary["networks"]
    pruned = {layer["name"]: layer for layer in (networks.get("pruned") or {}).get("layers", [])}
    rows = [{"base": layer, "pruned": pruned.pop(layer["name"], None)} for layer in networks["base"]["layers"]]
    return rows + [{"base": None, "pruned": layer} for layer in pruned.values()]


def layers(summary: Summary) -> str:
    """Cycles and LUT of every layer, both networks side by side, with the bottleneck marked."""
    from matplotlib import rc_context

    rows = layer_rows(summary)
    if not rows:
        return ""
    keys = [key for key in _TITLES if summary["networks"].get(key)]
    with rc_context(_STYLE):
        figure, axes = _figure(7.2, 0.9 + len(rows) * (0.2 + 0.17 * len(keys)), 2, sharey=True)
        for one, figure_key, title in zip(axes, ("cycles", "lut"), ("cycles an image", "LUT"), strict=True):
            _bars(one, rows, keys, figure_key)
            one.set_title(title)
        axes[0].set_yticks(range(len(rows)), [(row["base"] or row["pruned"])["name"] for row in rows])
        axes[0].invert_yaxis()
        handles, labels = axes[1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        return _svg(figure, "layers")


def _bars(axes: Axes, rows: list[dict[str, Any]], keys: list[str], figure_key: str) -> None:
    from matplotlib.ticker import EngFormatter, MaxNLocator

    height = 0.78 / len(keys)
    for index, key in enumerate(keys):
        places = [row + (index - (len(keys) - 1) / 2) * height for row in range(len(rows))]
        found = [row[key] or {} for row in rows]
        values = [layer.get(figure_key) or 0 for layer in found]
        axes.barh(places, values, height=height * 0.9, color=_COLOURS[key], label=_TITLES[key])
        if figure_key != "cycles":
            continue
        for place, value, layer in zip(places, values, found, strict=True):
            if layer.get("bottleneck"):
                axes.annotate(
                    "◀ bottleneck", (value, place), (3, 0), textcoords="offset points", va="center", color=_MARK
                )
    if figure_key == "cycles":
        axes.set_xlim(right=axes.get_xlim()[1] * 1.35)
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))


def training(summary: Summary) -> str:
    """Loss and test accuracy of the unpruned network's training by epoch; empty where there is no history."""
    from matplotlib import rc_context
    from matplotlib.ticker import MaxNLocator

    history = (summary.get("training") or {}).get("base")
    if not history:
        return ""
    with rc_context(_STYLE):
        figure, axes = _figure(7.2, 2.6, 2)
        epochs = range(1, len(history) + 1)
        for one, key, title, scale in zip(axes, ("loss", "accuracy"), ("loss", "accuracy, %"), (1, 100), strict=True):
            one.plot(epochs, [scale * entry[key] for entry in history], color=_BASE, marker="o", markersize=4)
            one.set_title(title)
            one.set_xlabel("epoch")
            one.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        return _svg(figure, "training")


def sensitivity(rows: Sequence[Mapping[str, Any]]) -> str:
    """Accuracy against the share of each group that is removed; empty where there is no table."""
    from matplotlib import rc_context

    if not rows:
        return ""
    with rc_context(_STYLE):
        return _svg(_curves(rows), "sensitivity")


def kept(pruning: Mapping[str, Any] | None) -> str:
    """Which filters of each layer are left after the last step that was kept; empty where the record does not say."""
    from matplotlib import rc_context

    steps = [step for step in (pruning or {}).get("steps", []) if not step.get("rolled_back")]
    if not steps or not steps[-1].get("filters"):
        return ""
    left, scores = steps[-1]["filters"], (pruning or {})["steps"][0].get("scores") or {}
    with rc_context(_STYLE):
        figure, (axes,) = _figure(7.2, 0.9 + 0.32 * len(left), 1)
        for row, (name, filters) in enumerate(left.items()):
            width = len(scores.get(name, ())) or max(filters) + 1
            axes.barh(row, 100, height=0.7, color=_FAINT, linewidth=0)
            places = [100 * index / width for index in filters]
            axes.barh([row] * len(places), 100 / width, left=places, height=0.7, color=_PRUNED, linewidth=0)
            axes.annotate(f"{len(filters)} of {width}", (100, row), (6, 0), textcoords="offset points", va="center")
        axes.set_yticks(range(len(left)), list(left))
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.set_xlabel("place in the unpruned layer, %")
        axes.grid(visible=False)
        axes.tick_params(axis="y", length=0)
        return _svg(figure, "kept")


def save_sensitivity(rows: Sequence[Mapping[str, Any]], form: str) -> bytes:
    """The same as a file on white ground: svg, png or pdf."""
    from matplotlib import rc_context

    dark = {_INK: "#222222", _FAINT: "#d0d0d0"}
    style = {key: dark.get(value, value) if isinstance(value, str) else value for key, value in _STYLE.items()}
    with rc_context(style):
        figure = _curves(rows)
        figure.patch.set(alpha=1, facecolor="white")
        made = io.BytesIO()
        figure.savefig(made, format=form, dpi=150, metadata={} if form == "png" else {"Creator": None})
        return made.getvalue()


def _curves(rows: Sequence[Mapping[str, Any]]) -> Figure:
    from matplotlib import colormaps

    figure, (axes,) = _figure(7.2, 3.6, 1)
    markers = "osD^vP*X"
    for index, row in enumerate(rows):
        shares = [100 * count / row["width"] for count in row["removed"]]
        # Early layers dark, late ones light: order is what one looks for.
        colour = colormaps["viridis"](0.9 * index / max(1, len(rows) - 1))
        values = [100 * value for value in row["accuracy"]]
        label = f"{row['group']} ({row['width']})"
        axes.plot(shares, values, marker=markers[index % len(markers)], markersize=4, color=colour, label=label)
    axes.set_xlabel("filters or neurons removed from one layer, %")
    axes.set_ylabel("accuracy, %")
    axes.set_xlim(left=0)
    figure.legend(loc="outside right upper")
    return figure


def _figure(width: float, height: float, columns: int, sharey: bool = False) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.patch.set_alpha(0)
    grid = figure.subplots(1, columns, sharey=sharey, squeeze=False)
    for axes in grid[0]:
        axes.patch.set_alpha(0)
    return figure, list(grid[0])


def _svg(figure: Figure, prefix: str) -> str:
    """The figure as an SVG element: ids that are unique in the page, CSS colours, no metadata."""
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{prefix}-', svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{prefix}-", svg)
    svg = re.sub(r' xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r"font: (\S+) [^;\"]*", r"font-size: \1", svg)
    svg = re.sub(r'<svg width="[^"]*" height="[^"]*"', '<svg role="img" width="100%"', svg)
    for stand_in, variable in _VARIABLES.items():
        svg = svg.replace(stand_in, f"var({variable})")
    return re.sub(r"[ \t]+\n", "\n", svg)

"""The report's plots of a whole run; those of its pruning are in `pruning_plots`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..results.costs import LayerCost
from ..results.summary import Summary
from .drawing import BASE, COLOURS, MARK, STYLE, TITLES, as_svg, new_figure
from .fault_plots import curves_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def faults(summary: Summary) -> str:
    """Mean accuracy against bit error rate with its 95 % interval; empty where the run has none."""
    from matplotlib import rc_context

    campaign = summary.faults
    if campaign is None:
        return ""
    positive = [index for index, rate in enumerate(campaign.rates) if rate > 0]
    if not positive:
        return ""
    with rc_context(STYLE):
        figure, (axes,) = new_figure(7.2, 3.3, 1)
        rates = [campaign.rates[index] for index in positive]
        for key, marker in (("base", "o"), ("pruned", "s")):
            curve = campaign.networks.get(key)
            if curve is None:
                continue
            mean, low, high = ([100 * values[i] for i in positive] for values in (curve.mean, curve.low, curve.high))
            colour = COLOURS[key]
            axes.fill_between(rates, low, high, color=colour, alpha=0.18, linewidth=0)
            axes.plot(rates, mean, color=colour, marker=marker, markersize=5, label=TITLES[key])
            axes.axhline(100 * curve.clean, color=colour, linewidth=1, linestyle=(0, (2, 3)))
        axes.set_xscale("log")
        axes.set_xlabel(f"fault rate of {campaign.what} (dotted: no faults)")
        axes.set_ylabel("accuracy, %")
        axes.legend(loc="lower left")
        return as_svg(figure, "faults")


def fault_curves(summary: Summary) -> str:
    """Accuracy against rate of every series but the first of each network, such as layer by layer and memory by memory.

    One plot a network, with 95 % intervals; empty where there is nothing beyond `faults`.
    """
    from matplotlib import rc_context

    campaign = summary.faults
    if campaign is None:
        return ""
    curves = {
        key: [
            one
            for one in curves_of(replace(campaign, series={key: series}))
            if any(point.rate > 0 for point in one.points) and one.points[0].model != "single"
        ]
        for key, series in campaign.series.items()
    }
    if max(map(len, curves.values()), default=0) < 2:
        return ""
    with rc_context(STYLE):
        figure, every = new_figure(7.2, 3.9, len(curves), sharey=True)
        for axes, (key, lines) in zip(every, curves.items(), strict=True):
            for index, line in enumerate(lines):
                points = sorted((one for one in line.points if one.rate > 0), key=lambda one: one.rate)
                rates = [one.rate for one in points]
                mean, low, high = ([100 * getattr(one, name) for one in points] for name in ("mean", "low", "high"))
                colour, dashes = f"C{index % 10}", ("-", "--", ":", "-.")[index // 10 % 4]
                axes.fill_between(rates, low, high, color=colour, alpha=0.1, linewidth=0)
                axes.plot(rates, mean, color=colour, linestyle=dashes, marker="o", markersize=3, label=line.label)
            axes.axhline(100 * campaign.networks[key].clean, color=MARK, linewidth=1, linestyle=(0, (2, 3)))
            axes.set_xscale("log")
            axes.set_xlabel("fault rate (dotted: no faults)")
            axes.set_title(TITLES.get(key, key))
        every[0].set_ylabel("accuracy, %")
        longest = max(every, key=lambda axes: len(axes.lines))
        handles, labels = longest.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(labels)), fontsize=7)
        return as_svg(figure, "fault-curves")


@dataclass(frozen=True, slots=True)
class LayerRow:
    """A layer of either network or of both; where it is in one alone, the other is None."""

    name: str
    base: LayerCost | None
    pruned: LayerCost | None

    def of(self, network: str) -> LayerCost | None:
        """The layer of "base" or "pruned"."""
        return self.base if network == "base" else self.pruned


def layer_rows(summary: Summary) -> list[LayerRow]:
    """One row for each layer of the unpruned network, with the pruned network's layer of that name beside it."""
    pruned = {layer.name: layer for layer in (summary.pruned.layers if summary.pruned else ())}
    rows = [LayerRow(layer.name, layer, pruned.pop(layer.name, None)) for layer in summary.base.layers]
    return rows + [LayerRow(name, None, layer) for name, layer in pruned.items()]


def layers(summary: Summary) -> str:
    """Cycles and LUT of every layer, both networks side by side, with the bottleneck marked."""
    from matplotlib import rc_context

    rows = layer_rows(summary)
    if not rows:
        return ""
    keys = [key for key in TITLES if key in summary.networks]
    with rc_context(STYLE):
        figure, axes = new_figure(7.2, 0.9 + len(rows) * (0.2 + 0.17 * len(keys)), 2, sharey=True)
        for one, figure_key, title in zip(axes, ("cycles", "lut"), ("cycles per image", "LUT"), strict=True):
            _bars(one, rows, keys, figure_key)
            one.set_title(title)
        axes[0].set_yticks(range(len(rows)), [row.name for row in rows])
        axes[0].invert_yaxis()
        handles, labels = axes[1].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        return as_svg(figure, "layers")


def _bars(axes: Axes, rows: list[LayerRow], keys: list[str], figure_key: str) -> None:
    from matplotlib.ticker import EngFormatter, MaxNLocator

    height = 0.78 / len(keys)
    for index, key in enumerate(keys):
        places = [row + (index - (len(keys) - 1) / 2) * height for row in range(len(rows))]
        found = [row.of(key) for row in rows]
        values = [0 if layer is None else layer.cycles if figure_key == "cycles" else layer.lut for layer in found]
        axes.barh(places, values, height=height * 0.9, color=COLOURS[key], label=TITLES[key])
        if figure_key != "cycles":
            continue
        for place, value, layer in zip(places, values, found, strict=True):
            if layer is not None and layer.bottleneck:
                axes.annotate(
                    "◀ bottleneck", (value, place), (3, 0), textcoords="offset points", va="center", color=MARK
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

    history = summary.training.base
    if not history:
        return ""
    with rc_context(STYLE):
        figure, axes = new_figure(7.2, 2.6, 2)
        epochs = range(1, len(history) + 1)
        curves = {
            "loss": [epoch.loss for epoch in history],
            "accuracy, %": [100 * epoch.accuracy for epoch in history],
        }
        for one, (title, values) in zip(axes, curves.items(), strict=True):
            one.plot(epochs, values, color=BASE, marker="o", markersize=4)
            one.set_title(title)
            one.set_xlabel("epoch")
            one.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        return as_svg(figure, "training")

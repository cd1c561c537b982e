"""The report's plots of a pruning: what accuracy costs, what was kept, how sensitive layers are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..results.rankings import SensitivityRow
from ..results.summary import PruningSummary
from .drawing import BASE, FAINT, MARK, ON_WHITE, PRUNED, STYLE, as_file, as_svg, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def costs(pruning: PruningSummary | None) -> str:
    """Accuracy of the unpruned network and after each round against what it costs; empty where costs are not known."""
    from matplotlib import rc_context
    from matplotlib.ticker import EngFormatter, MaxNLocator

    points = [(step, step.cost) for step in pruning.steps if step.cost] if pruning else []
    if pruning is None or not points or not pruning.unpruned:
        return ""
    whole, held = pruning.unpruned, pruning.held_out_accuracy
    kept = [step for step, _ in points if not step.rolled_back]
    with rc_context(STYLE):
        figure, axes = new_figure(7.2, 2.9, len(_COSTS), sharey=True)
        for one, (key, title) in zip(axes, _COSTS.items(), strict=True):
            path = [(whole[key], 100 * held)]
            path += [(cost[key], 100 * step.accuracy_after) for step, cost in points if not step.rolled_back]
            one.plot(*zip(*path, strict=True), color=FAINT, zorder=1)
            one.plot(*path[0], "o", color=BASE, markersize=7, label="unpruned")
            for number, (step, cost) in enumerate(points):
                point, colour = (cost[key], 100 * step.accuracy_after), MARK if step.rolled_back else PRUNED
                last = bool(kept) and step is kept[-1]
                marker = "s" if last else "x" if step.rolled_back else "o"
                label = {"s": "pruned", "o": "round", "x": "undone"}[marker]
                one.plot(*point, marker, color=colour, markersize=7 if last else 5, label=label)
                if len(points) > 1:
                    one.annotate(str(number + 1), point, (0, 6), textcoords="offset points", ha="center", fontsize=8)
            one.set_title(title)
            one.set_xlim(left=0, right=1.12 * whole[key])
            one.margins(y=0.25)
            one.xaxis.set_major_formatter(EngFormatter(sep=""))
            one.xaxis.set_major_locator(MaxNLocator(3))
        axes[0].set_ylabel("accuracy, %")
        found = dict(zip(*reversed(axes[0].get_legend_handles_labels()), strict=True))
        figure.legend(found.values(), found.keys(), loc="outside lower center", ncols=len(found))
        return as_svg(figure, "costs")


_COSTS = {"ops": "binary operations", "lut": "LUT", "energy": "energy, nJ"}


def sensitivity(rows: Sequence[SensitivityRow]) -> str:
    """Accuracy against the share of each group that is removed; empty where there is no table."""
    from matplotlib import rc_context

    if not rows:
        return ""
    with rc_context(STYLE):
        return as_svg(_curves(rows), "sensitivity")


def kept(pruning: PruningSummary | None) -> str:
    """Which filters of each layer are left after the last step that was kept; empty where the record does not say."""
    from matplotlib import rc_context

    steps = [step for step in pruning.steps if not step.rolled_back] if pruning else []
    if pruning is None or not steps or not steps[-1].filters:
        return ""
    left, scores = steps[-1].filters, pruning.steps[0].scores or {}
    with rc_context(STYLE):
        figure, (axes,) = new_figure(7.2, 0.9 + 0.32 * len(left), 1)
        for row, (name, filters) in enumerate(left.items()):
            width = len(scores.get(name, ())) or max(filters) + 1
            axes.barh(row, 100, height=0.7, color=FAINT, linewidth=0)
            places = [100 * index / width for index in filters]
            axes.barh([row] * len(places), 100 / width, left=places, height=0.7, color=PRUNED, linewidth=0)
            axes.annotate(f"{len(filters)} of {width}", (100, row), (6, 0), textcoords="offset points", va="center")
        axes.set_yticks(range(len(left)), list(left))
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.set_xlabel("place in the unpruned layer, %")
        axes.grid(visible=False)
        axes.tick_params(axis="y", length=0)
        return as_svg(figure, "kept")


def save_sensitivity(rows: Sequence[SensitivityRow], form: str) -> bytes:
    """The same as a file on white ground: svg, png or pdf."""
    from matplotlib import rc_context

    with rc_context(ON_WHITE):
        return as_file(_curves(rows), form)


def _curves(rows: Sequence[SensitivityRow]) -> Figure:
    from matplotlib import colormaps

    figure, (axes,) = new_figure(7.2, 3.6, 1)
    markers = "osD^vP*X"
    for index, row in enumerate(rows):
        shares = [100 * count / row.width for count in row.removed]
        # Early layers dark, late ones light: order is what one looks for.
        colour = colormaps["viridis"](0.9 * index / max(1, len(rows) - 1))
        values = [100 * value for value in row.accuracy]
        label = f"{row.group} ({row.width})"
        axes.plot(shares, values, marker=markers[index % len(markers)], markersize=4, color=colour, label=label)
    axes.set_xlabel("filters or neurons removed from one layer, %")
    axes.set_ylabel(f"{rows[0].measure or 'accuracy'}, %")
    axes.set_xlim(left=0)
    figure.legend(loc="outside right upper")
    return figure

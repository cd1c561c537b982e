"""The picture of a study: accuracy against cost for all criteria, and their differences to chance."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...models.relevance.criteria import Criterion
from ..pruning.statistics import RANDOM
from ..results.rankings import ComparedRow, Comparison, StudyAmount
from .drawing import ON_WHITE, as_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_GREY, _CHANCE = "#666666", "#dddddd"


def study_picture(found: Comparison, form: str) -> bytes:
    """The picture of what `study.study` returns, as svg, png or pdf.

    With several amounts the first panel shows mean accuracy against operations; then each amount has a panel
    with every criterion's difference to chance and its interval. Grey is where the random draws lie.
    """
    from matplotlib import colormaps, rc_context
    from matplotlib.figure import Figure

    amounts = found.amounts
    names = [row.criterion for row in amounts[-1].rows if row.criterion != RANDOM]
    palette = colormaps["tab20"]
    colours = {name: palette((2 * index + index // 10) % 20) for index, name in enumerate(names)}
    curves = len(amounts) > 1
    with rc_context(ON_WHITE):
        high = max(3.2, 1.3 + 0.3 * len(names))
        wide = [1.5] * curves + [1.0] * len(amounts)
        figure = Figure(figsize=(2.2 + 2.7 * sum(wide), high), layout="constrained")
        axes = list(figure.subplots(1, len(wide), width_ratios=wide, squeeze=False)[0])
        if curves:
            _curves(axes.pop(0), found, colours)
        for index, (one, at) in enumerate(zip(axes, amounts, strict=True)):
            _gaps(one, at, names, colours, labelled=index == 0)
        note = "grey: random draws; hollow, dashed: criteria that look at no answer of the network"
        figure.supxlabel(note, fontsize=8, color=_GREY)
        return as_file(figure, form)


def _curves(axes: Axes, found: Comparison, colours: Mapping[str, Any]) -> None:
    start = (0.0, 100 * sum(found.unpruned) / len(found.unpruned))
    places = [100 * at.fewer for at in found.amounts]
    tables = [{row.criterion: row for row in at.rows} for at in found.amounts]
    order = sorted(range(len(places)), key=places.__getitem__)
    chance = [tables[index][RANDOM].accuracies for index in order]
    across = [start[0], *(places[index] for index in order)]
    low, high = ([start[1], *(100 * end(values) for values in chance)] for end in (min, max))
    axes.fill_between(across, low, high, color=_CHANCE, linewidth=0, zorder=0)
    for name, colour in colours.items():
        values = [start[1], *(100 * tables[index][name].mean for index in order)]
        axes.plot(across, values, "--" if _blind(name) else "-", color=colour, marker="o", markersize=3, linewidth=1.3)
    axes.set_xlabel("fewer operations, %")
    axes.set_ylabel("test accuracy, %")


def _gaps(axes: Axes, at: StudyAmount, names: list[str], colours: Mapping[str, Any], labelled: bool) -> None:
    rows = {row.criterion: row for row in at.rows}
    chance = rows[RANDOM]
    low, high = (100 * (end(chance.accuracies) - chance.mean) for end in (min, max))
    axes.axvspan(low, high, color=_CHANCE, linewidth=0, zorder=0)
    axes.axvline(0, color=_GREY, linewidth=0.8, zorder=1)
    for place, name in enumerate(names):
        row = rows[name]
        assert isinstance(row, ComparedRow)
        mark = {"mfc": "white" if _blind(name) else colours[name], "color": colours[name]}
        axes.errorbar(100 * row.gap, place, xerr=100 * row.half_width, fmt="o", markersize=5, linewidth=1.3, **mark)
    shown = [name.replace(",", ",\n ") if labelled else "" for name in names]
    axes.set_yticks(range(len(names)), shown, fontsize=9)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False, axis="y")
    axes.set_title(f"{100 * at.amount:g} % of every layer")
    axes.set_xlabel("points above chance, 95 % for all")


def _blind(name: str) -> bool:
    """Whether a criterion looks at no answer of the network."""
    return all(method.blind for method in Criterion.parse(name).methods)

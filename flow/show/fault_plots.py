"""A campaign as a picture and as a table for other programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..results.faults import ClassUnderFaults, FaultCampaign, FaultSeries, MarginLoss
from ..run.files import write_whole
from .drawing import ON_WHITE, as_file

if TYPE_CHECKING:
    from ...sim.faults.analysis.criticality import Criticality
    from ...sim.faults.analysis.margins import Certificate

# What is no single value has no column, or columns of its own.
_APART = ("injected", "undervolted", "classes", "worst_class", "margin")
COLUMNS = ("network", *(field.name for field in fields(FaultSeries) if field.name not in _APART))
_MARGIN = tuple(field.name for field in fields(MarginLoss))
_CLASS = tuple(field.name for field in fields(ClassUnderFaults) if field.name != "label")


@dataclass(frozen=True, slots=True)
class Curve:
    """Series that differ by their rates alone.

    Attributes:
        network: whose they are.
        label: what tells them from the others.
        points: the series.
    """

    network: str
    label: str
    points: list[FaultSeries]


def write_csv(found: FaultCampaign, path: Path) -> None:
    """Write a row for every point of every network, by the names of `FaultSeries`; several layers are joined by "+".

    Behind them stand, where they were measured, `margin_unit`, `margin_loss`, ... by the names of `MarginLoss`, and
    `worst_class` and `class0_accuracy`, ... by the class and the names of `ClassUnderFaults`.
    """
    text = io.StringIO()
    every = [(name, one) for name, series in found.series.items() for one in series]
    labels = sorted({of.label for _, one in every for of in one.classes or ()})
    more = [f"margin_{key}" for key in _MARGIN] if any(one.margin is not None for _, one in every) else []
    more += ["worst_class"] if labels else []
    more += [f"class{label}_{key}" for label in labels for key in _CLASS]
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow([*COLUMNS, *more])
    for name, one in every:
        cells = {key: getattr(one, key) for key in COLUMNS[1:]} | {"layers": "+".join(one.layers)}
        cells |= {f"margin_{key}": getattr(one.margin, key) for key in _MARGIN if one.margin is not None}
        cells |= {"worst_class": one.worst_class}
        cells |= {f"class{of.label}_{key}": getattr(of, key) for of in one.classes or () for key in _CLASS}
        rows.writerow([name, *(cells.get(key) for key in (*COLUMNS[1:], *more))])
    write_whole(path, text.getvalue().encode())


def draw(found: FaultCampaign, path: Path) -> None:
    """Mean accuracy of every series against its rate, with the 95 % interval for other maps and images."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(ON_WHITE):
        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
        axes = figure.subplots()
        curves = list(curves_of(found))
        # What has no faults has no place on a logarithmic axis; it has a line of its own.
        some = any(one.rate > 0 for curve in curves for one in curve.points)
        for index, curve in enumerate(curves):
            points = sorted((one for one in curve.points if one.rate > 0 or not some), key=lambda one: one.rate)
            rates = [one.rate for one in points]
            mean, low, high = ([100 * getattr(one, key) for one in points] for key in ("mean", "low", "high"))
            colour = f"C{index % 10}"
            axes.fill_between(rates, low, high, color=colour, alpha=0.15, linewidth=0)
            axes.plot(rates, mean, color=colour, marker="o", markersize=4, label=curve.label)
        for network, whole in found.networks.items():
            axes.axhline(100 * whole.clean, color="0.5", linewidth=1, linestyle=(0, (2, 3)))
            where, corner = (1, 100 * whole.clean), ("axes fraction", "data")
            axes.annotate(f"{network}, no faults", where, xycoords=corner, fontsize=7, ha="right", va="bottom")
        axes.set_xscale("log" if some else "linear")
        axes.set_xlabel("rate of faults")
        axes.set_ylabel("accuracy, %")
        axes.set_title(
            f"mean of {found.maps} fault maps on {found.images:,} images; bands: 95 %, other maps and images"
        )
        axes.legend(loc="lower left", fontsize=8)
        write_whole(path, as_file(figure, path.suffix[1:]))


def curves_of(found: FaultCampaign) -> Iterator[Curve]:
    """Series that differ by their rates alone, named by what tells them from the others."""
    axes = ("target", "layers", "model", "protection", "seed")
    kept: dict[tuple[object, ...], Curve] = {}
    every = [(network, one) for network, series in found.series.items() for one in series]

    def values(network: str, one: FaultSeries) -> tuple[object, ...]:
        return network, *("+".join(value) if isinstance(value := getattr(one, key), list) else value for key in axes)

    rows = [values(*pair) for pair in every]
    differ = [len({row[place] for row in rows}) > 1 for place in range(len(axes) + 1)]
    for (network, one), row in zip(every, rows, strict=True):
        if row not in kept:
            parts = [str(value) for value, tells in zip(row, differ, strict=True) if tells]
            kept[row] = Curve(network, ", ".join(parts) or one.model, [])
        kept[row].points.append(one)
    yield from kept.values()


def write_bits(judged: Sequence[Criticality], path: Path) -> None:
    """Write a row for every weight bit: layer, row, column, bit, images that change, images right with it."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("layer", "row", "column", "bit", "changed", "right"))
    for one in judged:
        places = np.ndindex(one.changed.shape)
        counts = zip(one.changed.reshape(-1).tolist(), one.right.reshape(-1).tolist(), strict=True)
        rows.writerows([one.layer, *place, *count] for place, count in zip(places, counts, strict=True))
    write_whole(path, text.getvalue().encode())


def draw_bits(judged: Sequence[Criticality], path: Path) -> None:
    """Share of each layer's weight bits that change the class of at least so many images."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(ON_WHITE):
        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
        axes = figure.subplots()
        for one in judged:
            counts = np.sort(one.changed.reshape(-1))
            steps = np.unique(counts[counts > 0])
            shares = [float((counts >= step).mean()) for step in steps]
            axes.plot([100 * step / one.images for step in steps], shares, drawstyle="steps-pre", label=one.layer)
        if any((one.changed > 0).any() for one in judged):
            axes.set_yscale("log")
        axes.set_xlabel("images that change their class, at least, %")
        axes.set_ylabel("share of weight bits")
        axes.set_title(f"every weight bit flipped, one at a time, on {judged[0].images:,} images")
        axes.legend(loc="upper right", fontsize=8)
        write_whole(path, as_file(figure, path.suffix[1:]))


def _certified(found: Certificate) -> Iterator[tuple[str, str, str, np.ndarray]]:
    """Layer, what is flipped, kind of bound, and flips of every image."""
    yield found.last, "weights", "exact", found.weights
    if found.inputs is not None:
        yield found.last, "inputs", "exact", found.inputs
    for name, flips in found.layers.items():
        yield name, "weights", "exact" if name in found.exact else "lower", flips


def write_certificates(found: Certificate, searched: Mapping[str, Sequence[int | None]], path: Path) -> None:
    """Write a row for every image and layer: flips that provably change no class, and the fewest found that do.

    `certified` is "any" where no number of flips can; `found` is "none" where a search found none, and empty where
    none was made.
    """
    from ...sim.faults.analysis.margins import NEVER

    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("image", "layer", "flips_of", "bound", "certified", "found"))
    for layer, of, bound, flips in _certified(found):
        enough = searched.get(layer, ()) if of == "weights" else ()
        for image, count in enumerate(flips.tolist()):
            more = ("none" if enough[image] is None else enough[image]) if image < len(enough) else ""
            rows.writerow((image, layer, of, bound, "any" if count == NEVER else count, more))
    write_whole(path, text.getvalue().encode())


def draw_certificates(found: Certificate, path: Path) -> None:
    """Share of images that provably keep their class under so many flips, whichever they are."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    from ...sim.faults.analysis.margins import NEVER

    with rc_context(ON_WHITE):
        figure = Figure(figsize=(7.2, 4.2), layout="constrained")
        axes = figure.subplots()
        every = list(_certified(found))
        most = max((int(flips[flips != NEVER].max(initial=0)) for *_, flips in every), default=0) + 1
        for layer, of, bound, flips in every:
            steps = np.unique(np.concatenate([[0, most], flips[flips != NEVER], flips[flips != NEVER] + 1]))
            shares = [100 * float((flips >= step).mean()) for step in steps]
            what = layer if of == "weights" else f"input bits of {layer}"
            axes.plot(steps, shares, drawstyle="steps-post", label=f"{what} ({bound})")
        axes.set_xscale("symlog", linthresh=1)
        axes.set_xlim(left=0)
        axes.set_ylim(0, 105)
        axes.set_xlabel("flips, whichever they are")
        axes.set_ylabel("images that keep their class for sure, %")
        axes.set_title(f"certified flips, {len(found.weights):,} images; lower: more may be safe")
        axes.legend(loc="upper right", fontsize=8)
        write_whole(path, as_file(figure, path.suffix[1:]))

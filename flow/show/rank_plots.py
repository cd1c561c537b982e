"""Pictures of `flow rank`: how scores are spread, and where in an image relevance lies."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...models.relevance.criteria import Criterion
from ..results.rankings import Ranking
from ..run.files import write_whole
from .drawing import as_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ...models.networks.network import Network
    from ...models.networks.own import OwnNetwork
    from ...models.relevance.sample import Sample

IMAGES = 6


def plot(ranking: Ranking, network: Network | OwnNetwork, sample: Sample, path: Path) -> None:
    """Sorted scores of every layer by every criterion; below, for criteria that attribute, maps of a few images.

    A map is the sum over the first layers' filters of the attributions at each place, drawn over the image: red speaks
    for the label, blue against it, in one scale per image. Maps are stretched over the whole image.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    parsed = [Criterion.parse(row.criterion) for row in ranking.criteria]
    methods = list(dict.fromkeys(c.method for c in parsed if c.reduction))
    maps = {method: found for method in methods if (found := _maps(network, method, sample))}
    layers = list(ranking.criteria[0].scores)
    wide, rows = 1.7 * IMAGES, sum(len(found) for found in maps.values())
    columns = min(len(layers), 4)
    high = -(-len(layers) // columns)
    with rc_context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False, "svg.hashsalt": "bnnflow"}):
        figure = Figure(figsize=(wide, 2.4 * high + 0.6 + 1.75 * rows), layout="constrained")
        heights = [2.4 * high + 0.6] + ([1.75 * rows] if rows else [])
        parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        _spread(parts[0].subplots(high, columns, squeeze=False).ravel().tolist(), layers, ranking, parts[0])
        if rows:
            _draw_maps(parts[1].subplots(rows, IMAGES, squeeze=False), maps, sample)
            parts[1].supxlabel("relevance, sum over the filters: red speaks for the label, blue against it", fontsize=8)
        picture = as_file(figure, path.suffix[1:])
    write_whole(path, picture)


def draw_maps(network: Network | OwnNetwork, method: str, sample: Sample) -> tuple[bytes, list[str]] | None:
    """The maps alone as PNG, and their layers; None where no layer in front has maps.

    Args:
        network: as `plot` takes it.
        method: one that attributes.
        sample: images, of which the first few are drawn.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    found = _maps(network, method, sample)
    if not found:
        return None
    with rc_context({"font.size": 8}):
        figure = Figure(figsize=(1.3 * IMAGES, 0.3 + 1.35 * len(found)), layout="constrained")
        _draw_maps(figure.subplots(len(found), IMAGES, squeeze=False), {method: found}, sample)
        picture = io.BytesIO()
        figure.savefig(picture, format="png", dpi=130, metadata={"Software": None})
    return picture.getvalue(), list(found)


def _spread(axes: list[Axes], layers: list[str], ranking: Ranking, figure: Any) -> None:
    """Scores from the highest down, each criterion by its highest magnitude."""
    for one, layer in zip(axes, layers, strict=False):
        for row in ranking.criteria:
            scores = np.sort(np.array(row.scores[layer]))[::-1]
            top = float(np.abs(scores).max()) or 1.0
            one.plot((np.arange(len(scores)) + 0.5) / len(scores), scores / top, label=row.criterion, linewidth=1.3)
        one.set_title(f"{layer} ({len(scores)})", loc="left", fontweight="bold")
        one.axhline(0.0, color="0.8", linewidth=0.6, zorder=0)
        one.set_xlim(0, 1)
    for one in axes[len(layers) :]:
        one.set_axis_off()
    axes[0].set_ylabel("score / highest")
    figure.supxlabel("share of the filters, highest first", fontsize=8)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=min(len(labels), 5), frameon=False)


def _maps(network: Network | OwnNetwork, method: str, sample: Sample) -> dict[str, np.ndarray]:
    """Of the first two layers that give maps: (images, height, width), sums over filters."""
    from ...models.relevance.sample import Sample
    from ...models.relevance.scores import attributions

    few = Sample(sample.images[:IMAGES], sample.labels[:IMAGES], sample.baselines[:IMAGES])
    parts = next(attributions(network, method, few))[0]
    found = {name: part.sum(1).cpu().numpy() for name, part in parts.items() if part.dim() == 4 and part.shape[2] > 1}
    return dict(list(found.items())[:2])


def _draw_maps(axes: np.ndarray, maps: dict[str, dict[str, np.ndarray]], sample: Sample) -> None:
    titles = [(method, layer) for method, found in maps.items() for layer in found]
    for index, (row, (method, layer)) in enumerate(zip(axes, titles, strict=True)):
        for column, one in enumerate(row):
            one.set_xticks([])
            one.set_yticks([])
            for side in one.spines.values():
                side.set_visible(False)
            if column >= len(sample.images[:IMAGES]):
                continue
            image, relevance = sample.images[column], maps[method][layer][column]
            grey = image.mean(0) if len(image) in (1, 3) else image[0]
            extent = (0, image.shape[2], image.shape[1], 0)
            one.imshow(grey, cmap="Greys", extent=extent, vmin=0, vmax=600)
            top = float(np.abs(relevance).max()) or 1.0
            strength = np.abs(relevance) / top
            one.imshow(
                relevance,
                cmap="RdBu_r",
                vmin=-top,
                vmax=top,
                alpha=strength**0.7,
                extent=extent,
                interpolation="nearest",
            )
            if index == 0:
                one.set_title(f"label {int(sample.labels[column])}")
        row[0].set_ylabel(f"{method}\n{layer}")

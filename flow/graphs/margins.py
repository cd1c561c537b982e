"""The work behind `flow margins`, and the certificates of a run's report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...transforms.ir.graph import Graph
from ..results.fault_analysis import AttackFlip, FewestFlips, FlipSpread, LayerMargins, Margins, SearchedMargins
from ..run.typed_json import extended
from .campaign import labelled
from .inputs import input_held

if TYPE_CHECKING:
    from ...sim.faults.analysis.margins import Certificate


def cut(images: int, jobs: int) -> list[slice]:
    """Parts of the images for so many processes; one, where there are none."""
    size = min(100, max(1, -(-images // jobs)))
    return [slice(first, min(images, first + size)) for first in range(0, max(1, images), size)]


def margins(
    graph: Graph,
    images: np.ndarray,
    labels: np.ndarray | None,
    rate: float,
    flips: int,
    weakest: int = 0,
    jobs: int = 1,
) -> tuple[Margins, Certificate]:
    """Certified flips of images, margins of neurons, chances of neurons at a rate, a greedy attack, and a search.

    Args:
        graph: dataflow level.
        images, labels: what is judged on; labels are for the attack alone.
        rate: of the flips of weights, for the chances of neurons.
        flips: of the attack; 0: none.
        weakest: images of each layer on which `sim.faults.analysis.attack.Search` runs, the first ones.
        jobs: processes; images are certified one by one, so that nothing depends on it.

    Returns:
        What was found, and the certificate of every image.

    Raises:
        Problem: images or labels do not fit the graph; an attack (`flips` above 0) without labels.
    """
    from ...sim.engine.simulator import Simulator, class_count
    from ...sim.faults import Workers
    from ...sim.faults.analysis.attack import attack
    from ...sim.faults.analysis.margins import NEVER, certify, flip_probability, flips_needed, joined, layer_of, layers
    from ...sim.images import checked_labels

    workers = Workers(jobs)
    if labels is not None:
        checked_labels(labels, len(images), class_count(graph))
    truth = labelled(labels) if flips else None
    parts = [slice(None)] if jobs == 1 else cut(len(images), jobs)
    certificate = joined(list(workers.each(certify, graph, [(images[part],) for part in parts])))
    few = images[:50]
    tensors = Simulator.of(graph).tensors(few)
    rows: list[SearchedMargins | LayerMargins] = []
    for name in layers(graph):
        if name == certificate.last:
            continue
        layer = layer_of(graph, name, tensors)
        if not layer.op.has_bounds:
            continue
        needed = flips_needed(layer)
        can = needed[needed != NEVER]
        row = LayerMargins(
            layer=name,
            median_flips=float(np.median(can)) if can.size else None,
            one_flip_share=float((needed == 1).mean()),
            constant_share=float((needed == NEVER).mean()),
            flip_probability=float(flip_probability(layer, rate).mean()),
            certified=_spread(certificate.layers[name], NEVER),
            exact=name in certificate.exact,
        )
        if weakest:
            few_of = [(name, images[part]) for part in cut(min(weakest, len(images)), jobs)]
            row = _searched(row, [one for part in workers.each(_search, graph, few_of) for one in part])
        rows.append(row)
    harm = []
    if truth is not None:
        names = [row.layer for row in rows] + [certificate.last]
        harm = attack(graph, few, truth[:50], names, flips)
    found = Margins(
        images=len(images),
        rate=rate,
        last=certificate.last,
        last_weights=_spread(certificate.weights, NEVER),
        last_inputs=None if certificate.inputs is None else _spread(certificate.inputs, NEVER),
        layers=rows,
        neurons_on=len(few),
        attack=[
            AttackFlip(layer=f.layer, row=f.row, column=f.column, bit=f.bit, accuracy=f.right / len(few)) for f in harm
        ],
        input=input_held(graph),
    )
    return found, certificate


def _search(graph: Graph, layer: str, images: np.ndarray) -> list[list[tuple[int, ...]] | None]:
    """Flips of a layer's weights that change each image's class; None where none were found."""
    from ...sim.faults.analysis.attack import Search

    search = Search.of(graph, layer)
    return [None if flips is None else list(flips) for flips in map(search.flips, images)]


def _searched(row: LayerMargins, every: Sequence[list[tuple[int, ...]] | None]) -> SearchedMargins:
    """The same with the flips that were found to change each image's class."""
    enough = [(len(flips), place) for place, flips in enumerate(every) if flips is not None]
    best = min(enough, default=None)
    fewest = None
    if best is not None:
        fewest = FewestFlips(image=best[1], flips=[list(flip[:2]) for flip in every[best[1]] or []])
    found = [None if flips is None else len(flips) for flips in every]
    return extended(SearchedMargins, row, found=found, weakest=fewest)


def _spread(flips: np.ndarray, never: int) -> FlipSpread:
    """Least, tenth percentile and median over images, None where so many stand any number; share of bounds of 0."""

    def number(value: float) -> int | None:
        return None if value == never else int(value)

    ordered = np.sort(flips)
    return FlipSpread(
        least=number(ordered[0]),
        p10=number(ordered[len(ordered) // 10]),
        median=number(ordered[len(ordered) // 2]),
        trivial_share=float((flips == 0).mean()),
    )

"""The work behind `flow criticality` and `flow margins`."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...transforms.ir.graph import Graph
from ..graphs.campaign import labelled
from ..graphs.inputs import input_held
from ..results.faults import (
    AttackFlip,
    CriticalityResult,
    FewestFlips,
    FlipSpread,
    LayerCriticality,
    LayerMargins,
    Margins,
    SearchedMargins,
    WorstBit,
)
from ..run.files import write_whole
from ..run.typed_json import extended

if TYPE_CHECKING:
    from ...sim.faults.analysis.attack import Search


def criticality(
    graph: Graph,
    images: np.ndarray,
    labels: np.ndarray | None,
    layers: Sequence[str],
    output: Path | None,
    progress: Callable[[int], None],
) -> CriticalityResult:
    """Single-bit criticality of layers ("all" for every one); tables of all bits as .npz in `output`.

    Without labels, "clean" is None and "right" counts the images that keep their class.
    """
    from ...sim.faults.analysis.criticality import criticality as judge
    from ...sim.faults.injection.layout import memories

    names = [memory.layer for memory in memories(graph)] if list(layers) == ["all"] else list(dict.fromkeys(layers))
    rows, tables = [], {}
    for index, name in enumerate(names):

        def shown(done: int, index: int = index) -> None:
            progress(index * len(images) + done)

        made = judge(graph, images, labels, name, progress=shown)
        bits = made.changed.size
        rows.append(
            LayerCriticality(
                layer=name,
                bits=bits,
                critical=made.critical,
                critical_share=made.critical / bits,
                mean_changed=float(made.changed.mean()) / len(images),
                clean=None if labels is None else made.clean / len(images),
                worst=[
                    WorstBit(row=row, column=column, bit=bit, changed=changed, right=right)
                    for row, column, bit, changed, right in made.worst()
                ],
            )
        )
        tables[name] = made.changed
    if output is not None:
        packed = io.BytesIO()
        np.savez_compressed(packed, allow_pickle=False, **tables)
        write_whole(output, packed.getvalue())
    return CriticalityResult(
        images=len(images),
        layers=rows,
        output=None if output is None else str(output),
        input=input_held(graph),
    )


def margins(
    graph: Graph, images: np.ndarray, labels: np.ndarray | None, rate: float, flips: int, weakest: int = 0
) -> Margins:
    """Certified flips of images, margins of neurons, chances of neurons at a rate, a greedy attack, and a search.

    With `weakest`, the search of `sim.faults.analysis.attack.Search` runs on the first so many images of each layer.

    Raises:
        Problem: images or labels do not fit the graph; an attack (`flips` above 0) without labels.
    """
    from ...sim.engine.simulator import Simulator, class_count
    from ...sim.faults.analysis.attack import Search, attack
    from ...sim.faults.analysis.margins import NEVER, certify, flip_probability, flips_needed, layer_of, layers
    from ...sim.images import checked_labels

    if labels is not None:
        checked_labels(labels, len(images), class_count(graph))
    truth = labelled(labels) if flips else None
    certificate = certify(graph, images)
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
        rows.append(_searched(row, Search.of(graph, name), images[:weakest]) if weakest else row)
    harm = []
    if truth is not None:
        names = [row.layer for row in rows] + [certificate.last]
        harm = attack(graph, few, truth[:50], names, flips)
    return Margins(
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


def _searched(row: LayerMargins, search: Search, images: np.ndarray) -> SearchedMargins:
    """The same with the flips that were found to change each image's class."""
    every = [search.flips(image) for image in images]
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

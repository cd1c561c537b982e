"""The work behind `flow criticality` and `flow margins`, as plain values."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...transforms.ir.graph import Graph
from ..graphs.campaign import labelled
from ..run.files import write_whole

if TYPE_CHECKING:
    from ...sim.faults.analysis.attack import Search

Facts = dict[str, Any]


def criticality(
    graph: Graph,
    images: np.ndarray,
    labels: np.ndarray | None,
    layers: Sequence[str],
    output: Path | None,
    progress: Callable[[int], None],
) -> Facts:
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
            {
                "layer": name,
                "bits": bits,
                "critical": made.critical,
                "critical_share": made.critical / bits,
                "mean_changed": float(made.changed.mean()) / len(images),
                "clean": None if labels is None else made.clean / len(images),
                "worst": [
                    dict(zip(("row", "column", "bit", "changed", "right"), entry, strict=True))
                    for entry in made.worst()
                ],
            }
        )
        tables[name] = made.changed
    if output is not None:
        packed = io.BytesIO()
        np.savez_compressed(packed, allow_pickle=False, **tables)
        write_whole(output, packed.getvalue())
    return {"images": len(images), "layers": rows, "output": None if output is None else str(output)}


def margins(
    graph: Graph, images: np.ndarray, labels: np.ndarray | None, rate: float, flips: int, weakest: int = 0
) -> Facts:
    """Certified flips of images, margins of neurons, chances of neurons at a rate, a greedy attack, and a search.

    `exact` says of a layer's certificate that one flip more, well chosen, changes the class; `trivial_share` is the
    share of images of which nothing is certified. With `weakest`, "found" of a layer has, for each of the first so
    many images, how many flips the search of `sim.faults.attack.Search` found to be enough (None: it found none), and
    "weakest" the fewest of them.

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
    rows = []
    for name in layers(graph):
        if name == certificate.last:
            continue
        layer = layer_of(graph, name, tensors)
        if not layer.op.has_bounds:
            continue
        needed = flips_needed(layer)
        can = needed[needed != NEVER]
        rows.append(
            {
                "layer": name,
                "median_flips": float(np.median(can)) if can.size else None,
                "one_flip_share": float((needed == 1).mean()),
                "constant_share": float((needed == NEVER).mean()),
                "flip_probability": float(flip_probability(layer, rate).mean()),
                "certified": _spread(certificate.layers[name], NEVER),
                "exact": name in certificate.exact,
                **(_found(Search.of(graph, name), images[:weakest]) if weakest else {}),
            }
        )
    harm = []
    if truth is not None:
        names = [str(row["layer"]) for row in rows] + [certificate.last]
        harm = attack(graph, few, truth[:50], names, flips)
    return {
        "images": len(images),
        "rate": rate,
        "last": certificate.last,
        "last_weights": _spread(certificate.weights, NEVER),
        "last_inputs": None if certificate.inputs is None else _spread(certificate.inputs, NEVER),
        "layers": rows,
        "neurons_on": len(few),
        "attack": [
            {"layer": f.layer, "row": f.row, "column": f.column, "bit": f.bit, "accuracy": f.right / len(few)}
            for f in harm
        ],
    }


def _found(search: Search, images: np.ndarray) -> Facts:
    """Flips that change each image's class, and the fewest."""
    every = [search.flips(image) for image in images]
    enough = [(len(flips), place) for place, flips in enumerate(every) if flips is not None]
    best = min(enough, default=None)
    fewest = None if best is None else {"image": best[1], "flips": [list(flip[:2]) for flip in every[best[1]] or []]}
    return {"found": [None if flips is None else len(flips) for flips in every], "weakest": fewest}


def _spread(flips: np.ndarray, never: int) -> Facts:
    """Least, tenth percentile and median over images, None where so many stand any number; share of bounds of 0."""

    def number(value: float) -> int | None:
        return None if value == never else int(value)

    ordered = np.sort(flips)
    return {
        "least": number(ordered[0]),
        "p10": number(ordered[len(ordered) // 10]),
        "median": number(ordered[len(ordered) // 2]),
        "trivial_share": float((flips == 0).mean()),
    }

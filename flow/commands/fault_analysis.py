"""The work behind `flow criticality` and `flow margins`: files are opened, layers judged, tables written."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from bnnflow import Problem

from ..graphs import margins as work
from ..graphs.inputs import input_held
from ..results.fault_analysis import CriticalityResult, LayerCriticality, Margins, SearchedMargins, WorstBit
from ..run.files import write_whole
from .faults import FaultedGraph, judged_on
from .simulation import Images

TABLES = (".csv",)
ARRAYS = (".npz",)


def criticality(
    source: FaultedGraph,
    given: Images,
    layers: Sequence[str] = ("all",),
    output: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    jobs: int = 1,
    csv: Path | None = None,
    plot: Path | None = None,
) -> CriticalityResult:
    """Single-bit criticality of layers ("all" for every one).

    Without labels, "clean" is None and "right" counts the images that keep their class.

    Args:
        source: the graph.
        given: images, and labels where there are any.
        layers: names.
        output: .npz file of every bit.
        progress: called with images done, of all layers, and how many that will be.
        jobs: processes; counts are added over parts of the images, so that they do not depend on it.
        csv: the same as a table with a row a bit.
        plot: picture of how many bits change how many images.

    Raises:
        Problem: files that are missing or cannot be written; all layers beside some by name, or an unknown one; images
            or labels that do not fit the graph.
    """
    from ...sim.faults import Workers
    from ...sim.faults.analysis.criticality import criticality as judge
    from ...sim.faults.analysis.criticality import joined
    from ...sim.faults.injection.layout import memories
    from ..show import fault_plots
    from ..show.drawing import PICTURES

    if "all" in layers and len(layers) > 1:
        raise Problem("all layers, and some by name", "--layer", "give all, or names")
    source.check(given, (output, ARRAYS), (csv, TABLES), (plot, PICTURES))
    graph, _ = source.open(source.path)
    images, labels = judged_on(graph, source.path, given)
    workers = Workers(jobs)
    names = [memory.layer for memory in memories(graph)] if list(layers) == ["all"] else list(dict.fromkeys(layers))
    rows, tables, judged = [], {}, []
    for index, name in enumerate(names):

        def shown(done: int, index: int = index) -> None:
            progress(index * len(images) + done, len(names) * len(images))

        if jobs == 1:
            made = judge(graph, images, labels, name, progress=shown)
        else:
            cut = work.cut(len(images), jobs)
            parts = [(images[part], None if labels is None else labels[part], name) for part in cut]
            done = []
            for one in workers.each(judge, graph, parts):
                done.append(one)
                shown(sum(each.images for each in done))
            made = joined(done)
        judged.append(made)
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
    if csv is not None:
        fault_plots.write_bits(judged, csv)
    if plot is not None:
        fault_plots.draw_bits(judged, plot)
    return CriticalityResult(
        images=len(images),
        layers=rows,
        output=None if output is None else str(output),
        input=input_held(graph),
    )


def margins(
    source: FaultedGraph,
    given: Images,
    rate: float = 0.01,
    flips: int = 0,
    weakest: int = 0,
    jobs: int = 1,
    csv: Path | None = None,
    plot: Path | None = None,
) -> Margins:
    """Margins as `graphs.margins.margins` finds them, and files of every image.

    Args:
        source: the graph.
        given: images; labels are for the attack alone.
        rate, flips, weakest, jobs: as there.
        csv: table of what is certified, and found, with a row for every image and layer.
        plot: picture of how many images stand how many flips.

    Raises:
        Problem: as there; files that are missing or cannot be written; a rate that is none, or numbers below 0.
    """
    from ..show import fault_plots
    from ..show.drawing import PICTURES

    if not 0 <= rate <= 1:
        raise Problem(f"a weight error rate of {rate:g}", "--rate", "give a number from 0 to 1")
    for count, option in ((flips, "--attack"), (weakest, "--weakest")):
        if count < 0:
            raise Problem(f"{option} {count:,}", option, "give a whole number, 0 for none")
    source.check(given, (csv, TABLES), (plot, PICTURES))
    graph, _ = source.open(source.path)
    images, labels = judged_on(graph, source.path, given)
    found, certificate = work.margins(graph, images, labels, rate, flips, weakest, jobs)
    if csv is not None:
        searched = {row.layer: row.found for row in found.layers if isinstance(row, SearchedMargins)}
        fault_plots.write_certificates(certificate, searched, csv)
    if plot is not None:
        fault_plots.draw_certificates(certificate, plot)
    return found

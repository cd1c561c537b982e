"""The work behind `flow approximate`: a graph whose sums of XNOR products are approximate, and its popcounts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bnnflow import Problem

from ...transforms.ir.graph import Graph
from ..graphs.campaign import dataflow, labelled
from ..graphs.inputs import input_held, load_array, open_graph, training_images
from ..results.approximation import ApproximateLayer, ApproximateSums, ApproximationResult
from ..run.files import check_file, write_whole
from .faults import judged_on
from .simulation import Images

if TYPE_CHECKING:
    from ...sim.approximation import BinaryLayer, SumModel
    from ...transforms.ir.contract import InputContract

HISTOGRAMS = (".csv", ".json", ".svg", ".png", ".pdf")
Models = list[dict[str, "SumModel"]]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a graph.

    Attributes:
        lta: products of a segment, a model each.
        balanced: of lta, see `sim.approximation.local_thresholds`.
        capmin: levels that are kept, a model each.
        levels: lowest and highest level to keep, a model more.
        array: products of a segment, of all models but lta.
        confusion: CSV of how popcounts are read, a model more; where levels are kept, behind these.
        xnor_errors: CSV of error rates by operands, a model more.
        layers: names; empty: all that can be.
        refit: thresholds are moved to approximate sums.
        calibration: training images as the graph's data are, or their .npy; None: those of the data set or run.
        calibrate: the first so many of them.
        draws: trials of what is drawn.
        seed: of them.
        histogram: file of popcounts, one of `HISTOGRAMS`; None: none.
    """

    lta: Sequence[int] = ()
    balanced: bool = False
    capmin: Sequence[int] = ()
    levels: tuple[int, int] | None = None
    array: int = 32
    confusion: Path | None = None
    xnor_errors: Path | None = None
    layers: Sequence[str] = ()
    refit: bool = False
    calibration: np.ndarray | Path | None = None
    calibrate: int = 500
    draws: int = 5
    seed: int = 0
    histogram: Path | None = None

    @property
    def counts(self) -> bool:
        """Whether popcounts are counted."""
        return bool(self.capmin) or self.histogram is not None

    @property
    def has_models(self) -> bool:
        """Whether any sum is to be approximate."""
        return bool(self.lta or self.capmin or self.levels or self.confusion or self.xnor_errors)

    def check(self, path: Path, given: Images) -> None:
        """Refuse what asks for nothing, and a file that cannot be written.

        Raises:
            Problem: says which.
        """
        if not self.has_models and self.histogram is None:
            hint = "give --lta, --capmin, --levels, --confusion, --xnor-errors or --histogram"
            raise Problem("no sum is to be approximate, and nothing counted", "flow approximate", hint)
        for name, least in (("array", 1), ("calibrate", 1), ("draws", 1)):
            if getattr(self, name) < least:
                raise Problem(f"{name} of {getattr(self, name)}", f"--{name}", f"{least} or more")
        if self.refit and not (self.capmin or self.levels or self.confusion or self.xnor_errors):
            what = "thresholds are moved to approximate sums, and local thresholds make none"
            raise Problem(what, "--refit", "leave it out, or add --capmin, --levels, --confusion or --xnor-errors")
        if self.calibration is not None and not (self.counts or self.refit):
            raise Problem("training images where nothing is counted", "--calibration", "leave it out, or add --refit")
        if self.histogram is not None:
            files = [one for one in (self.calibration, self.confusion, self.xnor_errors) if isinstance(one, Path)]
            check_file(self.histogram, HISTOGRAMS, [path, *files, *given.files])


def approximate(
    path: Path,
    contract: InputContract | None,
    given: Images,
    wanted: Wanted,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ApproximationResult:
    """Accuracy of a graph with each of the models of its sums that are asked for.

    Raises:
        Problem: nothing is asked for, a file cannot be read or written, or a model does not fit the graph.
    """
    from ...sim.approximation import approximated, histograms, mapped, refitted
    from ...sim.engine.simulator import Simulator, classes_of

    wanted.check(path, given)
    # What exact sums never change, approximate ones may, and segments are of all operands.
    graph = dataflow(open_graph(path, contract), keep_shape=True)
    pixels, kept = judged_on(graph, path, given)
    labels = labelled(kept)
    learned = _learned(graph, path, given, wanted) if wanted.counts or wanted.refit else None
    found: dict[str, np.ndarray] = {}
    if wanted.counts:
        assert learned is not None
        found = histograms(graph, mapped(graph, wanted.layers, thresholds=False), learned, wanted.array)
    models = _models(graph, wanted, found)
    exact = Simulator.of(graph).classes(pixels)
    trials = [wanted.draws if any(how.drawn for how in layers.values()) else 1 for layers in models]
    rows: list[ApproximateSums] = []
    for layers, many in zip(models, trials, strict=True):
        used = refitted(graph, layers, learned, wanted.seed) if wanted.refit and learned is not None else graph
        right, changed = [], []
        for trial in range(many):
            classes = classes_of(used, approximated(used, layers, wanted.seed, trial).scores(pixels))
            right.append(float(np.mean(classes == labels)))
            changed.append(int((classes != exact).sum()))
            progress(sum(row.draws for row in rows) + trial + 1, sum(trials))
        rows.append(_row(graph, layers, right, changed))
    if wanted.histogram is not None:
        write_whole(wanted.histogram, _file(found, wanted.histogram.suffix))
    return ApproximationResult(
        graph=str(path),
        images=len(pixels),
        accuracy=float(np.mean(exact == labels)),
        refit=wanted.refit,
        calibration=0 if learned is None else len(learned),
        sums=rows,
        histograms={name: counts.tolist() for name, counts in found.items()},
        histogram=None if wanted.histogram is None else str(wanted.histogram),
        input=input_held(graph),
    )


def _learned(graph: Graph, path: Path, given: Images, wanted: Wanted) -> np.ndarray:
    """Training images as the graph takes them."""
    from ...sim.inputs import graph_inputs, image_inputs

    if wanted.calibration is not None:
        stored = wanted.calibration
        images = load_array(stored, "calibration images") if isinstance(stored, Path) else stored
        return graph_inputs(graph, images[: wanted.calibrate])
    if given.images is not None:
        what = "levels and thresholds are those of training images, and none are given"
        raise Problem(what, "--calibration", "give --calibration X.npy, images that training saw")
    return image_inputs(graph, training_images(given.data, given.data_dir, path, wanted.calibrate))


def _models(graph: Graph, wanted: Wanted, found: Mapping[str, np.ndarray]) -> Models:
    """What each layer does, for each model that is asked for.

    Raises:
        Problem: a model does not fit the graph, or changes no layer.
    """
    from ...sim.approximation import CapMin, Confusion, LocalThresholds, mapped, read_confusion, read_xnor_errors

    made: Models = []
    for gates in dict.fromkeys(wanted.lta):
        local, layers = LocalThresholds(gates, wanted.balanced), mapped(graph, wanted.layers, thresholds=True)
        taken = [layer.name for layer in layers if layer.fan_in > gates]
        if not taken:
            most = max(layer.fan_in for layer in layers)
            what = f"segments of {gates} products hold every sum, of {most} at most, so that all would be exact"
            raise Problem(what, "--lta", f"less than {most}")
        made.append(dict.fromkeys(taken, local))
    if not (wanted.capmin or wanted.levels or wanted.confusion or wanted.xnor_errors):
        return made
    names = [layer.name for layer in mapped(graph, wanted.layers, thresholds=False)]
    maps = [{name: CapMin.keeping(found[name], kept) for name in names} for kept in dict.fromkeys(wanted.capmin)]
    if wanted.levels is not None:
        maps.append(dict.fromkeys(names, CapMin.between(*wanted.levels, wanted.array)))
    if wanted.confusion is not None:
        chances = read_confusion(wanted.confusion, wanted.array)
        read = [dict(levels) for levels in maps] or [{}]
        made += [{name: Confusion(chances, levels.get(name)) for name in names} for levels in read]
    else:
        made += [dict(levels) for levels in maps]
    if wanted.xnor_errors is not None:
        made.append(dict.fromkeys(names, read_xnor_errors(wanted.xnor_errors)))
    return made


def _row(
    graph: Graph, layers: Mapping[str, SumModel], right: Sequence[float], changed: Sequence[int]
) -> ApproximateSums:
    from ...sim.approximation import CapMin, LocalThresholds, binary_layers, left_out

    binary, how = binary_layers(graph), next(iter(layers.values()))
    maps = [one for one in layers.values() if isinstance(one, CapMin)]
    spans = [one.range_ratio for one in maps]
    kept = max((one.kept for one in maps), default=None)
    exact = left_out(graph, list(layers))
    if how.on_bits:
        sizes = {name: f"one segment holds its {binary[name].fan_in} products" for name in exact if name in binary}
        exact |= {name: why for name, why in sizes.items() if 0 < binary[name].fan_in <= how.size and binary[name].bit}
    return ApproximateSums(
        model=how.name,
        size=how.size,
        balanced=isinstance(how, LocalThresholds) and how.balanced,
        kept=kept,
        level_ratio=None if kept is None else (how.size + 1) / kept,
        range_ratio=min(spans) if spans and np.isfinite(min(spans)) else None,
        accuracy=float(np.mean(right)),
        low=min(right),
        high=max(right),
        changed=float(np.mean(changed)),
        draws=len(right),
        layers=[_layer(graph, binary[name], one) for name, one in layers.items()],
        exact=exact,
    )


def _layer(graph: Graph, layer: BinaryLayer, how: SumModel) -> ApproximateLayer:
    from ...sim.approximation import CapMin

    divided = how.segments(layer)
    places = prod(graph.types[graph.node(layer.name).input].shape[:-1])
    return ApproximateLayer(
        layer=layer.name,
        fan_in=layer.fan_in,
        segments=divided.count,
        tail=divided.tail,
        readings=places * len(layer.op.weight) * divided.count,
        levels=[min(how.levels), max(how.levels)] if isinstance(how, CapMin) else [],
    )


def _file(found: Mapping[str, np.ndarray], ending: str) -> bytes:
    """Histograms as a table, as JSON or as a picture."""
    if ending == ".json":
        return (json.dumps({name: counts.tolist() for name, counts in found.items()}, indent=1) + "\n").encode()
    if ending == ".csv":
        lines = [",".join(("popcount", *found))]
        rows = np.stack(list(found.values()), axis=1)
        lines += [",".join(map(str, (popcount, *row))) for popcount, row in enumerate(rows.tolist())]
        return ("\n".join(lines) + "\n").encode()
    from ..show.popcount_plots import histograms

    return histograms(found, ending[1:])

"""Faults in Python: accuracy under faults of memories, streams and sums, every weight bit, certificates, attacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bnnflow import Problem

from .arguments import DATA, FOLDED, Count, Either, Jobs, Natural, PathLike, Share, Void, checked_arguments
from .common import array_of, checked_key, folding_of, given_or_default, path_of

if TYPE_CHECKING:
    import numpy as np

    from ..results.fault_analysis import AttackResult, CriticalityResult, Margins
    from ..results.faults import FaultMapReplay, GraphCampaign

__all__ = ["attack", "criticality", "faults", "margins", "replay"]


def _undervolted(values: Mapping[str, Any], which: Callable[[Iterable[bool]], bool]) -> bool:
    """Whether any, or all, of the models that are named are of undervolted block RAMs."""
    from ..recipe.unused import undervolts

    models = values["models"] or ()
    return bool(models) and which(undervolts(name) for name in models)


@checked_arguments(
    DATA,
    *FOLDED,
    *(Either(names) for names in (("rates", "table"), ("jobs", "cluster"), ("device", "cluster"), ("device", "jobs"))),
    Void(("max_maps",), ("interval",)),
    Void(("error", "confidence"), lambda values: "single" in (values["models"] or ()), "without the model 'single'"),
    Void(
        ("rates", "table", "maps", "interval", "max_maps"),
        lambda values: {*(values["models"] or ())} != {"single"},
        "for single faults, of which error and confidence decide the number",
    ),
    Void(
        ("rates", "table"),
        lambda values: not _undervolted(values, all),
        "for undervolted block RAMs: a board says how often their cells fail",
    ),
    Void(
        ("undervolting", "placement"),
        lambda values: bool(values["voltages"]) or _undervolted(values, any),
        "where nothing is undervolted",
    ),
    Void(
        ("device",),
        lambda values: any(
            kind in one for one in values["targets"] or ("weights",) for kind in ("weights", "thresholds")
        ),
        "for faults of streams and sums, which are simulated on the processor",
    ),
    Void(("fifo_depth",), lambda values: "fifos" in (values["targets"] or ()), "without the target 'fifos'"),
)
def faults(
    path: PathLike,
    images: np.ndarray | PathLike | None = None,
    labels: np.ndarray | PathLike | None = None,
    *,
    data: str = "",
    data_dir: PathLike | None = None,
    count: Count | None = None,
    rates: Sequence[float] | None = None,
    table: PathLike | None = None,
    voltages: Sequence[float] | None = None,
    undervolting: PathLike | None = None,
    placement: PathLike | None = None,
    maps: int | None = None,
    seed: int | None = None,
    targets: Sequence[str] | None = None,
    layers: Sequence[str] | None = None,
    models: Sequence[str] | None = None,
    protections: Sequence[str] | None = None,
    interval: float | None = None,
    max_maps: int | None = None,
    error: float = 0.01,
    confidence: float = 0.95,
    fifo_depth: int | None = None,
    metrics: Sequence[str] | None = None,
    fps: float | None = None,
    folding: PathLike | None = None,
    pe_simd: str = "",
    part: str | None = None,
    clock_mhz: float | None = None,
    against: PathLike | None = None,
    equal: Sequence[str] | None = None,
    store: PathLike | None = None,
    jobs: Jobs | None = None,
    cluster: str = "",
    device: str = "cpu",
    input: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> GraphCampaign:
    """Accuracy of a graph under faults; every combination of targets, layers, models and protections is measured.

    What is None is the recipe's default (docs/recipe.md, section `faults`).

    Args:
        path: ONNX file of any level.
        images, labels: arrays or .npy files, or
        data, data_dir: a data set's test images; without any: those of the run that the graph belongs to.
        count: images at each map.
        rates: bit error rates, 0 to 1, or
        table: CSV of rates over temperature or voltage, or
        voltages: volts at which block RAMs are undervolted, in place of rates and models.
        undervolting: file of the board that was measured, .json or .csv; None: the one that comes with bnnflow.
        placement: file of `flow placement`: which of its memories hold which block RAMs; None: drawn for each map.
        maps: random fault maps at each rate.
        seed: of the maps.
        targets, layers, models, protections: what is hit, where, how, and behind which protection.
        interval: as many maps as the mean takes to be known to +- this; `max_maps` at most.
        error, confidence: half width of the interval of the share of critical faults, and its confidence, above 0 and
            below 1, for the model "single".
        fifo_depth: words of a FIFO, for the target fifos.
        metrics: of "changed", "classes" and "margin", what is told beyond accuracy (docs/faults.md).
        fps, folding, pe_simd: how the graph is folded: for a rate on `part` at `clock_mhz`, by FINN's file, or alike
            everywhere ("1,1"); none: as it is.
        against: a second graph, compared in pairs.
        equal: of "faults" and "memory", what both have alike beyond rates (docs/faults.md).
        store: SQLite file of results; an interrupted campaign resumes.
        jobs, cluster, device: where it is computed; the same outcomes on all.
        input: what the file's input holds, as for `load`.
        progress: called with trials done and in all.

    Raises:
        Problem: what does not fit the graph, its folding or each other.

    >>> found = bf.faults("net.onnx", x, y, rates=[0, 0.5], maps=2, input="uint8")
    >>> found.rates
    [0.0, 0.5]
    """
    from ...sim.faults import Chip, Grid, Plan, Rates, Workers, read_board, read_placement, read_rates
    from ..commands import faults as work
    from ..commands.simulation import Images
    from ..graphs.inputs import contract_of

    if voltages and (rates is not None or table is not None or models is not None):
        raise Problem("voltages beside rates, a table or models", "voltages", "a board says how often cells fail")
    if table is not None:
        steps = read_rates(Path(table))
    else:
        steps = [Rates.of(rate) for rate in given_or_default(rates, "faults.rates")]
    grid = Grid(
        steps,
        given_or_default(targets, "faults.targets"),
        given_or_default(layers, "faults.layers"),
        given_or_default(models, "faults.models"),
        given_or_default(protections, "faults.protections"),
        (given_or_default(seed, "seed"),),
        given_or_default(fifo_depth, "faults.fifo_depth"),
        given_or_default(voltages, "faults.voltages"),
        Chip(
            None if undervolting is None else read_board(Path(undervolting)),
            None if placement is None else read_placement(Path(placement)),
        ),
    )
    most = given_or_default(max_maps, "faults.max_maps")
    plan = Plan(
        given_or_default(maps, "faults.maps"), checked_key(interval, "faults.interval"), most, error, confidence
    )
    tables = tuple(Path(one) for one in (table, undervolting, placement) if one is not None)
    fold = folding_of(fps, folding, pe_simd, part, clock_mhz)
    return work.campaign(
        work.FaultedGraph(Path(path), contract_of(input), fold, path_of(against), tables),
        Images(array_of(images), array_of(labels), data, path_of(data_dir), given_or_default(count, "faults.images")),
        grid,
        plan,
        Workers(given_or_default(jobs, "faults.jobs"), cluster),
        store=path_of(store),
        device=device,
        metrics=given_or_default(metrics, "faults.metrics"),
        equal=given_or_default(equal, "faults.equal"),
        progress=progress,
    )


@checked_arguments(DATA, *FOLDED)
def replay(
    path: PathLike,
    fault_map: PathLike,
    images: np.ndarray | PathLike | None = None,
    labels: np.ndarray | PathLike | None = None,
    *,
    data: str = "",
    data_dir: PathLike | None = None,
    count: Count | None = None,
    metrics: Sequence[str] | None = None,
    fps: float | None = None,
    folding: PathLike | None = None,
    pe_simd: str = "",
    part: str | None = None,
    clock_mhz: float | None = None,
    device: str = "cpu",
    input: str | None = None,
) -> FaultMapReplay:
    """What one fault map does to a graph: the flips of an attack, or what `flow faults --save-map` drew.

    Args:
        path: ONNX file of any level.
        fault_map: .npz or .csv, of memories of these shapes and this folding, whatever they hold.
        images, labels, data, data_dir, count, metrics, device, input: as for `faults`.
        fps, folding, pe_simd, part, clock_mhz: how the graph is folded, as for `faults`.

    Raises:
        Problem: a map of another graph or folding, or none; what does not fit the graph.

    >>> found = bf.attack("net.onnx", x, y, count=10, batch=10, flips=2, random=0, input="uint8", save_map="flips.npz")
    >>> bf.replay("net.onnx", "flips.npz", x, y, input="uint8").images == len(x)
    True
    """
    from ..commands import faults as work
    from ..commands.simulation import Images
    from ..graphs.inputs import contract_of

    fold = folding_of(fps, folding, pe_simd, part, clock_mhz)
    return work.replay(
        work.FaultedGraph(Path(path), contract_of(input), fold, None, (Path(fault_map),)),
        Images(array_of(images), array_of(labels), data, path_of(data_dir), given_or_default(count, "faults.images")),
        Path(fault_map),
        device,
        given_or_default(metrics, "faults.metrics"),
    )


@checked_arguments(DATA)
def criticality(
    path: PathLike,
    images: np.ndarray | PathLike | None = None,
    labels: np.ndarray | PathLike | None = None,
    *,
    data: str = "",
    data_dir: PathLike | None = None,
    count: Count = 100,
    layers: Sequence[str] = ("all",),
    output: PathLike | None = None,
    jobs: Jobs = 1,
    csv: PathLike | None = None,
    plot: PathLike | None = None,
    input: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> CriticalityResult:
    """Every weight bit of layers flipped, one at a time: how many images change their class. Exact.

    Args:
        path: ONNX file of any level.
        images: array or .npy file; labels are not needed, since classes are compared with those without faults, or
        data, data_dir: a data set's test images; without any: those of the run that the graph belongs to.
        labels: array or .npy file; with them, what is still classified rightly is told, too.
        count: images.
        layers: names, or "all" alone.
        output: .npz of images changed by every bit, an array (rows, columns, bits) a layer.
        jobs: processes; nothing depends on it.
        csv: table with a row a bit.
        plot: .svg, .png or .pdf of how many bits change how many images.
        input: what the file's input holds, as for `load`.
        progress: called with images done, of all layers, and how many there will be.

    Raises:
        Problem: an unknown layer, and what does not fit the graph.

    >>> found = bf.criticality("net.onnx", x, count=10, input="uint8")
    >>> all(row.critical <= row.bits and row.clean is None for row in found.layers)
    True
    """
    from ..commands import fault_analysis as work
    from ..commands.faults import FaultedGraph
    from ..commands.simulation import Images
    from ..graphs.inputs import contract_of

    given = Images(array_of(images), array_of(labels), data, path_of(data_dir), count)
    source = FaultedGraph(Path(path), contract_of(input))
    return work.criticality(source, given, layers, path_of(output), progress, jobs, path_of(csv), path_of(plot))


@checked_arguments(DATA)
def margins(
    path: PathLike,
    images: np.ndarray | PathLike | None = None,
    labels: np.ndarray | PathLike | None = None,
    *,
    data: str = "",
    data_dir: PathLike | None = None,
    count: Count = 1000,
    rate: Share = 0.01,
    attack: Natural = 0,
    weakest: Natural = 0,
    jobs: Jobs = 1,
    csv: PathLike | None = None,
    plot: PathLike | None = None,
    input: str | None = None,
) -> Margins:
    """Weight flips that provably change no class, and margins of neurons (docs/faults.md).

    Args:
        path: ONNX file of any level.
        images: array or .npy file, or
        data, data_dir: a data set's test images; without any: those of the run that the graph belongs to.
        labels: array or .npy file; for an attack alone.
        count: images.
        rate: weight error rate of the exact flip probabilities of neurons, 0 to 1.
        attack: flips of a greedy attack on 50 images; 0: none.
        weakest: search, for the first so many images, few flips of each layer that are enough; 0: none.
        jobs: processes; nothing depends on it.
        csv: table with a row for every image and layer.
        plot: .svg, .png or .pdf of how many images stand how many flips.
        input: what the file's input holds, as for `load`.

    Raises:
        Problem: an attack without labels; a network that cannot be certified; what does not fit the graph.

    >>> found = bf.margins("net.onnx", x, count=10, input="uint8")
    >>> found.images, found.attack
    (10, [])
    """
    from ..commands import fault_analysis as work
    from ..commands.faults import FaultedGraph
    from ..commands.simulation import Images
    from ..graphs.inputs import contract_of

    given = Images(array_of(images), array_of(labels), data, path_of(data_dir), count)
    source = FaultedGraph(Path(path), contract_of(input))
    return work.margins(source, given, rate, attack, weakest, jobs, path_of(csv), path_of(plot))


@checked_arguments(DATA, *FOLDED)
def attack(
    path: PathLike,
    images: np.ndarray | PathLike | None = None,
    labels: np.ndarray | PathLike | None = None,
    *,
    data: str = "",
    data_dir: PathLike | None = None,
    count: Count = 1000,
    batch: Count = 128,
    target: Natural | None = None,
    flips: Count = 1000,
    margin: float = 0.01,
    layers: Sequence[str] = (),
    candidates: Count = 100,
    random: Natural = 5,
    seed: int | None = None,
    start: PathLike | None = None,
    save_map: PathLike | None = None,
    fps: float | None = None,
    folding: PathLike | None = None,
    pe_simd: str = "",
    part: str | None = None,
    clock_mhz: float | None = None,
    input: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> AttackResult:
    """Few flips of weights that ruin a graph: the progressive bit-flip attack (docs/attacks.md).

    Args:
        path: ONNX file of any level.
        images, labels: arrays or .npy files, or
        data, data_dir: a data set's test images; without any: those of the run that the graph belongs to.
        count: images that judge, the first ones.
        batch: images that are attacked on, of those behind them.
        target: class that all images are to get; None: any wrong one.
        flips: weight bits that are flipped at most.
        margin: it ends where accuracy is at most 1 / classes + this, or all but this of the images have the target.
        layers: that may be hit; none: all with weights.
        candidates: bits of a layer that are looked at in a step.
        random: orders of random flips beside it; 0: none.
        seed: of these orders, and of the images attacked on.
        start: a map of flips to go on from.
        save_map: file of the flips, .npz or .csv, which `flow faults --map` replays.
        fps, folding, pe_simd, part, clock_mhz: how the graph is folded, as for `faults`.
        input: what the file's input holds, as for `load`.
        progress: called with flips made and the most that there may be.

    Raises:
        Problem: no labels or weights, and what does not fit the graph or each other.

    >>> found = bf.attack("net.onnx", x, y, count=10, batch=10, flips=2, random=0, input="uint8")
    >>> found.flips <= 2
    True
    """
    from ..commands import attack as work
    from ..commands.faults import FaultedGraph
    from ..commands.simulation import Images
    from ..graphs.inputs import contract_of

    chosen = given_or_default(seed, "seed")
    plan = work.AttackPlan(target, tuple(layers), batch, candidates, flips, margin, random, chosen)
    fold = folding_of(fps, folding, pe_simd, part, clock_mhz)
    begun = path_of(start)
    return work.attack(
        FaultedGraph(Path(path), contract_of(input), fold, None, () if begun is None else (begun,)),
        Images(array_of(images), array_of(labels), data, path_of(data_dir), count),
        plan,
        start=begun,
        save=path_of(save_map),
        progress=progress,
    )

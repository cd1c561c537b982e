"""The work behind `flow faults` and the stage `faults`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from bnnflow import Problem

from ...transforms.ir.graph import Graph
from ...transforms.passes.compile import stages
from ..results.faults import (
    ClassUnderMap,
    FaultCampaign,
    FaultCurve,
    FaultMapCells,
    FaultMapReplay,
    FaultSeries,
    MarginUnderMap,
    MemoryProtection,
    PairedSeries,
    PlacedMemory,
    PlacementResult,
    SingleFaultSeries,
    UndervoltedMemories,
)
from ..run.files import write_whole
from ..run.typed_json import extended, from_json

if TYPE_CHECKING:
    from ...sim.engine.simulator import Simulator
    from ...sim.faults import Chip, Grid, Outcome, Plan, Point, Series, Subject, Workers


def judged_on(
    graph: Graph,
    source: Path,
    data: str,
    folder: Path | None,
    limit: int | None,
    given: Path | None,
    labels: Path | None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """Images as the graph's input wants them, and labels: from files, of a data set, or of the run of the graph's file.

    Labels are None for images from a file without a file of labels.

    Raises:
        Problem: files are missing, both a data set and files are given, or neither for a graph of no run; the graph has
            one output, and so no classes.
    """
    from ...sim.engine.simulator import class_count
    from ...sim.inputs import graph_inputs, image_inputs
    from .inputs import images_of_run, load_array, test_images

    if class_count(graph) < 2:
        what = "a network with one output tells no classes apart, so faults change no class"
        raise Problem(what, str(source), "flow simulate --output writes what it gives")
    if data and (given is not None or labels is not None):
        raise Problem("--data has images and labels of its own", "--data", "give --data, or --input with --labels")
    if given is not None:
        stored, truth = load_array(given, "input"), None if labels is None else load_array(labels, "labels")
        if truth is not None and len(truth) != len(stored):
            raise Problem(f"{len(truth)} labels for {len(stored)} images", str(labels), "give one label per image")
        return graph_inputs(graph, stored[:limit]), None if truth is None else truth[:limit]
    if labels is not None:
        raise Problem("labels without images", "--labels", "give their images with --input")
    stored, truth = test_images(data, folder, limit) if data else images_of_run(source, limit)
    return image_inputs(graph, stored), truth


def labelled(labels: np.ndarray | None) -> np.ndarray:
    """The labels; a Problem where there are none."""
    if labels is None:
        raise Problem("the images have no labels", "--input", "give --labels L.npy, one label per image")
    return labels


def dataflow(graph: Graph, keep_shape: bool = False) -> Graph:
    """The graph in dataflow units; as it is folded where it has units already.

    `keep_shape` keeps channels that are constant, repeated or never read.
    """
    return stages(graph, keep_shape=keep_shape)[-1].graph


def campaign(
    graphs: Mapping[str, Graph],
    images: Mapping[str, np.ndarray],
    labels: np.ndarray,
    grid: Grid,
    plan: Plan,
    workers: Workers,
    store: Path | None,
    progress: Callable[[int, int], None],
    device: str = "cpu",
    metrics: Sequence[str] = (),
    equal: Sequence[str] = (),
) -> FaultCampaign:
    """Run one grid on every network, with the same maps and images, which `images` has as each network's input.

    `device` is "cpu", else one of `torch_engine.DEVICES`; `metrics` are of `METRICS`, `equal` of `EQUAL`: what the
    first network and each other are to have alike beyond rates.
    """
    from ...sim.faults import Campaign, Store, Subject, check_equal, equal_faults

    found: dict[str, list[Series]] = {}
    # By the point that the first network suffers: as many faults in the others.
    as_many: dict[str, dict[tuple[str, str], Series]] = {}
    clean = {}
    head = next(iter(graphs.values()))
    check_equal(equal, grid.points(head))
    with Store(store) as kept:
        for index, (name, graph) in enumerate(graphs.items()):
            subject = Subject(graph, images[name], labels, simulators(device), tuple(metrics))

            def shown(done: int, total: int, index: int = index) -> None:
                progress(index * total + done, len(graphs) * total)

            points = grid.points(graph)
            other = {_asked(p): equal_faults(p, head, graph) for p in points} if index and "faults" in equal else {}
            every = list({point.key(): point for point in (*points, *other.values())}.values())
            series_of = {one.point.key(): one for one in Campaign(subject, every, plan, kept, workers).run(shown)}
            found[name] = [replace(series_of[point.key()], point=point) for point in points]
            as_many[name] = {first: replace(series_of[point.key()], point=point) for first, point in other.items()}
            clean[name] = float(np.mean(subject.classes == labels))
    first = _first(next(iter(found.values())))
    counts = sorted({len(one.outcomes) for series in found.values() for one in series})
    series = {name: [_whole(one, graphs[name]) for one in each] for name, each in found.items()}
    drawn = [one for each in series.values() for one in each if not isinstance(one, SingleFaultSeries)]
    wider = 0 if plan.wanted is None else sum(one.half_width > plan.wanted * (1 + 1e-9) for one in drawn)
    return FaultCampaign(
        images=len(labels),
        maps=counts[0] if len(counts) == 1 else f"{counts[0]:,} to {counts[-1]:,}",
        rates=[one.point.rates.value for one in first],
        labels=[str(one.point.rates) for one in first],
        what=f"{first[0].point.target}, {first[0].point.family}, {', '.join(first[0].point.layers) or 'all layers'}",
        networks={name: _curve(one, clean[name]) for name, one in found.items()},
        series=series,
        wanted=plan.wanted,
        not_reached=wider,
        paired=_paired(found, as_many, graphs, equal),
        costs={name: _costs(graph, grid) for name, graph in graphs.items()},
        metrics=list(dict.fromkeys(metrics)) or None,
        equal=list(dict.fromkeys(equal)) or None,
    )


def _asked(point: Point) -> tuple[str, str]:
    """What tells a point from all others, conditions of a table with the same rates included."""
    return point.key(), point.rates.label


def _series(one: Series) -> FaultSeries:
    return from_json(SingleFaultSeries if one.point.model == "single" else FaultSeries, one.facts())


def _whole(one: Series, graph: Graph) -> FaultSeries:
    """A series with what its maps hit, where that is not said by a rate."""
    from ...sim.faults import Memory, Protections, elsewhere, exposure

    made, point = _series(one), one.point
    if point.voltage is None:
        return made
    places = [place for place in point.places(graph) if isinstance(place, Memory)]
    safe, maps = Protections.parse(point.protection), len(one.outcomes)
    hit = exposure(graph, places, point.chip, point.voltage, safe, point.seed, maps)
    return replace(
        made,
        undervolted=UndervoltedMemories(
            board=point.chip.board.name,
            voltage=point.voltage,
            board_rate=point.rates.value,
            block_rams=hit.block_rams,
            bits=hit.bits,
            faulty=hit.faulty,
            ones=hit.ones,
            rate=hit.rate,
            elsewhere=elsewhere(graph, point.target.split("+")),
        ),
    )


def _first(series: Sequence[Series]) -> list[Series]:
    """The series that differ from the first by their rates or voltages alone."""
    head = series[0].point
    axes = (head.target, head.layers, head.family, head.protection, head.seed)
    return [
        one
        for one in series
        if (one.point.target, one.point.layers, one.point.family, one.point.protection, one.point.seed) == axes
    ]


def _curve(series: Sequence[Series], clean: float) -> FaultCurve:
    points = [_series(one) for one in _first(series)]
    mean, low, high = ([getattr(one, key) for one in points] for key in ("mean", "low", "high"))
    return FaultCurve(clean=clean, mean=mean, low=low, high=high)


def _paired(
    found: Mapping[str, Sequence[Series]],
    as_many: Mapping[str, Mapping[tuple[str, str], Series]],
    graphs: Mapping[str, Graph],
    equal: Sequence[str],
) -> list[PairedSeries]:
    """The first network beside each other: at equal rates, then with as many faults, then in as much memory."""
    from ...sim.faults import stored_bits

    (first, mine), *others = found.items()
    rows = []
    for name, theirs in others:
        pair = (first, name)
        same = {_asked(one.point): one for one in theirs}
        drawn = [one for one in mine if one.point.model != "single"]
        for one in drawn:
            if _asked(one.point) in same:
                rows.append(_pair(pair, one, same[_asked(one.point)], graphs, "rate"))
        for one in drawn:
            if _asked(one.point) in as_many[name]:
                rows.append(_pair(pair, one, as_many[name][_asked(one.point)], graphs, "faults"))
        for other in theirs if "memory" in equal else ():
            bare = replace(other.point, protection="none")
            for one in drawn:
                fits = stored_bits(other.point, graphs[name]) <= stored_bits(one.point, graphs[first])
                if one.point.key() == bare.key() and other.point != bare and fits:
                    rows.append(_pair(pair, one, other, graphs, "memory"))
    return rows


def _pair(
    names: tuple[str, str],
    one: Series,
    other: Series,
    graphs: Mapping[str, Graph],
    equal: Literal["rate", "faults", "memory"],
) -> PairedSeries:
    from ...sim.faults import paired, stored_bits

    maps = min(len(one.outcomes), len(other.outcomes))
    gap = paired(one.accuracy[:maps], other.accuracy[:maps], one.outcomes[0].images)
    point, beside = _series(one), _series(other)
    bits, more = (stored_bits(each.point, graphs[name]) for each, name in zip((one, other), names, strict=True))
    return PairedSeries(
        first=names[0],
        second=names[1],
        target=point.target,
        layers=point.layers,
        model=point.model,
        rate=point.rate,
        rates=point.rates,
        protection=point.protection,
        seed=point.seed,
        maps=gap.maps,
        difference=gap.mean,
        half_width=gap.half_width,
        test_half_width=gap.image_half_width,
        wins=gap.wins,
        losses=gap.losses,
        p_sign=gap.p_sign,
        equal=equal,
        first_mean=float(np.mean(one.accuracy[:maps])),
        second_mean=float(np.mean(other.accuracy[:maps])),
        second_rates=beside.rates,
        second_protection=beside.protection,
        bits=bits or None,
        second_bits=more or None,
    )


def _costs(graph: Graph, grid: Grid) -> list[MemoryProtection]:
    """Cost of each protection of each memory that the grid hits with it."""
    from ...sim.faults import Memory, Protections

    pairs = {
        (place.name, point.protection): (place, Protections.parse(point.protection).at(place))
        for point in grid.points(graph)
        for place in point.places(graph)
        if isinstance(place, Memory)
    }
    return [
        extended(MemoryProtection, safe.cost(memory), memory=memory.name, bits=memory.size)
        for memory, safe in pairs.values()
        if safe.coded
    ]


def simulators(device: str) -> Callable[[Graph], Simulator]:
    """What makes simulators on a device: "cpu" for the compiled kernels, else one of `torch_engine.DEVICES`.

    Raises:
        Problem: no such device.
    """
    if device == "cpu":
        from ...sim.engine.simulator import Simulator

        return Simulator.of
    from ..device.engine import check_device, torch_simulator

    check_device(device)
    return partial(torch_simulator, device=device)


def replay(
    graph: Graph,
    images: np.ndarray,
    labels: np.ndarray,
    path: Path,
    device: str = "cpu",
    metrics: Sequence[str] = (),
) -> FaultMapReplay:
    """Accuracy with one fault map from a file, and what `metrics` of `METRICS` tell of it.

    Their intervals are of other images alone: the map is the one that there is.
    """
    from ...sim.faults import FaultMap, Subject

    drawn = FaultMap.load(path, graph)
    subject = Subject(graph, images, labels, simulators(device), tuple(metrics))
    outcome = subject.run(drawn.ops(graph))
    clean = int((subject.classes == labels).sum())
    made = FaultMapReplay(
        map=str(path),
        cells={name: len(cells.index) for name, cells in drawn.cells.items()},
        clean=clean / len(images),
        accuracy=outcome.right / outcome.images,
        trial=outcome.trial,
        images=outcome.images,
        right=outcome.right,
        changed=outcome.changed,
    )
    return _with_metrics(made, subject, outcome) if metrics else made


def _with_metrics(made: FaultMapReplay, subject: Subject, outcome: Outcome) -> FaultMapReplay:
    """The same with what the outcome tells beyond accuracy."""
    from ...sim.faults.campaigns.statistics import clopper_pearson

    low, high = clopper_pearson(outcome.changed, outcome.images)
    made = replace(made, metrics=list(subject.metrics), changed_low=low, changed_high=high)
    if outcome.classes is not None:
        rows = []
        for label, of in enumerate(outcome.classes):
            if of.images:
                low, high = clopper_pearson(of.right, of.images)
                changed_low, changed_high = clopper_pearson(of.changed, of.images)
                rows.append(
                    ClassUnderMap(
                        label=label,
                        images=of.images,
                        clean=of.clean / of.images,
                        accuracy=of.right / of.images,
                        low=low,
                        high=high,
                        changed=of.changed / of.images,
                        changed_low=changed_low,
                        changed_high=changed_high,
                    )
                )
        worst = max(rows, key=lambda row: row.clean - row.accuracy)
        made = replace(made, classes=rows, worst_class=worst.label)
    if outcome.margin is not None:
        clean, faulty = (total / outcome.images for total in (outcome.margin.clean, outcome.margin.faulty))
        loss = (outcome.margin.clean - outcome.margin.faulty) / outcome.images
        made = replace(made, margin=MarginUnderMap(unit=outcome.margin.unit, clean=clean, faulty=faulty, loss=loss))
    return made


def placement(
    subject: Subject,
    chip: Chip,
    voltage: float,
    output: Path,
    share: float,
    seed: int,
    progress: Callable[[int, int], None],
) -> PlacementResult:
    """Measure what the block RAMs of a graph are worth, place them on a board, and write the plan."""
    from ...sim.faults import elsewhere
    from ...sim.faults.analysis.placing import exposed, place, worth
    from ...sim.faults.injection.layout import KINDS

    found = worth(subject, share, seed=seed, progress=progress)
    made = place(subject, found, chip, voltage)
    write_whole(output, made.content(subject.graph, chip.board))
    usual, planned = exposed(found, chip, voltage), exposed(found, chip, voltage, np.array(made.places))
    names = np.array(found.memories)
    # What a cell is worth, times the cells that fail.
    each = found.changed / np.maximum(found.used, 1)
    before, behind = float((usual * each).sum()), float((planned * each).sum())
    layers = [
        PlacedMemory(
            memory=name,
            block_rams=int(mine.sum()),
            changed=float(found.changed[mine].mean()),
            faulty_random=float(usual[mine].sum()),
            faulty=float(planned[mine].sum()),
        )
        for name in dict.fromkeys(found.memories)
        if (mine := names == name).any()
    ]
    return PlacementResult(
        board=chip.board.name,
        memories=chip.board.memories,
        voltage=voltage,
        images=found.images,
        share=share,
        block_rams=len(names),
        faulty_random=float(usual.sum()),
        faulty=float(planned.sum()),
        weighted=behind / before if before else None,
        layers=layers,
        elsewhere=elsewhere(subject.graph, KINDS),
        output=str(output),
        input=None,
    )


def save_map(graph: Graph, grid: Grid, path: Path) -> FaultMapCells:
    """Write map 0 of the grid's one point; its memories are without protection.

    Raises:
        Problem: the grid has several points, or its point hits no memories or protected ones.
    """
    from ...sim.faults import FaultModel, Memory, draw_map

    point, *others = grid.points(graph)
    if others:
        what = f"a file holds one fault map, but {1 + len(others)} series are asked for"
        raise Problem(what, "--save-map", "give one rate, target, fault and group of layers: --rates 0.01")
    places = [place for place in point.places(graph) if isinstance(place, Memory)]
    if not places or point.protection != "none" or point.model == "single":
        raise Problem("only maps of memories without protection are written", "--save-map", "use --target weights")
    drawn = draw_map(graph, places, FaultModel.parse(point.model), point.rates, point.seed, 0, point.chip)
    write_whole(path, drawn.content(path.suffix, graph))
    return FaultMapCells(map=str(path), cells={name: len(cells.index) for name, cells in drawn.cells.items()})

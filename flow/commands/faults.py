"""The work behind `flow faults`: graphs are opened and folded, images read, and a campaign run or a map replayed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bnnflow import Problem

from ...sim.engine.simulator import Simulator
from ...sim.faults import Grid, Plan, Subject, Workers
from ..graphs import campaign as work
from ..graphs.fault_folding import Folding, check_folding, folded
from ..graphs.inputs import input_held, open_graph
from ..graphs.plans import codes_said
from ..results.faults import FaultMapCells, FaultMapReplay, GraphCampaign, PlacementResult
from ..run.files import check_file
from ..run.typed_json import extended
from .simulation import Images, array

if TYPE_CHECKING:
    import numpy as np

    from ...sim.faults import Chip
    from ...transforms.ir.contract import InputContract
    from ...transforms.ir.graph import Graph

STORES = (".sqlite", ".sqlite3", ".db")
MAPS = (".npz", ".csv")
PLANS = (".json",)


@dataclass(frozen=True, slots=True)
class FaultedGraph:
    """The graphs that faults are injected into.

    Attributes:
        path: of the graph.
        contract: what its input holds, where the file does not say so.
        folding: how it is folded.
        against: a second graph, compared in pairs.
        tables: files of rates and of a board, if there are any; no output may replace them.
    """

    path: Path
    contract: InputContract | None = None
    folding: Folding = Folding()  # noqa: RUF009  (frozen)
    against: Path | None = None
    tables: tuple[Path, ...] = ()

    def check(self, given: Images, *outputs: tuple[Path | None, tuple[str, ...]]) -> None:
        """Refuse a second graph that is the first, and outputs that cannot be written or are inputs."""
        if self.against is not None and self.against.resolve() == self.path.resolve():
            raise Problem("the graph is compared with itself", "--against", "give another graph")
        for path, endings in outputs:
            if path is not None:
                check_file(path, endings, [self.path, self.against, *self.tables, *given.files])

    def open(self, path: Path) -> tuple[Graph, bool]:
        """One of its graphs, folded, and whether anyone said how."""
        return folded(open_graph(path, self.contract), self.folding, str(path))


def judged_on(graph: Graph, source: Path, given: Images) -> tuple[np.ndarray, np.ndarray | None]:
    """Images as the graph's input wants them, and labels, as `campaign.judged_on` reads them from files."""
    paths = (given.images, given.labels)
    if not any(one is not None and not isinstance(one, Path) for one in paths):
        files = tuple(one if isinstance(one, Path) else None for one in paths)
        return work.judged_on(graph, source, given.data, given.data_dir, given.count, *files)
    from ...sim.inputs import graph_inputs

    if given.images is None or given.data:
        raise Problem("labels without images, or beside a data set's own", "labels", "give images with them")
    stored = array(given.images, "input")
    truth = None if given.labels is None else array(given.labels, "labels")
    if truth is not None and len(truth) != len(stored):
        raise Problem(f"{len(truth)} labels for {len(stored)} images", "labels", "give one label per image")
    return graph_inputs(graph, stored[: given.count]), None if truth is None else truth[: given.count]


def campaign(
    source: FaultedGraph,
    given: Images,
    grid: Grid,
    plan: Plan,
    workers: Workers,
    *,
    store: Path | None = None,
    device: str = "cpu",
    metrics: Sequence[str] = (),
    equal: Sequence[str] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> GraphCampaign:
    """Accuracy of one or two graphs under every combination of faults, as `graphs.campaign.campaign` gives it.

    Raises:
        Problem: files that are missing or cannot be written; faults that do not fit the graph or its folding.
    """
    source.check(given, (store, STORES))
    if equal and source.against is None:
        raise Problem(f"equal {' and '.join(equal)} of one network", "--equal", "give another with --against")
    first, known = source.open(source.path)
    opened = {first.name: (first, known)}
    if source.against is not None:
        opened = {str(source.path): (first, known), str(source.against): source.open(source.against)}
    graphs = {name: graph for name, (graph, _) in opened.items()}
    # A plan is of one network, and refused by any other.
    codes = [[codes_said(graph, text) for text in grid.protections] for graph in graphs.values()]
    grid = replace(grid, protections=codes[0])
    for graph, is_folded in opened.values():
        if not is_folded:
            check_folding(graph, grid)
    # The same data, as each network's own input has them.
    pixels, kept = judged_on(first, source.path, given)
    fed = {}
    for name, graph in graphs.items():
        fed[name] = pixels if graph is first else judged_on(graph, source.path, given)[0]
    labels = work.labelled(kept)
    found = work.campaign(graphs, fed, labels, grid, plan, workers, store, progress, device, metrics, equal)
    place = None if store is None else str(store)
    return extended(GraphCampaign, found, store=place, input=input_held(first))


def placement(
    source: FaultedGraph,
    given: Images,
    chip: Chip,
    voltage: float,
    output: Path,
    *,
    share: float = 0.25,
    seed: int = 0,
    device: str = "cpu",
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> PlacementResult:
    """Plan which of a board's memories hold which block RAMs of a graph, and write it.

    Without labels the classes without faults stand in for them.

    Raises:
        Problem: files that are missing or cannot be written; nothing in block RAM, or more of it than the board has.
    """
    source.check(given, (output, PLANS))
    chip.board.place(voltage)
    graph, known = source.open(source.path)
    if not known:
        check_folding(graph, Grid([chip.rates(voltage)], voltages=[voltage], chip=chip))
    pixels, kept = judged_on(graph, source.path, given)
    subject = Subject(
        graph, pixels, Simulator.of(graph).classes(pixels) if kept is None else kept, work.simulators(device)
    )
    made = work.placement(subject, chip, voltage, output, share, seed, progress)
    return replace(made, input=input_held(graph))


def replay(
    source: FaultedGraph, given: Images, path: Path, device: str = "cpu", metrics: Sequence[str] = ()
) -> FaultMapReplay:
    """Accuracy, and `metrics` beyond it, with the one fault map of a file."""
    source.check(given)
    graph, _ = source.open(source.path)
    pixels, kept = judged_on(graph, source.path, given)
    return work.replay(graph, pixels, work.labelled(kept), path, device, metrics)


def save_map(source: FaultedGraph, grid: Grid, path: Path) -> FaultMapCells:
    """Write map 0 of the grid's one point; nothing is judged."""
    source.check(Images(), (path, MAPS))
    graph, known = source.open(source.path)
    if not known:
        check_folding(graph, grid)
    return work.save_map(graph, grid, path)

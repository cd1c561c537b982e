"""Campaigns: the same figures whoever runs them and however often they are interrupted."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest

from bnnflow import Problem
from bnnflow.sim.faults import (
    Campaign,
    CellRate,
    FaultModel,
    Grid,
    Memory,
    Outcome,
    Plan,
    Point,
    Rates,
    Series,
    Store,
    Subject,
    Sweep,
    Workers,
    inject,
    leveugle,
    paired,
    student_t,
)
from bnnflow.sim.faults.campaigns.statistics import clopper_pearson, image_half_width
from bnnflow.sim.faults.campaigns.sweep import sweep
from bnnflow.sim.faults.campaigns.workers import Task
from bnnflow.sim.faults.injection.maps import faulty_ops
from bnnflow.sim.faults.injection.trials import population
from bnnflow.sim.reference import run
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import NO_BOUNDS, Mvau, Thresholding
from bnnflow.transforms.ir.tensor import TensorType
from tests.places import ROOT
from tests.sim.faults.fault_graphs import bits, cnn, mlp, pixels


def subject(count: int = 30) -> Subject:
    graph = cnn()
    images = pixels(1, graph, count)
    return Subject(graph, images, run(graph, images)["fc"].argmax(axis=1))


GRID = Grid(
    [Rates.of(0.01), Rates.of(0.1)],
    targets=("weights", "streams", "weights+thresholds"),
    layers=("all", "conv2"),
    models=("flip", "word-line stuck-at-0"),
    protections=("none",),
    seeds=(0, 1),
)


def facts(series: Sequence[Series]) -> list[dict[str, object]]:
    return [one.facts() for one in series]


def test_sweep_measures_accuracy_on_every_map() -> None:
    one = subject(40)
    seen: list[int] = []
    result = sweep(one.graph, one.images, one.labels, (0.0, 0.3), 3, 7, seen.append)
    assert seen[-1] == 6 and seen == sorted(seen)
    assert result.accuracy[0].tolist() == [1.0, 1.0, 1.0], "without faults the network is right by construction"
    assert result.clean == 1.0
    for fault_map in range(3):
        hit = run(inject(one.graph, 7, fault_map, 0.3), one.images)["fc"].argmax(axis=1)
        assert result.accuracy[1, fault_map] == np.mean(hit == one.labels)


def test_a_grid_is_every_combination_once() -> None:
    points = GRID.points(cnn())
    assert len(points) == len({p.key() for p in points}) == 3 * 2 * 2 * 2 * 2
    each = Grid([Rates.of(0.1)], layers=("each",)).points(cnn())
    assert [p.layers for p in each] == [("conv0",), ("conv1",), ("conv2",), ("fc",)]
    assert len(Grid([Rates.of(0.1)], layers=("conv0+fc",), models=("single",)).points(cnn())) == 1


class Backwards(Workers):
    """Runs tasks last first."""

    def perform(self, subject: Subject, tasks: Sequence[Task]) -> Iterator[tuple[Point, list[Outcome]]]:
        for point, trials in reversed(tasks):
            yield point, [subject.trial(point, trial) for trial in reversed(trials)]


def test_order_and_number_of_workers_do_not_matter() -> None:
    points = GRID.points(cnn())[::3]
    wanted = facts(Campaign(subject(), points, Plan(3)).run())
    assert facts(Campaign(subject(), points, Plan(3), workers=Backwards()).run()) == wanted
    assert facts(Campaign(subject(), list(reversed(points)), Plan(3), workers=Workers(2)).run()) == wanted[::-1]


class Lost(Exception):
    pass


class Fragile(Workers):
    """Dies after seven results."""

    def perform(self, subject: Subject, tasks: Sequence[Task]) -> Iterator[tuple[Point, list[Outcome]]]:
        for done, (point, trials) in enumerate(tasks):
            if done == 7:
                raise Lost
            yield point, [subject.trial(point, trial) for trial in trials]


def test_an_interrupted_campaign_goes_on(tmp_path: Path) -> None:
    points, plan = GRID.points(cnn())[:6], Plan(4)
    wanted = facts(Campaign(subject(), points, plan).run())
    with Store(tmp_path / "faults.sqlite") as store, pytest.raises(Lost):
        Campaign(subject(), points, plan, store, Fragile()).run()
    seen: list[tuple[int, int]] = []
    with Store(tmp_path / "faults.sqlite") as store:
        assert facts(Campaign(subject(), points, plan, store).run(lambda *done: seen.append(done))) == wanted
    assert seen[0] == (7, 24) and seen[-1] == (24, 24)
    base = sqlite3.connect(tmp_path / "faults.sqlite")
    assert base.execute("SELECT count(*), count(DISTINCT point || trial) FROM trials").fetchone() == (24, 24)


PROGRAM = """
import sys
from pathlib import Path
from tests.sim.faults.campaigns.test_campaign import GRID, cnn, subject
from bnnflow.sim.faults import Campaign, Plan, Store
with Store(Path(sys.argv[1])) as store:
    Campaign(subject(500), GRID.points(cnn())[:6], Plan(40), store).run()
"""


def test_a_killed_campaign_goes_on(tmp_path: Path) -> None:
    """kill -9 in the midst of it, twice; then the figures of a run that nothing disturbed."""
    path = tmp_path / "faults.sqlite"
    for before in (0, 20):
        process = subprocess.Popen([sys.executable, "-c", PROGRAM, str(path)], cwd=ROOT, env=os.environ)
        end = time.monotonic() + 60
        while time.monotonic() < end:
            if path.exists() and _rows(path) > before:
                break
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    points, plan = GRID.points(cnn())[:6], Plan(40)
    assert 20 < _rows(path) < 240
    with Store(path) as store:
        again = facts(Campaign(subject(500), points, plan, store).run())
    assert _rows(path) == 240
    assert again == facts(Campaign(subject(500), points, plan).run())


def _rows(path: Path) -> int:
    try:
        return int(sqlite3.connect(path).execute("SELECT count(*) FROM trials").fetchone()[0])
    except sqlite3.Error:
        return 0


def test_the_first_maps_decide_how_many_there_are() -> None:
    """Stein's second stage, by the deviation of the first maps; more workers change nothing."""
    one, points = subject(100), Grid([Rates.of(rate) for rate in (0.0, 0.001, 0.05)]).points(cnn())
    plan = Plan(4, 0.1, 41)
    none, *others = Campaign(one, points, plan).run()
    assert len(none.outcomes) == 4 and none.facts()["half_width"] == 0
    for series in others:
        head = series.accuracy[: series.first]
        assert len(set(head)) > 1 or series.first == 41
        wanted = (student_t(len(head) - 1) * np.std(head, ddof=1) / 0.1) ** 2
        assert len(series.outcomes) == min(41, max(len(head), int(np.ceil(wanted))))
        assert series.facts()["half_width"] <= 0.1 + 1e-12 or len(series.outcomes) == 41
    assert facts(Campaign(one, points, plan, workers=Backwards()).run()) == facts([none, *others])


def test_a_wider_grid_and_more_maps_leave_what_is_there(tmp_path: Path) -> None:
    one = subject()
    with Store(tmp_path / "f.sqlite") as store:
        first = Campaign(one, Grid([Rates.of(0.01)]).points(one.graph), Plan(4), store).run()[0]
        wide = Grid([Rates.of(0.001), Rates.of(0.01), Rates.of(0.2)]).points(one.graph)
        again = Campaign(one, wide, Plan(6), store).run()[1]
        assert again.outcomes[:4] == first.outcomes


def test_single_faults_by_leveugles_sample(tmp_path: Path) -> None:
    """All 24 + ... cells of a small layer: the sample is the population, and each cell is hit once."""
    one = subject(20)
    points = Grid([Rates.of(0.0)], layers=("conv1",), models=("single",)).points(one.graph)
    assert population(one.graph, points[0]) == 4 * 4 * 3
    found = Campaign(one, points, Plan(error=0.001)).run()[0].facts()
    assert found["maps"] == found["population"] == 48
    assert found["critical_low"] == found["critical_share"] == found["critical_high"]
    assert found["changed_low"] <= found["changed"] < found["changed_high"] and found["changed"] > 0, (
        "a cell is hit, whatever the rate says"
    )
    assert found["worse_share"] == 0, "there are no other cells"


@pytest.mark.parametrize(
    ("population_", "error", "confidence", "draws"),
    [
        (6_480_448, 0.05, 0.95, 384),
        (6_480_448, 0.01, 0.99, 16_547),
        (6_480_448, 0.001, 0.99, 1_320_824),
        (1_542_848, 0.01, 0.99, 16_413),
        # t is 0.000 in three decimals.
        (1_542_848, 0.01, 1e-4, 1),
    ],
)
def test_leveugles_sample_sizes(population_: int, error: float, confidence: float, draws: int) -> None:
    assert leveugle(population_, error, confidence) == pytest.approx(draws, rel=1e-4)


@pytest.mark.parametrize(("freedom", "quantile"), [(1, 12.706), (4, 2.776), (30, 2.042), (60, 2.000), (120, 1.980)])
def test_student_t_against_the_printed_table(freedom: int, quantile: float) -> None:
    assert student_t(freedom) == pytest.approx(quantile, abs=1.5e-3)


def test_intervals_of_worked_examples() -> None:
    """Four maps, mean 0.85, deviation 0.01: 3.182 * 0.01 / 2. 0 of 10: at most 0.3085. 5 of 50 (Wilson, printed)."""
    spread = 0.01 * np.sqrt(3 / 2)
    made = Sweep((0.1,), np.array([[0.85 - spread, 0.85 + spread, 0.85, 0.85]]), 0.9, 10_000)
    assert made.half_width[0] == pytest.approx(3.182 * 0.01 / 2, rel=1e-3)
    assert image_half_width(0.89, 10_000) == pytest.approx(0.0063, abs=5e-5)
    assert clopper_pearson(0, 10)[1] == pytest.approx(0.3085, abs=1e-4)
    assert clopper_pearson(10, 10) == (pytest.approx(0.6915, abs=1e-4), 1.0)
    assert clopper_pearson(5, 50) == (pytest.approx(0.0333, abs=1e-4), pytest.approx(0.2181, abs=1e-4))


def test_networks_are_compared_map_by_map() -> None:
    made = paired([0.9, 0.8, 0.7, 0.9], [0.8, 0.75, 0.7, 0.7], 1000)
    assert (made.maps, made.wins, made.losses) == (4, 3, 0)
    assert made.mean == pytest.approx(0.0875)
    assert made.half_width == pytest.approx(3.182 * np.std([0.1, 0.05, 0, 0.2], ddof=1) / 2, rel=1e-3)
    assert made.p_sign == pytest.approx(0.25)
    one = subject(50)
    points = Grid([Rates.of(0.02)]).points(one.graph)
    same = Campaign(one, points, Plan(5)).run()[0].accuracy
    assert paired(same, same, 50).p_sign == 1.0


BAD = {
    "rate": lambda: Rates.of(1.5),
    "no_workers": lambda: Workers(0),
    "negative_workers": lambda: Workers(-2),
    "cluster_kind": lambda: Workers(cluster="dusk:tcp://x"),
    "no_maps": lambda: Plan(0),
    "interval": lambda: Plan(wanted=2.0),
    "one_map_and_an_interval": lambda: Plan(1, 0.01),
    "layer": lambda: Grid([Rates.of(0.1)], layers=("conv9",)).points(cnn()),
    "memory": lambda: Grid([Rates.of(0.1)], targets=("treshold",)).points(cnn()),
    "protection": lambda: Grid([Rates.of(0.1)], protections=("secded",)).points(cnn()),
    "sample": lambda: leveugle(100, 2.0),
    "no_labels": lambda: Subject(cnn(), pixels(0, cnn(), 3), np.zeros(2, np.int64)),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name: str, golden: object) -> None:
    with pytest.raises(Problem) as found:
        BAD[name]()
    golden(f"problems/faults_{name}", str(found.value))  # type: ignore[operator]


def test_files_that_hold_no_results(tmp_path: Path, golden: object) -> None:
    (tmp_path / "text.sqlite").write_text("notes " * 1000)
    sqlite3.connect(tmp_path / "other.sqlite").execute("CREATE TABLE notes (a)").connection.commit()
    for name in ("text", "other", "missing/folder"):
        with pytest.raises(Problem) as found:
            Store(tmp_path / f"{name}.sqlite")
        golden(f"problems/faults_store_{name.replace('/', '_')}", str(found.value))  # type: ignore[operator]


def test_per_layer_rates_hit_those_layers() -> None:
    one = subject()
    only = Rates.of(0.0)
    from bnnflow.sim.faults import CellRate

    named = Rates(only.rest, {"conv2.weights": CellRate.of(0.3), "fc": CellRate.of(0.1)})
    place = Point("weights", (), "flip", named)
    cells = [found for found in place.places(one.graph) if isinstance(found, Memory)]
    ops = faulty_ops(one.graph, cells, FaultModel(), named, place.seed, 0)
    assert set(ops) == {"conv2", "fc"}


def test_mlps_run_from_the_input_on() -> None:
    graph = mlp()
    x = pixels(0, graph, 25)
    one = Subject(graph, x, run(graph, x)["d2"].argmax(axis=1))
    found = Campaign(one, Grid([Rates.of(0.05)], layers=("each",)).points(graph), Plan(2)).run()
    for series in found:
        for outcome in series.outcomes:
            assert outcome == Subject(graph, one.images, one.labels).trial(series.point, outcome.trial)


OPENERS = """
import sys, time
from pathlib import Path
from bnnflow.sim.faults import Outcome, Store
while time.time() < float(sys.argv[1]):
    pass
for number in range(12):
    with Store(Path(sys.argv[2]) / f"{number}.sqlite") as store:
        store.add("s", sys.argv[3], [Outcome(trial, 9, 8, 1) for trial in range(20)])
"""


def test_programs_that_open_one_new_file_at_once_all_write(tmp_path: Path) -> None:
    """Three processes make the same twelve files in the same moment."""
    start = [sys.executable, "-c", OPENERS, str(time.time() + 2.5), str(tmp_path)]
    running = [subprocess.Popen([*start, name], stderr=subprocess.PIPE, text=True) for name in "abc"]
    for process in running:
        assert process.communicate()[1] == "" and process.returncode == 0
    for number in range(12):
        with Store(tmp_path / f"{number}.sqlite") as store:
            assert [len(store.outcomes("s", name)) for name in "abc"] == [20, 20, 20]


def test_a_file_of_others_is_left_as_it_was(tmp_path: Path) -> None:
    other = sqlite3.connect(tmp_path / "other.sqlite")
    other.execute("CREATE TABLE notes (a)").connection.commit()
    other.close()
    before = (tmp_path / "other.sqlite").read_bytes()
    with pytest.raises(Problem, match="not a file of fault results"):
        Store(tmp_path / "other.sqlite")
    assert (tmp_path / "other.sqlite").read_bytes() == before


def test_kept_results_are_of_one_network_with_its_input(tmp_path: Path) -> None:
    """Widths of thresholds follow from the input's range, whatever else is equal."""
    first = Thresholding(np.array([[3], [5], [9], [12]]), 0, 2)
    nodes = (Node("t", first, ("x",)), Node("d", Mvau(bits(0, 3, 4), NO_BOUNDS, True), ("t",)))
    images = np.random.default_rng(0).integers(0, 16, (20, 4))
    labels, digests = np.zeros(20, np.int64), set()
    with Store(tmp_path / "kept.sqlite") as kept:
        for high in (15, 255):
            made = Subject(Graph("g", "x", TensorType((4,), 0, high), nodes, "d"), images, labels)
            grid = Grid([Rates.of(0.2)], targets=("thresholds",))
            found = Campaign(made, grid.points(made.graph), Plan(5), kept).run()
            alone = Campaign(made, grid.points(made.graph), Plan(5)).run()
            assert facts(found) == facts(alone)
            digests.add(made.digest)
    assert len(digests) == 2


def test_conditions_with_the_same_rates_are_series_of_their_own(tmp_path: Path) -> None:
    """Run once, and told for each of them."""
    rates = [Rates(CellRate(0.05, 0.05, f"temperature {degrees}")) for degrees in (0, 25)]
    made = subject()
    points = Grid(rates).points(made.graph)
    trials = []

    def count(done: int, total: int) -> None:
        trials.append(total)

    one, other = Campaign(made, points, Plan(4)).run(count)
    assert [each.point.rates.label for each in (one, other)] == ["temperature 0", "temperature 25"]
    assert one.outcomes == other.outcomes and set(trials) == {4}


def test_rates_of_memories_say_nothing_of_streams() -> None:
    rates = Rates(CellRate.of(0.0), {"conv0.weights": CellRate.of(0.1)})
    with pytest.raises(Problem, match=r"the rates are of conv0\.weights; hit are window0\.streams, "):
        Grid([rates], targets=("streams",)).points(cnn())
    assert rates.value == 0.1 and Rates(CellRate.of(0.01), {"conv0": CellRate.of(0.1)}).value == 0.01

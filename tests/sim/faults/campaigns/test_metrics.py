"""Metrics beyond accuracy: classes one by one and margins, against the reference simulator and by hand."""

from __future__ import annotations

import sqlite3
from math import fsum, sqrt
from pathlib import Path

import numpy as np
import pytest

from bnnflow import Problem
from bnnflow.sim.faults import (
    METRICS,
    Campaign,
    FaultModel,
    Grid,
    Memory,
    Outcome,
    Plan,
    Point,
    Rates,
    Store,
    Subject,
    Workers,
    draw_map,
    student_t,
)
from bnnflow.sim.faults.campaigns.statistics import both, half_width
from bnnflow.sim.faults.injection.maps import replaced
from bnnflow.sim.reference import run
from bnnflow.transforms.ir.graph import Graph, Node
from bnnflow.transforms.ir.ops import Affine, Best
from bnnflow.transforms.ir.tensor import Array

from ..fault_graphs import cnn, mlp, pixels


def floats() -> Graph:
    """`cnn` with scores in floats: a scale and a shift of each class."""
    graph = cnn()
    scale, shift = np.array([0.3, 0.7, 0.11]), np.array([0.1, -2.3, 1.7])
    ends = Node("scores", Affine(scale, shift), ("fc",))
    return Graph("floats", graph.input, graph.input_type, (*graph.nodes, ends), "scores")


def subject(graph: Graph, count: int = 60, metrics: tuple[str, ...] = METRICS) -> Subject:
    x = pixels(3, graph, count)
    # Some labels are wrong, and class 1 is nobody's.
    labels = run(graph, x)[graph.output].argmax(axis=1)
    labels[::7], labels[1::3] = 2, 0
    labels[labels == 1] = 0
    return Subject(graph, x, labels, metrics=metrics)


def scores(graph: Graph, point: Point, trial: int, x: Array) -> Array:
    places = [place for place in point.places(graph) if isinstance(place, Memory)]
    drawn = draw_map(graph, places, FaultModel.parse(point.model), point.rates, point.seed, trial)
    found: Array = run(replaced(graph, drawn.ops(graph)), x)[graph.output].astype(np.float64)
    return found


def by_hand(scores: Array, labels: Array) -> list[float]:
    return [float(row[label]) - max(np.delete(row, label)) for row, label in zip(scores, labels, strict=True)]


@pytest.mark.parametrize("made", [cnn, floats, mlp])
def test_counts_and_margins_are_those_of_the_reference(made: object) -> None:
    graph = made()  # type: ignore[operator]
    one = subject(graph)
    clean = run(graph, one.images)[graph.output].astype(np.float64)
    for point in Grid([Rates.of(rate) for rate in (0.0, 0.02, 0.3)], layers=("all", "each")).points(graph):
        outcome = one.trial(point, 1)
        faulty = scores(graph, point, 1, one.images)
        assert outcome.classes is not None and outcome.margin is not None
        for label, told in enumerate(outcome.classes):
            mine = one.labels == label
            best = faulty.argmax(axis=1)[mine], clean.argmax(axis=1)[mine]
            wanted = (mine.sum(), (best[1] == label).sum(), (best[0] == label).sum(), (best[0] != best[1]).sum())
            assert (told.images, told.clean, told.right, told.changed) == wanted
        assert outcome.margin.unit == ("scores" if made is floats else "integers")
        assert outcome.margin.clean == fsum(by_hand(clean, one.labels))
        assert outcome.margin.faulty == fsum(by_hand(faulty, one.labels))


def test_single_flips_and_streams_tell_them_too() -> None:
    graph = cnn()
    one = subject(graph)
    for target, model in (("weights", "single"), ("streams", "flip")):
        (point,) = Grid([Rates.of(0.02)], targets=(target,), models=(model,)).points(graph)
        for trial in range(5):
            told = one.trial(point, trial)
            assert told.classes is not None and told.margin is not None
            assert sum(of.changed for of in told.classes) == told.changed
            assert sum(of.right for of in told.classes) == told.right


def test_figures_by_hand() -> None:
    """Shares of the images of a class with the intervals of `statistics`; a class without images has no row."""
    one = subject(cnn())
    (series,) = Campaign(one, Grid([Rates.of(0.03)]).points(one.graph), Plan(6)).run()
    facts = series.facts()
    assert [row["label"] for row in facts["classes"]] == [0, 2]
    for row in facts["classes"]:
        told = [trial.classes[row["label"]] for trial in series.outcomes if trial.classes]
        right, changed = ([getattr(of, key) / of.images for of in told] for key in ("right", "changed"))
        assert row["accuracy"] == np.mean(right) and row["changed"] == np.mean(changed)
        half = half_width(right, 1 / told[0].images)
        assert (row["low"], row["high"]) == both(float(np.mean(right)), half, told[0].images)
    falls = {row["label"]: row["clean"] - row["accuracy"] for row in facts["classes"]}
    assert facts["worst_class"] == max(falls, key=lambda label: falls[label])
    parts = [row["changed"] * row["images"] for row in facts["classes"]]
    assert facts["changed_low"] <= facts["changed"] <= facts["changed_high"]
    assert sum(parts) == pytest.approx(facts["changed"] * facts["images"])
    losses = [(t.margin.clean - t.margin.faulty) / 60 for t in series.outcomes if t.margin]
    assert facts["margin"]["loss"] == np.mean(losses) and facts["margin"]["greatest"] == max(losses)
    assert facts["margin"]["half_width"] == student_t(5) * np.std(losses, ddof=1) / sqrt(6)


def test_what_one_map_does_not_say() -> None:
    one = subject(cnn())
    none, some = Campaign(one, Grid([Rates.of(0.0), Rates.of(0.05)]).points(one.graph), Plan(1)).run()
    assert some.facts()["margin"]["half_width"] is None
    margin = none.facts()["margin"]
    assert margin["half_width"] == margin["loss"] == 0 and margin["clean"] == margin["faulty"]


def test_accuracy_is_the_same_and_jobs_change_nothing() -> None:
    one = subject(cnn())
    points = Grid([Rates.of(0.01), Rates.of(0.1)], layers=("each",)).points(one.graph)
    told = Campaign(one, points, Plan(3)).run()
    plain = Campaign(subject(cnn(), metrics=()), points, Plan(3)).run()
    counts = [[(o.right, o.changed) for o in series.outcomes] for series in told]
    assert counts == [[(o.right, o.changed) for o in series.outcomes] for series in plain]
    assert not any(o.classes or o.margin for series in plain for o in series.outcomes)
    assert "classes" not in plain[0].facts() and "margin" not in plain[0].facts()
    assert Campaign(one, points, Plan(3), workers=Workers(2)).run() == told


def test_results_without_a_metric_are_run_again_for_it(tmp_path: Path) -> None:
    """A file of a program that knew no metrics, then one metric, then both: nothing stands in for what is missing."""
    path, graph = tmp_path / "f.sqlite", cnn()
    points, plan = Grid([Rates.of(0.05)]).points(graph), Plan(4)
    with Store(path) as store:
        Campaign(subject(graph, metrics=()), points, plan, store).run()
    base = sqlite3.connect(path)
    base.execute("DROP TABLE figures")
    base.close()
    seen: list[int] = []
    for metrics, fresh in ((("margin",), 4), (METRICS, 4), (METRICS, 0), (("classes",), 0), ((), 0)):
        begun: list[int] = []
        with Store(path) as store:
            found = Campaign(subject(graph, metrics=metrics), points, plan, store).run(
                lambda done, total, begun=begun: begun.append(done)  # type: ignore[misc]
            )
        seen.append(4 - begun[0])
        assert seen[-1] == fresh
        wanted = Campaign(subject(graph, metrics=metrics), points, plan).run()
        assert [series.facts() for series in found] == [series.facts() for series in wanted]
    with Store(path) as store:
        assert len(store.outcomes(subject(graph).digest, points[0].key())) == 4
        assert store.outcomes(subject(graph).digest, points[0].key(), ("margin",))[2].classes is None


def test_an_interrupted_campaign_with_metrics_goes_on(tmp_path: Path) -> None:
    one = subject(floats())
    (point,) = Grid([Rates.of(0.05)]).points(one.graph)
    with Store(tmp_path / "f.sqlite") as store:
        store.add(one.digest, point.key(), [one.trial(point, 2), Outcome(0, 60, 1, 1)])
        (series,) = Campaign(one, [point], Plan(4), store).run()
    assert [o.trial for o in series.outcomes] == [0, 1, 2, 3]
    wanted = [one.trial(point, trial) for trial in range(1, 4)]
    assert list(series.outcomes[1:]) == wanted


def ranked() -> Graph:
    graph = mlp()
    return Graph("ranked", graph.input, graph.input_type, (*graph.nodes, Node("best", Best(1), ("d2",))), "best")


def test_bad_metrics(golden: object) -> None:
    x = pixels(0, ranked(), 4)
    bad = {
        "metric": lambda: subject(cnn(), metrics=("clases",)),
        "metric_margin": lambda: Subject(ranked(), x, np.zeros(4, np.int64), metrics=("margin",)),
    }
    for name, make in bad.items():
        with pytest.raises(Problem) as found:
            make()
        golden(f"problems/faults_{name}", str(found.value))  # type: ignore[operator]
    told = Subject(ranked(), x, np.zeros(4, np.int64), metrics=("classes",)).trial(
        Grid([Rates.of(0.1)]).points(ranked())[0], 0
    )
    assert told.classes is not None and len(told.classes) == 3 and told.classes[0].images == 4

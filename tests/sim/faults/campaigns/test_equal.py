"""Two networks with as many faults, or in as much memory."""

from __future__ import annotations

import numpy as np
import pytest

from bnnflow import Problem
from bnnflow.sim.faults import (
    CellRate,
    FaultModel,
    Grid,
    Memory,
    Point,
    Protections,
    Rates,
    check_equal,
    draw_map,
    equal_faults,
    memories,
    stored_bits,
)
from bnnflow.transforms.ir.graph import Graph

from ..fault_graphs import cnn, mlp

SMALL, LARGE = mlp(0, (12, 8, 6, 3)), mlp(1, (12, 20, 10, 3))


def expected(point: Point, graph: Graph) -> float:
    model, safe = FaultModel.parse(point.model), Protections.parse(point.protection)
    return sum(
        model.shape.units(safe.stored(place)) * point.rates.at(place.layer, place.kind).up
        for place in point.places(graph)
        if isinstance(place, Memory)
    )


@pytest.mark.parametrize("model", ["flip", "stuck-at-1", "bit-line stuck-at-0", "burst:3 flip", "row-hammer:0.1 flip"])
@pytest.mark.parametrize("layers", ["all", "each"])
@pytest.mark.parametrize("protection", ["none", "secded-39-32"])
def test_as_many_faults_are_expected(model: str, layers: str, protection: str) -> None:
    grid = Grid([Rates.of(rate) for rate in (0.0, 0.01, 0.1)], ("weights",), (layers,), (model,), (protection,))
    for point in grid.points(LARGE):
        scaled = equal_faults(point, LARGE, SMALL)
        assert expected(scaled, SMALL) == pytest.approx(expected(point, LARGE), rel=1e-12)
        assert (scaled.target, scaled.layers, scaled.model) == (point.target, point.layers, point.model)


def test_maps_have_as_many_faulty_cells_in_the_mean() -> None:
    """Drawn: 400 maps of both."""
    (point,) = Grid([Rates.of(0.02)]).points(LARGE)
    drawn = []
    for graph, one in ((LARGE, point), (SMALL, equal_faults(point, LARGE, SMALL))):
        maps = [draw_map(graph, memories(graph), FaultModel(), one.rates, 0, trial) for trial in range(400)]
        drawn.append([sum(len(cells.index) for cells in each.cells.values()) for each in maps])
    spread = np.sqrt(np.var(drawn[0]) / 400 + np.var(drawn[1]) / 400)
    assert abs(np.mean(drawn[0]) - np.mean(drawn[1])) < 4 * spread
    assert np.mean(drawn[0]) == pytest.approx(0.02 * sum(memory.size for memory in memories(LARGE)), rel=0.1)


def test_rates_of_single_memories_keep_their_ratio() -> None:
    rates = Rates(CellRate.of(0.01), {"d0.weights": CellRate.of(0.04)})
    (point,) = Grid([rates]).points(LARGE)
    scaled = equal_faults(point, LARGE, SMALL)
    assert scaled.rates.by["d0.weights"].up == pytest.approx(4 * scaled.rates.at("d1", "weights").up)
    assert expected(scaled, SMALL) == pytest.approx(expected(point, LARGE))


def test_stored_bits_count_check_bits() -> None:
    plain, tripled = Grid([Rates.of(0.1)], protections=("none", "tmr")).points(SMALL)
    assert stored_bits(plain, SMALL) == 12 * 8 + 8 * 6 + 6 * 3
    assert stored_bits(tripled, SMALL) == 3 * stored_bits(plain, SMALL)
    (streams,) = Grid([Rates.of(0.1)], ("streams",)).points(SMALL)
    assert stored_bits(streams, SMALL) == 0


def test_bad_input(golden: object) -> None:
    flip, directed = [Rates.of(0.5)], [Rates(CellRate(0.1, 0.2), {}, True)]
    points = {
        "word": (("fault",), Grid(flip)),
        "streams": (("faults",), Grid(flip, ("streams",))),
        "single": (("faults",), Grid(flip, models=("single",))),
        "directions": (("faults",), Grid(directed)),
        "memory_without_codes": (("memory",), Grid(flip)),
        "memory_of_codes_alone": (("memory",), Grid(flip, protections=("tmr",))),
    }
    for name, (equal, grid) in points.items():
        with pytest.raises(Problem) as found:
            check_equal(equal, grid.points(cnn()))
        golden(f"problems/equal_{name}", str(found.value))  # type: ignore[operator]
    check_equal(("faults", "memory"), Grid(flip, protections=("none", "tmr")).points(cnn()))
    (point,) = Grid(flip).points(LARGE)
    with pytest.raises(Problem) as found:
        equal_faults(point, LARGE, SMALL)
    golden("problems/equal_rate_above_1", str(found.value))  # type: ignore[operator]

"""Pruned hardware beside unpruned: each side against all designs that there are, and changes against stated errors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from bnnflow.build.calibrated.table import Table, table
from bnnflow.build.cost import estimate, flip_flops
from bnnflow.build.cost_models.bnnflow import Bnnflow
from bnnflow.build.explore import Space
from bnnflow.build.parts import part
from bnnflow.build.rate_folding import fold_for_rate
from bnnflow.build.synth import yosys
from bnnflow.build.synth.families import FAMILIES
from bnnflow.build.synth.yosys import Yosys
from bnnflow.flow.graphs.comparison import (
    BETWEEN_UNITS,
    Sized,
    Target,
    compare_hardware,
    stated_errors,
    with_synthesis,
)
from bnnflow.flow.graphs.control import HardwareChoices
from bnnflow.flow.graphs.hardware import controlled, hardware_of
from bnnflow.flow.graphs.synthesis import SynthOptions, kept_synthesis, mapped
from bnnflow.flow.results.comparison import Change, Compared, HardwareComparison, NotCompared
from bnnflow.flow.results.synthesis import Synthesis
from bnnflow.flow.show.comparison import SMALLER, caption, sides
from bnnflow.transforms.ir.graph import Graph
from tests.build.test_explore import every_design, layers
from tests.hardware_graphs import residual

CHIP = part("xc7z020")
MHZ = 100.0
CYCLES = 40


def folded(cycles: int = CYCLES) -> dict[str, Graph]:
    """A network of two layers and one with fewer neurons in between, for a rate."""
    graphs = {"base": layers((12, 16), (4, 12)), "pruned": layers((6, 16), (4, 6))}
    return {name: fold_for_rate(graph, MHZ * 1e6 / cycles, MHZ, CHIP).graph for name, graph in graphs.items()}


def pair(side: Compared | NotCompared) -> Compared:
    assert isinstance(side, Compared)
    return side


def rows(found: Compared, level: str = "estimated") -> dict[str, Change]:
    return {one.figure: one for one in found.changes if one.level in (level, "exact")}


def test_at_equal_rate_both_keep_it_and_say_what_they_reach() -> None:
    graphs = folded()
    found = compare_hardware("x", graphs, Target(CHIP, MHZ, CYCLES))
    side = pair(found.rate)
    model = Bnnflow(table("xc7"))
    for name, one in (("base", side.base), ("pruned", side.pruned)):
        assert one.interval_cycles is not None and one.interval_cycles <= CYCLES
        assert one.fps == MHZ * 1e6 / one.interval_cycles
        cost = estimate(graphs[name], model)
        assert (one.estimated.lut, one.estimated.bram18) == (cost.lut + cost.lut_ram, cost.bram18)
        assert sum(getattr(each, name).lut for each in side.layers) == one.estimated.lut
    cycles = rows(side)["cycles"]
    assert (cycles.base, cycles.pruned) == (side.base.interval_cycles, side.pruned.interval_cycles)
    assert cycles.level == "exact" and not cycles.within_error
    assert [one.name for one in side.layers] == ["dense0", "dense1", BETWEEN_UNITS]


def test_what_a_host_asks_is_on_both_sides() -> None:
    """A comparison is of the hardware that is built, and so is what synthesis found of it."""
    graphs, host = folded(), HardwareChoices(protect="tmr")
    side = pair(compare_hardware("x", graphs, Target(CHIP, MHZ, CYCLES, host=host)).rate)
    for name, one in (("base", side.base), ("pruned", side.pruned)):
        graph, control, _ = controlled(graphs[name], host)
        cost = estimate(graph, Bnnflow(table("xc7")), control=control)
        assert (one.estimated.lut, one.estimated.ff) == (cost.lut + cost.lut_ram, flip_flops(cost))
        assert one.estimated.lut > estimate(graphs[name], Bnnflow(table("xc7"))).lut + 300
    assert "(registers)" in [one.name for one in side.layers]


def test_at_equal_resources_no_design_is_faster() -> None:
    graphs = folded()
    side = pair(compare_hardware("x", graphs, Target(CHIP, MHZ, CYCLES)).resources)
    assert side.lut_allowed is not None and side.bram18_allowed is not None
    for name, one in (("base", side.base), ("pruned", side.pruned)):
        assert one.estimated.lut <= side.lut_allowed and one.estimated.bram18 <= side.bram18_allowed
        designs = every_design(Space(graphs[name], Bnnflow(table("xc7"))))
        possible = [c for c, lut, rams in designs if lut <= side.lut_allowed and rams <= side.bram18_allowed]
        assert one.cycles == min(possible)
    assert side.pruned.cycles < side.base.cycles


def test_a_part_that_is_given_is_the_budget() -> None:
    small = replace(CHIP, name="small", lut=500, block_rams=4, family="xc7")
    graphs = folded(400)
    side = pair(compare_hardware("x", graphs, Target(small, MHZ, 400, whole_part=True)).resources)
    assert (side.lut_allowed, side.bram18_allowed) == (500, 4)
    for name, one in (("base", side.base), ("pruned", side.pruned)):
        designs = every_design(Space(graphs[name], Bnnflow(table("xc7"))))
        assert one.cycles == min(c for c, lut, rams in designs if lut <= 500 and rams <= 4)
    tiny = replace(small, lut=20)
    refused = compare_hardware("x", graphs, Target(tiny, MHZ, 400, whole_part=True)).resources
    assert refused == NotCompared(reason="no folding of the unpruned network fits 20 LUT and 4 block RAMs")


def test_networks_with_branches_are_searched_and_never_slower_than_they_are() -> None:
    graph = fold_for_rate(residual(), 20_000, MHZ, CHIP).graph
    found = compare_hardware("x", {"base": graph, "pruned": graph}, Target(CHIP, MHZ, 5000))
    rate, resources = pair(found.rate), pair(found.resources)
    assert rate.searched and resources.searched
    assert resources.base.cycles <= rate.base.cycles
    assert all(one.change in (0.0, None) and not one.within_error for one in rate.changes)
    assert "searched" in sides(found)[0].said


def off(lut: int, lut_ram: int, errors: Mapping[str, float]) -> float:
    return errors["lut"] * (lut - lut_ram) + errors["lut_ram"] * lut_ram


@pytest.mark.parametrize("family", ["xc7", "ecp5"])
def test_stated_errors_are_the_residuals_of_units_held_out(family: str) -> None:
    known = table(family)
    held = [abs(one.estimated - one.lut) / one.lut for one in known.held_out]
    assert stated_errors(known)["lut"] == pytest.approx(sum(held) / len(held), abs=1e-4)
    wrong = [abs(a / b - 1) for one in known.held_out for a, b in [one.exact.get("ff", (1, 1))]]
    assert stated_errors(known)["ff"] == pytest.approx(sum(wrong) / len(wrong))
    assert stated_errors(known)["bram18"] == 0
    assert "ff" not in stated_errors(Table(family, "", {}, 0.1, 0.2)), "nothing was held out"


def test_a_change_smaller_than_the_error_is_marked() -> None:
    found = compare_hardware("x", folded(), Target(CHIP, MHZ, CYCLES))
    side, errors = pair(found.rate), found.errors
    one, two = side.base.estimated, side.pruned.estimated
    both = off(one.lut, one.lut_ram, errors) + off(two.lut, two.lut_ram, errors)
    lut = rows(side)["lut"]
    assert lut.within_error == (0 < abs(one.lut - two.lut) <= both)
    assert lut.low is not None and lut.high is not None and lut.change is not None
    assert lut.low < lut.change == two.lut / one.lut - 1 < lut.high
    # The range of a change holds 0 just where the two figures may be the same.
    for each in [*side.changes, *(unit.lut for unit in side.layers if unit.lut is not None)]:
        if each.low is not None and each.high is not None and each.base != each.pruned:
            assert each.within_error == (each.low <= 0 <= each.high)
    marked = [row for side in sides(found) for row in side.changes if row[-1] == SMALLER]
    assert len(marked) == sum(one.within_error for side in (found.rate, found.resources) for one in pair(side).changes)


def test_finns_formulas_state_no_error_and_search_no_resources() -> None:
    found = compare_hardware("x", folded(), Target(CHIP, MHZ, CYCLES, cost_model="exact"))
    assert found.errors == {} and found.worst_lut_error is None and isinstance(found.resources, NotCompared)
    assert all(one.low is None and not one.within_error for one in pair(found.rate).changes if one.level != "exact")
    assert rows(pair(found.rate))["lut"].change is not None and "ff" not in rows(pair(found.rate))
    assert "states no error" in caption(found) and sides(found)[1].said.startswith("not compared")


def synthesis(found: HardwareComparison, graphs: Mapping[str, Graph], folder: Path) -> Mapping[str, Synthesis]:
    how, tool = SynthOptions(FAMILIES["xc7"]), Yosys(("false",), "a yosys", folder)
    made = {name: hardware_of(graph, 2, {}, MHZ) for name, graph in graphs.items()}
    assert all(kept_synthesis(one, how, tool) is None for one in made.values()), "nothing was mapped yet"
    result = mapped({name: (one, ()) for name, one in made.items()}, how, tool, lambda done, total: None).networks
    again = {name: kept_synthesis(one, how, tool) for name, one in made.items()}
    assert {name: one and one.total for name, one in again.items()} == {name: one.total for name, one in result.items()}
    return result


def test_levels_stand_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = {"LUT6": 7, "RAM64M": 1, "FDRE": 5}
    monkeypatch.setattr(yosys, "_mapped", lambda *_: cells)
    graphs = folded()
    found = compare_hardware("x", graphs, Target(CHIP, MHZ, CYCLES))
    networks = synthesis(found, graphs, tmp_path)
    side = pair(with_synthesis(found, networks).rate)
    units = {name: len(one.units) for name, one in networks.items()}
    assert side.base.synthesized is not None and side.base.synthesized.lut == 11 * units["base"]
    assert rows(side, "synthesized")["ff"].base == 5 * units["base"]
    assert rows(side, "estimated") == rows(pair(found.rate), "estimated")
    assert not any(one.within_error for one in rows(side, "synthesized").values()), "cells are counted"
    assert sum(one.base.synthesized_lut or 0 for one in side.layers if one.base) == side.base.synthesized.lut
    assert side.layers[0].base is not None and side.layers[0].base.synthesized_lut == 11
    other = {name: replace(one, family="ecp5") for name, one in networks.items()}
    assert with_synthesis(found, other) == found, "cells of another family are of another design"
    foreign = {name: replace(one, estimated_by="FINN's formulas") for name, one in networks.items()}
    assert with_synthesis(found, foreign) == found, "registers and codes are not in the estimate"
    alone = pair(with_synthesis(found, {"pruned": networks["pruned"]}).rate)
    assert alone.pruned.synthesized is not None and not rows(alone, "synthesized").keys() - {"cycles"}


def test_what_gives_the_synthesis_is_asked_for_each_side() -> None:
    asked: list[Mapping[str, Sized]] = []

    def none(given: Mapping[str, Sized]) -> Mapping[str, Synthesis]:
        asked.append(given)
        return {}

    found = compare_hardware("x", folded(), Target(CHIP, MHZ, CYCLES), none)
    slowest = [
        [max(unit.cycles for unit in estimate(given[name].graph).units) for name in ("base", "pruned")]
        for given in asked
    ]
    assert slowest == [[one.base.cycles, one.pruned.cycles] for one in (pair(found.rate), pair(found.resources))]


def test_large_images_are_not_simulated_and_it_says_so() -> None:
    found = compare_hardware("x", folded(), Target(CHIP, MHZ, CYCLES, words=3))
    side = pair(found.rate)
    assert side.base.interval_cycles is None and side.base.fps == MHZ * 1e6 / side.base.cycles
    assert "too many words" in caption(found) and "not simulated" in sides(found)[0].said

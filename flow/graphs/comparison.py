"""A pruned network's hardware beside that of the unpruned one, each folded anew for what is to be equal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite
from typing import TYPE_CHECKING

from bnnflow import Problem

from ...build.cost import BETWEEN, Estimate, UnitCost, estimate
from ...build.cost_models import CostModel
from ...build.cost_models.bnnflow import Bnnflow
from ...build.explore import Space
from ...build.rate_folding import fastest, rate_model
from ...build.schedule import highest_rate
from ...transforms.ir.graph import Graph
from ..results.comparison import (
    Change,
    Compared,
    FoldedNetwork,
    HardwareComparison,
    NotCompared,
    Taken,
    UnitPair,
    UnitTaken,
)
from .control import PLAIN, HardwareChoices
from .hardware import controlled
from .rates import BESIDE_AN_ESTIMATE, FIFO, affordable, rate, timing_of

if TYPE_CHECKING:
    from ...build.calibrated.table import Table
    from ...build.parts import Part
    from ..results.synthesis import Synthesis

NETWORKS = ("base", "pruned")
BETWEEN_UNITS = "between units"
ESTIMATED, SYNTHESIZED, EXACT = "estimated", "synthesized", "exact"
_IMAGES = 3
# Figures of resources, and what the table of a calibration calls those that it counts.
_COUNTED = {"lut_ram": "lut_ram", "ff": "ff", "bram18": "block_ram", "dsp": "dsp"}
# Designs within a budget that are sized: the first mostly does, for FIFOs that are deeper take little.
_TRIED = 16


@dataclass(frozen=True, slots=True)
class Sized:
    """A folded graph with FIFOs.

    Attributes:
        graph: dataflow level, folded.
        depths: words of FIFOs that are deeper than two.
        interval: cycles between images with them, simulated; None where that was not done, and no FIFO is deeper.
    """

    graph: Graph
    depths: Mapping[str, int]
    interval: int | None


Mapped = Callable[[Mapping[str, Sized]], Mapping[str, "Synthesis"]]


@dataclass(frozen=True, slots=True)
class Target:
    """What two networks are compared for.

    Attributes:
        part, clock_mhz: of the hardware.
        cycles: that an image may take at equal rate.
        cost_model: name of the one that counts.
        whole_part: whether equal resources are those of the whole part, not those that the unpruned network takes.
        words: of an image up to which FIFOs are sized by simulation.
        host: what a host is to ask of the hardware; no part of how it is folded.
    """

    part: Part
    clock_mhz: float
    cycles: int
    cost_model: str = Bnnflow.name
    whole_part: bool = False
    words: int = BESIDE_AN_ESTIMATE
    host: HardwareChoices = PLAIN

    def cost(self, made: Sized, model: CostModel) -> Estimate:
        """What a network takes, with what its host asks for where the model counts that."""
        graph, control, _ = controlled(made.graph, self.host)
        return estimate(graph, model, FIFO, made.depths, control)


def _none(made: Mapping[str, Sized]) -> Mapping[str, Synthesis]:
    return {}


def compare_hardware(
    run: str, graphs: Mapping[str, Graph], target: Target, mapped: Mapped = _none
) -> HardwareComparison:
    """Compare two networks at equal rate and at equal resources.

    Args:
        run: name of the run.
        graphs: "base" and "pruned", dataflow level, both folded for `target.cycles`.
        target: what for.
        mapped: gives the synthesis of folded networks by their names, of those whose synthesis is known.

    Raises:
        Problem: as `estimate`.
    """
    part = target.part
    models = [rate_model(graphs[name], part, target.cost_model) for name in NETWORKS]
    # One model counts both: a figure of ours beside one of FINN's would compare models, not networks.
    model, why = next((pair for pair in models if not isinstance(pair[0], Bnnflow)), models[0])
    made = _both({name: graphs[name] for name in NETWORKS}, target)
    alike = _equal_rate(made, target, model, mapped)
    table = model.table if isinstance(model, Bnnflow) else None
    return HardwareComparison(
        run=run,
        part=part.name,
        family=part.family,
        clock_mhz=target.clock_mhz,
        cost_model=model.name,
        errors={} if table is None else stated_errors(table),
        worst_lut_error=None if table is None else table.worst_error,
        units_held_out=0 if table is None else len(table.held_out),
        fifos=_fifos(model, alike),
        rate=alike,
        resources=_equal_resources(made, target, model, why, alike, mapped),
    )


def stated_errors(table: Table) -> dict[str, float]:
    """Mean relative error of each figure on units that a calibration's fit did not see, where the table states it."""
    counted = {figure: table.counted_error(kind) for figure, kind in _COUNTED.items()}
    return {"lut": table.mean_error} | {figure: error for figure, error in counted.items() if error is not None}


def with_synthesis(found: HardwareComparison, networks: Mapping[str, Synthesis]) -> HardwareComparison:
    """A comparison of a run's own folding with what synthesis made of it; unchanged where that is another design.

    Args:
        found: whose networks at equal rate are folded as the run folds them.
        networks: "base" and "pruned"; of another family, or with primitives that the estimate does not count, they are
            left out.
    """
    side = found.rate
    known = {name: one for name, one in networks.items() if one.family == found.family}
    if isinstance(side, NotCompared) or any(one.estimated_by != Bnnflow.source for one in known.values()):
        return found
    return replace(found, rate=_synthesized(side, known, found.errors))


def _equal_rate(given: Mapping[str, Sized], target: Target, model: CostModel, mapped: Mapped) -> Compared:
    reached = f"at least {highest_rate(target.cycles, target.clock_mhz):,} images/s at {target.clock_mhz:g} MHz"
    side = _Side(
        f"rate: each at most {target.cycles:,} cycles an image ({reached})",
        target.cycles,
        None,
        None,
    )
    return _compared(side, given, target, model, mapped)


def _equal_resources(
    given: Mapping[str, Sized], target: Target, model: CostModel, why: str, alike: Compared, mapped: Mapped
) -> Compared | NotCompared:
    if not isinstance(model, Bnnflow):
        reason = why or f"{model.name} was asked for"
        return NotCompared(reason=f"the fastest folding is searched by {Bnnflow.name} alone: {reason}")
    part, taken = target.part, alike.base.estimated
    lut, rams = (part.lut, part.block_rams) if target.whole_part else (taken.lut, taken.bram18)
    found: dict[str, Sized] = {}
    for name in NETWORKS:
        best = _fastest(given[name], target, model, lut, rams)
        if best is None:
            which = "unpruned" if name == "base" else name
            return NotCompared(reason=f"no folding of the {which} network fits {lut:,} LUT and {rams:,} block RAMs")
        found[name] = best
    whose = part.name if target.whole_part else "the unpruned network at equal rate"
    side = _Side(f"resources: each at most {lut:,} LUT and {rams:,} block RAMs, those of {whose}", None, lut, rams)
    return _compared(side, found, target, model, mapped)


def _both(graphs: Mapping[str, Graph], target: Target) -> dict[str, Sized]:
    """Networks with the FIFOs that keep their rates: either both, or neither."""
    if not all(affordable(graph, target.words) for graph in graphs.values()):
        return {name: Sized(graph, {}, None) for name, graph in graphs.items()}
    return {name: _sized(graph, target.host) for name, graph in graphs.items()}


def _sized(graph: Graph, host: HardwareChoices) -> Sized:
    try:
        made, control, _ = controlled(graph, host)
        deep = rate(made, FIFO, {}, _IMAGES, control).restoring
        return Sized(graph, deep, timing_of(made, _IMAGES, FIFO, deep, control).interval)
    except Problem:
        # A unit that only FINN has is not simulated.
        return Sized(graph, {}, None)


def _fastest(given: Sized, target: Target, model: Bnnflow, lut: int, rams: int) -> Sized | None:
    """The fastest folding whose estimate, with the FIFOs that keep its rate, is within a budget; None: there is none.

    Args:
        given: as it is folded for the rate, which stays where nothing within the budget is faster.
    """

    def within(made: Sized) -> bool:
        cost = target.cost(made, model)
        return cost.lut + cost.lut_ram <= lut and cost.bram18 <= rams

    graph = given.graph
    present = _slowest(graph, model) if within(given) else inf
    for _, point in zip(range(_TRIED), fastest(Space(graph, model), lut, rams, target.part), strict=False):
        if point.cycles >= present:
            break
        folded = point.graph(graph)
        made = Sized(folded, {}, None) if given.interval is None else _sized(folded, target.host)
        if within(made):
            return made
    return given if isfinite(present) else None


def _slowest(graph: Graph, model: CostModel) -> int:
    """Cycles an image of the slowest unit."""
    return max(unit.cycles for unit in estimate(graph, model).units if unit.op not in BETWEEN)


@dataclass(frozen=True, slots=True)
class _Side:
    """What is equal: as of `Compared`."""

    equal: str
    cycles: int | None
    lut: int | None
    bram18: int | None


def _compared(side: _Side, given: Mapping[str, Sized], target: Target, model: CostModel, mapped: Mapped) -> Compared:
    ours = isinstance(model, Bnnflow)
    made: dict[str, Estimate] = {}
    networks: dict[str, FoldedNetwork] = {}
    for name in NETWORKS:
        interval = given[name].interval
        made[name] = cost = target.cost(given[name], model)
        slowest = _slowest(given[name].graph, model)
        networks[name] = FoldedNetwork(
            cycles=slowest,
            interval_cycles=interval,
            fps=target.clock_mhz * 1e6 / (slowest if interval is None else interval),
            estimated=Taken(
                level=ESTIMATED,
                source=model.source,
                lut=cost.lut + cost.lut_ram,
                lut_ram=cost.lut_ram,
                ff=sum(unit.counts["ff"] for unit in cost.units) if ours else None,
                bram18=cost.bram18,
                dsp=cost.dsp,
            ),
        )
    errors = stated_errors(model.table) if isinstance(model, Bnnflow) else {}
    found = Compared(
        equal=side.equal,
        cycles_asked=side.cycles,
        lut_allowed=side.lut,
        bram18_allowed=side.bram18,
        searched=isinstance(model, Bnnflow) and not all(Space(one.graph, model).is_chain for one in given.values()),
        base=networks["base"],
        pruned=networks["pruned"],
        changes=_changes(networks, errors),
        layers=_pairs(made, errors),
    )
    return _synthesized(found, mapped(given), errors)


def _fifos(model: CostModel, side: Compared) -> str:
    if not isinstance(model, Bnnflow):
        return "none: FINN's formulas count units alone"
    if side.base.interval_cycles is None:
        return (
            "of two words each in the estimate, for images are too many words to simulate beside it; what is "
            "synthesized has those that keep its rate"
        )
    return "of two words, and as deep as it takes to keep the rate"


def _changes(networks: Mapping[str, FoldedNetwork], errors: Mapping[str, float]) -> list[Change]:
    base, pruned = (networks[name] for name in NETWORKS)
    intervals = base.interval_cycles, pruned.interval_cycles
    cycles = (base.cycles, pruned.cycles) if None in intervals else intervals
    rows = [_change("cycles", EXACT, cycles[0] or 0, cycles[1] or 0, 0.0, 0.0)]
    for level in (ESTIMATED, SYNTHESIZED):
        one, two = (each.estimated if level == ESTIMATED else each.synthesized for each in (base, pruned))
        if one is None or two is None:
            continue
        for figure in ("lut", *_COUNTED):
            before, after = getattr(one, figure), getattr(two, figure)
            if before is None or after is None or not (before or after or figure in ("lut", "bram18")):
                continue
            # Cells of a netlist are counted.
            known = dict.fromkeys(("lut", *_COUNTED), 0.0) if level == SYNTHESIZED else errors
            off = [_off(figure, each.lut, each.lut_ram, getattr(each, figure), known) for each in (one, two)]
            rows.append(_change(figure, level, before, after, *off))
    return rows


def _off(figure: str, lut: int, lut_ram: int, amount: int, errors: Mapping[str, float]) -> float | None:
    """How far a figure may be off by the stated errors; None where none is stated."""
    if figure not in errors:
        return None
    if figure == "lut":
        return errors["lut"] * (lut - lut_ram) + errors.get("lut_ram", 0.0) * lut_ram
    return errors[figure] * amount


def _change(figure: str, level: str, base: int, pruned: int, off: float | None, other: float | None) -> Change:
    change = low = high = None
    if base:
        change = pruned / base - 1
        if off is not None and other is not None and off < base:
            low, high = (pruned - other) / (base + off) - 1, (pruned + other) / (base - off) - 1
    within = off is not None and other is not None and 0 < abs(pruned - base) <= off + other
    return Change(
        figure=figure, level=level, base=base, pruned=pruned, change=change, low=low, high=high, within_error=within
    )


def _pairs(made: Mapping[str, Estimate], errors: Mapping[str, float]) -> list[UnitPair]:
    """Units of both networks by name, and what stands between units of each together."""
    units = {name: _joined(made[name].units) for name in NETWORKS}
    pairs = []
    for name in dict.fromkeys([*units["base"], *units["pruned"]]):
        one, two = (units[network].get(name) for network in NETWORKS)
        lut = None
        if one is not None and two is not None:
            off = [_off("lut", each.lut + each.lut_ram, each.lut_ram, 0, errors) for each in (one, two)]
            lut = _change("lut", ESTIMATED, one.lut + one.lut_ram, two.lut + two.lut_ram, *off)
        op = (one or two or _NOTHING).op
        pairs.append(UnitPair(name=name, op=op, base=_unit(one), pruned=_unit(two), lut=lut))
    return pairs


_NOTHING = UnitCost(BETWEEN_UNITS, "FIFOs, converters", "", 0, 0, 0, 0, 0, 0)


def _joined(units: Sequence[UnitCost]) -> dict[str, UnitCost]:
    found = {unit.name: unit for unit in units if unit.op not in BETWEEN}
    between = [unit for unit in units if unit.op in BETWEEN]
    if between:
        found[BETWEEN_UNITS] = replace(
            _NOTHING,
            cycles=max(unit.cycles for unit in between),
            lut=sum(unit.lut for unit in between),
            bram18=sum(unit.bram18 for unit in between),
            counts={"lut_ram": sum(unit.lut_ram for unit in between)},
        )
    return found


def _unit(unit: UnitCost | None) -> UnitTaken | None:
    if unit is None:
        return None
    return UnitTaken(cycles=unit.cycles, pe=unit.pe, simd=unit.simd, lut=unit.lut + unit.lut_ram, bram18=unit.bram18)


def _synthesized(side: Compared, networks: Mapping[str, Synthesis], errors: Mapping[str, float]) -> Compared:
    """A comparison with the synthesis of its designs."""
    given = {"base": side.base, "pruned": side.pruned}
    for name, one in networks.items():
        cells = one.total
        taken = Taken(
            level=one.level,
            source=one.tool,
            lut=cells.lut + cells.lut_ram,
            lut_ram=cells.lut_ram,
            ff=cells.ff,
            bram18=cells.block_ram,
            dsp=cells.dsp,
        )
        given[name] = replace(given[name], synthesized=taken)
    layers = [
        replace(
            pair,
            base=_with_cells(pair.base, pair.name, networks.get("base"), side.layers),
            pruned=_with_cells(pair.pruned, pair.name, networks.get("pruned"), side.layers),
        )
        for pair in side.layers
    ]
    return replace(side, base=given["base"], pruned=given["pruned"], changes=_changes(given, errors), layers=layers)


def _with_cells(
    unit: UnitTaken | None, name: str, found: Synthesis | None, layers: Sequence[UnitPair]
) -> UnitTaken | None:
    if unit is None or found is None:
        return unit
    known = {pair.name for pair in layers}
    taken = [each for each in found.units if (each.name if each.name in known else BETWEEN_UNITS) == name]
    return replace(unit, synthesized_lut=sum(each.resources.lut + each.resources.lut_ram for each in taken))

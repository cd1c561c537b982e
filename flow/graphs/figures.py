"""Figures of folded graphs, as summaries and commands print them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from ...build.calibrated.clock import crowded
from ...build.cost import Estimate, Operations, UnitCost
from ...build.cost_models import CostModel
from ...build.cost_models.base import RESOURCES
from ...build.cost_models.bnnflow import Bnnflow
from ...build.energy import energy, energy_nj
from ...build.unrolled import unrolled
from ...transforms.ir.graph import Graph
from ..results.costs import (
    CostCounts,
    Counted,
    GraphFigures,
    LayerCost,
    LayerCounts,
    LayerFigures,
    NetworkCost,
    PredictedClock,
)
from ..run.typed_json import extended

CLOCK_SOURCE = "predicted, from placed and routed units"


def cost_counts(graph: Graph, made: Estimate, clock_mhz: float, kind: CostModel) -> CostCounts:
    """The estimate of a folded dataflow graph by a cost model.

    Args:
        graph: folded.
        made: its estimate by `kind`.
        clock_mhz: in MHz.
        kind: the model.
    """
    resources = [key for key in RESOURCES if key in kind.figures]
    others = [key for key in kind.figures if key not in {*RESOURCES, "weight_bits"}]
    finns = kind.figures == RESOURCES and kind.source == CostModel.source
    return extended(
        CostCounts,
        _figures(graph, made, clock_mhz),
        layers=[
            extended(LayerCounts, layer, counts=unit.counts, **_amounts(unit, resources))
            for unit, layer in _layers(graph, made)
        ],
        counted=None if finns else Counted(figures=kind.figures, source=kind.source),
        counts={key: sum(unit.counts[key] for unit in made.units) for key in others},
        clock=predicted_clock(made, kind),
        **_amounts(made, resources),
    )


def predicted_clock(made: Estimate, kind: CostModel) -> PredictedClock | None:
    """The clock that hardware could have; None where the cost model knows no paths, or not how long they take."""
    clock = kind.table.clock if isinstance(kind, Bnnflow) else None
    if clock is None:
        return None
    unit, period, path = made.slowest(clock)
    return PredictedClock(
        fmax_mhz=round(1000 / (period * crowded(made.lut)), 1),
        unit=unit.name,
        path=path,
        placed_on=clock.part,
        grade=clock.grade,
        mean_error=clock.mean_error,
        source=CLOCK_SOURCE,
    )


def network_cost(
    graph: Graph,
    made: Estimate,
    counts: Operations,
    clock_mhz: float,
    kind: CostModel,
    zeros: bool = False,
) -> NetworkCost:
    """The estimate of a network; LUTs that are memories count as LUTs.

    Args:
        graph: folded.
        made: its estimate by `kind`.
        counts: of its graph at the XNOR level.
        clock_mhz: in MHz.
        kind: the cost model.
        zeros: whether some weights are 0: unrolled hardware, which alone leaves them out, is estimated, too.
    """
    layers = unrolled(graph, kind) if zeros else ()
    return extended(
        NetworkCost,
        _figures(graph, made, clock_mhz),
        layers=[extended(LayerCost, layer, **_with_memories(unit)) for unit, layer in _layers(graph, made)],
        unrolled_lut=sum(cost.lut for cost in layers) if zeros else None,
        synapses=sum(cost.synapses for cost in layers) if zeros else None,
        **_with_memories(made),
        **asdict(counts),
    )


def _figures(graph: Graph, made: Estimate, clock_mhz: float) -> GraphFigures:
    """What every model says; energy is that of `build.energy` under all of them."""
    return GraphFigures(
        cycles=made.cycles,
        latency_cycles=made.latency_cycles,
        fps=made.fps(clock_mhz),
        latency_us=made.latency_us(clock_mhz),
        weight_bits=made.weight_bits,
        **energy_nj(energy(graph)),
    )


def _layers(graph: Graph, made: Estimate) -> list[tuple[UnitCost, LayerFigures]]:
    """The same of every unit, beside its estimate; what stands between units is given no energy of its own."""
    used = {each.name: each.total for each in energy(graph)}
    return [
        (
            unit,
            LayerFigures(
                name=unit.name,
                op=unit.op,
                shape=unit.shape,
                pe=unit.pe,
                simd=unit.simd,
                cycles=unit.cycles,
                weight_bits=unit.weight_bits,
                choices=unit.choices,
                energy_pj=used.get(unit.name, 0.0),
                bottleneck=unit is made.bottleneck,
            ),
        )
        for unit in made.units
    ]


def _amounts(of: Estimate | UnitCost, keys: Iterable[str]) -> dict[str, int]:
    return {key: getattr(of, key) for key in keys}


def _with_memories(of: Estimate | UnitCost) -> dict[str, int]:
    return _amounts(of, RESOURCES) | {"lut": of.lut + of.lut_ram}

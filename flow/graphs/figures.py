"""Figures of graphs as plain values, as summaries and commands print them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ...build.cost import estimate, operations
from ...build.cost_models import COST_MODELS, CostModel
from ...build.cost_models.base import RESOURCES
from ...build.energy import energy, energy_nj
from ...build.unrolled import unrolled
from ...transforms.ir.graph import Graph

Facts = dict[str, Any]


def network_operations(graph: Graph) -> Facts:
    """Weights, operations and neurons of a graph at the XNOR level."""
    return asdict(operations(graph))


def cost_facts(graph: Graph, clock_mhz: float, model: str = "exact") -> Facts:
    """The estimate of a folded dataflow graph as plain values; energy is that of `build.energy` under every model.

    "counted" says which figures a model gives that are not FINN's, and from where; without it they are resources of an
    FPGA by FINN's formulas. Resources that a model does not count are left out.
    """
    made, spent, kind = estimate(graph, model), energy(graph), COST_MODELS[model]
    unknown = {*RESOURCES, "counts"} - {*kind.figures}
    layers = [
        {key: value for key, value in asdict(unit).items() if key not in unknown}
        | dict(unit.counts)
        | {"energy_pj": used.total, "bottleneck": unit is made.bottleneck}
        for unit, used in zip(made.units, spent, strict=True)
    ]
    facts = {
        "cycles": made.cycles,
        "latency_cycles": made.latency_cycles,
        "fps": made.fps(clock_mhz),
        "latency_us": made.latency_us(clock_mhz),
        **{key: sum(layer[key] for layer in layers) for key in (*kind.figures, "weight_bits")},
        **energy_nj(spent),
        "layers": layers,
    }
    if kind.figures == RESOURCES and kind.source == CostModel.source:
        return facts
    return facts | {"counted": {"figures": dict(kind.figures), "source": kind.source}}


def unrolled_facts(graph: Graph) -> Facts:
    """Of a dataflow graph whose layers are fully unrolled: LUTs, and weights that are not 0 (`build.unrolled`)."""
    layers = unrolled(graph)
    return {"unrolled_lut": sum(cost.lut for cost in layers), "synapses": sum(cost.synapses for cost in layers)}

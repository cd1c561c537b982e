"""Figures of graphs as plain values, as summaries and commands print them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from ...build.cost import Model, estimate, operations
from ...build.energy import energy, energy_nj
from ...build.unrolled import unrolled
from ...transforms.ir.graph import Graph

Facts = dict[str, Any]


def network_operations(graph: Graph) -> Facts:
    """Weights, operations and neurons of a graph at the XNOR level."""
    return asdict(operations(graph))


def cost_facts(graph: Graph, clock_mhz: float, model: Model = "exact") -> Facts:
    """The estimate of a folded dataflow graph as plain values; energy is that of `build.energy` under either model."""
    made, spent = estimate(graph, model), energy(graph)
    layers = [
        asdict(unit) | {"energy_pj": used.total, "bottleneck": unit is made.bottleneck}
        for unit, used in zip(made.units, spent, strict=True)
    ]
    return {
        "cycles": made.cycles,
        "latency_cycles": made.latency_cycles,
        "fps": made.fps(clock_mhz),
        "latency_us": made.latency_us(clock_mhz),
        "lut": made.lut,
        "bram18": made.bram18,
        "uram": made.uram,
        "dsp": made.dsp,
        "weight_bits": made.weight_bits,
        **energy_nj(spent),
        "layers": layers,
    }


def unrolled_facts(graph: Graph) -> Facts:
    """Of a dataflow graph whose layers are fully unrolled: LUTs, and weights that are not 0 (`build.unrolled`)."""
    layers = unrolled(graph)
    return {"unrolled_lut": sum(cost.lut for cost in layers), "synapses": sum(cost.synapses for cost in layers)}

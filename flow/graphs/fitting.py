"""Whether hardware fits a part once its FIFOs are as deep as its rate asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from ...build.cost import Estimate, beyond, estimate
from ...build.cost_models import CostModel
from ...build.cost_models.bnnflow import Bnnflow
from ...build.parts import Part
from ...transforms.ir.graph import Graph
from .rates import affordable, rate

_DEPTH = 2
# FIFOs are simulated where two words each leave less than this share of a resource to them.
_CLOSE = 0.5


def with_fifos(graph: Graph, model: CostModel) -> Estimate:
    """The cost of a folded graph whose FIFOs keep the rate of unbounded ones; of two words where that takes long."""
    deep = rate(graph, _DEPTH, {}).restoring if affordable(graph) else {}
    return estimate(graph, model, _DEPTH, deep)


def too_much_for(part: Part) -> Callable[[Graph, CostModel], str]:
    """What says what a folded graph takes more of than a part has, FIFOs included; empty where it fits."""

    def too_much(graph: Graph, model: CostModel) -> str:
        least = estimate(graph, model)
        if not isinstance(model, Bnnflow) or not beyond(least, _share(part), model):
            return beyond(least, part, model)
        return beyond(with_fifos(graph, model), part, model)

    return too_much


def _share(part: Part) -> Part:
    return replace(
        part,
        lut=int(_CLOSE * part.lut),
        ff=int(_CLOSE * part.ff),
        block_rams=int(_CLOSE * part.block_rams),
        uram=int(_CLOSE * part.uram),
        dsp=int(_CLOSE * part.dsp),
    )

"""Whether hardware fits a part once its FIFOs are as deep as its rate asks for."""

from __future__ import annotations

from dataclasses import replace

from ...build.cost import Estimate, beyond, estimate
from ...build.cost_models.bnnflow import Bnnflow
from ...build.parts import Part
from ...build.rate_folding import as_designed
from ...transforms.ir.graph import Graph
from .rates import FIFO, affordable, rate

# FIFOs are simulated where two words each leave less than this share of a resource to them.
_CLOSE = 0.5


def with_fifos(graph: Graph, model: Bnnflow) -> Estimate:
    """The cost of a folded graph whose FIFOs keep the rate of unbounded ones; of two words where that takes long."""
    deep = rate(graph, FIFO, {}).restoring if affordable(graph) else {}
    return estimate(graph, model, FIFO, deep)


def too_much(graph: Graph, part: Part, model: Bnnflow) -> str:
    """What a folded graph takes more of than a part has, for people, FIFOs included; empty where it fits."""
    if over := as_designed(graph, part, model):
        return over
    if not as_designed(graph, _share(part), model):
        return ""
    over = beyond(with_fifos(graph, model), part, model)
    return f"{over} with the FIFOs that keep the rate" if over else ""


def _share(part: Part) -> Part:
    return replace(
        part,
        lut=int(_CLOSE * part.lut),
        ff=int(_CLOSE * part.ff),
        block_rams=int(_CLOSE * part.block_rams),
        uram=int(_CLOSE * part.uram),
        dsp=int(_CLOSE * part.dsp),
    )

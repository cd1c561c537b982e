"""From a network as read to dataflow units: the stages, and what each has in common with the one before."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_args

from bnnflow import Problem

from ..ir.graph import Graph
from ..ir.levels import holds, require
from ..ir.ops import AddBorder, Mvau, Op, Threshold, Unit, XnorConv, XnorDense
from . import rewrite as passes
from .accept import AcceptInput, check_first_layer, check_levels
from .lower import FlattenEarly, Lower
from .pool import PoolAfterThreshold
from .raised import Raise
from .reduce import Reduce
from .rewrite import Equivalence, FloatTies, Observer, Origins, Pass, Rewritten
from .streamline import Streamline
from .xnor import XnorPopcount

STAGES: tuple[tuple[str, tuple[Pass, ...]], ...] = (
    ("integer", (Streamline(), PoolAfterThreshold(), Reduce())),
    ("xnor", (XnorPopcount(),)),
    ("dataflow", (FlattenEarly(), Lower())),
)


# As finn-plus 1.6 compiles: the image's quantizer stays a unit, in front of the flattening, and pools read windows.
FINN_PLUS_STAGES: tuple[tuple[str, tuple[Pass, ...]], ...] = (
    ("integer", (Streamline(keep_quantizers=True), PoolAfterThreshold(), Reduce())),
    ("xnor", (XnorPopcount(),)),
    ("dataflow", (Lower(windowed_pools=True),)),
)

LEVEL_NAMES = ("network", *(level for level, _ in STAGES))
_UNITS: tuple[type[Op], ...] = tuple(set(get_args(Unit)) - {AddBorder})


@dataclass(frozen=True, slots=True)
class Stage:
    """One level of the compilation.

    Attributes:
        level: "network", "integer", "xnor" or "dataflow".
        graph: the network at this level.
        equivalences: how its tensors equal those of the level before; empty for the first.
        notes: remarks of the reader and the passes, for people.
        float_ties: where float32 may round to the other side of a threshold, in tensors of the level before.
        origins: of which nodes of the level before its nodes were made; empty for the first.
    """

    level: str
    graph: Graph
    equivalences: tuple[Equivalence, ...]
    notes: tuple[str, ...]
    float_ties: tuple[FloatTies, ...] = ()
    origins: Origins = field(default_factory=dict)


def level_of(graph: Graph) -> str:
    """The level that a graph is at: that of its lowest operations where all others may stand there too, else network.

    A graph of several levels, such as thresholds behind an unstreamlined layer, is compiled from the network level.
    """
    kinds = {type(node.op) for node in graph.nodes}
    lowest = "integer" if Threshold in kinds else "network"
    if kinds & {XnorConv, XnorDense}:
        lowest = "xnor"
    if kinds & set(_UNITS):
        lowest = "dataflow"
    return lowest if lowest == "network" or holds(graph, lowest) else "network"


def is_mixed(graph: Graph) -> bool:
    """Whether a graph of the network level holds operations of a later one."""
    later = (Threshold, XnorConv, XnorDense, AddBorder, *_UNITS)
    return level_of(graph) == "network" and any(isinstance(node.op, later) for node in graph.nodes)


def stages(
    graph: Graph, observe: Observer | None = None, finn_plus: bool = False, keep_shape: bool = False
) -> tuple[Stage, ...]:
    """Compile a graph from the level that it is at to dataflow; the first result is the graph itself on integers.

    Args:
        graph: a network of layers with integer weights, without loops.
        observe: called after every pass.
        finn_plus: compile to the units that finn-plus makes and has, where ours or those of FINN 0.10 are others.
        keep_shape: keep all channels, also those that are constant, repeated or never read, as FINN does.

    Raises:
        Problem: something cannot be compiled exactly; it names the operation. What the input holds is not known, or
            cannot be meant, since it would leave the first quantizer or layer without use.
    """
    level = level_of(graph)
    accepted = AcceptInput()(graph).graph
    check_levels(accepted)
    made = [Stage(level, accepted, (), graph.notes)]
    if level == "dataflow":
        require(graph, level)

    def watch(step: Pass, before: Graph, result: Rewritten) -> None:
        if isinstance(step, Streamline):
            # Before constant channels are left out.
            check_first_layer(result.graph)
        if observe is not None:
            observe(step, before, result)

    for name, steps in (FINN_PLUS_STAGES if finn_plus else STAGES)[LEVEL_NAMES.index(level) :]:
        first: tuple[Pass, ...] = (Raise(),) if name == "integer" and is_mixed(graph) else ()
        kept = tuple(step for step in steps if not (keep_shape and isinstance(step, Reduce)))
        result = passes.run_passes((*first, *kept), made[-1].graph, watch)
        require(result.graph, name)
        made.append(Stage(name, result.graph, result.equivalences, result.notes, result.float_ties, result.origins))
    if not any(isinstance(node.op, Mvau) for node in made[-1].graph.nodes):
        raise Problem("this network has no layers with weights", f"graph {graph.name!r}", "check the file")
    return tuple(made)

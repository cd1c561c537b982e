"""From a network as read to dataflow units: the stages, and what each has in common with the one before."""

from __future__ import annotations

from dataclasses import dataclass

from bnnflow import Problem

from . import passes
from .graph import (
    Affine,
    Conv,
    Dense,
    Graph,
    MaxPool,
    Mvau,
    Quantize,
    Sign,
    SlidingWindow,
    StreamingMaxPool,
    Threshold,
    Thresholding,
    XnorConv,
    XnorDense,
)
from .levels import require
from .lower import FlattenEarly, Lower
from .passes import Doubt, Match, Pass
from .pool import PoolAfterThreshold
from .streamline import AssumeImage, Streamline
from .xnor import XnorPopcount

STAGES: tuple[tuple[str, tuple[Pass, ...]], ...] = (
    ("integer", (Streamline(), PoolAfterThreshold())),
    ("xnor", (XnorPopcount(),)),
    ("dataflow", (FlattenEarly(), Lower())),
)


LEVEL_NAMES = ("network", *(level for level, _ in STAGES))


@dataclass(frozen=True, slots=True)
class Stage:
    """One level of the compilation.

    Attributes:
        level: "network", "integer", "xnor" or "dataflow".
        graph: the network at this level.
        matches: how its tensors equal those of the level before; empty for the first.
        notes: remarks of the passes, for people.
        doubts: where float32 programs may differ, in tensors of the level before.
    """

    level: str
    graph: Graph
    matches: tuple[Match, ...]
    notes: tuple[str, ...]
    doubts: tuple[Doubt, ...] = ()


def level_of(graph: Graph) -> str:
    """The level that a graph is at, by the operations it holds."""
    kinds = {type(node.op) for node in graph.nodes}
    if kinds & {Mvau, Thresholding, SlidingWindow, StreamingMaxPool}:
        return "dataflow"
    if kinds & {XnorConv, XnorDense}:
        return "xnor"
    return "integer" if Threshold in kinds else "network"


def destinations(network: Graph, dataflow: Graph) -> dict[str, str]:
    """Where each operation of a network ends in hardware: node name to a phrase such as "thresholds of conv0".

    Args:
        network: the network level.
        dataflow: what it was compiled to.
    """
    layers = [node.name for node in dataflow.nodes if isinstance(node.op, Mvau)]
    pools = [node.name for node in dataflow.nodes if isinstance(node.op, StreamingMaxPool)]
    inputs = [node.name for node in dataflow.nodes if isinstance(node.op, Thresholding)]
    found, behind = {}, len(layers)
    signed = False
    # From the back: a scale belongs to the thresholds of the sign that follows it.
    for node in reversed(network.nodes):
        match node.op:
            case Conv() | Dense():
                behind, signed = behind - 1, False
                found[node.name] = f"MVAU {layers[behind]}"
            case MaxPool():
                found[node.name] = f"StreamingMaxPool {pools.pop()}"
            case Sign() | Affine() | Quantize():
                signed = signed or isinstance(node.op, Sign)
                if behind == 0:
                    place = inputs[0] if signed and inputs else layers[0]
                    found[node.name] = f"thresholds of {place}"
                elif signed:
                    found[node.name] = f"thresholds of {layers[behind - 1]}"
                else:
                    found[node.name] = "class scores, on the host"
            case _:
                found[node.name] = "the order of the data"
    return found


def stages(graph: Graph, pixel_divisor: float = 255.0) -> tuple[Stage, ...]:
    """Compile a graph from the level that it is at to dataflow; the first result is the graph itself.

    Args:
        graph: a network without branches, of binary layers.
        pixel_divisor: what 8-bit pixels are divided by where the graph's input is float.

    Raises:
        Problem: something cannot be compiled exactly; it names the operation.
    """
    level = level_of(graph)
    assumed = AssumeImage(pixel_divisor)(graph)
    made = [Stage(level, assumed.graph, (), assumed.notes)]
    for name, steps in STAGES[LEVEL_NAMES.index(level) :]:
        result = passes.run(steps, made[-1].graph)
        require(result.graph, name)
        made.append(Stage(name, result.graph, result.matches, result.notes, result.doubts))
    if not any(isinstance(node.op, Mvau) for node in made[-1].graph.nodes):
        raise Problem("this network has no layers with weights", f"graph {graph.name!r}", "check the file")
    return tuple(made)

"""Where each operation of a network ends in hardware, by what the passes say their units were made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..ir.graph import Graph, Node
from ..ir.ops import (
    Add,
    AddStreams,
    Affine,
    Best,
    Bias,
    ChannelsLast,
    Concat,
    Conv,
    Dense,
    DuplicateStreams,
    Flatten,
    FMPadding,
    GlobalAccPool,
    LabelSelect,
    MaxPool,
    Mvau,
    Op,
    Pad,
    PiecewiseLinear,
    Pool,
    Quantize,
    Sign,
    Stairs,
    StreamingConcat,
    StreamingMaxPool,
    SumPool,
    Threshold,
    Thresholding,
    Unit,
    XnorConv,
    XnorDense,
)
from .rewrite import Origins, compose_origins

Kinds = tuple[type[Op], ...]

# The unit that does what an operation does, apart from what moves its data.
_UNITS: tuple[tuple[Kinds, Kinds], ...] = (
    ((Conv, Dense, XnorConv, XnorDense, Mvau), (Mvau,)),
    ((Add,), (AddStreams,)),
    ((Concat,), (StreamingConcat,)),
    ((Best,), (LabelSelect,)),
    ((MaxPool, SumPool), (StreamingMaxPool, GlobalAccPool, Pool)),
    ((Pad,), (FMPadding,)),
)
_QUANTIZERS = (Quantize, Sign, Stairs, Threshold, Thresholding)
_HOST = "class scores, on the host"
_ORDER = "the order of the data"


def destinations(network: Graph, dataflow: Graph, steps: Sequence[Origins]) -> dict[str, str]:
    """Where each operation of a network ends in hardware: node name to a phrase such as "thresholds of MVAU conv0".

    Args:
        network: the network level.
        dataflow: what it was compiled to.
        steps: the origins of every step between the two, in order.
    """
    origins: Origins = {node.name: (node.name,) for node in network.nodes}
    for step in steps:
        origins = compose_origins(origins, step)
    units: dict[str, list[Node]] = {}
    for unit in dataflow.nodes:
        for name in origins.get(unit.name, ()):
            units.setdefault(name, []).append(unit)
    found: dict[str, str] = {}
    for node in network.nodes:
        wanted = next((new for old, new in _UNITS if isinstance(node.op, old)), ())
        own = _last(units.get(node.name, []), wanted)
        if own is not None:
            found[node.name] = _name(own)
        elif isinstance(node.op, ChannelsLast | Flatten) or wanted:
            found[node.name] = _HOST if isinstance(node.op, Best) else _ORDER
        elif isinstance(node.op, Unit):
            found[node.name] = ", ".join(map(_name, _kept(units.get(node.name, [])))) or _ORDER
    for node in reversed(network.nodes):
        if node.name not in found:
            found[node.name] = _thresholds(network, node, units, found)
    return found


def _kept(made: Sequence[Node]) -> list[Node]:
    return [node for node in made if isinstance(node.op, Unit) and not isinstance(node.op, DuplicateStreams)]


def _last(made: Sequence[Node], kinds: Kinds) -> Node | None:
    return next((node for node in reversed(made) if isinstance(node.op, kinds)), None) if kinds else None


def _name(node: Node) -> str:
    return f"{type(node.op).__name__.replace('Mvau', 'MVAU')} {node.name}"


def _thresholds(network: Graph, node: Node, units: Mapping[str, list[Node]], found: Mapping[str, str]) -> str:
    """What becomes of a scale, a ReLU or a quantizer: it decides thresholds, or the class scores.

    What stands behind is known already.
    """
    own = _kept(units.get(node.name, []))
    thresholds = _last(own, (Thresholding, Mvau))
    if isinstance(node.op, _QUANTIZERS) and thresholds is not None:
        return f"thresholds of {_name(thresholds)}"
    if own:
        return ", ".join(map(_name, own))
    readers = network.readers(node.name)
    if not readers:
        return _HOST
    if isinstance(node.op, _QUANTIZERS) or not isinstance(node.op, Affine | Bias | PiecewiseLinear):
        # Every level is the integer in front of it.
        return _ORDER
    following = readers[0]
    while following.name in found and isinstance(following.op, (*(k for old, _ in _UNITS for k in old), Flatten)):
        # A scale goes through layers, pools and joins to the quantizer behind them.
        behind = network.readers(following.name)
        if not behind:
            return _HOST
        following = behind[0]
    return found[following.name]

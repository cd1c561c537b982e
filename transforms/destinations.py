"""Where each operation of a network ends in hardware."""

from __future__ import annotations

from .graph import Graph, Node
from .ops import (
    Add,
    AddStreams,
    Affine,
    Best,
    Clip,
    Concat,
    Conv,
    Dense,
    FMPadding,
    GlobalAccPool,
    LabelSelect,
    MaxPool,
    Mvau,
    Op,
    Pad,
    Pool,
    Quantize,
    Sign,
    Stairs,
    StreamingConcat,
    StreamingMaxPool,
    SumPool,
    Thresholding,
)

# Operations that become one unit each, in the same order.
_UNITS: tuple[tuple[type[Op] | tuple[type[Op], ...], type[Op] | tuple[type[Op], ...]], ...] = (
    ((Conv, Dense), Mvau),
    (Add, AddStreams),
    (Concat, StreamingConcat),
    (Best, LabelSelect),
)


def destinations(network: Graph, dataflow: Graph) -> dict[str, str]:
    """Where each operation of a network ends in hardware: node name to a phrase such as "thresholds of MVAU conv0".

    Args:
        network: the network level.
        dataflow: what it was compiled to.
    """
    found: dict[str, str] = {}
    for old, new in _UNITS:
        units = [node for node in dataflow.nodes if isinstance(node.op, new)]
        for node in network.nodes:
            if isinstance(node.op, old):
                found[node.name] = _unit(units.pop(0)) if units else "class scores, on the host"
    pools = [n for n in dataflow.nodes if isinstance(n.op, StreamingMaxPool | GlobalAccPool | Pool)]
    pads = [n for n in dataflow.nodes if isinstance(n.op, FMPadding) and not n.name.endswith("_padded")]
    alone = [n for n in dataflow.nodes if isinstance(n.op, Thresholding)]
    for node in network.nodes:
        match node.op:
            case MaxPool() | SumPool() if pools:
                total = isinstance(node.op, SumPool)
                unit = next(
                    p for p in pools if isinstance(p.op, GlobalAccPool) or getattr(p.op, "total", False) == total
                )
                pools.remove(unit)
                found[node.name] = _unit(unit)
            case Pad() if pads:
                found[node.name] = _unit(pads.pop(0))
            case Affine() | Clip() | Quantize() | Sign() | Stairs():
                found[node.name] = _thresholds(network, node, found, alone)
            case _:
                found.setdefault(node.name, "the order of the data")
    return found


def _unit(node: Node) -> str:
    return f"{type(node.op).__name__.replace('Mvau', 'MVAU')} {node.name}"


def _thresholds(network: Graph, node: Node, found: dict[str, str], alone: list[Node]) -> str:
    """What becomes of a scale, a ReLU or a quantizer: it decides thresholds, or the class scores."""
    ahead: Node | None = node
    while ahead is not None and not isinstance(ahead.op, Quantize | Sign | Stairs):
        readers = network.readers(ahead.name)
        if isinstance(ahead.op, Conv | Dense) or not readers:
            return found.get(ahead.name, "") if readers else "class scores, on the host"
        ahead = readers[0]
    behind = network.node(node.input) if node.input != network.input else None
    while behind is not None and not isinstance(behind.op, Conv | Dense | Add | Concat | SumPool):
        behind = network.node(behind.input) if behind.input != network.input else None
    if behind is not None and isinstance(behind.op, Conv | Dense):
        return f"thresholds of {found[behind.name]}"
    if behind is not None:
        return f"thresholds behind {found[behind.name]}"
    if alone:
        return f"thresholds of {_unit(alone[0])}"
    first = next((n for n in network.nodes if isinstance(n.op, Conv | Dense)), None)
    return f"thresholds of {found[first.name]}" if first else "the input"

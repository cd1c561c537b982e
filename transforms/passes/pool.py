"""Max pooling on bits instead of sums."""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.graph import Graph, Node
from ..ir.ops import MaxPool, Threshold
from .rewrite import Rewrite, Rewritten


@dataclass(frozen=True, slots=True)
class PoolAfterThreshold:
    """Swap a max pool with the threshold behind it, so that it pools bits (an OR in hardware).

    Needs: nothing. Removes: a max pool that stands right in front of a threshold and is read by nothing else.
    Exact: a threshold never falls as its input rises, so it commutes with the maximum.
    """

    name: str = "pool-after-threshold"

    def __call__(self, graph: Graph) -> Rewritten:
        """The rewritten graph; `Problem` names what cannot be rewritten exactly."""
        rewrite = Rewrite(graph)
        now = {graph.input: graph.input}
        waiting: dict[str, Node] = {}
        for node in graph.nodes:
            rewrite.of(node)
            reader = graph.sole_reader(node.name)
            if isinstance(node.op, MaxPool) and reader is not None and isinstance(reader.op, Threshold):
                waiting[node.name] = node
                continue
            if node.input in waiting:
                pool = waiting[node.input]
                inner = rewrite.emit(node.name, node.op, now[pool.input])
                rewrite.of(pool)
                now[node.name] = rewrite.emit(pool.name, pool.op, inner)
            else:
                now[node.name] = rewrite.emit(node.name, node.op, *(now[name] for name in node.inputs))
            rewrite.equate(node.name, now[node.name])
        return rewrite.done(now[graph.output])

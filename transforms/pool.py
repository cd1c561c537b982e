"""Max pooling on bits instead of sums."""

from __future__ import annotations

from dataclasses import dataclass

from .graph import Graph, MaxPool, Threshold
from .passes import Rewrite, Rewritten, reader_op


@dataclass(frozen=True, slots=True)
class PoolAfterThreshold:
    """Swap a max pool with the threshold behind it, so that it pools bits (an OR in hardware).

    Needs: nothing. Removes: a max pool that stands right in front of a threshold. Exact: a threshold never falls as its
    input rises, so it commutes with the maximum.
    """

    name: str = "pool-after-threshold"

    def __call__(self, graph: Graph) -> Rewritten:
        """The rewritten graph; `Problem` names what cannot be rewritten exactly."""
        rewrite = Rewrite(graph)
        now = {graph.input: graph.input}
        waiting: dict[str, str] = {}
        for node in rewrite.walk():
            source = now.get(node.input, "")
            if isinstance(node.op, MaxPool) and isinstance(reader_op(graph, node.name), Threshold):
                waiting[node.name] = node.input
                continue
            if node.input in waiting:
                pool = graph.node(node.input)
                now[node.name] = rewrite.emit(node.name, node.op, now[waiting[node.input]])
                now[node.name] = rewrite.emit(pool.name, pool.op, node.name)
            else:
                now[node.name] = rewrite.emit(node.name, node.op, source)
            rewrite.match(node.name, now[node.name])
        return rewrite.done(now[graph.output])

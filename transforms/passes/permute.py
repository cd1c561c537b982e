"""Another order of channels: which of them a PE computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..ir.graph import Graph
from ..ir.tensor import Array
from ..unit_channels import UnitChannels, reordered
from .rewrite import Rewrite, Rewritten


@dataclass(frozen=True, slots=True)
class PermuteChannels:
    """Let units compute their channels in another order, and every reader read them in it.

    Needs: the dataflow level. PE p of a unit computes channels p, p + PE, p + 2 PE, ...; so the order says which lie on
    which PE. Rows of the unit's weights and thresholds move, columns of those that read them, and everything between;
    units whose results are added to it are ordered alike. Exact: sums of the same integers in another order. Folding,
    choices, widths and cycles stay.

    Attributes:
        orders: for each unit, which old channel each new one is.
    """

    orders: Mapping[str, Sequence[int] | Array]
    name: str = "permute"

    def __call__(self, graph: Graph) -> Rewritten:
        """The graph with old[..., order] == new in every tensor; nothing is new but the order.

        Raises:
            Problem: as for `UnitChannels.orders`.
        """
        orders = UnitChannels.of(graph).orders(self.orders)
        nodes = tuple(
            replace(node, op=reordered(node.op, orders[node.name], orders[node.input])) for node in graph.nodes
        )
        rewrite = Rewrite(graph)
        for tensor, order in orders.items():
            rewrite.equate(tensor, tensor, kept=None if _is_kept(order) else order)
        made = graph.with_nodes(nodes)
        moved = [name for name in self.orders if not _is_kept(orders[name])]
        notes = (f"channels in another order: {', '.join(moved)}",) if moved else ()
        return Rewritten(
            made, tuple(rewrite.equivalences.values()), notes, origins={node.name: (node.name,) for node in graph.nodes}
        )


def _is_kept(order: Array) -> bool:
    return np.array_equal(order, np.arange(len(order)))

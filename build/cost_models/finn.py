"""FINN's own figures."""

from __future__ import annotations

from collections.abc import Mapping

from ...transforms.ir.graph import Graph
from ...transforms.ir.ops import Mvau, Unit
from ...transforms.ir.tensor import TensorType
from ..finn_formulas import FinnCost, accumulator_type
from ..finn_types import finn_types
from ..finn_units import finn_cost
from .base import COST_MODELS, CostModel, Widths, type_range


@COST_MODELS.add
class Finn(CostModel):
    """FINN's figures digit for digit, with its data types and accumulator widths."""

    name = "finn"

    def types(self, graph: Graph) -> Mapping[str, TensorType]:
        """Whole data types, as FINN states them."""
        return finn_types(graph)

    def sum_bits(self, op: Mvau, x: TensorType, last: bool) -> int:
        """Of the type that FINN's bit-width minimization takes."""
        return accumulator_type(op.weight, *type_range(x), op.xnor, last and not op.has_bounds).bits

    def cost(self, op: Unit, x: TensorType, width: Widths, made: TensorType | None) -> FinnCost:
        """As FINN prints it."""
        return finn_cost(op, x, width.weights, width.sums, width.bounds, made)

"""FINN's formulas where they are right, mended where they leave out or count twice what the hardware has."""

from __future__ import annotations

from dataclasses import replace
from math import ceil

from ...transforms.ir.infer import accumulator
from ...transforms.ir.ops import AddBorder, AddStreams, Mvau, Unit
from ...transforms.ir.tensor import TensorType
from ..finn_formulas import FinnCost
from ..finn_units import finn_cost
from .base import COST_MODELS, CostModel, Widths


@COST_MODELS.add
class Exact(CostModel):
    """FINN's formulas with accumulators that hold every sum, the adders of joins, and UltraRAM only where asked for."""

    name = "exact"

    def sum_bits(self, op: Mvau, x: TensorType, last: bool) -> int:
        """The least that hold every sum."""
        return accumulator(op, x).bits

    def cost(self, op: Unit, x: TensorType, width: Widths, made: TensorType | None) -> FinnCost:
        """FINN's, with what it leaves out."""
        cost = finn_cost(op, x, width.weights, width.sums, width.bounds, made, literal=False)
        if isinstance(op, Mvau) and op.mem_mode == "internal_embedded":
            # FINN counts deep embedded weights in both kinds of memory.
            return replace(cost, uram=0)
        return cost if made is None else replace(cost, lut=cost.lut + _adder_lut(op, made))


def _adder_lut(op: Unit, made: TensorType) -> int:
    """One LUT a bit of sum, and the border's values in LUTs used as memories of 64 bits."""
    if isinstance(op, AddStreams):
        return op.pe * made.bits
    if isinstance(op, AddBorder):
        rows, columns, channels = op.values.shape
        bits = TensorType((), min(0, int(op.values.min())), int(op.values.max())).bits
        return op.pe * made.bits + op.pe * bits * ceil(rows * columns * channels / op.pe / 64)
    return 0

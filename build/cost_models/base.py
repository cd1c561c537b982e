"""What a cost model must say of one dataflow unit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ...transforms.entries import Registry
from ...transforms.ir.graph import Graph
from ...transforms.ir.ops import Mvau, Thresholding, Unit
from ...transforms.ir.tensor import TensorType
from .. import finn_formulas
from ..finn_formulas import FinnCost
from ..rtl.modules import Products

RESOURCES: Mapping[str, str] = {"lut": "LUT", "bram18": "BRAM18", "uram": "UltraRAM", "dsp": "DSP slices"}


@dataclass(frozen=True, slots=True)
class Widths:
    """Bits of what a unit stores and computes: weights, sums, bounds; of our hardware what follows from weights."""

    weights: int = 0
    sums: int = 0
    bounds: int = 0
    products: Products | None = None


class CostModel(ABC):
    """How the figures of dataflow units are counted.

    Attributes:
        name: on the command line.
        figures: what it counts beside cycles, with a heading: `RESOURCES` of an FPGA, else keys of `counts`.
        source: whose formulas they are.
    """

    name: ClassVar[str]
    figures: ClassVar[Mapping[str, str]] = RESOURCES
    source: ClassVar[str] = "FINN's formulas"

    def types(self, graph: Graph) -> Mapping[str, TensorType]:
        """The type that each tensor is taken to have."""
        return graph.types

    def widths(self, op: Unit, x: TensorType, last: bool = False) -> Widths:
        """The widths that a unit's cost follows from; they do not depend on its folding.

        Args:
            op: the unit.
            x: type of the tensor that it reads.
            last: no unit follows.
        """
        if isinstance(op, Mvau):
            # FINN's bit-width minimization makes INT2 of -1 and +1 wherever the inputs are not bits.
            bits = 1 if op.xnor else finn_formulas.minimized_weight_type(op.weight).bits
            return Widths(bits, self.sum_bits(op, x, last))
        if isinstance(op, Thresholding):
            return Widths(bounds=finn_formulas.minimized_bound_type(op.bounds, *type_range(x)).bits)
        return Widths()

    @abstractmethod
    def sum_bits(self, op: Mvau, x: TensorType, last: bool) -> int:
        """Bits of an MVAU's accumulator."""

    @abstractmethod
    def cost(self, op: Unit, x: TensorType, width: Widths, made: TensorType | None) -> FinnCost:
        """Cycles an image, and the resources of an FPGA where it counts them.

        Args:
            op: the unit.
            x: type of the (first) tensor that it reads.
            width: from `widths`.
            made: type of what it makes; only needed for joins.
        """

    def counts(self, op: Unit, x: TensorType, width: Widths) -> Mapping[str, int]:
        """What it counts beside resources, by key of `figures`."""
        return {}


COST_MODELS: Registry[CostModel] = Registry()


def type_range(x: TensorType) -> tuple[int, int]:
    """Least and greatest value of FINN's data type of a tensor."""
    if x.is_bipolar:
        return -1, 1
    low, _ = x.range
    return (0, 2**x.bits - 1) if low >= 0 else (-(2 ** (x.bits - 1)), 2 ** (x.bits - 1) - 1)

"""What our own hardware takes: the modules of `build/rtl/library`, as open synthesis maps them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from math import prod
from typing import ClassVar

from ...transforms.ir.choices import choices_of
from ...transforms.ir.graph import Graph, Node
from ...transforms.ir.ops import (
    FMPadding,
    GlobalAccPool,
    LabelSelect,
    Mvau,
    Pool,
    SlidingWindow,
    StreamingMaxPool,
    Unit,
)
from ...transforms.ir.tensor import TensorType
from ...transforms.streams import Converter, Stream, Streams
from ..calibrated.clock import sizes_of
from ..calibrated.counts import converter, counted, entrance
from ..calibrated.guarded import registers
from ..calibrated.pieces import Pieces
from ..calibrated.table import Table
from ..finn_formulas import FinnCost
from ..rtl.control import Control
from ..rtl.modules import Module, Products, module_of
from .base import COST_MODELS, Widths
from .exact import Exact

# FINN's choices of a unit that our hardware has not: where they are stated, they change nothing of it.
_UNHEEDED = ("mem_mode", "res_type", "depth_trigger_bram", "depth_trigger_uram", "uniform_thres")


def unheeded(graph: Graph) -> str:
    """FINN's choices that a folding states and our own hardware has not, such as "resType dsp of dense0"."""
    made = []
    for node in graph.nodes:
        usual = {each.name: each.default for each in fields(node.op)}
        for choice in choices_of(node.op):
            value = getattr(node.op, choice.field)
            if choice.field in _UNHEEDED and value != usual[choice.field]:
                made.append(f"{choice.attribute} {value} of {node.name}")
    return ", ".join(made)


@COST_MODELS.add
class Bnnflow(Exact):
    """Our own hardware with its FIFOs and converters, by a model that is fitted to open synthesis."""

    name = "bnnflow"
    figures: ClassVar[Mapping[str, str]] = {
        "lut": "logic LUT",
        "lut_ram": "LUT RAM",
        "ff": "FF",
        "bram18": "BRAM18",
        "dsp": "DSP slices",
    }
    source = "estimated, our own hardware, fitted to synthesis"

    def __init__(self, table: Table, *, contents: bool = True) -> None:
        """By a calibration.

        Args:
            table: of the part's family.
            contents: leave out bits of thresholds that are the same in all words, as synthesis does; False: sizes
                alone are counted.
        """
        self.table = table
        self.contents = contents

    def of_sizes(self) -> Bnnflow:
        """The model by the same calibration that counts sizes alone."""
        return Bnnflow(self.table, contents=False)

    def widths(self, op: Unit, x: TensorType, last: bool = False) -> Widths:
        """What follows from an MVAU's weights; nothing of other units."""
        return Widths(products=Products.of(op, x)) if isinstance(op, Mvau) else Widths()

    def cost(self, op: Unit, x: TensorType, width: Widths, made: TensorType | None) -> FinnCost:
        """Of a unit with one FIFO behind it; both inputs of a join are of the type `x`."""
        made = x if made is None else made
        return self.unit(Node("unit", op, ("x",)), {"x": x, "unit": made}, width)

    def unit(
        self, node: Node, types: Mapping[str, TensorType], width: Widths, depths: Sequence[int] = (2,)
    ) -> FinnCost:
        """Of the unit, its memories, and the FIFOs behind it.

        Raises:
            Problem: it has no hardware here.
        """
        return self.of_module(node, module_of(node, types, Control(), width.products), types, depths)

    def of_module(
        self,
        node: Node,
        module: Module,
        types: Mapping[str, TensorType],
        depths: Sequence[int],
        image_bits: int = 0,
        *,
        scrub: bool = False,
    ) -> FinnCost:
        """Of a unit that is such a module; `image_bits` and `scrub` as of `counted`."""
        assert isinstance(node.op, Unit)
        made = counted(module, depths, self.table.family, contents=self.contents, image_bits=image_bits, scrub=scrub)
        return self._cost(made, image_cycles(node.op, types[node.input], types[node.name]))

    def registers(self, streams: Streams, modules: Mapping[str, Module], depths: Mapping[str, int]) -> FinnCost:
        """Of the registers that a host talks to; arguments as of `guarded.registers`."""
        return self._cost(registers(streams, modules, depths, self.table.family), 0)

    def entrance(self, stream: Stream, depth: int) -> FinnCost:
        """Of the FIFO at the input."""
        return self._taken(entrance(stream), [depth], stream.words)

    def converter(self, part: Converter, depth: int) -> FinnCost:
        """Of a converter with the FIFO behind it."""
        return self._taken(converter(part), [depth], max(part.entry.words, part.leave.words))

    def _taken(self, module: Module, depths: Sequence[int], cycles: int) -> FinnCost:
        return self._cost(counted(module, depths, self.table.family, contents=self.contents), cycles)

    def _cost(self, made: Pieces, cycles: int) -> FinnCost:
        exact, lut = made.exact, self.table.lut(made.terms)
        return FinnCost(
            cycles,
            lut,
            exact["block_ram"],
            0,
            exact["dsp"],
            lut_ram=exact["lut_ram"],
            ff=exact["ff"],
            paths=sizes_of(made, lut),
        )


def image_cycles(op: Unit, x: TensorType, made: TensorType) -> int:
    """Cycles of an image in a unit that reads `x` and makes `made`, once its pipeline is full.

    They are a word a cycle at the unit's busier side.
    """
    match op:
        case Mvau(weight, _, _, _, pe, simd):
            return prod(x.shape[:-1]) * weight.size // (pe * simd)
        case SlidingWindow(simd=simd):
            return max(prod(x.shape), prod(made.shape)) // simd
        case FMPadding(_, _, simd):
            return prod(made.shape) // simd
        case StreamingMaxPool():
            return prod(x.shape[:-1])
        case Pool(_, _, pe):
            return prod(x.shape) // pe
        case GlobalAccPool(pe):
            return (prod(x.shape) + x.channels) // pe
        case LabelSelect(k, pe):
            return x.channels // pe + k - 1
        case _:
            return prod(made.shape) // int(getattr(op, "pe", getattr(op, "simd", 1)))

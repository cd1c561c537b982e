"""FINN's formulas (`finn_formulas`) applied to our units."""

from __future__ import annotations

from math import floor, prod
from typing import Any, assert_never, cast

from ..transforms.ir.ops import (
    AddBorder,
    AddStreams,
    ChannelwiseMul,
    DuplicateStreams,
    FMPadding,
    GlobalAccPool,
    LabelSelect,
    Mvau,
    Pool,
    SlidingWindow,
    StreamingConcat,
    StreamingMaxPool,
    Thresholding,
    Unit,
)
from ..transforms.ir.tensor import TensorType
from . import finn_formulas
from .finn_formulas import FinnCost


def finn_cost(
    op: Unit,
    x: TensorType,
    weight_bits: int,
    sum_bits: int,
    bound_bits: int,
    made: TensorType | None,
    *,
    literal: bool = True,
) -> FinnCost:
    """FINN's cost of a unit; adders of joins and borders count as nothing.

    Args:
        op: the unit.
        x: type of the (first) tensor that it reads.
        weight_bits, sum_bits, bound_bits: of what it stores and adds up; 0 where it has none.
        made: type of what it makes; only needed for joins.
        literal: repeat what FINN counts wrongly of thresholds (`finn_formulas.thresholding_cost`).
    """
    match op:
        case Mvau(weight, _, _, _, pe, simd):
            signed = x.low is not None and x.low < 0
            (rows, columns), vectors = weight.shape, prod(x.shape[:-1])
            stored = op.has_bounds and op.ram_style_thresholds == "distributed"
            return finn_formulas.mvau_cost(
                rows,
                columns,
                pe,
                simd,
                vectors,
                max(1, weight_bits),
                x.bits,
                signed,
                max(1, sum_bits),
                ram_style=cast(finn_formulas.RamStyle, op.ram_style),
                dsp=op.res_type == "dsp",
                mem_mode=cast(finn_formulas.MemMode, op.mem_mode),
                result_bits=_result_bits(op) if stored else 0,
            )
        case SlidingWindow(kernel, stride, simd, depthwise):
            height, columns, channels = x.shape
            return finn_formulas.sliding_window_cost(
                (height, columns, channels),
                kernel,
                stride,
                simd,
                x.bits,
                depthwise=depthwise,
                parallel=bool(op.parallel_window),
                ram_style=cast(finn_formulas.RamStyle, op.ram_style),
            )
        case Thresholding(_, _, pe):
            vectors = prod(x.shape[:-1])
            if op.form == "hls":
                style: Any = op.ram_style
                return finn_formulas.thresholding_hls(x.channels, pe, vectors, x.bits, style)
            return finn_formulas.thresholding_cost(
                x.channels,
                pe,
                vectors,
                max(1, bound_bits),
                _result_bits(op),
                block_from=op.depth_trigger_bram,
                ultra_from=op.depth_trigger_uram,
                uniform=bool(op.uniform_thres),
                literal=literal,
            )
        case StreamingMaxPool(kernel):
            # FINN's formula: h * w * (1 + 1 / kernel area), whatever the channels.
            return FinnCost(floor(x.shape[0] * x.shape[1] * (1 + 1 / (kernel[0] * kernel[1]))))
        case Pool(kernel, _, pe):
            height, columns, values = x.shape
            return finn_formulas.pool_cost((height, columns, values // prod(kernel)), kernel, pe)
        case FMPadding(pads, _, simd):
            height, columns, channels = x.shape
            return finn_formulas.padding_cost((height + pads[0] + pads[2], columns + pads[1] + pads[3], channels), simd)
        case GlobalAccPool(pe):
            height, columns, channels = x.shape
            return finn_formulas.global_pool_cost((height, columns, channels), pe)
        case AddStreams(pe) | DuplicateStreams(pe) | ChannelwiseMul(_, pe) | AddBorder(_, _, _, pe):
            return finn_formulas.elementwise(x.shape, pe)
        case StreamingConcat(simd):
            return finn_formulas.concat_cost((x.shape if made is None else made.shape), simd)
        case LabelSelect(_, pe):
            return finn_formulas.label_select_cost(x.channels, pe)
        case _:
            assert_never(op)


def _result_bits(op: Mvau | Thresholding) -> int:
    """Bits of what a unit's thresholds make."""
    return TensorType((), op.act_val, op.act_val + op.bounds.shape[1]).bits

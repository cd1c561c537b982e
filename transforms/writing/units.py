"""Dataflow units as FINN's ONNX nodes: operator names, attributes and constant operands.

Attribute names and values are those that FINN's `get_nodeattr_types` lists (version 0.10 and finn-plus 1.6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, assert_never

from bnnflow import Problem

from ..ir.choices import stated
from ..ir.infer import accumulator
from ..ir.ops import (
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
from ..ir.rows import rows_of
from ..ir.tensor import Array, TensorType

FINN = "finn.custom_op.fpgadataflow"


@dataclass(frozen=True, slots=True)
class UnitNode:
    """One FINN node.

    Attributes:
        kind: FINN's operator.
        name: of the node.
        settings: its attributes.
        tables: constant operands behind the streams: name, values, FINN's data type.
    """

    kind: str
    name: str
    settings: dict[str, Any]
    tables: list[tuple[str, Array, str]] = field(default_factory=list)


def weight_type(weight: Array) -> str:
    """FINN's data type of signed weights: BIPOLAR for {-1, +1}, else the least INT or UINT."""
    if rows_of(weight).bipolar:
        return "BIPOLAR"
    low, high = int(weight.min()), int(weight.max())
    # {0, 1} is no BINARY here: that name says XNOR to FINN.
    return TensorType((), min(low, -1) if (low, high) == (0, 1) else low, high).datatype


def bound_type(source: TensorType, bounds: Array) -> str:
    """FINN's data type of thresholds; a bound may be one above the greatest value, for a stair never reached."""
    low, high = source.range
    return TensorType((), min(low, int(bounds.min())), max(high, int(bounds.max()))).datatype


def unit_node(
    name: str, op: Unit, sources: Sequence[TensorType], made: TensorType, elementwise: bool = False, copies: int = 0
) -> UnitNode:
    """The FINN node of a unit.

    Args:
        name: of the node.
        op: the unit.
        sources: types of the tensors that it reads.
        made: type of what it makes.
        elementwise: joins by the names of FINN's development branch.
        copies: number of outputs of a `DuplicateStreams`.

    Raises:
        Problem: `elementwise` is asked for, and a map is padded with another value than 0.
    """
    x = sources[0]
    types = {"inputDataType": x.datatype, "outputDataType": made.datatype}
    vectors = {"numInputVectors": [1, *x.shape[:-1]]}
    match op:
        case SlidingWindow(kernel, stride, simd, depthwise):
            settings: dict[str, Any] = {
                "ConvKernelDim": list(kernel),
                "IFMChannels": x.channels,
                "IFMDim": list(x.shape[:2]),
                "OFMDim": list(made.shape[:2]),
                "Stride": list(stride),
                "Dilation": [1, 1],
                "SIMD": simd,
                "depthwise": int(depthwise),
                "is1D": 0,
                **stated(op),
            }
            return UnitNode("ConvolutionInputGenerator", name, settings | types)
        case FMPadding(pads, value, simd):
            settings = {"ImgDim": list(x.shape[:2]), "Padding": list(pads), "NumChannels": x.channels, "SIMD": simd}
            if value and elementwise:
                raise Problem(
                    f"finn-plus pads with 0 only, this map is padded with {value}",
                    f"operation {name!r}",
                    "compile without --finn-plus, or give the padded map a quantizer without negative values",
                )
            # FINN knows no border but 0; the attribute is ours.
            border = {"pad_value": value} if value else {}
            return UnitNode("FMPadding", name, settings | {"inputDataType": x.datatype} | border)
        case StreamingMaxPool(kernel):
            settings = {"PoolDim": list(kernel), "ImgDim": list(x.shape[:2]), "NumChannels": x.channels}
            return UnitNode("StreamingMaxPool", name, settings | {"dataType": x.datatype, "PE": 1, "CeilMode": 0})
        case Pool(kernel, total, pe):
            settings = {
                "Channels": made.channels,
                "PE": pe,
                "KernelSize": list(kernel),
                "Function": "AccPool" if total else "MaxPool",
                "OutImgDims": list(made.shape[:2]),
                "InputDataType": x.datatype,
                "OutputDataType": made.datatype,
                "AccumBits": made.bits if total else 0,
            }
            return UnitNode("Pool", name, settings)
        case GlobalAccPool(pe):
            settings = {"NumChannels": x.channels, "PE": pe, "inputDataType": x.datatype}
            return UnitNode("GlobalAccPool", name, settings | vectors)
        case Thresholding(bounds, low, pe):
            kind = bound_type(x, bounds)
            settings = {"NumChannels": x.channels, "PE": pe, "numSteps": bounds.shape[1], "ActVal": low}
            settings |= {"preferred_impl_style": op.form, **stated(op)}
            table = (f"{name}_bounds", bounds, kind)
            return UnitNode("Thresholding", name, settings | vectors | {"weightDataType": kind} | types, [table])
        case Mvau():
            return _mvau(name, op, x, types | vectors)
        case AddStreams(pe):
            if elementwise:
                return UnitNode("ElementwiseAdd", name, _elementwise(x, sources[1], made, pe))
            settings = {"NumChannels": x.channels, "PE": pe, "inputDataTypes": [kind.datatype for kind in sources]}
            return UnitNode("AddStreams", name, settings | types | vectors)
        case DuplicateStreams(pe):
            settings = {"NumChannels": x.channels, "PE": pe, "NumOutputStreams": copies}
            depths = {"outFIFODepths": [2] * copies}
            return UnitNode("DuplicateStreams", name, settings | depths | {"inputDataType": x.datatype} | vectors)
        case StreamingConcat(simd):
            settings = {"SIMD": simd, "ChannelsPerStream": [kind.channels for kind in sources]}
            kinds = {"inputDataTypes": [kind.datatype for kind in sources], "inFIFODepths": [2] * len(sources)}
            return UnitNode("StreamingConcat", name, settings | kinds | vectors)
        case ChannelwiseMul(factor, pe):
            operand = TensorType((x.channels,), min(0, int(factor.min())), max(1, int(factor.max())))
            table = (f"{name}_factor", factor, operand.datatype)
            if elementwise:
                return UnitNode("ElementwiseMul", name, _elementwise(x, operand, made, pe, "const"), [table])
            settings = {"Func": "mul", "NumChannels": x.channels, "PE": pe, "paramDataType": operand.datatype}
            return UnitNode("ChannelwiseOp", name, settings | types | vectors, [table])
        case AddBorder(values, rows, columns, pe):
            full = values[rows[:, None], columns[None, :]].reshape(x.shape)
            operand = TensorType(full.shape, min(0, int(full.min())), max(1, int(full.max())))
            table = (f"{name}_border", full[None], operand.datatype)
            return UnitNode("ElementwiseAdd", name, _elementwise(x, operand, made, pe, "const"), [table])
        case LabelSelect(k, pe):
            settings = {"Labels": x.channels, "PE": pe, "K": k, "numInputVectors": [1]}
            # FINN's indices leave the accelerator in whole bytes.
            bits = -(-made.bits // 8) * 8
            return UnitNode("LabelSelect", name, settings | types | {"outputDataType": f"UINT{bits}"})
        case _:
            assert_never(op)


def _elementwise(
    left: TensorType, right: TensorType, made: TensorType, pe: int, style: str = "input"
) -> dict[str, Any]:
    batch = [1] if right.shape == left.shape else []
    return {
        "lhs_dtype": left.datatype,
        "rhs_dtype": right.datatype,
        "out_dtype": made.datatype,
        "lhs_shape": [1, *left.shape],
        "rhs_shape": [*batch, *right.shape],
        "out_shape": [1, *made.shape],
        "lhs_style": "input",
        "rhs_style": style,
        "PE": pe,
    }


def _mvau(name: str, op: Mvau, x: TensorType, common: dict[str, Any]) -> UnitNode:
    kind = "BINARY" if op.xnor else weight_type(op.weight)
    if kind == "BIPOLAR" and x.is_bipolar:
        # FINN would count equal bits of BIPOLAR inputs and weights.
        kind = "INT2"
    tables = [(f"{name}_weight", op.weight.T, kind)]
    sums = accumulator(op, x)
    if op.has_bounds:
        tables.append((f"{name}_bounds", op.bounds, bound_type(sums, op.bounds)))
    settings = {
        "MW": op.weight.shape[1],
        "MH": op.weight.shape[0],
        "PE": op.pe,
        "SIMD": op.simd,
        "weightDataType": kind,
        "accDataType": sums.datatype,
        "ActVal": op.act_val,
        "binaryXnorMode": int(op.xnor),
        "noActivation": int(not op.has_bounds),
        **stated(op),
        # FINN takes DSP slices for products of 4 and more bits, which we do not count.
        "preferred_impl_style": "hls",
    }
    return UnitNode("MVAU", name, settings | common, tables)

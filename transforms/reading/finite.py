"""NaN and infinity in a file: refused wherever they stand, but where infinity means "without a limit"."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from bnnflow import Problem

from ..ir.tensor import Array
from .call import kind_of
from .constants import Constant, Levels

# Inputs that may be infinite: limits, and thresholds that are always or never reached.
_LIMITS = {"Clip": (1, 2), "MultiThreshold": (1,), "Thresholding": (1,), "MVAU": (2,), "MatrixVectorActivation": (2,)}
_ATTRIBUTES = ("min", "max")
# Operators that only hand on what they are given, limits among it.
_HANDS_ON = frozenset(
    (
        *("Cast", "Clip", "Concat", "Constant", "ConstantOfShape", "Expand", "Flatten", "Gather", "Identity", "Max"),
        *("Min", "Reshape", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Where", "Neg"),
    )
)
_HINT = "train again or repair the file"


def check_attributes(node: onnx.NodeProto, where: str) -> None:
    """Refuse an attribute that is NaN, or infinite and no limit.

    Raises:
        Problem: names the operator and the attribute.
    """
    if node.op_type in ("Constant", "ConstantOfShape"):
        return
    for item in node.attribute:
        values = np.array([item.f] if item.type == onnx.AttributeProto.FLOAT else list(item.floats), np.float64)
        found = _first(values, item.name in _ATTRIBUTES)
        if found:
            raise Problem(f"an attribute of this operator holds {found}", f"{where}, attribute {item.name}", _HINT)


def check_read(node: onnx.NodeProto, where: str, index: int, name: str, value: Constant, folded: bool) -> None:
    """Refuse a constant that an operator reads where it is NaN, or infinite and no limit.

    Args:
        node, where: the operator, and how people find it.
        index, name, value: of the input.
        folded: the operator is computed in advance.

    Raises:
        Problem: names the operator, the tensor, and where in it.
    """
    kind = kind_of(node.op_type)
    limit = (folded and kind in _HANDS_ON) or kind in ("Min", "Max") or index in _LIMITS.get(kind, ())
    found = _first(value.scale if isinstance(value, Levels) else value, limit)
    if found:
        raise Problem(f"a constant holds {found}", f"{where} reads tensor {name!r}", _HINT)


def check_made(node: onnx.NodeProto, where: str, made: Mapping[str, Constant]) -> None:
    """Refuse what computing in advance makes of finite constants where it is NaN or infinite: a division by 0, say."""
    for name, value in made.items():
        found = _first(value.scale if isinstance(value, Levels) else value, node.op_type in _HANDS_ON)
        if found:
            raise Problem(
                f"a constant computed in advance holds {found}", f"{where} makes tensor {name!r}", "repair the file"
            )


def _first(values: Array, limit: bool) -> str:
    """The first value that is not finite, NaN alone for a limit, and its place; empty where there is none."""
    if values.dtype.kind != "f" or not values.size or (np.isfinite(values.min()) and np.isfinite(values.max())):
        return ""
    bad = np.isnan(values) if limit else ~np.isfinite(values)
    if not bad.any():
        return ""
    place = [int(axis) for axis in np.unravel_index(int(np.argmax(bad)), values.shape)]
    value = float(values[tuple(place)])
    word = "NaN" if np.isnan(value) else "infinity" if value > 0 else "-infinity"
    return f"{word} at {place}" if values.ndim else word

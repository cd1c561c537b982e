"""Activations as ONNX operators."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bnnflow import Problem

from ..ir.activations import limits_of, shrink_of, slopes_of, threshold_of
from ..ir.ops import PiecewiseLinear
from ..ir.tensor import Array


@dataclass(frozen=True, slots=True)
class OnnxOperator:
    """An ONNX operator that reads a tensor and constants.

    Attributes:
        kind: its name.
        constants: the inputs behind the first, under words for their names; (1,) a number without axes, else one a
            channel; None left out.
        settings: its attributes.
    """

    kind: str
    constants: dict[str, Array | None] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


def operators_of(op: PiecewiseLinear, where: str) -> list[OnnxOperator]:
    """The ONNX operators, one behind the other, that an activation is.

    Raises:
        Problem: there are none.
    """
    ends, slopes, alpha, shrunk = limits_of(op), slopes_of(op), threshold_of(op), shrink_of(op)
    if ends is not None:
        low, high = ends
        if all(end is None or len(end) == 1 for end in ends):
            return [OnnxOperator("Clip", {"low": low, "high": high})]
        found = [("Max", "low", low), ("Min", "high", high)]
        return [OnnxOperator(kind, {key: end}) for kind, key, end in found if end is not None]
    if slopes is not None and len(slopes) == 1:
        return [OnnxOperator("LeakyRelu", settings={"alpha": float(slopes[0])})]
    if slopes is not None:
        return [OnnxOperator("PRelu", {"slope": slopes})]
    if alpha is not None:
        return [OnnxOperator("ThresholdedRelu", settings={"alpha": alpha})]
    if shrunk is not None:
        return [OnnxOperator("Shrink", settings={"lambd": shrunk[0], "bias": shrunk[1]})]
    raise Problem("this activation is no ONNX operator", f"{where!r}", "write it as Clip, PRelu, Max, Min or Shrink")

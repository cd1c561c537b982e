"""What a network computes and stores, counted in bits: no technology, no constants that were fitted.

A product of a w-bit weight and an a-bit input counts as w * a bit operations (BOPs), with its addition. Source:
Baskin et al., UNIQ: Uniform Noise Injection for Non-Uniform Quantization of Neural Networks, and
`qonnx.util.inference_cost`, whose `total_bops` and `total_mem_w_bits` (without discount for zeros) these are.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import ClassVar

from ...transforms.ir.ops import Mvau, Thresholding, Unit
from ...transforms.ir.tensor import TensorType
from .base import COST_MODELS, Widths
from .exact import Exact


@COST_MODELS.add
class Bits(Exact):
    """Bit operations (weight bits times input bits of each product, as qonnx) and bits of weights and thresholds."""

    name = "bits"
    figures: ClassVar[Mapping[str, str]] = {
        "bit_operations": "bit operations",
        "weight_bits": "weight bits",
        "threshold_bits": "threshold bits",
    }
    source = "counted; no technology"

    def counts(self, op: Unit, x: TensorType, width: Widths) -> Mapping[str, int]:
        """Of one image, and of what is stored."""
        bounds = op.bounds.size * (width.sums or width.bounds) if isinstance(op, Mvau | Thresholding) else 0
        if not isinstance(op, Mvau):
            return {"bit_operations": 0, "threshold_bits": bounds}
        return {
            "bit_operations": prod(x.shape[:-1]) * op.weight.size * op.weight_bits * x.bits,
            "threshold_bits": bounds,
        }

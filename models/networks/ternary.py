"""Weights of -1, 0 and +1: zeros by a threshold, or synapses that are gone."""

from __future__ import annotations

import torch
from brevitas.inject.enum import RestrictValueType, ScalingImplType
from brevitas.nn import QuantConv2d, QuantLinear
from brevitas.quant import Int8WeightPerTensorFloat
from brevitas.quant.ternary import SignedTernaryWeightPerTensorConst
from torch import Tensor, nn

THRESHOLD = 0.7


class Ternary(nn.Module):
    """Signs of latent weights, and 0 where |w| <= threshold * mean |w| of the layer; the scale is 1.

    The gradient passes unchanged (straight-through estimator). Threshold 0.7 is that of Li, Zhang, Liu, Ternary Weight
    Networks, arXiv:1605.04711, whose scale per batch norm takes up here. It gives back weights that are -1, 0 and +1
    already.

    Args:
        threshold: 0 to 1, below 1.
    """

    def __init__(self, threshold: float) -> None:
        super().__init__()
        self.threshold = threshold

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Latent weights to values, scale, zero point and bits, as Brevitas' quantizers give them."""
        with torch.no_grad():
            values = torch.where(x.abs() > self.threshold * x.abs().mean(), x.sign(), 0.0)
        return x + (values - x).detach(), x.new_ones(()), x.new_zeros(()), x.new_full((), 2.0)


class Masked(nn.Module):
    """Signs of latent weights; a synapse whose latent weight is exactly 0 is gone, and stays so: no gradient."""

    def __init__(self) -> None:  # Brevitas' injector wants a plain list of arguments
        super().__init__()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Latent weights to values, scale, zero point and bits, as Brevitas' quantizers give them."""
        there = x * (x != 0).to(x.dtype)
        return there + (x.sign() - there).detach(), x.new_ones(()), x.new_zeros(()), x.new_full((), 2.0)


class TernaryWeight(SignedTernaryWeightPerTensorConst):
    """Brevitas' injector of `Ternary`."""

    tensor_quant = Ternary
    scaling_const = 1.0
    threshold = THRESHOLD


class MaskedWeight(SignedTernaryWeightPerTensorConst):
    """Brevitas' injector of `Masked`."""

    tensor_quant = Masked
    scaling_const = 1.0


class StepWeight(Int8WeightPerTensorFloat):
    """Whole multiples of 1 / (2^(bits - 1) - 1) from -1 to 1: a step that does not follow the weights."""

    scaling_impl_type = ScalingImplType.CONST
    restrict_scaling_type = RestrictValueType.FP
    scaling_init = 1.0


@torch.no_grad()
def zero_shares(network: nn.Module) -> dict[str, float]:
    """The share of weights that are 0, 0 to 1, of every layer with weights, by its name."""
    return {
        name.rpartition(".")[2]: float((module.quant_weight().value == 0).float().mean())
        for name, module in network.named_modules()
        if isinstance(module, QuantConv2d | QuantLinear)
    }

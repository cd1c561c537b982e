"""The modules that networks are built of: quantizers, input codes and norms."""

from __future__ import annotations

from typing import Any

import torch
from brevitas.core.quant import BinaryQuant
from brevitas.core.scaling import ScalingImplType
from brevitas.inject.enum import RestrictValueType, ScalingPerOutputType, StatsOp
from brevitas.nn import QuantConv2d, QuantIdentity, QuantLinear
from brevitas.quant import (
    Int8ActPerTensorFixedPoint,
    Int8WeightPerTensorFloat,
    SignedBinaryActPerTensorConst,
    SignedBinaryWeightPerTensorConst,
    Uint8ActPerTensorFixedPoint,
)
from torch import Tensor, nn

from .. import parallel
from .signs import BinarySign, QuickBinaryQuant, SurrogateSign
from .spec import NetworkSpec, WeightLayer
from .ternary import MaskedWeight, StepWeight, TernaryWeight


class _BinaryWeight(SignedBinaryWeightPerTensorConst):
    tensor_quant = QuickBinaryQuant
    scaling_const = 1.0


class _ScaledBinaryWeight(SignedBinaryWeightPerTensorConst):
    """+-mean |w| of the layer; without Brevitas' clamp, which would shrink latent weights to the mean in place."""

    tensor_quant = BinaryQuant
    scaling_impl_type = ScalingImplType.STATS
    scaling_stats_op = StatsOp.AVE
    restrict_scaling_type = RestrictValueType.FP


class _ChannelBinaryWeight(_ScaledBinaryWeight):
    """+-mean |w| of the filter."""

    scaling_per_output_type = ScalingPerOutputType.CHANNEL


class _BinaryAct(SignedBinaryActPerTensorConst):
    scaling_const = 1.0


class _PixelAct(Int8ActPerTensorFixedPoint):
    """Signed 8 bits with the constant scale 1/128: the identity on (pixel - 128) / 128."""

    scaling_impl_type = ScalingImplType.CONST
    restrict_scaling_type = RestrictValueType.FP
    scaling_init = 1.0


class _JoinAct(_PixelAct):
    """Signed numbers from -2 to 2 - step with one constant step for all branches."""

    scaling_init = 2.0


class _UnitAct(Uint8ActPerTensorFixedPoint):
    """Levels from 0 to 1 in equal steps."""

    scaling_impl_type = ScalingImplType.CONST
    restrict_scaling_type = RestrictValueType.FP
    scaling_init = 1.0


class Pixels(nn.Module):
    """Code pixels (0 to 255) as numbers around zero: (x - middle) / middle.

    Args:
        middle: 128 makes multiples of 1/128 from -1 to 127/128; 127.5 makes numbers that are never 0.
    """

    def __init__(self, middle: float) -> None:
        super().__init__()
        self.middle = middle

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) float 0 to 255 to the same shape, -1 to 1."""
        return (x - self.middle) / self.middle


class BitPlanes(nn.Module):
    """The highest bits of pixels as channels of +1 and -1, by successive approximation, as a converter does it.

    Bit b of a pixel is the sign of x - 127.5 - sum over higher bits h of sign_h * 2^(h - 1); all of it is sums and
    comparisons of integers.

    Args:
        signs: one module a bit, +1 where its input >= 0 else -1.
    """

    def __init__(self, signs: list[nn.Module]) -> None:
        super().__init__()
        self.signs = nn.ModuleList(signs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) whole numbers 0 to 255 to (N, planes * C, H, W), highest bit first."""
        planes, rest = [], x - 127.5
        for index, sign in enumerate(self.signs):
            planes.append(sign(rest))
            rest = rest - planes[-1] * 2.0 ** (6 - index)
        return torch.cat(planes, 1)


class UnitStep(nn.Module):
    """One bit of 0 or 1: 1 where x >= 0.5; the gradient passes where |x - 0.5| <= 1."""

    def __init__(self, sign: nn.Module) -> None:
        super().__init__()
        self.sign = sign

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        step: Tensor = self.sign(x - 0.5) * 0.5 + 0.5
        return step


class SumMap(nn.Module):
    """The sum of each channel over its map; whole numbers stay whole, which averages would not."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C)."""
        return x.sum((2, 3))


class ScoreNorm(nn.Module):
    """Batch norm with one channel over all classes: a positive scale and a shift that all scores share.

    The order of the scores of an image is the order of its integer sums, so a device may compare the sums.
    The gain is stored as its logarithm and therefore always positive.
    """

    def __init__(self, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.momentum = momentum
        self.eps = eps
        self.log_gain = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(()))
        self.running_mean: Tensor
        self.running_var: Tensor
        self.register_buffer("running_mean", torch.zeros(()))
        self.register_buffer("running_var", torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """(N, classes) integer sums to scores; batch statistics in training mode, else running ones."""
        if not self.training:
            scale, shift = self.affine()
            return x * scale + shift
        x = x.float()  # a short format has no room for the statistics of wide sums
        if parallel.active():
            mean, var = parallel.moments(x.reshape(1, -1))
            mean, var = mean[0], var[0]
        else:
            mean, var = x.mean(), x.var(correction=0)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var, self.momentum)
        return (x - mean) * torch.rsqrt(var + self.eps) * self.log_gain.exp() + self.bias

    def affine(self) -> tuple[Tensor, Tensor]:
        """The scale (positive) and shift, scalars, that eval mode applies: x * scale + shift."""
        scale = self.log_gain.exp() * torch.rsqrt(self.running_var + self.eps)
        return scale, self.bias - self.running_mean * scale


class MapNorm(nn.BatchNorm2d):
    """Batch norm of maps; among several processes its statistics are those of the whole batch."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        return parallel.batch_norm(self, x) if self.training and parallel.active() else super().forward(x)


class RowNorm(nn.BatchNorm1d):
    """Batch norm of rows; among several processes its statistics are those of the whole batch."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C) to the same shape."""
        return parallel.batch_norm(self, x) if self.training and parallel.active() else super().forward(x)


class Kit:
    """Makes the modules of one network: Brevitas' quantized ones, or their plain float counterparts.

    Args:
        spec: what the numbers mean.
        quantized: False: float weights, and clip(x, -1, 1) (or 0 to 1) in place of each sign.
    """

    def __init__(self, spec: NetworkSpec, quantized: bool = True) -> None:
        self.spec = spec
        self.quantized = quantized

    def weights(self, layer: WeightLayer, padded: bool = False) -> nn.Module:
        """The layer with weights; `padded`: its border is padded in front of it."""
        around = 0 if padded else layer.padding
        options: dict[str, Any] = {"bias": False}
        if self.quantized:
            options |= {"return_quant_tensor": False, **self._weight_quant()}
        if layer.kind == "conv":
            conv = QuantConv2d if self.quantized else nn.Conv2d
            made: nn.Module = conv(layer.inputs, layer.outputs, layer.kernel, layer.stride, around, **options)
            return made
        dense = QuantLinear if self.quantized else nn.Linear
        made = dense(layer.inputs, layer.outputs, **options)
        return made

    def _weight_quant(self) -> dict[str, Any]:
        if self.spec.weight_kind in ("ternary", "masked"):
            return {"weight_quant": TernaryWeight if self.spec.weight_kind == "ternary" else MaskedWeight}
        if self.spec.weight_kind == "steps":
            return {"weight_quant": StepWeight, "weight_bit_width": self.spec.weight_bits}
        if self.spec.weight_bits > 1:
            return {"weight_quant": Int8WeightPerTensorFloat, "weight_bit_width": self.spec.weight_bits}
        kinds = {"none": _BinaryWeight, "tensor": _ScaledBinaryWeight, "channel": _ChannelBinaryWeight}
        return {"weight_quant": kinds[self.spec.weight_scale]}

    def exact_sign(self) -> nn.Module:
        """+1 where x >= 0 else -1."""
        if not self.quantized:
            return nn.Hardtanh()
        return BinarySign(act_quant=_BinaryAct, return_quant_tensor=False)

    def activation(self) -> nn.Module:
        """What stands behind a batch norm."""
        spec = self.spec
        if spec.activation == "unit":
            if not self.quantized:
                return nn.Hardtanh(0.0, 1.0)
            if spec.act_bits == 1:
                return UnitStep(self.exact_sign())
            return QuantIdentity(act_quant=_UnitAct, bit_width=spec.act_bits, return_quant_tensor=False)
        if self.quantized and (spec.estimator != "clip" or spec.stochastic):
            return SurrogateSign(self.exact_sign(), spec.estimator, spec.stochastic)
        return self.exact_sign()

    def join(self) -> nn.Module:
        """The quantizer on every branch of a thresholded join and on its sum."""
        if not self.quantized:
            return nn.Hardtanh(-2.0, 2.0)
        return QuantIdentity(act_quant=_JoinAct, bit_width=self.spec.join_bits, return_quant_tensor=False)

    def entrance(self) -> dict[str, nn.Module]:
        """The modules in front of the first layer, by name."""
        if self.spec.input == "planes":
            signs = [BinarySign(act_quant=_BinaryAct, return_quant_tensor=False) for _ in range(self.spec.planes)]
            return {"input": BitPlanes(list(signs))}
        if self.spec.input == "bits8":
            quant = QuantIdentity(act_quant=_PixelAct, bit_width=8, return_quant_tensor=False)
            return {"pixels": Pixels(128.0), "input": quant if self.quantized else nn.Identity()}
        return {"pixels": Pixels(127.5), "input": self.exact_sign()}

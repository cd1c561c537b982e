"""Binary networks in Brevitas: weights and activations are +1 or -1, sign(0) is +1, every scale is 1."""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
from brevitas.core.scaling import ScalingImplType
from brevitas.inject.enum import RestrictValueType
from brevitas.nn import QuantConv2d, QuantIdentity, QuantLinear
from brevitas.quant import (
    Int8ActPerTensorFixedPoint,
    SignedBinaryActPerTensorConst,
    SignedBinaryWeightPerTensorConst,
)
from torch import Tensor, nn

from .spec import Arch, InputCode, NetworkSpec, PoolOrder, WeightLayer

__all__ = ["Arch", "InputCode", "Network", "NetworkSpec", "PoolOrder", "ScoreNorm", "WeightLayer"]


class _BinaryWeight(SignedBinaryWeightPerTensorConst):
    scaling_const = 1.0


class _BinaryAct(SignedBinaryActPerTensorConst):
    scaling_const = 1.0


class _PixelAct(Int8ActPerTensorFixedPoint):
    """Signed 8 bits with the constant scale 1/128: the identity on (pixel - 128) / 128."""

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
        mean, var = x.mean(), x.var(correction=0)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(var, self.momentum)
        return (x - mean) * torch.rsqrt(var + self.eps) * self.log_gain.exp() + self.bias

    def affine(self) -> tuple[Tensor, Tensor]:
        """The scale (positive) and shift, scalars, that eval mode applies: x * scale + shift."""
        scale = self.log_gain.exp() * torch.rsqrt(self.running_var + self.eps)
        return scale, self.bias - self.running_mean * scale


class Network(nn.Module):
    """A binary network; its modules lie in `layers` by name, in the order in which they run.

    Names: `pixels`, `input` (the input quantizer), then for each weight layer `conv0`, `pool0`, `norm0`,
    `sign0`, ..., `flatten`, `dense0`, `norm1`, `sign1`, ..., the last `dense`, and `score`. `norm` and
    `sign` are numbered through the whole network, `pool` by its convolution.

    Args:
        spec: the shape.
        seed: of the weights' initial values.
    """

    def __init__(self, spec: NetworkSpec, seed: int = 0) -> None:
        super().__init__()
        self.spec = spec
        self.layers = nn.ModuleDict(_modules(spec))
        generator = torch.Generator().manual_seed(seed)
        for _, module in self.weight_layers():
            bound = math.sqrt(3.0 / module.weight[0].numel())
            nn.init.uniform_(module.weight, -bound, bound, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) float32 pixels, whole numbers 0 to 255, to (N, classes) float32 scores."""
        for module in self.layers.values():
            x = module(x)
        return x

    def weight_layers(self) -> list[tuple[str, nn.Conv2d | nn.Linear]]:
        """Name and module (QuantConv2d or QuantLinear) of every layer with weights, from input to output."""
        modules = [(layer.name, self.layers[layer.name]) for layer in self.spec.layers()]
        return [(name, module) for name, module in modules if isinstance(module, nn.Conv2d | nn.Linear)]


def _modules(spec: NetworkSpec) -> OrderedDict[str, nn.Module]:
    """Every module of the network by name, in running order."""
    modules: OrderedDict[str, nn.Module] = OrderedDict()
    if spec.input == "bits8":
        modules["pixels"] = Pixels(128.0)
        modules["input"] = QuantIdentity(act_quant=_PixelAct, bit_width=8, return_quant_tensor=False)
    else:
        modules["pixels"] = Pixels(127.5)
        modules["input"] = _sign()
    *hidden, last = spec.layers()
    if spec.arch == "mlp":
        modules["flatten"] = nn.Flatten()
    for index, layer in enumerate(hidden):
        if layer.kind == "dense" and "flatten" not in modules:
            modules["flatten"] = nn.Flatten()
        modules[layer.name] = _weights(layer)
        norm = nn.BatchNorm2d(layer.outputs) if layer.kind == "conv" else nn.BatchNorm1d(layer.outputs)
        steps = [(f"norm{index}", norm), (f"sign{index}", _sign())]
        if layer.pool == 2:
            position = 0 if spec.pool_order == "before-norm" else len(steps)
            steps.insert(position, (f"pool{index}", nn.MaxPool2d(2)))
        modules.update(steps)
    if "flatten" not in modules:
        modules["flatten"] = nn.Flatten()
    modules[last.name] = _weights(last)
    modules["score"] = ScoreNorm()
    return modules


def _sign() -> nn.Module:
    return QuantIdentity(act_quant=_BinaryAct, return_quant_tensor=False)


def _weights(layer: WeightLayer) -> nn.Module:
    if layer.kind == "conv":
        return QuantConv2d(
            layer.inputs,
            layer.outputs,
            layer.kernel,
            bias=False,
            weight_quant=_BinaryWeight,
            return_quant_tensor=False,
        )
    return QuantLinear(layer.inputs, layer.outputs, bias=False, weight_quant=_BinaryWeight, return_quant_tensor=False)

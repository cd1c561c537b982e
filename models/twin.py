"""The same network in plain torch layers, for tools that cannot look inside Brevitas' modules."""

from __future__ import annotations

import copy
from collections import OrderedDict

import torch
from brevitas.nn import QuantConv2d, QuantLinear
from torch import Tensor, nn

from .layers import Planes, SumMap
from .networks import Network, Pixels, ScoreNorm
from .spec_checks import check_twin


class _SignFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return torch.where(x.abs() <= 1, grad, torch.zeros_like(grad))


class Sign(nn.Module):
    """+1 where x >= 0, else -1; the gradient passes where |x| <= 1 (straight-through estimator)."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        out: Tensor = _SignFunction.apply(x)
        return out


class Any2x2(nn.Module):
    """The maximum of each 2x2 window of +1 and -1, as a sum and a sign: sign(x0 + x1 + x2 + x3 + 3).

    A max pool of bits is full of ties, on which Captum's rule for pools loses parts of the difference; sums and signs
    keep all of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.average = nn.AvgPool2d(2)
        self.sign = Sign()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, C, H / 2, W / 2)."""
        signs: Tensor = self.sign(4.0 * self.average(x) + 3.0)
        return signs


class Affine(nn.Module):
    """x * scale + shift with two constants."""

    def __init__(self, scale: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.scale: Tensor
        self.shift: Tensor
        self.register_buffer("scale", scale.detach().clone())
        self.register_buffer("shift", shift.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        """(N, classes) to the same shape."""
        return x * self.scale + self.shift


class Twin(nn.Module):
    """Plain torch modules in `layers`, under the names that the Brevitas network uses, always in eval
    mode."""

    def __init__(self, layers: OrderedDict[str, nn.Module], weight_names: tuple[str, ...]) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(layers)
        self.weight_names = weight_names
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) pixels, whole numbers 0 to 255, to (N, classes) scores."""
        for module in self.layers.values():
            x = module(x)
        return x

    def weight_layers(self) -> list[tuple[str, nn.Conv2d | nn.Linear]]:
        """Name and module (Conv2d or Linear) of every layer with weights, from input to output."""
        modules = [(name, self.layers[name]) for name in self.weight_names]
        return [(name, module) for name, module in modules if isinstance(module, nn.Conv2d | nn.Linear)]


def twin(network: Network) -> Twin:
    """A copy of `network` in nn.Conv2d, nn.Linear, nn.BatchNorm and `Sign` that computes what its eval mode
    computes.

    The weights are the quantized ones. Pixels must be whole numbers: the copy has no 8-bit rounding.

    Raises:
        Problem: the network has joins, or activations that are not signs.
    """
    check_twin(network.spec)
    with torch.no_grad():
        layers = OrderedDict((name, _plain(module)) for name, module in network.layers.items())
    if network.spec.input == "bits8":
        layers["input"] = nn.Identity()
    if network.spec.pool_order == "after-sign":
        pools = [name for name in layers if name.startswith("pool")]
        layers.update({name: Any2x2() for name in pools})
    return Twin(layers, tuple(name for name, _ in network.weight_layers()))


def _plain(module: nn.Module) -> nn.Module:
    match module:
        case nn.Conv2d():
            shape = (module.in_channels, module.out_channels, module.weight.shape[2])
            padding = module.padding if isinstance(module.padding, tuple) else (0, 0)
            conv = nn.Conv2d(*shape, (module.stride[0], module.stride[1]), (padding[0], padding[1]), bias=False)
            conv.weight.copy_(binary_weights(module))
            return conv
        case nn.Linear():
            dense = nn.Linear(module.in_features, module.out_features, bias=False)
            dense.weight.copy_(binary_weights(module))
            return dense
        case ScoreNorm():
            return Affine(*module.affine())
        case Planes():
            return Planes([Sign() for _ in module.signs])
        case nn.BatchNorm1d() | nn.BatchNorm2d() | nn.MaxPool2d() | nn.Flatten() | Pixels():
            return copy.deepcopy(module)
        case nn.ConstantPad2d() | SumMap() | nn.Identity():
            return copy.deepcopy(module)
    return Sign()


def binary_weights(module: QuantConv2d | QuantLinear) -> Tensor:
    """The values that a QuantConv2d or QuantLinear computes with, in the shape of its latent weights."""
    weights: Tensor = module.quant_weight().value.detach()
    return weights

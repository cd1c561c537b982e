"""The same network in plain torch layers, for tools that cannot look inside Brevitas' modules."""

from __future__ import annotations

import copy

import torch
from brevitas.nn import QuantConv2d, QuantLinear
from brevitas.nn.quant_layer import QuantNonLinearActLayer
from torch import Tensor, nn

from bnnflow import Problem

from .layers import BitPlanes, ScoreNorm, UnitStep
from .network import Network
from .own import OwnNetwork
from .plain import PlainNetwork, Quantizer, Scaling
from .signs import SurrogateSign

AnyNetwork = Network | OwnNetwork | PlainNetwork
"""What tools that look inside a network take: one that has a twin, or one that hides nothing."""

_DIFFERENCE = 1e-3


class _StepFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, at: float, low: float, high: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.middle, ctx.gain = at, (high - low) / 2.0  # type: ignore[attr-defined]
        return torch.where(x >= at, high, low).to(x.dtype)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (x,) = ctx.saved_tensors  # type: ignore[attr-defined]
        near = (x - ctx.middle).abs() <= 1  # type: ignore[attr-defined]
        return torch.where(near, grad * ctx.gain, torch.zeros_like(grad)), None, None, None  # type: ignore[attr-defined]


class PlainSign(Quantizer):
    """`high` where x >= at, else `low`; the gradient, (high - low) / 2, passes where |x - at| <= 1 (straight-through
    estimator)."""

    def __init__(self, at: float = 0.0, low: float = -1.0, high: float = 1.0) -> None:
        super().__init__()
        self.at, self.low, self.high = at, low, high

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        out: Tensor = _StepFunction.apply(x, self.at, self.low, self.high)
        return out


class _RoundFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward((x >= low) & (x <= high))
        return torch.round(x).clamp(low, high)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, None, None]:
        (inside,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return grad * inside, None, None


class PlainQuantize(Quantizer):
    """scale * (clip(round(x / scale + zero), low, high) - zero), halves to even; the gradient passes inside the range.

    Args:
        scale, zero: constants, one or one per channel.
        low, high: whole numbers.
    """

    def __init__(self, scale: Tensor, zero: Tensor, low: float, high: float) -> None:
        super().__init__()
        self.scale: Tensor
        self.zero: Tensor
        self.register_buffer("scale", scale.detach().clone())
        self.register_buffer("zero", zero.detach().clone())
        self.low, self.high = low, high

    def forward(self, x: Tensor) -> Tensor:
        """Any shape to the same shape."""
        whole: Tensor = _RoundFunction.apply(x / self.scale + self.zero, self.low, self.high)
        return (whole - self.zero) * self.scale


class PlainAffine(Scaling):
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


class Twin(PlainNetwork):
    """A network whose Brevitas modules are plain ones under the same names; it takes pixels (N, C, H, W), 0 to 255."""

    @property
    def layers(self) -> nn.ModuleDict:
        """The modules of a `Network` by name, in running order; those of a user's own network are in `body.body`."""
        layers = self.body.layers
        assert isinstance(layers, nn.ModuleDict)
        return layers

    @property
    def trunk(self) -> set[str]:
        """See `PlainNetwork`; none of a user's own network is known."""
        return {f"body.layers.{name}" for name in self.layers} if isinstance(self.body, Network) else set()

    @property
    def joins(self) -> dict[str, str]:
        """See `PlainNetwork`: the blocks of a residual network."""
        paths = {path.rpartition(".")[2]: path for path in self.trunk}
        return {name: path for name, path in paths.items() if name.startswith("block")}

    def with_sums(self) -> Twin:
        """See `PlainNetwork`."""
        if isinstance(self.body, Network) and isinstance(self.layers["score"], PlainAffine):
            self.layers["score"] = nn.Identity()
        return self

    @torch.no_grad()
    def tail(self, path: str, x: Tensor) -> tuple[nn.Module, Tensor, str]:
        """See `PlainNetwork`: from the module that holds `path` on; all of a user's own network."""
        if not isinstance(self.body, Network):
            return self, x, path
        names = list(self.layers)
        first = names.index(path.split(".")[2])
        for name in names[:first]:
            x = self.layers[name](x)
        return _Tail({name: self.layers[name] for name in names[first:]}), x, path.removeprefix("body.")


class _Tail(nn.Module):
    """Modules one behind the other, under their names."""

    def __init__(self, modules: dict[str, nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(modules)

    def forward(self, x: Tensor) -> Tensor:
        for module in self.layers.values():
            x = module(x)
        return x


@torch.no_grad()
def twin(network: AnyNetwork) -> PlainNetwork:
    """A copy of `network` in plain torch modules that computes what its eval mode computes.

    Convolutions and dense layers hold the quantized weights; activations are `PlainSign` or `PlainQuantize`; a user's
    own modules and torch's are taken over as they are, so what their forward methods do besides calling modules stays.
    The result is tried on drawn images.

    Raises:
        Problem: a module of Brevitas that has no plain counterpart, or a copy whose scores differ.
    """
    if isinstance(network, PlainNetwork):
        return copy.deepcopy(network)
    body = copy.deepcopy(network).eval()
    found = {id(module): name for name, module in body.named_modules()}
    paths = {name: found[id(module)] for name, module in body.weight_layers()}
    _replace(body, "", {})
    if isinstance(body, OwnNetwork):
        for name, inputs in body.spec.unread.items():
            weight = body.get_submodule(paths[name]).weight
            assert isinstance(weight, Tensor)
            weight[:, list(inputs)] = 0.0
    made = Twin(body, network.spec.input_shape, paths)
    _try(network, made)
    return made


def _try(network: Network | OwnNetwork, made: Twin) -> None:
    device = next((p.device for p in network.parameters()), torch.device("cpu"))
    drawn = torch.randint(0, 256, (2, *network.spec.input_shape), generator=torch.Generator().manual_seed(0))
    training = network.training
    try:
        wanted = network.eval()(drawn.to(device).float())
        found = made(drawn.to(device).float())
    except (AttributeError, TypeError, RuntimeError) as error:
        what = f"the network cannot run on plain tensors: {error}"
        raise Problem(what, "model", "let its forward method take plain tensors too") from error
    finally:
        network.train(training)
    if not bool((wanted - found).abs().max() <= _DIFFERENCE * wanted.abs().max().clamp(min=1.0)):
        raise Problem("its copy in plain torch layers computes other scores", "model", "use criterion: random")


def _replace(module: nn.Module, path: str, done: dict[int, nn.Module]) -> None:
    """Replace the Brevitas modules among the children of `module`, and of theirs; one under several names by one."""
    for name, child in module._modules.items():
        if child is None:
            continue
        if id(child) not in done:
            done[id(child)] = made = _plain(child, f"{path}{name}")
            if made is child:
                _replace(child, f"{path}{name}.", done)
        if done[id(child)] is not child:
            setattr(module, name, done[id(child)])


def _plain(module: nn.Module, path: str) -> nn.Module:
    """The plain counterpart of a module; the module itself where it is plain already."""
    match module:
        case QuantConv2d():
            conv = nn.Conv2d(
                module.in_channels,
                module.out_channels,
                module.kernel_size,
                module.stride,
                module.padding,
                module.dilation,
                module.groups,
                bias=module.bias is not None,
                padding_mode=module.padding_mode,
            )
            return _filled(conv, module, path)
        case QuantLinear():
            dense = nn.Linear(module.in_features, module.out_features, bias=module.bias is not None)
            return _filled(dense, module, path)
        case UnitStep():
            return PlainSign(0.5, 0.0, 1.0)
        case SurrogateSign():
            return PlainSign()
        case ScoreNorm():
            return PlainAffine(*module.affine())
        case BitPlanes():
            return BitPlanes([PlainSign() for _ in module.signs])
        case QuantNonLinearActLayer():
            return _activation(module, path)
    if type(module).__module__.startswith("brevitas"):
        raise Problem(f"{type(module).__name__} has no plain counterpart", path, "use criterion: random")
    return module


def _filled(plain: nn.Conv2d | nn.Linear, module: QuantConv2d | QuantLinear, path: str) -> nn.Conv2d | nn.Linear:
    for name in ("input_quant", "output_quant", "bias_quant"):
        if getattr(module, name).is_quant_enabled:
            hint = "quantize with modules of their own, such as QuantIdentity"
            raise Problem(f"{type(module).__name__} with {name} has no plain counterpart", path, hint)
    plain.weight.copy_(binary_weights(module))
    if module.bias is not None and plain.bias is not None:
        plain.bias.copy_(module.bias)
    return plain.to(module.weight.device)


def _activation(module: nn.Module, path: str) -> nn.Module:
    """`PlainSign` for one signed bit, else `PlainQuantize`; behind the activation function where there is one."""
    quant = module.act_quant
    before = getattr(getattr(quant, "fused_activation_quant_proxy", None), "activation_impl", nn.Identity())
    if not quant.is_quant_enabled:  # type: ignore[union-attr]
        return before
    try:
        scale, zero = quant.scale(), quant.zero_point()  # type: ignore[operator, union-attr]
        bits = int(quant.bit_width())  # type: ignore[operator, union-attr]
        signed, narrow = bool(quant.is_signed), bool(quant.is_narrow_range)  # type: ignore[union-attr]
    except (AttributeError, TypeError) as error:
        raise Problem("its quantizer has no constant scale", path, "use criterion: random") from error
    if scale is None or not (bits == 1 or str(quant.rounding_mode) == "ROUND"):  # type: ignore[union-attr]
        raise Problem("its quantizer has no plain counterpart", path, "use criterion: random")
    made: nn.Module
    if bits == 1 and signed:
        made = PlainSign() if float(scale) == 1.0 else PlainSign(0.0, -float(scale), float(scale))
    else:
        low = -(2.0 ** (bits - 1)) + narrow if signed else 0.0
        high = 2.0 ** (bits - 1) - 1.0 if signed else 2.0**bits - 1.0 - narrow
        made = PlainQuantize(scale, zero, low, high)
    return made if isinstance(before, nn.Identity | nn.ReLU) else nn.Sequential(copy.deepcopy(before), made)


def binary_weights(module: QuantConv2d | QuantLinear) -> Tensor:
    """The values that a QuantConv2d or QuantLinear computes with, in the shape of its latent weights."""
    weights: Tensor = module.quant_weight().value.detach()
    return weights

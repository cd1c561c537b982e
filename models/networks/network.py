"""Binary networks in Brevitas: weights and activations are +1 or -1, sign(0) is +1, every scale is 1, unless the
network's shape says otherwise."""

from __future__ import annotations

import math
from collections import OrderedDict

from torch import Generator, Tensor, nn
from torch.nn import init

from .layers import Kit, MapNorm, Pixels, RowNorm, ScoreNorm, SumMap
from .residual import residual_modules
from .spec import Arch, InputCode, NetworkSpec, PoolOrder, WeightLayer

__all__ = ["Arch", "InputCode", "Network", "NetworkSpec", "Pixels", "PoolOrder", "ScoreNorm", "WeightLayer"]


class Network(nn.Module):
    """A binary network; its modules lie in `layers` by name, in the order in which they run.

    Names of a chain: `pixels`, `input` (the input quantizer), then for each weight layer `pad0` (only where a border
    is not 0), `conv0`, `pool0`, `norm0`, `sign0`, ..., `flatten` or `sum`, `dense0`, `norm1`, `sign1`, ..., the last
    `dense`, and `score`. `norm` and `sign` are numbered through the whole network, `pool` by its convolution. A
    resnet has `block0`, `block1`, ... with modules of the same names inside.

    Args:
        spec: the shape.
        seed: of the weights' initial values.
        quantized: False makes the float counterpart, a teacher for distillation: float weights, and clip(x, -1, 1)
            in place of each sign.
    """

    def __init__(self, spec: NetworkSpec, seed: int = 0, quantized: bool = True) -> None:
        super().__init__()
        self.spec = spec
        self.layers = nn.ModuleDict(_modules(spec, Kit(spec, quantized)))
        generator = Generator().manual_seed(seed)
        for _, module in self.weight_layers():
            # of a constant step: the whole range, where smaller ones would all be 0
            bound = 1.0 if spec.weight_kind == "steps" else math.sqrt(3.0 / module.weight[0].numel())
            init.uniform_(module.weight, -bound, bound, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) float32 pixels, whole numbers 0 to 255, to (N, classes) float32 scores."""
        for module in self.layers.values():
            x = module(x)
        return x

    def weight_layers(self) -> list[tuple[str, nn.Conv2d | nn.Linear]]:
        """Name and module (QuantConv2d or QuantLinear) of every layer with weights, from input to output."""
        found = {
            name.rpartition(".")[2]: module
            for name, module in self.named_modules()
            if isinstance(module, nn.Conv2d | nn.Linear)
        }
        return [(layer.name, found[layer.name]) for layer in self.spec.layers()]


def _modules(spec: NetworkSpec, kit: Kit) -> OrderedDict[str, nn.Module]:
    """Every module of the network by name, in running order."""
    modules: OrderedDict[str, nn.Module] = OrderedDict(kit.entrance())
    rows = list(spec.layers())
    norms = 0
    if spec.arch == "resnet":
        convolutions = [row for row in rows if row.kind == "conv"]
        made, norms = residual_modules(convolutions, kit)
        modules.update(made)
        rows = rows[len(convolutions) :]
    *hidden, last = rows
    if spec.arch == "mlp":
        modules["flatten"] = nn.Flatten()
    for index, layer in enumerate(hidden, start=norms):
        if layer.kind == "dense" and "flatten" not in modules:
            modules["flatten"] = _to_features(spec)
        padded = layer.padding > 0 and _needs_border(spec, index)
        if padded:
            modules[f"pad{index}"] = nn.ConstantPad2d(layer.padding, float(spec.padding or 0))
        modules[layer.name] = kit.weights(layer, padded)
        norm = MapNorm(layer.outputs) if layer.kind == "conv" else RowNorm(layer.outputs)
        steps: list[tuple[str, nn.Module]] = [(f"norm{index}", norm), (f"sign{index}", kit.activation())]
        if layer.pool == 2:
            position = 0 if spec.pool_order == "before-norm" else len(steps)
            steps.insert(position, (f"pool{index}", nn.MaxPool2d(2)))
        modules.update(steps)
    if spec.head == "map":
        padded = last.padding > 0 and _needs_border(spec, len(hidden))
        if padded:
            modules[f"pad{len(hidden)}"] = nn.ConstantPad2d(last.padding, float(spec.padding or 0))
        modules[last.name] = kit.weights(last, padded)
        modules["flatten"] = SumMap()
    else:
        if "flatten" not in modules:
            modules["flatten"] = _to_features(spec)
        modules[last.name] = kit.weights(last)
    match spec.scores:
        case "one":
            modules["score"] = ScoreNorm()
        case "class":
            modules["score"] = RowNorm(spec.classes)
        case _:
            modules["score"] = nn.Identity()
    return modules


def _to_features(spec: NetworkSpec) -> nn.Module:
    return SumMap() if spec.head == "average" else nn.Flatten()


def _needs_border(spec: NetworkSpec, index: int) -> bool:
    """Whether a convolution's border holds -1 or +1; a zero border is the convolution's own.

    The first layer's border is 0 with 8-bit pixels, whatever the padding.
    """
    return spec.padding in (-1, 1) and (index > 0 or spec.input != "bits8")

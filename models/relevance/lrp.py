"""Layer-wise relevance propagation with rules that stay stable where sums are 0.

The sums of binary layers are small integers and often exactly 0, where the usual stabiliser of 1e-9 lets relevance
grow without bounds. Here it is one typical product: mean |weight| times the root mean square of the layer's inputs,
which is 1 between binary layers.

Source: Bach et al., On Pixel-Wise Explanations, PLOS ONE 10(7), 2015; Montavon et al., Layer-Wise Relevance
Propagation: An Overview, 2019 (gamma rule), here for inputs of both signs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..layers import Pixels, SumMap
from ..residual import Add
from ..twin import Affine, Quantize, Sign
from .taps import ACTIVATIONS, NORMS, Attributed, Probe, captured

EPSILON = 1.0
GAMMA = 0.25

_SHARED = (nn.Conv2d, nn.Linear, nn.AvgPool2d, SumMap, Add)
_PASSED = (Sign, Quantize, Affine, Pixels, *NORMS, *ACTIVATIONS)


class _Share(torch.autograd.Function):
    """Passes the output on; in the backward pass, what arrives is the output's relevance, and the inputs' leaves."""

    @staticmethod
    def forward(ctx: Any, module: nn.Module, gamma: float, output: Tensor, *inputs: Tensor) -> Tensor:
        ctx.module, ctx.gamma = module, gamma
        ctx.save_for_backward(*inputs)
        return output.clone()

    @staticmethod
    def backward(ctx: Any, *relevance: Tensor) -> tuple[Tensor | None, ...]:
        inputs = [x.detach() for x in ctx.saved_tensors]
        return None, None, None, *_shares(ctx.module, ctx.gamma, inputs, relevance[0])


@torch.enable_grad()
def _shares(module: nn.Module, gamma: float, inputs: list[Tensor], relevance: Tensor) -> list[Tensor]:
    """R_j = sum over k of z_jk' / (z_k' + stabiliser) R_k, z' = z + gamma max(z, 0), z_jk the product of j in sum k."""
    parts = [[x.requires_grad_()] for x in inputs]
    total = module.forward(*inputs)
    if gamma and isinstance(module, nn.Conv2d | nn.Linear):
        high, low = (inputs[0].detach().clamp(**bound).requires_grad_() for bound in ({"min": 0.0}, {"max": 0.0}))
        parts[0] += [high, low]
        positive = _products(module, high, module.weight.clamp(min=0.0))
        total = total + gamma * (positive + _products(module, low, module.weight.clamp(max=0.0)))
    weight = module.weight.abs().mean() if isinstance(module, nn.Conv2d | nn.Linear) else 1.0
    squares = torch.stack([x.detach().square().flatten(1).mean(1) for x in inputs]).mean(0)
    unit = (EPSILON * weight * squares.sqrt()).reshape(-1, *(1,) * (total.dim() - 1)).clamp(min=1e-12)
    stable = total.detach() + torch.where(total.detach() >= 0, unit, -unit)
    flat = [x for part in parts for x in part]
    gradients = iter(torch.autograd.grad(total, flat, relevance / stable))
    return [sum((x.detach() * next(gradients) for x in part), torch.zeros_like(part[0])) for part in parts]


def _products(module: nn.Conv2d | nn.Linear, x: Tensor, weight: Tensor) -> Tensor:
    if isinstance(module, nn.Linear):
        return functional.linear(x, weight)
    return module._conv_forward(x, weight, None)


@contextmanager
def _rules(model: nn.Module, gamma: float) -> Iterator[None]:
    """Within, backward passes hand relevance back. Pools hand it to the winner; borders keep what falls on them."""

    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        if isinstance(module, _PASSED):
            return inputs[0] + (output - inputs[0]).detach()
        shared: Tensor = _Share.apply(module, gamma, output, *inputs)
        return shared

    handles = [m.register_forward_hook(hook) for m in model.modules() if isinstance(m, _SHARED + _PASSED)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def lrp(
    gamma: float,
) -> Callable[[Probe, Tensor, Tensor, Tensor], Attributed]:
    """Relevance of the target's sum by the epsilon rule, or with `gamma` > 0 by the gamma rule.

    Arguments and result of the function are those of `deep_lift.deeplift`, but that cuts should add up to the sum
    itself; the stabiliser and -1 or +1 borders keep a part of it.
    """

    def attribute(probe: Probe, x: Tensor, base: Tensor, target: Tensor) -> Attributed:
        places = {**probe.taps, **probe.cuts}
        with _rules(probe.model, gamma), captured(probe.model, places) as outputs:
            sums = probe.model(x.detach().requires_grad_())
            whole = sums.gather(1, target[:, None])[:, 0]
            start = torch.zeros_like(sums).scatter(1, target[:, None], whole[:, None])
            found = torch.autograd.grad(sums, list(outputs.values()), start.detach(), allow_unused=True)
        parts = {
            name: torch.zeros_like(outputs[name]) if r is None else r for name, r in zip(outputs, found, strict=True)
        }
        whole = whole.detach()
        misses = {name: parts[name].flatten(1).sum(1) - whole for name in probe.cuts}
        return {name: parts[name] for name in probe.taps}, misses, whole

    return attribute

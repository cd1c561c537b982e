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

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..networks.layers import Pixels, SumMap
from ..networks.network import Network
from ..networks.plain import Adding, Pooling, Quantizer, Scaling
from ..networks.residual import ResidualSum
from .taps import ACTIVATIONS, NORMS, Attributed, Probe, captured

EPSILON = 1.0
GAMMA = 0.25

_SHARED = (nn.Conv2d, nn.Linear, nn.AvgPool2d, SumMap, ResidualSum, Adding, Pooling)
_PASSED = (Quantizer, Scaling, Pixels, *NORMS, *ACTIVATIONS)


class _Share(torch.autograd.Function):
    """Passes the output on; in the backward pass, what arrives is the output's relevance, and the inputs' leaves.

    The module's weight, where it is wanted, is given the relevance of each of its products per unit of weight.
    """

    @staticmethod
    def forward(
        ctx: Any, module: nn.Module, gamma: float, output: Tensor, weight: Tensor | None, *inputs: Tensor
    ) -> Tensor:
        ctx.module, ctx.gamma = module, gamma
        ctx.save_for_backward(*inputs)
        return output.clone()

    @staticmethod
    def backward(ctx: Any, *relevance: Tensor) -> tuple[Tensor | None, ...]:
        inputs = [x.detach() for x in ctx.saved_tensors]
        shares, weight = _shares(ctx.module, ctx.gamma, inputs, relevance[0])
        return None, None, None, weight, *shares


@torch.enable_grad()
def _shares(
    module: nn.Module, gamma: float, inputs: list[Tensor], relevance: Tensor
) -> tuple[list[Tensor], Tensor | None]:
    """R_j = sum over k of z_jk' / (z_k' + stabiliser) R_k, z' = z + gamma max(z, 0), z_jk the product of j in sum k.

    Also, for a weight that wants a gradient, the same sum over all products that it is in, without the factor w.
    """
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
    wanted = [weights] if isinstance(weights := getattr(module, "weight", None), Tensor) else []
    wanted = [each for each in wanted if each.requires_grad]
    gradients = iter(torch.autograd.grad(total, flat + wanted, relevance / stable))
    shares = [sum((x.detach() * next(gradients) for x in part), torch.zeros_like(part[0])) for part in parts]
    return shares, next(gradients, None)


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
        shared: Tensor = _Share.apply(module, gamma, output, getattr(module, "weight", None), *inputs)
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


lrp_epsilon, lrp_gamma = lrp(0.0), lrp(GAMMA)


def weight_lrp(
    network: Network, images: np.ndarray, labels: np.ndarray, latent: bool = False, batch: int = 100
) -> dict[str, np.ndarray]:
    """|mean over images of the relevance of all products that a weight is in|, by the epsilon rule.

    R_w = w * sum over its uses of x_j R_k / (z_k + stabiliser), from the label's sum on. The sums are those of the
    quantized weights.

    Args:
        network: its eval mode is analysed; it is not changed.
        images, labels: (N, C, H, W) uint8 and (N,).
        latent: take latent weights for the factor w, so that weights of 0 can be relevant.
        batch: images at a time; it has no influence but for rounding.

    Returns:
        (outputs, inputs) or (outputs, inputs, kernel, kernel) float64 by layer name.

    Source: Becking et al., ECQx, arXiv:2109.04236, who weight clusters by such relevances.
    """
    probe = Probe.of(network)
    weights = {name: module.weight.requires_grad_() for name, module in probe.model.weight_layers()}
    total = {name: torch.zeros_like(weight) for name, weight in weights.items()}
    for start in range(0, len(images), batch):
        x = probe.tensor(images[start : start + batch]).requires_grad_()
        target = torch.from_numpy(np.array(labels[start : start + batch], np.int64)).to(x.device)[:, None]
        with _rules(probe.model, 0.0):
            sums = probe.model(x)
            whole = torch.zeros_like(sums).scatter(1, target, sums.gather(1, target)).detach()
            found = torch.autograd.grad(sums, list(weights.values()), whole)
        for name, part in zip(weights, found, strict=True):
            total[name] += part
    with torch.no_grad():
        factors = {name: m.weight if latent else weights[name] for name, m in network.weight_layers()}
        return {n: (factors[n].double() * total[n] / len(images)).abs().cpu().numpy() for n in total}

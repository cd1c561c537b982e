"""DeepLift for all layers in one backward pass, exact on binary networks.

A sign or quantizer passes relevance on with the multiplier output change / input change between image and baseline
(rescale rule); everything linear with its gradient. The attributions at any cut of the network then add up to the
change of the logit (completeness). `captum_deeplift` holds it against Captum.

Source: Shrikumar et al., Learning Important Features Through Propagating Activation Differences, arXiv:1704.02685.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..networks.plain import Quantizer
from .taps import ACTIVATIONS, Attributed, Probe, captured

TOLERANCE = 1e-3
_SAME = 1e-12
"""Of the greatest number of a channel: what differs by less differs by rounding."""
_FAR = -(2.0**20)


class _Rescale(torch.autograd.Function):
    """Passes y on; where x changed, the gradient goes to x, times (y - y0) / (x - x0); elsewhere it goes to y."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, x0: Tensor, y0: Tensor) -> Tensor:
        change = x - x0
        rest = [axis for axis in range(x.dim()) if axis != 1]
        same = change.abs() <= _SAME * torch.maximum(x.abs(), x0.abs()).amax(rest, keepdim=True)
        ctx.save_for_backward(torch.where(same, 0.0, (y - y0) / torch.where(same, 1.0, change)), same)
        return y.clone()

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None]:
        multiplier, same = ctx.saved_tensors
        return grads[0] * multiplier, grads[0] * same, None, None


def _rescaled(x: Tensor, y: Tensor, x0: Tensor, y0: Tensor) -> Tensor:
    made: Tensor = _Rescale.apply(x, y, x0, y0)
    return made


def _max_pool(module: nn.MaxPool2d, x: Tensor, x0: Tensor) -> Tensor:
    """The pool as a tree of max(a, b) = (a + b + |a - b|) / 2 with the rescale rule for |.|: complete, also on ties."""
    pairs = list(zip(_cells(module, x), _cells(module, x0), strict=True))
    while len(pairs) > 1:
        halved = []
        for (a, a0), (b, b0) in zip(pairs[::2], pairs[1::2], strict=False):
            gap, gap0 = a - b, a0 - b0
            apart = _rescaled(gap, gap.abs(), gap0, gap0.abs())
            halved.append(((a + b + apart) / 2.0, torch.maximum(a0, b0)))
        pairs = halved + pairs[len(pairs) - len(pairs) % 2 :]
    return pairs[0][0]


def _cells(module: nn.MaxPool2d, x: Tensor) -> list[Tensor]:
    """The first, second, ... cell of each window: kernel^2 maps of the output's size."""
    kernel, stride, around, gap = (
        (value, value) if isinstance(value, int) else (value[0], value[1])
        for value in (module.kernel_size, module.stride, module.padding, module.dilation)
    )
    x = functional.pad(x, (around[1], around[1], around[0], around[0]), value=_FAR) if any(around) else x
    reach = [gap[i] * (kernel[i] - 1) for i in (0, 1)]
    high, wide = ((x.shape[2 + i] - reach[i] - 1) // stride[i] + 1 for i in (0, 1))
    return [
        x[:, :, top * gap[0] :: stride[0], left * gap[1] :: stride[1]][:, :, :high, :wide]
        for top in range(kernel[0])
        for left in range(kernel[1])
    ]


@contextmanager
def _rules(model: nn.Module, seen: dict[str, list[tuple[Tensor, Tensor]]], baseline: bool) -> Iterator[None]:
    """Within, a pass records the inputs and outputs of modules that are not linear, or rescales against them."""
    calls: Counter[str] = Counter()

    def rule(path: str) -> Callable[..., Tensor | None]:
        def hook(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor | None:
            if baseline:
                seen[path].append((inputs[0], output))
                return None
            x0, y0 = seen[path][calls[path]]
            calls[path] += 1
            if isinstance(module, nn.MaxPool2d):
                return _max_pool(module, inputs[0], x0)
            return _rescaled(inputs[0], output, x0, y0)

        return hook

    ruled = (Quantizer, nn.MaxPool2d, *ACTIVATIONS)
    handles = [m.register_forward_hook(rule(path)) for path, m in model.named_modules() if isinstance(m, ruled)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def deeplift(probe: Probe, x: Tensor, base: Tensor, target: Tensor) -> Attributed:
    """Attributions of the target's sum for one batch.

    Args:
        probe: in float64.
        x, base: (N, *input shape) pixels; each image has its baseline.
        target: (N,) classes.

    Returns:
        For each layer (N, filters, ...) attributions; for the pixels and each cut (N,) sums of attributions minus the
        change that they should add up to; and (N,) these changes.
    """
    places = {**probe.taps, **probe.cuts}
    seen: dict[str, list[tuple[Tensor, Tensor]]] = defaultdict(list)
    with torch.no_grad(), captured(probe.model, places) as before, _rules(probe.model, seen, baseline=True):
        start = probe.model(base).gather(1, target[:, None])[:, 0]
    x = x.detach().requires_grad_()
    with _rules(probe.model, seen, baseline=False), captured(probe.model, places) as after:
        end = probe.model(x).gather(1, target[:, None])[:, 0]
    multipliers = torch.autograd.grad(end.sum(), [x, *after.values()], allow_unused=True)
    change = (end - start).detach()
    changes = [x - base, *(after[name] - before[name] for name in after)]
    pairs = zip(("pixels", *after), multipliers, changes, strict=True)
    parts = {name: (torch.zeros_like(d) if m is None else m * d).detach() for name, m, d in pairs}
    misses = {name: parts[name].flatten(1).sum(1) - change for name in ("pixels", *probe.cuts)}
    return {name: parts[name] for name in probe.taps}, misses, change

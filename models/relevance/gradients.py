"""Attributions by gradients, for all layers at once. The gradient of a sign is a stand-in (straight-through
estimator), so these are not exact on binary networks; their self-checks say by how much."""

from __future__ import annotations

from collections import Counter

import torch
from captum.attr import LayerConductance, LayerGradientXActivation, LayerIntegratedGradients
from torch import Tensor, nn
from torch.nn import functional

from bnnflow import Problem

from .taps import Attributed, Probe, captured

STEPS = 20


def gradient_activation(probe: Probe, x: Tensor, base: Tensor, target: Tensor) -> Attributed:
    """Output times gradient of the target's sum, by Captum's `LayerGradientXActivation`; arguments and result as
    `deep_lift.deeplift`, nothing is checked."""
    parts = {}
    for name, module in _modules(probe, x):
        method = LayerGradientXActivation(probe.model, module)
        parts[name] = method.attribute(x, target=target).detach()
    return parts, {}, x.new_zeros(len(x))


def taylor_activation(probe: Probe, x: Tensor, base: Tensor, target: Tensor) -> Attributed:
    """Output times gradient of the cross entropy: the first-order change of the loss if the output were 0, negated.

    The probe gives scores, not sums. Source: Molchanov et al., Pruning Convolutional Neural Networks for Resource
    Efficient Inference, arXiv:1611.06440.
    """
    outputs, gradients, _ = _gradients(probe, x, target, loss=True)
    return {name: outputs[name] * gradients[name] for name in probe.taps}, {}, x.new_zeros(len(x))


def conductance(probe: Probe, x: Tensor, base: Tensor, target: Tensor) -> Attributed:
    """Captum's `LayerConductance` in 20 steps on the line from base to x: sum over steps of the gradient at the start
    of the step times the change of the output in it.

    Every point is rounded to pixels by the network's own input quantizer, so all signs are signs. Source: Dhamdhere et
    al., How Important Is a Neuron?, arXiv:1805.12233.
    """
    parts = {}
    for name, module in _modules(probe, x):
        method = LayerConductance(probe.model, module)
        parts[name] = method.attribute(
            x, base, target=target, n_steps=STEPS, method="riemann_trapezoid", internal_batch_size=2 * len(x)
        ).detach()
    change = _change(probe, x, base, target)
    return parts, _misses(probe, parts, change), change


def integrated_gradients(probe: Probe, x: Tensor, base: Tensor, target: Tensor) -> Attributed:
    """Captum's `LayerIntegratedGradients`: (output - output0) * mean of 20 gradients at the middles of equal steps
    from output0 to output, layer by layer.

    Source: Sundararajan et al., Axiomatic Attribution for Deep Networks, arXiv:1703.01365.
    """
    parts = {}
    for name, module in _modules(probe, x):
        method = LayerIntegratedGradients(probe.model, module)
        parts[name] = method.attribute(
            x, base, target=target, n_steps=STEPS, method="riemann_middle", internal_batch_size=len(x)
        ).detach()
    change = _change(probe, x, base, target)
    return parts, _misses(probe, parts, change), change


@torch.no_grad()
def _modules(probe: Probe, x: Tensor) -> list[tuple[str, nn.Module]]:
    """Modules at the taps by name; `Problem` where one runs twice, since Captum cannot tell its calls apart."""
    found, calls = [], Counter[str]()
    handles = []
    for name, tap in probe.taps.items():
        module = probe.model.get_submodule(tap.path)
        found.append((name, module))
        handles.append(module.register_forward_hook(lambda *_, name=name: calls.update([name])))
    probe.model(x[:1])
    for handle in handles:
        handle.remove()
    for name, count in calls.items():
        if count > 1:
            what = f"the activation behind it is a module that runs {count} times"
            raise Problem(what, name, "give each layer its own activation module, or use criterion: deeplift")
    return found


@torch.no_grad()
def _change(probe: Probe, x: Tensor, base: Tensor, target: Tensor) -> Tensor:
    change: Tensor = (probe.model(x) - probe.model(base)).gather(1, target[:, None])[:, 0]
    return change


def _gradients(
    probe: Probe, x: Tensor, target: Tensor, loss: bool = False
) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor]:
    """Outputs and gradients at the taps, and (N,) the targets' sums or losses; all detached."""
    with captured(probe.model, probe.taps) as outputs:
        scores = probe.model(x.detach().requires_grad_())
    if loss:
        goal = functional.cross_entropy(scores, target, reduction="none")
    else:
        goal = scores.gather(1, target[:, None])[:, 0]
    found = torch.autograd.grad(goal.sum(), list(outputs.values()), allow_unused=True)
    kept = {name: output.detach() for name, output in outputs.items()}
    gradients = {name: torch.zeros_like(kept[name]) if g is None else g for name, g in zip(kept, found, strict=True)}
    return kept, gradients, goal.detach()


def _misses(probe: Probe, parts: dict[str, Tensor], change: Tensor) -> dict[str, Tensor]:
    return {name: parts[name].flatten(1).sum(1) - change for name in parts if name in probe.cuts}

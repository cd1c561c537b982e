"""Attributions by gradients, for all layers at once. The gradient of a sign is a stand-in (straight-through
estimator), so these are not exact on binary networks; their self-checks say by how much."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .taps import Probe, captured

STEPS = 20

Attributed = tuple[dict[str, Tensor], dict[str, Tensor], Tensor]


def gradient_activation(probe: Probe, x: Tensor, base: Tensor, target: Tensor) -> Attributed:
    """Output times gradient of the target's sum; arguments and result as `deep_lift.deeplift`, nothing is checked."""
    outputs, gradients, _ = _gradients(probe, x, target)
    return {name: outputs[name] * gradients[name] for name in probe.taps}, {}, x.new_zeros(len(x))


def taylor_activation(probe: Probe, x: Tensor, base: Tensor, target: Tensor) -> Attributed:
    """Output times gradient of the cross entropy: the first-order change of the loss if the output were 0, negated.

    The probe gives scores, not sums. Source: Molchanov et al., Pruning Convolutional Neural Networks for Resource
    Efficient Inference, arXiv:1611.06440.
    """
    outputs, gradients, _ = _gradients(probe, x, target, loss=True)
    return {name: outputs[name] * gradients[name] for name in probe.taps}, {}, x.new_zeros(len(x))


def conductance(probe: Probe, x: Tensor, base: Tensor, target: Tensor) -> Attributed:
    """Sum over k = 1 ... 20 of gradient(x_{k-1}) * (output(x_k) - output(x_{k-1})), x_k on the line from base to x.

    Every x_k is rounded to pixels by the network's own input quantizer, so all signs are signs. Source: Dhamdhere et
    al., How Important Is a Neuron?, arXiv:1805.12233.
    """
    before, slopes, start = _gradients(probe, base, target)
    total = {name: torch.zeros_like(output) for name, output in before.items()}
    end = start
    for step in range(1, STEPS + 1):
        outputs, gradients, end = _gradients(probe, base + (x - base) * (step / STEPS), target)
        for name in total:
            total[name] += slopes[name] * (outputs[name] - before[name])
        before, slopes = outputs, gradients
    return total, _misses(probe, total, end - start), end - start


def integrated_gradients(probe: Probe, x: Tensor, base: Tensor, target: Tensor) -> Attributed:
    """(output - output0) * mean of 20 gradients at the middles of equal steps from output0 to output, layer by layer.

    Source: Sundararajan et al., Axiomatic Attribution for Deep Networks, arXiv:1703.01365.
    """
    with torch.no_grad():
        with captured(probe.model, probe.taps) as before:
            start = probe.model(base)
        with captured(probe.model, probe.taps) as after:
            end = probe.model(x)
        change = (end - start).gather(1, target[:, None])[:, 0]
    total = {}
    for name, tap in probe.taps.items():
        gap = after[name] - before[name]
        mean = torch.zeros_like(gap)
        tail, entry, inside = probe.tail(tap, x)
        for step in range(STEPS):
            point = (before[name] + gap * ((step + 0.5) / STEPS)).requires_grad_()
            with captured(probe.model, {name: inside}, lambda _n, _y, point=point: point):  # type: ignore[misc]
                goal = tail(entry).gather(1, target[:, None]).sum()
            mean += torch.autograd.grad(goal, point)[0] / STEPS
        total[name] = gap * mean
    return total, _misses(probe, total, change), change


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

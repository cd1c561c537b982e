"""Losses on class scores; each is the sum over the images of a batch."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from ..networks.spec import NetworkSpec

LOSSES = ("cross-entropy", "squared-hinge", "mhl", "mcel")
BOUND = 10.0

Loss = Callable[[Tensor, Tensor], Tensor]


def make_loss(name: str, margin: float | None, spec: object) -> Loss:
    """The loss `name`, a function of scores (N, C) and labels (N,).

    With t = +1 at the label and -1 elsewhere, z the scores and C classes:
    cross-entropy: -log softmax(z) at the label. squared-hinge: mean over classes of max(0, b - t z)^2.
    mhl: mean over classes of max(0, b - t z) / b (Buschjäger et al., DATE 2021).
    mcel: cross entropy of K tanh(z / K) less b at the label, K = 10 (after Yayla and Kumar, arXiv:2603.05048; the
    bound is ours: without one a network escapes the margin by its scale).

    Args:
        name: one of `LOSSES`.
        margin: b; None is 1, but for mhl on raw sums a sixteenth of what the last layer adds up.
        spec: the network's shape. Where its scores are raw sums ("none"), the cross entropies divide them by the
            square root of the last layer's fan-in.
    """
    raw = isinstance(spec, NetworkSpec) and spec.scores == "none"
    fan_in = spec.layers()[-1].fan_in if isinstance(spec, NetworkSpec) else 1
    unit = math.sqrt(fan_in) if raw else 1.0
    if margin is None:
        margin = max(1.0, fan_in / 16) if raw and name in ("mhl", "squared-hinge") else 1.0
    b = margin

    def signs(scores: Tensor, labels: Tensor) -> Tensor:
        return 2.0 * functional.one_hot(labels, scores.shape[1]).to(scores.dtype) - 1.0

    def cross_entropy(scores: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(scores / unit, labels, reduction="sum")

    def squared_hinge(scores: Tensor, labels: Tensor) -> Tensor:
        return ((b - signs(scores, labels) * scores).clamp(min=0.0) / (b if raw else 1.0)).square().mean(1).sum()

    def mhl(scores: Tensor, labels: Tensor) -> Tensor:
        return (b - signs(scores, labels) * scores).clamp(min=0.0).mean(1).sum() / b

    def mcel(scores: Tensor, labels: Tensor) -> Tensor:
        bounded = BOUND * torch.tanh(scores / unit / BOUND)
        shifted = bounded - b * functional.one_hot(labels, scores.shape[1]).to(scores.dtype)
        return functional.cross_entropy(shifted, labels, reduction="sum")

    return {"cross-entropy": cross_entropy, "squared-hinge": squared_hinge, "mhl": mhl, "mcel": mcel}[name]


def distillation(scores: Tensor, teacher: Tensor, temperature: float) -> Tensor:
    """T^2 KL(softmax(teacher / T) || softmax(scores / T)), the sum over images (Hinton et al., arXiv:1503.02531)."""
    wanted = functional.log_softmax(teacher / temperature, 1)
    given = functional.log_softmax(scores / temperature, 1)
    return functional.kl_div(given, wanted, reduction="sum", log_target=True) * temperature**2

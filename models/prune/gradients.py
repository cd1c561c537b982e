"""Importance of single weights, by gradients."""

from __future__ import annotations

import numpy as np
import torch
from brevitas.nn import QuantConv2d, QuantLinear
from torch import nn
from torch.nn import functional

from ..networks.network import Network
from ..networks.own import OwnNetwork
from ..training.batchnorm import pixels


def weight_relevance(
    network: Network | OwnNetwork,
    images: np.ndarray,
    labels: np.ndarray,
    latent: bool = False,
    batch: int = 100,
    layers: list[tuple[str, nn.Conv2d | nn.Linear]] | None = None,
) -> dict[str, np.ndarray]:
    """|w * dL/dw| of every weight: to first order, what setting it to 0 changes the loss by (Taylor).

    L is the mean cross entropy over the images in eval mode, the gradient that of straight-through estimators. A weight
    of 0 has none unless `latent`.

    Args:
        network: in any mode; not changed.
        images, labels: (N, C, H, W) uint8 and (N,).
        latent: take latent weights for w, in place of the values that the layer computes with.
        batch: images at a time; it has no influence but for rounding.
        layers: whose weights; None: all.

    Returns:
        (outputs, inputs) or (outputs, inputs, kernel, kernel) float64 by layer name.

    Source: Molchanov et al., Importance Estimation for Neural Network Pruning, arXiv:1906.10771 (its per-weight score
    is the square of this).
    """
    training = network.training
    network.eval()
    layers = network.weight_layers() if layers is None else layers
    weights = [module.weight for _, module in layers]
    total = [torch.zeros_like(weight, dtype=torch.float64) for weight in weights]
    for start in range(0, len(images), batch):
        part = slice(start, start + batch)
        target = torch.from_numpy(np.array(labels[part], np.int64)).to(weights[0].device)
        loss = functional.cross_entropy(network(pixels(network, images[part])), target, reduction="sum")
        for sum_, gradient in zip(total, torch.autograd.grad(loss, weights), strict=True):
            sum_ += gradient
    network.train(training)
    return {
        name: (values_of(module, latent).double() * sum_ / len(images)).abs().cpu().numpy()
        for (name, module), sum_ in zip(layers, total, strict=True)
    }


@torch.no_grad()
def values_of(module: QuantConv2d | QuantLinear, latent: bool = False) -> torch.Tensor:
    """The values that a Brevitas layer computes with, or its latent weights."""
    values: torch.Tensor = module.weight if latent else module.quant_weight().value
    return values.detach()

"""Batch-norm statistics measured anew: the running averages of training lag behind weights whose signs
still flip."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from .networks import Network, ScoreNorm

Norm = nn.BatchNorm1d | nn.BatchNorm2d | ScoreNorm


def reestimate(network: Network, images: np.ndarray, batch: int = 500) -> None:
    """Set the mean and variance of every norm to those of its inputs over `images`, and switch to eval mode.

    Norm by norm from input to output, each measured behind the earlier ones' new statistics: then the statistics
    are exactly those of the numbers that eval mode produces, whatever the batch. (One cumulative pass in training
    mode, the usual way, measures later norms behind batch statistics; on pruned and unpruned Fashion-MNIST networks
    its accuracy was the same within 0.6 points, in both directions.) Weights, gains and biases stay as they are.
    Costs one forward pass to each norm; a few thousand training images suffice.

    Args:
        network: changed in place.
        images: (N, C, H, W) uint8; a sample of the training images, never of the test images.
        batch: images at a time; it has no influence on the result but for rounding.
    """
    network.eval()
    modules = list(network.layers.values())
    for index, module in enumerate(modules):
        if isinstance(module, Norm):
            _measure(module, modules[:index], images, batch)


@torch.no_grad()
def _measure(norm: Norm, before: list[nn.Module], images: np.ndarray, batch: int) -> None:
    """Mean and biased variance in float64, of each channel or, for a ScoreNorm, of all scores together."""
    total: Tensor | float = 0.0
    squares: Tensor | float = 0.0
    count = 0
    for start in range(0, len(images), batch):
        x = torch.tensor(images[start : start + batch], dtype=torch.float32)
        for module in before:
            x = module(x)
        x = x.double()
        x = x.reshape(1, -1) if isinstance(norm, ScoreNorm) else x.transpose(0, 1).flatten(1)
        total = total + x.sum(1)
        squares = squares + (x * x).sum(1)
        count += x.shape[1]
    mean = torch.as_tensor(total) / count
    var = (torch.as_tensor(squares) / count - mean * mean).clamp(min=0.0)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(mean.reshape(norm.running_mean.shape))
    norm.running_var.copy_(var.reshape(norm.running_var.shape))

"""DeepLift scores of filters and neurons, exact on binary networks.

Captum's DeepLift knows no sign: on Brevitas modules it falls back to gradients, and its attributions miss
most of the logit difference. On the twin, with `Sign` under the rescale rule (multiplier = output change /
input change), the attributions of every layer add up to the logit difference (completeness), which is
checked here.

Source: Shrikumar et al., Learning Important Features Through Propagating Activation Differences,
arXiv:1704.02685.
"""

from __future__ import annotations

import warnings

import numpy as np
import torch
from captum.attr import LayerDeepLift
from captum.attr._core.deep_lift import SUPPORTED_NON_LINEAR, nonlinear

from bnnflow import CHECK_FAILED, Problem

from ..networks import Network
from ..twin import Sign, Twin, twin
from .scores import Relevance

TOLERANCE = 1e-3

SUPPORTED_NON_LINEAR[Sign] = nonlinear


def deeplift(
    network: Network, images: np.ndarray, labels: np.ndarray, baselines: np.ndarray, batch: int = 64
) -> Relevance:
    """Score every filter and neuron by DeepLift at its sign output, with other real images as the baselines.

    The score is mean over images of |sum over the map of A|, where A is the attribution of the label's
    integer logit against the baseline. Computed in float64 so that completeness does not drown in rounding.

    Args:
        network: its eval mode is analysed; it is not changed.
        images: (N, C, H, W) uint8.
        labels: (N,) integers.
        baselines: (M, C, H, W) uint8; image i is compared with baseline i modulo M.
        batch: images at a time.

    Raises:
        Problem: completeness is missed by more than `TOLERANCE` (1e-3) anywhere; the message names the layer.
    """
    if not len(images) or not len(baselines):
        raise Problem("DeepLift needs one image and one baseline or more", where="relevance")
    model = twin(network).double()
    model.layers.pop("score")
    names = [name for name, _ in network.weight_layers()][:-1]
    totals: dict[str, np.ndarray | float] = dict.fromkeys(names, 0.0)
    worst = 0.0
    for start in range(0, len(images), batch):
        rows = np.arange(start, min(start + batch, len(images)))
        x = torch.tensor(images[rows], dtype=torch.float64)
        base = torch.tensor(baselines[rows % len(baselines)], dtype=torch.float64)
        target = torch.tensor(labels[rows], dtype=torch.int64)
        with torch.no_grad():
            difference = (model(x) - model(base)).gather(1, target[:, None])[:, 0].numpy()
        for index, name in enumerate(names):
            per_filter = _attribute(model, f"sign{index}", x.requires_grad_(), base.requires_grad_(), target)
            worst = max(worst, _completeness(name, per_filter, difference))
            totals[name] += np.abs(per_filter).sum(0)
    scores = {name: np.asarray(total) / len(images) for name, total in totals.items()}
    return Relevance(scores, worst, len(images))


def _attribute(model: Twin, layer: str, x: torch.Tensor, base: torch.Tensor, target: torch.Tensor) -> np.ndarray:
    """Attributions at the output of `layer`, summed over the map: (N, filters)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        method = LayerDeepLift(model, model.layers[layer])
        attributions = method.attribute(x, baselines=base, target=target)
    summed: np.ndarray = (
        attributions.detach().flatten(2).sum(2).numpy() if attributions.dim() > 2 else (attributions.detach().numpy())
    )
    return summed


def _completeness(name: str, per_filter: np.ndarray, difference: np.ndarray) -> float:
    error = np.abs(per_filter.sum(1) - difference) / np.maximum(1.0, np.abs(difference))
    worst = int(error.argmax())
    if not error[worst] <= TOLERANCE:
        raise Problem(
            f"DeepLift's attributions add up to {per_filter[worst].sum():.4f}, "
            f"but the logit differs by {difference[worst]:.4f}",
            where=name,
            hint="use criterion: random, and report this network as a bug",
            status=CHECK_FAILED,
        )
    return float(error[worst])

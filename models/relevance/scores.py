"""What a criterion says about filters and neurons, and the control that it has to beat."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..networks import Network


@dataclass(frozen=True, slots=True)
class Relevance:
    """How much each filter and neuron matters.

    Args:
        scores: for each weight layer but the last, (filters,) float64 >= 0; higher matters more.
        completeness_error: the largest |sum of attributions - logit difference| / max(1, |logit
            difference|) over all images and layers; 0 for random scores.
        images: how many images were used; 0 for random scores.
    """

    scores: dict[str, np.ndarray]
    completeness_error: float
    images: int


def random_scores(network: Network, seed: int) -> Relevance:
    """Uniform random scores, the control that every criterion has to beat."""
    rng = np.random.default_rng(seed)
    layers = network.spec.layers()[:-1]
    return Relevance({layer.name: rng.random(layer.outputs) for layer in layers}, 0.0, 0)
